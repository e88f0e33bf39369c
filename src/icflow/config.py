"""The configuration: one typed tree, checked before any job starts.

`Config` mirrors `config.yaml`. Each stage of the workflow receives only the
part that it depends on, as one of the ``*Settings`` models below; the workflow
hands that part to the command line as canonical JSON, so a job reruns exactly
when something that it depends on has changed.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from icflow.errors import IcflowError
from icflow.files import canonical_json

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")


class Section(BaseModel):
    """A subtree of the configuration: typed strictly, no unknown keys, no changes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    def json_text(self) -> str:
        """Return this subtree as canonical JSON (sorted keys, no white space)."""
        return canonical_json(self.model_dump(mode="json", exclude_none=True))


def _finite(value: Any) -> Any:
    """Refuse a number written so that YAML reads it as text, with the way to write it."""
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return value
        raise ValueError(f"{value!r} is text to YAML; write a number with a decimal point, 1.0e-3")
    return value


Number = Annotated[float, BeforeValidator(_finite), Field(allow_inf_nan=False)]
Positive = Annotated[float, BeforeValidator(_finite), Field(gt=0, allow_inf_nan=False)]
Interval = Annotated[list[Number], Field(min_length=2, max_length=2)]


def _increasing(interval: list[float]) -> list[float]:
    if interval[0] >= interval[1]:
        raise ValueError(f"the first number must be below the second, found {interval}")
    return interval


# --- what is simulated -------------------------------------------------------


class Prior(Section):
    """How a parameter is drawn: exactly one of the distributions."""

    uniform: Interval | None = None
    log_uniform: Interval | None = None

    @model_validator(mode="after")
    def _one_distribution(self) -> Prior:
        given = [d for d in (self.uniform, self.log_uniform) if d is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of uniform, log_uniform")
        _increasing(given[0])
        if self.log_uniform is not None and self.log_uniform[0] <= 0:
            raise ValueError("the bounds of log_uniform must be positive")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest value that the prior can give."""
        low, high = self.uniform or self.log_uniform or (math.nan, math.nan)
        return low, high

    def quantile(self, probability: float) -> float:
        """Return the value below which the prior holds `probability`."""
        low, high = self.bounds
        if self.log_uniform is not None:
            return math.exp(math.log(low) + probability * (math.log(high) - math.log(low)))
        return low + probability * (high - low)


class Link(Section):
    """A parameter that equals another one of the same model."""

    link: str


class Free(Section):
    """A parameter that a fit varies within hard limits."""

    free: Interval
    start: Number | None = None

    @field_validator("free")
    @classmethod
    def _ordered(cls, value: list[float]) -> list[float]:
        return _increasing(value)

    @model_validator(mode="after")
    def _start_inside(self) -> Free:
        if self.start is not None and not self.free[0] <= self.start <= self.free[1]:
            raise ValueError(f"start {self.start} lies outside the limits {self.free}")
        return self


class Scenario(Section):
    """A model to simulate: an XSPEC expression and what each parameter does."""

    expression: str
    parameters: dict[str, Number | Link | Prior]


class FitModel(Section):
    """A model to fit: an XSPEC expression and what each parameter does."""

    expression: str
    parameters: dict[str, Number | Link | Free]


class Dataset(Section):
    """Simulated spectra of one scenario."""

    scenario: str
    size: Annotated[int, Field(ge=1)]


class AtomicData(Section):
    """Settings of XSPEC's model library."""

    atomdb: str = "3.0.9"
    folder: str = "resources/atomdb"
    abundances: str = "angr"
    cross_sections: Literal["bcmc", "obcm", "vern"] = "vern"


class Instrument(Section):
    """Response, exposure and background of the simulated observation."""

    rmf: str
    arf: str | None = None
    exposure: Positive
    background: str | None = None


# --- fits ----------------------------------------------------------------------


class Fit(Section):
    """One fit of every spectrum of a dataset."""

    model: str
    at_truth: list[str] = []


class Fits(Section):
    """Settings that all fits share, the models, and which fits are made."""

    energies: Interval
    group_min: Annotated[int, Field(ge=0)]
    background_range: Annotated[float, BeforeValidator(_finite), Field(ge=0, lt=1)]
    starts: Annotated[int, Field(ge=1)]
    max_iterations: Annotated[int, Field(ge=1)]
    models: dict[str, FitModel]
    label: Fit
    baseline: dict[str, Fit]

    @field_validator("energies")
    @classmethod
    def _ordered(cls, value: list[float]) -> list[float]:
        return _increasing(value)


# --- autoencoders ----------------------------------------------------------------


class Architecture(Section):
    """Shape of the residual convolutional autoencoder."""

    widths: Annotated[list[int], Field(min_length=1)]
    dense: list[int]
    latents: Annotated[int, Field(ge=1)]
    kernel: Annotated[int, Field(ge=1)]
    decoder_skips: bool


class Network(Section):
    """One network to train: its constraint on the latents."""

    constraint: Annotated[float, BeforeValidator(_finite), Field(ge=0)]


class Training(Section):
    """Optimiser, schedule and cross-validation."""

    recipe: Literal["paper", "fast"]
    spectra: Annotated[int, Field(ge=2)]
    folds: Annotated[int, Field(ge=2)]
    folds_trained: Annotated[int, Field(ge=1)]
    epochs: Annotated[int, Field(ge=1)]
    batch: Annotated[int, Field(ge=2)]
    learning_rate: Positive
    patience: Annotated[int, Field(ge=1)]
    device: Literal["auto", "cpu", "cuda"]

    @model_validator(mode="after")
    def _folds(self) -> Training:
        if self.folds < 3:
            raise ValueError(
                "folds must be at least 3: one chooses the epoch, one the threshold, the rest train"
            )
        if self.folds_trained > self.folds:
            raise ValueError(
                f"folds_trained is {self.folds_trained}, more than folds, {self.folds}"
            )
        if self.spectra < self.folds:
            raise ValueError(f"spectra is {self.spectra}, fewer than folds, {self.folds}")
        return self


class Autoencoder(Section):
    """Input, shape and training of the autoencoders."""

    energies: Interval
    labels: dict[str, str]
    architecture: Architecture
    training: Training
    networks: dict[str, Network]


# --- detectors, figures ------------------------------------------------------------


class Detector(Section):
    """A row of Table 1: a method of the registry and what it reads."""

    title: str
    method: str
    network: str | None = None
    null: str | None = None
    alternative: str | None = None


class Detection(Section):
    """Which datasets play which part, and the detectors."""

    training: str
    validation: str
    test: list[str]
    bootstrap: Annotated[int, Field(ge=100)]
    score_energies: Interval
    detectors: dict[str, Detector]


class Figures(Section):
    """How figures look."""

    formats: Annotated[list[Literal["pdf", "png", "svg"]], Field(min_length=1)]
    dpi: Annotated[int, Field(ge=50)]
    example: Annotated[int, Field(ge=0)]
    bins: Annotated[int, Field(ge=2)]


class Containers(Section):
    """Apptainer images, used with ``--use-singularity`` only."""

    icflow: str
    heasoft: str


class Config(Section):
    """The whole configuration, as in ``config.yaml``."""

    engine: Literal["embedded", "xspec"]
    seed: Annotated[int, Field(ge=0)]
    shard_size: Annotated[int, Field(ge=1)]
    atomic_data: AtomicData
    instrument: Instrument
    scenarios: dict[str, Scenario]
    datasets: dict[str, Dataset]
    fits: Fits
    autoencoder: Autoencoder
    detection: Detection
    figures: Figures
    containers: Containers
