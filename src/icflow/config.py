"""The configuration: one typed tree, checked before any job starts.

`Config` mirrors `config.yaml`. Each stage of the workflow receives only the
part that it depends on, as one of the ``*Settings`` models below; the workflow
hands that part to the command line as canonical JSON, so a job reruns exactly
when something that it depends on has changed.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from icflow.errors import IcflowError
from icflow.files import canonical_json

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*")


class Section(BaseModel):
    """A subtree of the configuration: typed strictly, no unknown keys, no changes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        """Name unknown keys together with the allowed ones, which `extra` alone does not."""
        if isinstance(value, Mapping):
            unknown = [str(key) for key in value if key not in cls.model_fields]
            if unknown:
                allowed = list(cls.model_fields)
                raise PydanticCustomError(
                    "unknown_keys", "unknown key", {"unknown": unknown, "allowed": allowed}
                )
        return value

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
        raise ValueError(
            f"is {value!r}, which YAML reads as text; write the number with a decimal point, 1.0e-3"
        )
    return value


def _known(value: Any) -> Any:
    """Refuse what is not a number in the place of something measured."""
    infinite = isinstance(value, float) and not math.isfinite(value)
    if infinite or str(value).strip(".+-").lower() in ("nan", "inf"):
        raise ValueError(f"is {value}, not a finite number; give the measured value")
    return value


Number = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(_finite)]
# The last validator is asked first.
Measured = Annotated[float, BeforeValidator(_finite), BeforeValidator(_known)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(_finite)]
Fraction = Annotated[float, Field(gt=0, lt=1), BeforeValidator(_finite)]


def _increasing(interval: list[float]) -> list[float]:
    if interval[0] >= interval[1]:
        raise ValueError(f"is {interval}; the first number must be below the second")
    return interval


def _not_negative(interval: list[float]) -> list[float]:
    if interval[0] < 0:
        raise ValueError(f"is {interval}; energies are not negative")
    return interval


Interval = Annotated[list[Number], Field(min_length=2, max_length=2), AfterValidator(_increasing)]
Energies = Annotated[Interval, AfterValidator(_not_negative)]


# --- what is simulated -------------------------------------------------------


class Prior(Section):
    """How a parameter is drawn: exactly one of the distributions."""

    uniform: Interval | None = Field(None, description="lowest and highest value, equally likely")
    log_uniform: Interval | None = Field(
        None, description="lowest and highest value, equally likely in the logarithm"
    )

    @model_validator(mode="after")
    def _one_distribution(self) -> Prior:
        given = [d for d in (self.uniform, self.log_uniform) if d is not None]
        if len(given) != 1:
            raise ValueError(
                "give a number, {link: another parameter}, or exactly one of "
                "{uniform: [low, high]}, {log_uniform: [low, high]}"
            )
        if self.log_uniform is not None and self.log_uniform[0] <= 0:
            raise ValueError(f"log_uniform is {self.log_uniform}; its bounds must be positive")
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

    link: str = Field(description="parameter of the same model that it equals")


class Free(Section):
    """A parameter that a fit varies within hard limits."""

    free: Interval = Field(description="hard limits between which the fit varies it")
    start: Number | None = Field(None, description="value that the first start takes")

    @model_validator(mode="after")
    def _start_inside(self) -> Free:
        if self.start is not None and not self.free[0] <= self.start <= self.free[1]:
            raise ValueError(f"start is {self.start}, outside the limits {self.free}")
        return self


def _kind(value: Any) -> str:
    """Tell which member of a union of parameter kinds a value is meant to be.

    The tags stand in the location of an error; their brackets keep them apart from keys.
    """
    if isinstance(value, Mapping):
        return "<link>" if "link" in value else "<varies>"
    if isinstance(value, Section):
        return "<link>" if isinstance(value, Link) else "<varies>"
    return "<number>"


_Fixed = Annotated[Number, Tag("<number>")]
_Linked = Annotated[Link, Tag("<link>")]
Drawn = Annotated[_Fixed | _Linked | Annotated[Prior, Tag("<varies>")], Discriminator(_kind)]
Fitted = Annotated[_Fixed | _Linked | Annotated[Free, Tag("<varies>")], Discriminator(_kind)]


class Scenario(Section):
    """A model to simulate: an XSPEC expression and what each parameter does."""

    expression: str = Field(description="XSPEC model expression")
    parameters: dict[str, Drawn] = Field(
        description="each parameter, named component.parameter as in PyXspec: a fixed value, "
        "`{link: parameter}`, `{uniform: [low, high]}` or `{log_uniform: [low, high]}`"
    )


class FitModel(Section):
    """A model to fit: an XSPEC expression and what each parameter does."""

    expression: str = Field(description="XSPEC model expression")
    parameters: dict[str, Fitted] = Field(
        description="each parameter, named component.parameter as in PyXspec: a fixed value, "
        "`{link: parameter}` or `{free: [low, high], start: value}`"
    )


Scatter = Annotated[float, BeforeValidator(_finite)]


class Dataset(Section):
    """Simulated spectra of one scenario."""

    scenario: str = Field(description="name under `scenarios`")
    size: int = Field(ge=1, description="number of spectra")
    like: str | None = Field(
        None,
        description="dataset of the same sources, drawn with the same random numbers; what is not "
        "given here is as there",
    )
    parameters: dict[str, Drawn] = Field(
        {}, description="parameters that are drawn otherwise than `scenarios` says"
    )
    exposure: Positive | None = Field(
        None, description="exposure (s; default: `instrument.exposure`)"
    )
    background_scatter: Scatter | None = Field(
        None,
        ge=0,
        le=1,
        description="scatter of the background norms (default: `instrument.background_scatter`)",
    )
    ic: bool | None = Field(
        None,
        description="whether the spectra hold IC (default: yes, unless their scenario is that of "
        "`detection.training`)",
    )


Settings = TypeVar("Settings", bound=Section)


class AtomicData(Section):
    """Settings of XSPEC's model library."""

    atomdb: str = Field("3.0.9", description="AtomDB version of the apec tables")
    folder: str = Field("resources/atomdb", description="folder that holds the apec tables")
    abundances: str = Field("angr", description="abundance table, as in XSPEC's `abund`")
    cross_sections: Literal["bcmc", "obcm", "vern"] = Field(
        "vern", description="photoelectric cross sections, as in XSPEC's `xsect`"
    )


class Instrument(Section):
    """Response, exposure and background of the simulated observation."""

    rmf: str = Field(description="response matrix file, OGIP RMF")
    arf: str | None = Field(
        None,
        description="ancillary response file, OGIP ARF; leave out if the RMF includes the area",
    )
    exposure: Positive = Field(description="exposure of every spectrum (s)")
    background: str | None = Field(
        None, description="background components and norms; leave out for none"
    )
    background_scatter: Scatter = Field(
        0.0,
        ge=0,
        le=1,
        description="relative standard deviation of each background norm from spectrum to spectrum",
    )


# --- fits ----------------------------------------------------------------------

Errors = Literal["hessian", "profile"]
Delta = Annotated[float, BeforeValidator(_finite), Field(gt=0)]


class Fit(Section):
    """One fit of every spectrum of a dataset."""

    model: str = Field(description="name under `fits.models`")
    at_truth: list[str] = Field([], description="parameters frozen at their simulated values")


class Fits(Section):
    """Settings that all fits share, the models, and which fits are made."""

    energies: Energies = Field(description="energies that are fitted (keV)")
    group_min: int = Field(ge=0, description="lowest number of counts in a group of channels")
    background_range: Annotated[float, BeforeValidator(_finite)] = Field(
        ge=0, lt=1, description="fraction by which each background norm may leave its default"
    )
    starts: int = Field(ge=1, description="starting points per fit; the best minimum is kept")
    max_iterations: int = Field(ge=1, description="most iterations from one starting point")
    errors: Errors = Field(
        "hessian",
        description="errors: `hessian`, from the curvature at the minimum, or `profile`, "
        "intervals in which C rises by `delta` as well (slower)",
    )
    delta: Delta = Field(
        1.0, description="rise of C at the ends of an interval: 1 for 68 %, 2.706 for 90 %"
    )
    models: dict[str, FitModel] = Field(description="models to fit, by name")
    label: Fit = Field(description="fit of the training spectra that gives the labels")
    baseline: dict[str, Fit] = Field(description="fits of the test spectra, by name")


class Integrated(Section):
    """An evidence: the likelihood of a spectrum averaged over the priors of a scenario."""

    scenario: str = Field(description="name under `scenarios`, of the priors")
    at_truth: list[str] = Field([], description="parameters that are known, as simulated")
    background_scatter: Scatter | None = Field(
        None,
        ge=0,
        le=1,
        description="scatter of the background norms that the priors know of (default: "
        "`instrument.background_scatter`)",
    )


# --- autoencoders ----------------------------------------------------------------


class Architecture(Section):
    """Shape of the residual convolutional autoencoder."""

    widths: list[Annotated[int, Field(ge=1)]] = Field(
        min_length=1, description="channels after each convolutional stage"
    )
    dense: list[Annotated[int, Field(ge=1)]] = Field(
        description="units of the encoder's dense layers"
    )
    latents: int = Field(ge=1, description="number of latents")
    kernel: int = Field(ge=1, description="width of the convolution kernels")
    decoder_skips: bool = Field(description="residual connections in the decoder too")

    @model_validator(mode="after")
    def _odd_kernel(self) -> Architecture:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}, allowed: odd numbers")
        return self


_SOURCE = re.compile(r"(log )?(fit|truth|ordered):(.+)")


class LabelSource(NamedTuple):
    """Where a label comes from.

    Attributes
    ----------
    logarithm : bool
        Whether the label is the natural logarithm of the parameter.
    origin : str
        ``fit``: the label fit, ``truth``: as simulated, ``ordered``: as simulated,
        like components in order of temperature, the cooler one first.
    parameter : str
        Name of the parameter.
    """

    logarithm: bool
    origin: str
    parameter: str

    @classmethod
    def parse(cls, text: str) -> LabelSource | None:
        """Return the source that `text` means, None if it means nothing."""
        found = _SOURCE.fullmatch(text)
        return None if found is None else cls(found[1] is not None, found[2], found[3])


def _sources(labels: dict[str, str]) -> dict[str, str]:
    for name, source in labels.items():
        if LabelSource.parse(source) is None:
            raise ValueError(
                f"{name} is {source!r}, allowed: fit:parameter, truth:parameter or "
                "ordered:parameter, each with or without `log ` before it"
            )
    return labels


Labels = Annotated[dict[str, str], AfterValidator(_sources)]


class Network(Section):
    """One network to train: its kind, its constraint, and where it departs from the others."""

    kind: Literal["convolutional", "dense"] = Field(
        "convolutional",
        description="`convolutional`, as published, or `dense`: reads whitened counts, learns by "
        "their Poisson deviance",
    )

    constraint: Annotated[float, BeforeValidator(_finite)] = Field(
        ge=0, description="weight of the latents' distance from the labels in the loss"
    )
    labels: Labels | None = Field(None, description="labels of its latents, if not the common ones")
    latents: int | None = Field(None, ge=1, description="number of latents, if not the common one")
    epochs: int | None = Field(None, ge=1, description="epochs, if not the common number")


class Training(Section):
    """Optimiser, schedule and cross-validation."""

    recipe: Literal["paper", "fast"] = Field(description="optimiser and learning rate schedule")
    spectra: int = Field(ge=2, description="spectra used, the first ones of the training dataset")
    folds: int = Field(
        ge=3,
        description="folds of the cross-validation: one chooses the epoch, one the threshold, "
        "the rest train",
    )
    folds_trained: int = Field(ge=1, description="folds that are trained, the first ones")
    epochs: int = Field(ge=1, description="passes over the training spectra")
    batch: int = Field(ge=2, description="spectra in a batch")
    learning_rate: Positive = Field(description="learning rate: initial (paper), highest (fast)")
    patience: int = Field(
        ge=1, description="recipe paper: epochs without improvement before the rate falls"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(description="where networks are trained")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="arithmetic of convolutional networks while they train: `bfloat16` is mixed "
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
    networks: dict[str, Network] = Field(description="networks to train, by name")
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


# --- detectors, figures ------------------------------------------------------------


class Detector(Section):
    """A row of Table 1: a method of the registry and what it reads."""

    title: str = Field(description="name in tables and figures")
    method: str = Field(description="method of the score")
    network: str | None = Field(
        None, description="network that it reads, for methods that need one"
    )
    thermal: str | None = Field(
        None, description="fit of the thermal model, or integral, for methods that read them"
    )
    alternative: str | None = Field(None, description="the same of the model with IC")
    parts: list[str] | None = Field(
        None, min_length=2, description="detectors that it combines, for methods that do"
    )


class Detection(Section):
    """Which datasets play which part, and the detectors."""

    training: str = Field(description="dataset without IC that trains the networks")
    training_ic: str | None = Field(
        None, description="dataset with IC, for detectors that learn from both classes"
    )
    fitted: int = Field(
        1000,
        ge=10,
        description="spectra of each of them, the first ones, that are fitted for detectors that "
        "learn from fits",
    )
    validation: list[str] = Field(
        min_length=1, description="datasets that choose thresholds and calibrate scores"
    )
    test: list[str] = Field(min_length=1, description="datasets of the final evaluation")
    bootstrap: int = Field(ge=100, description="resamplings behind the 68 % intervals")
    recalls: list[Fraction] = Field(
        [0.5, 0.8, 0.9], description="recalls at which the false-alarm rate is measured"
    )
    false_alarms: list[Fraction] = Field(
        [0.01, 0.05], description="false-alarm rates at which the recall is measured"
    )
    score_energies: Energies = Field(description="energies of the reconstruction error (keV)")
    detectors: dict[str, Detector] = Field(description="rows of Table 1, by name")
    ceiling: str | None = Field(
        None, description="detector that no other can beat: the distance of all from it is reported"
    )


# --- scans ---------------------------------------------------------------------------


class Pair(Section):
    """What a detector reads instead of what is said under its name."""

    thermal: str = Field(description="fit or integral without IC")
    alternative: str = Field(description="fit or integral with IC")


class ScanPoint(Section):
    """One evaluation of the detectors; what is not given is as in the default run."""

    name: str = Field(description="name of its files; each point has one of its own")
    label: str = Field(description="what is different, in tables and figures")
    value: Number | None = Field(None, description="where it is drawn, if the scan has an axis")
    series: str = Field(
        "", description="which points belong together, if there are several at one value"
    )
    test: list[str] = Field(min_length=1, description="datasets that are tested")
    validation: list[str] | None = Field(
        None, min_length=1, description="datasets that choose its thresholds"
    )
    training: str | None = Field(
        None, description="dataset without IC that detectors of fits learn from"
    )
    training_ic: str | None = Field(
        None, description="dataset with IC that detectors of fits learn from"
    )
    reads: dict[str, Pair] = Field(
        default_factory=dict, description="fits or integrals that detectors read here instead"
    )


class Scan(Section):
    """The same detectors at several points: other spectra, calibrated otherwise."""

    title: str = Field(description="what differs between the points")
    figure: Literal["rates", "changes", "fluxes"] = Field(
        description="figure: `rates` or `fluxes` of IC that are needed for a detection, against "
        "the value, or `changes` from the first point"
    )
    points: list[ScanPoint] = Field(
        min_length=2, description="the points; the first is what the others are compared with"
    )
    detectors: list[str] | None = Field(
        None, min_length=1, description="detectors that take part (default: all)"
    )


# --- observations --------------------------------------------------------------------


class _Companions(Section):
    """The files that belong to a spectrum."""

    rmf: str | None = Field(
        None, description="redistribution matrix (default: RESPFILE of the spectrum)"
    )
    arf: str | None = Field(
        None,
        description="effective area (default: ANCRFILE of the spectrum); `none` if the RMF "
        "includes it",
    )
    background: str | None = Field(
        None, description="background components and norms; `none` for none"
    )


class ObservedSpectrum(_Companions):
    """An observed spectrum and what belongs to it."""

    spectrum: str = Field(description="spectrum, OGIP PHA type I with COUNTS")


class Radio(Section):
    """Synchrotron emission of the electrons that make the inverse Compton emission."""

    flux_density: Positive = Field(description="radio flux density (mJy)")
    frequency: Positive = Field(description="frequency at which it was measured (MHz)")
    spectral_index: Annotated[float, BeforeValidator(_finite)] = Field(
        gt=0, lt=4, description="spectral index α, flux density ∝ frequency^−α"
    )


class Observation(_Companions):
    """A source that was observed: one spectrum, or several that are fitted jointly."""

    spectrum: str | None = Field(
        None, description="spectrum, OGIP PHA type I with COUNTS; or give `spectra`"
    )
    spectra: dict[str, ObservedSpectrum] | None = Field(
        None, description="spectra of several modules or pointings by name, fitted jointly"
    )
    cross_normalisation: Interval = Field(
        [0.8, 1.25],
        description="limits of the factors between the first spectrum, by name, and the others",
    )
    redshift: Measured = Field(ge=0, le=10, description="redshift, frozen in all fits")
    nH: Measured = Field(
        ge=0, description="Galactic column density (1e22 cm^-2), frozen in all fits"
    )
    energies: Energies | None = Field(
        None, description="energies that are fitted (keV; default: fits.energies)"
    )
    group_min: int | None = Field(
        None,
        ge=0,
        description="lowest number of counts in a group of channels (default: the grouping in the "
        "file, or fits.group_min if it has none)",
    )
    radio: Radio | None = Field(
        None, description="radio emission, for the magnetic field; leave out if there is none"
    )
    priors: dict[str, dict[str, Prior]] = Field(
        {},
        description="for each model, priors that parameters of its simulated spectra are drawn "
        "from instead of being fitted",
    )

    @model_validator(mode="after")
    def _one_form(self) -> Observation:
        if (self.spectrum is None) == (self.spectra is None):
            raise ValueError("give either spectrum, or spectra by name for a joint fit")
        if self.spectra is not None:
            if not self.spectra:
                raise ValueError("spectra is empty; name at least one spectrum")
            given = [key for key in ("rmf", "arf", "background") if getattr(self, key) is not None]
            if given:
                raise ValueError(f"give {given[0]} with each of the spectra, not beside them")
        if self.cross_normalisation[0] <= 0:
            raise ValueError(
                f"cross_normalisation is {self.cross_normalisation}; factors are positive"
            )
        return self

    def modules(self) -> dict[str, ObservedSpectrum]:
        """Return the spectra by name; the name of a single one is empty."""
        if self.spectra is not None:
            return dict(sorted(self.spectra.items()))
        keys = ObservedSpectrum.model_fields
        return {"": ObservedSpectrum(**{key: getattr(self, key) for key in keys})}


class Observe(Section):
    """How observations are analysed."""

    thermal: str = Field("2T", description="model without IC, name under `fits.models`")
    with_ic: str = Field("1T+IC", description="model with IC that competes with it")
    both: str = Field(
        "2T+IC", description="model without IC plus IC: tests whether IC is needed, limits its flux"
    )
    others: list[str] = Field(["1T"], description="models that are fitted too")
    ic: str = Field("powerlaw", description="component of these models that is the IC emission")
    ic_energies: Energies = Field([20.0, 80.0], description="energies of its flux (keV)")
    simulations: int = Field(
        400, ge=20, description="simulated spectra of each kind behind every distribution"
    )
    false_alarm: Annotated[float, BeforeValidator(_finite)] = Field(
        0.01, gt=0, lt=0.5, description="IC counts as detected below this false-alarm probability"
    )
    decides: str = Field("ic_added", description="detector whose false-alarm probability decides")
    detectors: dict[str, Detector] = Field(
        {
            "ic_added": Detector(
                title="ΔC, IC added", method="delta_cstat", thermal="2T", alternative="2T+IC"
            ),
            "delta_cstat": Detector(
                title="ΔC, IC instead", method="delta_cstat", thermal="2T", alternative="1T+IC"
            ),
            "cstat_rule": Detector(
                title="C/dof closer to 1", method="cstat_rule", thermal="2T", alternative="1T+IC"
            ),
            "fit_discriminant": Detector(
                title="Discriminant on fits",
                method="fit_discriminant",
                thermal="2T",
                alternative="1T+IC",
            ),
        },
        description="detectors that score the observed spectrum, by name",
    )

    def networks(self) -> list[str]:
        """Return the networks that detectors read, each once."""
        named = [detector.network for detector in self.detectors.values()]
        return sorted({network for network in named if network is not None})

    @model_validator(mode="after")
    def _enough(self) -> Observe:
        least = math.ceil(1 / self.false_alarm)
        if self.simulations < least:
            raise ValueError(
                f"simulations is {self.simulations}, too few for a false-alarm probability below "
                f"false_alarm, {self.false_alarm:g}; allowed: {least} and more"
            )
        return self


class Figures(Section):
    """How figures look."""

    formats: list[Literal["pdf", "png", "svg"]] = Field(
        min_length=1, description="file formats of each figure"
    )
    dpi: int = Field(ge=50, description="resolution of bitmaps (dots per inch)")
    example: int = Field(ge=0, description="index of the spectra shown as examples")
    bins: int = Field(ge=2, description="bins of parameters in the figures that bin them")


def _text(value: Any) -> Any:
    """Take a number for the text that it was meant to be."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class Archival(Section):
    """Archival NuSTAR data that HEASoft makes response files from."""

    sequence: Annotated[str, BeforeValidator(_text), Field(pattern=r"^\d{11}$")] = Field(
        description="sequence ID of the observation"
    )
    data: str = Field(description="folder of its data, as the archive gives them")
    module: Literal["FPMA", "FPMB"] = Field(description="focal plane module")
    region: str = Field(description="region of the source, a file as ds9 and xselect read it")
    extended: bool = Field(True, description="effective area of an extended source, not a point")
    nupipeline: dict[str, str] = Field({}, description="further parameters of nupipeline")
    nuproducts: dict[str, str] = Field({}, description="further parameters of nuproducts")


class Containers(Section):
    """Apptainer images, used with ``--use-singularity`` only."""

    icflow: str = Field(description="image of the embedded engine and the networks")
    heasoft: str = Field(description="image of HEASoft with XSPEC and PyXspec")


class Config(Section):
    """The whole configuration, as in ``config.yaml``."""

    engine: Literal["embedded", "xspec"] = Field(description="what simulates and fits spectra")
    seed: int = Field(ge=0, description="seed of every random number")
    shard_size: int = Field(ge=1, description="spectra in one file, and in one job")
    atomic_data: AtomicData = Field(description="settings of the model library")
    instrument: Instrument = Field(description="response, exposure and background")
    scenarios: dict[str, Scenario] = Field(description="models to simulate, by name")
    datasets: dict[str, Dataset] = Field(description="sets of simulated spectra, by name")
    fits: Fits = Field(description="fits of spectra")
    integrals: dict[str, Integrated] = Field(
        {}, description="likelihoods of spectra averaged over priors, by name"
    )
    autoencoder: Autoencoder = Field(description="autoencoders and their training")
    detection: Detection = Field(description="datasets, detectors and their evaluation")
    scans: dict[str, Scan] = Field(
        {}, description="comparisons of the detectors under other conditions, by name"
    )
    observations: dict[str, Observation] = Field(
        {}, description="observed sources to look for IC in, by name"
    )
    observe: Observe = Field(Observe(), description="how observations are analysed")
    figures: Figures = Field(description="how figures look")
    containers: Containers = Field(description="Apptainer images, for --use-singularity only")
    responses: dict[str, Archival] = Field(
        {}, description="response files to make from archival data, by name; none by default"
    )

    @model_validator(mode="before")
    @classmethod
    def _alike(cls, tree: Any) -> Any:
        """Give datasets that are like another one what they do not say themselves."""
        datasets = tree.get("datasets") if isinstance(tree, Mapping) else None
        if not isinstance(datasets, Mapping):
            return tree
        known = {n: one for n, one in datasets.items() if isinstance(one, Mapping)}
        plain = {name: one for name, one in known.items() if one.get("like") is None}
        filled = dict(datasets)
        for name, one in known.items():
            if name in plain:
                continue
            if one["like"] not in plain:
                raise ValueError(
                    f"datasets.{name}.like is {one['like']!r}, allowed: {', '.join(plain)}"
                )
            filled[name] = overlay(plain[one["like"]], one)
        return {**tree, "datasets": filled}

    @model_validator(mode="after")
    def _references(self) -> Config:
        named: list[tuple[str, Mapping[str, object]]] = [
            ("scenarios", self.scenarios),
            ("datasets", self.datasets),
            ("fits.baseline", self.fits.baseline),
            ("integrals", self.integrals),
            ("autoencoder.networks", self.autoencoder.networks),
            ("detection.detectors", self.detection.detectors),
            ("scans", self.scans),
            *(
                (f"scans.{name}.points", dict.fromkeys(point.name for point in scan.points))
                for name, scan in self.scans.items()
            ),
            ("observations", self.observations),
            ("observe.detectors", self.observe.detectors),
            ("responses", self.responses),
            *(
                (f"observations.{name}.spectra", observation.spectra or {})
                for name, observation in self.observations.items()
            ),
        ]
        for path, names in named:
            for name in names:
                if not NAME.fullmatch(name):
                    raise ValueError(
                        f"{path} has the name {name!r}; names may hold letters, digits and "
                        "+ . _ - only, because files are named after them"
                    )
        for key, value, known in self._pointers():
            if value not in known:
                raise ValueError(f"{key} is {value!r}, allowed: {', '.join(sorted(known))}")
        for path, model in self._models():
            for name, parameter in model.parameters.items():
                if isinstance(parameter, Link):
                    _check_link(f"{path}.parameters.{name}.link", name, parameter, model)
        self._check_truths()
        self._check_sizes()
        self._check_parts()
        return self

    def _models(self) -> Iterator[tuple[str, Scenario | FitModel]]:
        for name, scenario in self.scenarios.items():
            yield f"scenarios.{name}", scenario
        for name, model in self.fits.models.items():
            yield f"fits.models.{name}", model
        for name, dataset in self.datasets.items():
            if dataset.parameters:
                yield f"datasets.{name}", self.simulated(name)

    def _pointers(self) -> Iterator[tuple[str, str, set[str]]]:
        """Every key that names another part: (its path, its value, the names allowed)."""
        models, datasets = set(self.fits.models), set(self.datasets)
        for name, dataset in self.datasets.items():
            yield f"datasets.{name}.scenario", dataset.scenario, set(self.scenarios)
        yield "fits.label.model", self.fits.label.model, models
        for name, fit in self.fits.baseline.items():
            yield f"fits.baseline.{name}.model", fit.model, models
        for name, integral in self.integrals.items():
            yield f"integrals.{name}.scenario", integral.scenario, set(self.scenarios)
        yield "detection.training", self.detection.training, datasets
        if self.detection.training_ic is not None:
            yield "detection.training_ic", self.detection.training_ic, datasets
        for role in ("validation", "test"):
            for position, name in enumerate(getattr(self.detection, role)):
                yield f"detection.{role}.{position}", name, datasets
        for name, detector in self.detection.detectors.items():
            path = f"detection.detectors.{name}"
            if detector.network is not None:
                yield f"{path}.network", detector.network, set(self.autoencoder.networks)
            for key, fit_name in (
                ("thermal", detector.thermal),
                ("alternative", detector.alternative),
            ):
                if fit_name is not None:
                    yield f"{path}.{key}", fit_name, {*self.fits.baseline, *self.integrals}
            simple = {n for n, other in self.detection.detectors.items() if other.parts is None}
            for position, part in enumerate(detector.parts or []):
                yield f"{path}.parts.{position}", part, simple
        if self.detection.ceiling is not None:
            detectors = set(self.detection.detectors)
            yield "detection.ceiling", self.detection.ceiling, detectors

        for name, scan in self.scans.items():
            for position, key in enumerate(scan.detectors or []):
                yield f"scans.{name}.detectors.{position}", key, set(self.detection.detectors)
            for point in scan.points:
                path = f"scans.{name}.points.{point.name}"
                for role in ("test", "validation", "training", "training_ic"):
                    for dataset_name in _listed(getattr(point, role)):
                        yield f"{path}.{role}", dataset_name, datasets
                for key in point.reads:
                    yield f"{path}.reads", key, set(scan.detectors or self.detection.detectors)
        if self.observations:
            yield from self._observing_pointers()

    def _observing_pointers(self) -> Iterator[tuple[str, str, set[str]]]:
        """Those of the analysis of observations, which nothing else needs."""
        observe, models = self.observe, set(self.fits.models)
        for role in ("thermal", "with_ic", "both"):
            yield f"observe.{role}", getattr(observe, role), models
        for position, name in enumerate(observe.others):
            yield f"observe.others.{position}", name, models
        for name, observation in self.observations.items():
            for model in observation.priors:
                yield f"observations.{name}.priors", model, {observe.thermal, observe.with_ic}
        fitted = {observe.thermal, observe.with_ic, observe.both}
        for name, detector in observe.detectors.items():
            if detector.network is not None:
                networks = set(self.autoencoder.networks)
                yield f"observe.detectors.{name}.network", detector.network, networks
            for key in ("thermal", "alternative"):
                fit = getattr(detector, key)
                if fit is not None:
                    yield f"observe.detectors.{name}.{key}", fit, fitted
            simple = {n for n, other in observe.detectors.items() if other.parts is None}
            for position, part in enumerate(detector.parts or []):
                yield f"observe.detectors.{name}.parts.{position}", part, simple
        yield "observe.decides", observe.decides, set(observe.detectors)

    def _check_truths(self) -> None:
        """Check that parameters frozen at the truth exist where the truth is simulated."""
        known = list(dict.fromkeys([*self.detection.test, *self.detection.validation]))
        for scan in self.scans.values():
            for point in scan.points:
                own = [*point.test, *_listed(point.validation)]
                known += [name for name in own if name not in known]
        uses: list[tuple[str, Fit | Integrated, list[str]]] = [
            ("fits.label", self.fits.label, [self.detection.training])
        ]
        uses += [(f"fits.baseline.{name}", fit, known) for name, fit in self.fits.baseline.items()]
        uses += [(f"integrals.{name}", one, known) for name, one in self.integrals.items()]
        for path, use, datasets in uses:
            model: FitModel | Scenario
            if isinstance(use, Fit):
                where, model = f"fits.models.{use.model}", self.fits.models[use.model]
            else:
                where, model = f"scenarios.{use.scenario}", self.scenarios[use.scenario]
            for parameter in use.at_truth:
                if parameter not in model.parameters:
                    raise ValueError(
                        f"{path}.at_truth names {parameter!r}, which {where} "
                        f"does not have; allowed: {', '.join(model.parameters)}"
                    )
                for dataset in datasets:
                    if parameter not in self.simulated(dataset).parameters:
                        raise ValueError(
                            f"{path}.at_truth names {parameter!r}, which the scenario "
                            f"{self.datasets[dataset].scenario!r} of dataset {dataset!r} does not "
                            "simulate"
                        )

    def _check_sizes(self) -> None:
        """Check that the spectra that other parts ask for are simulated."""
        spectra, name = self.autoencoder.training.spectra, self.detection.training
        if spectra > self.datasets[name].size:
            raise ValueError(
                f"autoencoder.training.spectra is {spectra}, allowed: up to "
                f"{self.datasets[name].size}, the size of the dataset {name!r}"
            )
        for name in self.detection.test:
            if self.figures.example >= self.datasets[name].size:
                raise ValueError(
                    f"figures.example is {self.figures.example}, allowed: 0 to "
                    f"{self.datasets[name].size - 1}, the last spectrum of the dataset {name!r}"
                )

    def _check_parts(self) -> None:
        """Check that no spectrum is tested that something was learnt or chosen from."""
        evaluations = {"detection": self.detection}
        for scan_name, scan in self.scans.items():
            names = [point.name for point in scan.points]
            for name in names:
                if names.count(name) > 1:
                    raise ValueError(
                        f"scans.{scan_name}.points has two points {name!r}; rename one"
                    )
                evaluations[f"scans.{scan_name}.points.{name}"] = self.at_point(scan_name, name)
        for path, detection in evaluations.items():
            for name in detection.test:
                for part in ("training", "training_ic", "validation"):
                    used = _listed(getattr(detection, part))
                    if self.source(name) in map(self.source, used):
                        raise ValueError(
                            f"{path}.test names {name!r}, which {path}.{part} uses; "
                            "test on a dataset of its own"
                        )

    # --- what each stage depends on ------------------------------------------

    def shards(self, dataset: str, spectra: int | None = None) -> list[int]:
        """Numbers of the shards that hold the first spectra of a dataset, all by default."""
        size = self.datasets[dataset].size if spectra is None else spectra
        return list(range(math.ceil(size / self.shard_size)))

    def shard_range(self, dataset: str, shard: int) -> tuple[int, int]:
        """First spectrum index of a shard, and how many spectra it holds."""
        first = shard * self.shard_size
        return first, min(self.shard_size, self.datasets[dataset].size - first)

    def source(self, dataset: str) -> str:
        """Name of the dataset whose random numbers a dataset is drawn with."""
        return self.datasets[dataset].like or dataset

    def simulated(self, dataset: str) -> Scenario:
        """Model of a dataset: that of its scenario with its own parameters."""
        settings = self.datasets[dataset]
        scenario = self.scenarios[settings.scenario]
        parameters = {**scenario.parameters, **settings.parameters}
        return scenario.model_copy(update={"parameters": parameters})

    def simulate(self, dataset: str) -> SimulateSettings:
        """Settings of the simulation of one dataset."""
        settings = self.datasets[dataset]
        own = {
            key: getattr(settings, key)
            for key in ("exposure", "background_scatter")
            if getattr(settings, key) is not None
        }
        return SimulateSettings(
            engine=self.engine,
            seed=self.seed,
            atomic_data=self.atomic_data,
            instrument=self.instrument.model_copy(update=own),
            dataset=dataset,
            draws=self.source(dataset),
            scenario=settings.scenario,
            model=self.simulated(dataset),
        )

    def fit(self, name: str) -> FitSettings:
        """Settings of one fit: ``label``, or a name under ``fits.baseline``."""
        fit = self.fits.label if name == "label" else self.fits.baseline[name]
        return FitSettings(
            engine=self.engine,
            atomic_data=self.atomic_data,
            instrument=self.instrument,
            name=name,
            model=self.fits.models[fit.model],
            at_truth=fit.at_truth,
            **{key: getattr(self.fits, key) for key in FitControl.model_fields},
        )

    def integral(self, name: str) -> IntegralSettings:
        """Settings of one entry of ``integrals``."""
        integral = self.integrals[name]
        scatter = integral.background_scatter
        own = {} if scatter is None else {"background_scatter": scatter}
        return IntegralSettings(
            seed=self.seed,
            atomic_data=self.atomic_data,
            instrument=self.instrument.model_copy(update=own),
            name=name,
            scenario=self.scenarios[integral.scenario],
            at_truth=integral.at_truth,
            energies=self.fits.energies,
        )

    def response(self, name: str) -> ResponseSettings:
        """Settings of response files made from archival data."""
        return ResponseSettings(name=name, **self.responses[name].model_dump())

    def train(self, network: str, fold: int) -> TrainSettings:
        """Settings of the training of one network in one fold."""
        shared = self.autoencoder
        own = shared.networks[network]
        return TrainSettings(
            seed=self.seed,
            rmf=self.instrument.rmf,
            energies=shared.energies,
            labels=shared.labels_of(own),
            architecture=shared.architecture.model_copy(update={"latents": shared.latents_of(own)}),
            training=shared.training
            if own.epochs is None
            else shared.training.model_copy(update={"epochs": own.epochs}),
            network=network,
            kind=own.kind,
            constraint=own.constraint,
            fold=fold,
        )

    def score(self, network: str, fold: int) -> ScoreSettings:
        """Settings of the scores that one trained network gives."""
        return ScoreSettings(
            train=self.train(network, fold),
            score_energies=self.detection.score_energies,
            training=self.detection.training,
            validation=self.detection.validation,
            test=self.detection.test,
            example=self.figures.example,
        )

    def scanned(self, scan: str, role: Literal["test", "validation"]) -> list[str]:
        """Datasets that play a role at the points of a scan and none in the default run."""
        known = {*self.detection.test, *self.detection.validation}
        named = [n for point in self.scans[scan].points for n in _listed(getattr(point, role))]
        return [name for name in dict.fromkeys(named) if name not in known]

    def score_scan(self, scan: str, network: str, fold: int) -> ScoreSettings:
        """Settings of the scores that a network gives the spectra of a scan."""
        return self.score(network, fold).model_copy(
            update={
                "training": None,
                "validation": self.scanned(scan, "validation"),
                "test": self.scanned(scan, "test"),
            }
        )

    def at_point(self, scan: str, point: str) -> Detection:
        """Datasets at one point of a scan, its detectors and what they read."""
        settings = self.scans[scan]
        (own,) = (one for one in settings.points if one.name == point)
        roles = ("test", "validation", "training", "training_ic")
        given = {role: getattr(own, role) for role in roles if getattr(own, role) is not None}
        detectors = {
            name: detector.model_copy(update=dict(own.reads.get(name, ())))
            for name, detector in self.detection.detectors.items()
            if settings.detectors is None or name in settings.detectors
        }
        return self.detection.model_copy(update={**given, "detectors": detectors})

    def evaluate(self, detection: Detection | None = None) -> EvaluateSettings:
        """Settings of thresholds, metrics and Table 1, by default those of the default run."""
        settings = detection or self.detection
        roles = (settings.training, settings.training_ic, settings.validation, settings.test)
        used = {name for role in roles for name in _listed(role)}
        used.add(self.detection.training)
        return EvaluateSettings(
            seed=self.seed,
            detection=settings,
            datasets={name: self.datasets[name] for name in sorted(used)},
            held_out=settings.validation == self.detection.validation,
            folds_trained=self.autoencoder.training.folds_trained,
        )

    def scan(self, name: str) -> ScanSettings:
        """Settings of the table of a scan."""
        scan = self.scans[name]
        first = self.at_point(name, scan.points[0].name)
        return ScanSettings(
            seed=self.seed,
            name=name,
            scan=scan,
            sources={
                dataset: self.source(dataset)
                for point in scan.points
                for role in (point.test, point.validation or self.detection.validation)
                for dataset in role
            },
            detectors=first.detectors,
            bootstrap=self.detection.bootstrap,
            false_alarms=self.detection.false_alarms,
            energies=self.observe.ic_energies,
        )

    def fluxes(self, datasets: Sequence[str] | None = None) -> FluxSettings:
        """Settings of the true fluxes of some spectra, by default the test spectra."""
        names = self.detection.test if datasets is None else datasets
        scenarios = {self.datasets[name].scenario for name in names}
        return FluxSettings(
            atomic_data=self.atomic_data,
            energies=self.observe.ic_energies,
            thermal=self.scenarios[self.datasets[self.detection.training].scenario].expression,
            expressions={name: self.scenarios[name].expression for name in scenarios},
        )

    def observing(self, name: str) -> ObserveSettings:
        """Settings of the analysis of one observation."""
        observe = self.observe
        roles = dict.fromkeys([observe.thermal, observe.with_ic, observe.both, *observe.others])
        return ObserveSettings(
            observe=observe,
            models={model: self.fits.models[model] for model in roles},
            networks={network: self._score_observed(network) for network in observe.networks()},
            **self._source(name),
        )

    def observing_network(self, name: str, network: str) -> ObserveNetworkSettings:
        """Settings of a network for one observation."""
        return ObserveNetworkSettings(
            scenario=self.observe.thermal,
            model=self.fits.models[self.observe.thermal],
            simulations=self.observe.simulations,
            score=self._score_observed(network),
            **self._source(name),
        )

    def _source(self, name: str) -> dict[str, Any]:
        observation = self.observations[name]
        control = {key: getattr(self.fits, key) for key in FitControl.model_fields}
        if observation.energies is not None:
            control["energies"] = observation.energies
        if observation.group_min is not None:
            control["group_min"] = observation.group_min
        return control | {
            "engine": self.engine,
            "seed": self.seed,
            "atomic_data": self.atomic_data,
            "name": name,
            "observation": observation,
        }

    def _score_observed(self, network: str) -> ScoreSettings:
        """Settings of a network's scores of the spectra of an observation.

        Without constraint it needs no labels.
        """
        settings = self.score(network, 0)
        if settings.train.constraint > 0:
            return settings
        train = settings.train.model_copy(update={"labels": {}})
        return settings.model_copy(update={"train": train})


def _listed(value: str | list[str] | None) -> list[str]:
    """Return the names that a key gives, which may hold one, several or none."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else value


def _check_link(path: str, name: str, link: Link, model: Scenario | FitModel) -> None:
    target = model.parameters.get(link.link)
    if target is None:
        raise ValueError(
            f"{path} is {link.link!r}, allowed: "
            + ", ".join(other for other in model.parameters if other != name)
        )
    if isinstance(target, Link) or link.link == name:
        raise ValueError(f"{path} is {link.link!r}, itself a link: name the parameter that varies")


class SimulateSettings(Section):
    """What the simulation of a dataset depends on."""

    engine: Literal["embedded", "xspec"]
    seed: int
    atomic_data: AtomicData
    instrument: Instrument
    dataset: str
    draws: str
    scenario: str
    model: Scenario


class FitControl(Section):
    """Settings that all fits share."""

    energies: Interval
    group_min: Annotated[int, Field(ge=0)]
    background_range: Annotated[float, Field(ge=0, lt=1)]
    starts: Annotated[int, Field(ge=1)]
    max_iterations: Annotated[int, Field(ge=1)]
    errors: Errors = "hessian"
    delta: Delta = 1.0


class FitSettings(FitControl):
    """What one fit of a dataset depends on."""

    engine: Literal["embedded", "xspec"]
    atomic_data: AtomicData
    instrument: Instrument
    name: str
    model: FitModel
    at_truth: list[str]


class IntegralSettings(Section):
    """What an evidence of every spectrum of a dataset depends on."""

    seed: int
    atomic_data: AtomicData
    instrument: Instrument
    name: str
    scenario: Scenario
    at_truth: list[str]
    energies: Interval


class ResponseSettings(Archival):
    """What response files made from archival data depend on."""

    name: str


class TrainSettings(Section):
    """What the training of one network in one fold depends on."""

    seed: int
    rmf: str
    energies: Interval
    labels: dict[str, str]
    architecture: Architecture
    training: Training
    network: str
    kind: Literal["convolutional", "dense"] = "convolutional"
    constraint: float
    fold: int


class ScoreSettings(Section):
    """What the scores of one trained network depend on."""

    train: TrainSettings
    score_energies: Interval
    training: str | None = None
    validation: list[str]
    test: list[str]
    example: int


class EvaluateSettings(Section):
    """What thresholds, metrics and Table 1 depend on."""

    seed: int
    detection: Detection
    datasets: dict[str, Dataset]
    held_out: bool
    folds_trained: int


class FluxSettings(Section):
    """What the true fluxes of the test spectra depend on."""

    atomic_data: AtomicData
    energies: Energies
    thermal: str
    expressions: dict[str, str]


class ScanSettings(Section):
    """What the table of a scan depends on besides the evaluations of its points."""

    seed: int
    name: str
    scan: Scan
    sources: dict[str, str]
    detectors: dict[str, Detector]
    bootstrap: int
    false_alarms: list[float]
    energies: Energies


class SourceSettings(FitControl):
    """What every stage that works on one observation depends on."""

    engine: Literal["embedded", "xspec"]
    seed: int
    atomic_data: AtomicData
    name: str
    observation: Observation


class ObserveSettings(SourceSettings):
    """What the analysis of one observation depends on."""

    observe: Observe
    models: dict[str, FitModel]
    networks: dict[str, ScoreSettings]


class ObserveNetworkSettings(SourceSettings):
    """What a network for one observation depends on."""

    scenario: str
    model: FitModel
    simulations: int
    score: ScoreSettings


# --- reading ---------------------------------------------------------------------


def load(*paths: str | os.PathLike[str]) -> Config:
    """Read a configuration, later files laid over earlier ones key by key.

    Raises
    ------
    IcflowError
        If a file is missing or not YAML, or a key is unknown or its value is
        not allowed; the message names every such key.
    """
    tree: dict[str, Any] = {}
    for path in paths:
        tree = overlay(tree, _read_yaml(Path(path)))
    return validate(tree, ", ".join(str(path) for path in paths))


def overlay(base: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `above` laid over it, subtree by subtree."""
    merged = dict(base)
    for key, value in above.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = overlay(below, value)
        else:
            merged[key] = value
    return merged


def validate(tree: Any, source: str) -> Config:
    """Check a configuration tree; `source` names it in errors.

    Raises
    ------
    IcflowError
        As `load`.
    """
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise IcflowError(f"{source}: {explain(error)}") from None


def from_json(model: type[Settings], text: str) -> Settings:
    """Read one stage's settings from the JSON that the workflow hands over."""
    try:
        return checked(model, json.loads(text), "--settings")
    except json.JSONDecodeError as error:
        raise IcflowError(f"--settings is not JSON: {error}") from None


def checked(model: type[Settings], tree: Any, source: str) -> Settings:
    """Return checked settings; `source` names them in errors."""
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise IcflowError(f"{source}: {explain(error)}") from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise IcflowError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise IcflowError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise IcflowError(f"{path}: holds no settings; expected a mapping of keys to values")
    return tree


_MOST_ERRORS = 5


def explain(error: ValidationError) -> str:
    """Return the errors of a validation in one line: key, value, what is allowed."""
    messages: list[str] = []
    for item in error.errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"] if not str(part).startswith("<"))
        if item["type"] == "unknown_keys":
            context = item["ctx"]
            messages += [_unknown(key, name, context["allowed"]) for name in context["unknown"]]
        elif item["type"] == "missing":
            messages.append(f"{key}: this key is missing")
        else:
            message = item["msg"].removeprefix("Value error, ")
            if item["type"] != "value_error":
                message = f"is {_brief(item['input'])}; {message[0].lower() + message[1:]}"
            messages.append(f"{key}: {message}" if key else message)
    more = len(messages) - _MOST_ERRORS
    return "; ".join(messages[:_MOST_ERRORS]) + (f"; and {more} more" if more > 0 else "")


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _unknown(section: str, name: str, allowed: list[str]) -> str:
    key = f"{section}.{name}" if section else name
    close = difflib.get_close_matches(name, allowed, 1)
    hint = f", did you mean {close[0]}?" if close else ""
    return f"{key}: unknown key{hint} (allowed: {', '.join(allowed)})"


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of the configuration, for editors."""
    return Config.model_json_schema()
