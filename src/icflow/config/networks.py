"""Autoencoders and their training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from icflow.config.references import Name, Shown
from icflow.networks.labels import LabelSource
from icflow.sections import MOST, WIDEST, Energies, Number, Positive, Section


class Architecture(Section):
    """Shape of the published autoencoder."""

    widths: list[Annotated[int, Field(ge=1, le=WIDEST)]] = Field(
        min_length=1, description="channels after each convolutional stage"
    )
    dense: list[Annotated[int, Field(ge=1, le=WIDEST)]] = Field(
        description="units of the encoder's dense layers"
    )
    latents: int = Field(ge=1, le=WIDEST, description="number of latents")
    kernel: int = Field(ge=1, le=999, description="width of the convolution kernels")

    @model_validator(mode="after")
    def _odd_kernel(self) -> Architecture:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}, allowed: odd numbers")
        return self


def _sources(labels: dict[str, str]) -> dict[str, str]:
    for name, source in labels.items():
        if LabelSource.parse(source) is None:
            raise ValueError(
                f"{name} is {source!r}, allowed: fit:parameter, truth:parameter or "
                "ordered:parameter, each with or without `log ` before it"
            )
    return labels


Labels = Annotated[dict[Shown, str], AfterValidator(_sources)]


class Network(Section):
    """One network to train: its kind, its constraint, and where it departs from the others."""

    kind: Literal["published", "dense"] = Field(
        "published",
        description="`published`, the residual convolutional network of the paper, or `dense`: "
        "reads whitened counts, learns by their Poisson deviance",
    )
    constraint: Number = Field(
        ge=0, description="weight of the latents' distance from the labels in the loss"
    )
    labels: Labels | None = Field(None, description="labels of its latents, if not the common ones")
    latents: int | None = Field(
        None, ge=1, le=WIDEST, description="number of latents, if not the common one"
    )
    epochs: int | None = Field(None, ge=1, le=MOST, description="epochs, if not the common number")


class Training(Section):
    """Optimiser, schedule and cross-validation."""

    recipe: Literal["paper", "fast"] = Field(description="optimiser and learning rate schedule")
    spectra: int = Field(
        ge=2, le=MOST, description="spectra used, the first ones of the training dataset"
    )
    folds: int = Field(
        ge=3,
        le=1000,
        description="folds of the cross-validation: one chooses the epoch, one the threshold, "
        "the rest train",
    )
    folds_trained: int = Field(ge=1, description="folds that are trained, the first ones")
    epochs: int = Field(ge=1, le=MOST, description="passes over the training spectra")
    batch: int = Field(ge=2, le=MOST, description="spectra in a batch")
    learning_rate: Positive = Field(description="learning rate: highest (fast), initial (paper)")
    patience: int = Field(
        ge=1, le=MOST, description="recipe paper: epochs without improvement before the rate falls"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(description="where networks are trained")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="arithmetic of published networks while they train: `bfloat16` is mixed "
        "precision, faster where the processor has it",
    )

    @model_validator(mode="after")
    def _folds(self) -> Training:
        if self.folds_trained > self.folds:
            raise ValueError(
                f"folds_trained is {self.folds_trained}, more than folds, {self.folds}"
            )
        if self.spectra < self.folds:
            raise ValueError(f"spectra is {self.spectra}, fewer than folds, {self.folds}")
        return self


class Autoencoder(Section):
    """Input, shape and training of the autoencoders."""

    energies: Energies = Field(description="energies of the input channels (keV)")
    labels: Labels = Field(
        description="labels of the latents: `fit:parameter` from the label fit, "
        "`truth:parameter` as simulated, `ordered:parameter` as simulated with the cooler of like "
        "components first; `log ` before it takes the logarithm"
    )
    architecture: Architecture = Field(description="shape of the networks")
    networks: dict[Name, Network] = Field(description="networks to train, by name")
    training: Training = Field(description="optimiser, schedule and cross-validation")

    @model_validator(mode="after")
    def _labelled(self) -> Autoencoder:
        for name, network in self.networks.items():
            labels, latents = self.labels_of(network), self.latents_of(network)
            if latents < len(labels):
                where = f"networks.{name}" if network.latents is not None else "architecture"
                raise ValueError(
                    f"{where}.latents is {latents}, fewer than the {len(labels)} labels"
                )
        return self

    def labels_of(self, network: Network) -> dict[str, str]:
        """Labels of the latents of a network."""
        return self.labels if network.labels is None else network.labels

    def latents_of(self, network: Network) -> int:
        """Number of latents of a network."""
        return self.architecture.latents if network.latents is None else network.latents
