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
from typing import Annotated, Any, Literal, TypeVar

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


Settings = TypeVar("Settings", bound=Section)


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
    thermal: str | None = None
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

    @model_validator(mode="after")
    def _references(self) -> Config:
        for name in (*self.scenarios, *self.datasets, *self.fits.baseline, *self.detection.detectors):
            if not NAME.fullmatch(name):
                raise ValueError(
                    f"the name {name!r} may hold letters, digits and + . _ - only, "
                    "because files are named after it"
                )
        for key, value, known in self._pointers():
            if value not in known:
                raise ValueError(f"{key} is {value!r}, allowed: {', '.join(sorted(known))}")
        for path, model in self._models():
            for name, parameter in model.parameters.items():
                if isinstance(parameter, Link):
                    _check_link(f"{path}.parameters.{name}.link", name, parameter, model)
        self._check_truths()
        return self

    def _models(self) -> Iterator[tuple[str, Scenario | FitModel]]:
        for name, scenario in self.scenarios.items():
            yield f"scenarios.{name}", scenario
        for name, model in self.fits.models.items():
            yield f"fits.models.{name}", model

    def _pointers(self) -> Iterator[tuple[str, str, set[str]]]:
        """Every key that names another part: (its path, its value, the names allowed)."""
        models, datasets = set(self.fits.models), set(self.datasets)
        for name, dataset in self.datasets.items():
            yield f"datasets.{name}.scenario", dataset.scenario, set(self.scenarios)
        yield "fits.label.model", self.fits.label.model, models
        for name, fit in self.fits.baseline.items():
            yield f"fits.baseline.{name}.model", fit.model, models
        yield "detection.training", self.detection.training, datasets
        yield "detection.validation", self.detection.validation, datasets
        for position, name in enumerate(self.detection.test):
            yield f"detection.test.{position}", name, datasets
        for name, detector in self.detection.detectors.items():
            path = f"detection.detectors.{name}"
            if detector.network is not None:
                yield f"{path}.network", detector.network, set(self.autoencoder.networks)
            for key, fit_name in (("thermal", detector.thermal), ("alternative", detector.alternative)):
                if fit_name is not None:
                    yield f"{path}.{key}", fit_name, set(self.fits.baseline)

    def _check_truths(self) -> None:
        """Check that parameters frozen at the truth exist where the truth is simulated."""
        uses = [("fits.label", self.fits.label, [self.detection.training])]
        uses += [
            (f"fits.baseline.{name}", fit, self.detection.test)
            for name, fit in self.fits.baseline.items()
        ]
        for path, fit, datasets in uses:
            model = self.fits.models[fit.model]
            for parameter in fit.at_truth:
                if parameter not in model.parameters:
                    raise ValueError(
                        f"{path}.at_truth names {parameter!r}, which fits.models.{fit.model} "
                        f"does not have; allowed: {', '.join(model.parameters)}"
                    )
                for dataset in datasets:
                    scenario = self.datasets[dataset].scenario
                    if parameter not in self.scenarios[scenario].parameters:
                        raise ValueError(
                            f"{path}.at_truth names {parameter!r}, which the scenario {scenario!r} "
                            f"of dataset {dataset!r} does not simulate"
                        )

    # --- what each stage depends on ------------------------------------------

    def shards(self, dataset: str) -> list[int]:
        """Numbers of the shards of a dataset, from 0."""
        return list(range(math.ceil(self.datasets[dataset].size / self.shard_size)))

    def shard_range(self, dataset: str, shard: int) -> tuple[int, int]:
        """First spectrum index of a shard, and how many spectra it holds."""
        first = shard * self.shard_size
        return first, min(self.shard_size, self.datasets[dataset].size - first)

    def simulate(self, dataset: str) -> SimulateSettings:
        """Settings of the simulation of one dataset."""
        scenario = self.datasets[dataset].scenario
        return SimulateSettings(
            engine=self.engine,
            seed=self.seed,
            atomic_data=self.atomic_data,
            instrument=self.instrument,
            dataset=dataset,
            scenario=scenario,
            model=self.scenarios[scenario],
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

    def train(self, network: str, fold: int) -> TrainSettings:
        """Settings of the training of one network in one fold."""
        return TrainSettings(
            seed=self.seed,
            rmf=self.instrument.rmf,
            energies=self.autoencoder.energies,
            labels=self.autoencoder.labels,
            architecture=self.autoencoder.architecture,
            training=self.autoencoder.training,
            network=network,
            constraint=self.autoencoder.networks[network].constraint,
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

    def evaluate(self) -> EvaluateSettings:
        """Settings of thresholds, metrics and Table 1."""
        return EvaluateSettings(
            seed=self.seed,
            detection=self.detection,
            datasets=self.datasets,
            folds_trained=self.autoencoder.training.folds_trained,
        )


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
    scenario: str
    model: Scenario


class FitControl(Section):
    """Settings that all fits share."""

    energies: Interval
    group_min: int
    background_range: float
    starts: int
    max_iterations: int


class FitSettings(FitControl):
    """What one fit of a dataset depends on."""

    engine: Literal["embedded", "xspec"]
    atomic_data: AtomicData
    instrument: Instrument
    name: str
    model: FitModel
    at_truth: list[str]


class TrainSettings(Section):
    """What the training of one network in one fold depends on."""

    seed: int
    rmf: str
    energies: Interval
    labels: dict[str, str]
    architecture: Architecture
    training: Training
    network: str
    constraint: float
    fold: int


class ScoreSettings(Section):
    """What the scores of one trained network depend on."""

    train: TrainSettings
    score_energies: Interval
    training: str
    validation: str
    test: list[str]
    example: int


class EvaluateSettings(Section):
    """What thresholds, metrics and Table 1 depend on."""

    seed: int
    detection: Detection
    datasets: dict[str, Dataset]
    folds_trained: int


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
        return model.model_validate(json.loads(text))
    except json.JSONDecodeError as error:
        raise IcflowError(f"--settings is not JSON: {error}") from None
    except ValidationError as error:
        raise IcflowError(f"--settings: {explain(error)}") from None


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


# Members of a union of models that pydantic names in the location of an error.
_UNION_MEMBERS = {"Link", "Prior", "Free", "Scenario", "FitModel"}


def explain(error: ValidationError) -> str:
    """Return the errors of a validation in one line: key, value, what is allowed."""
    messages: dict[str, list[str]] = {}
    for item in error.errors(include_url=False):
        parts = [str(p) for p in item["loc"]]
        union = [p for p in parts if p in _UNION_MEMBERS or p.startswith(("function-", "constrained", "float"))]
        key = ".".join(p for p in parts if p not in union)
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "unknown key"
        elif item["type"] != "missing" and not item["msg"].startswith("Value error"):
            message = f"is {item['input']!r}; {message[0].lower() + message[1:]}"
        messages.setdefault(key, []).append(message)
    return "; ".join(
        (f"{key}: " if key else "") + " or ".join(dict.fromkeys(texts))
        for key, texts in messages.items()
    )


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of the configuration, for editors."""
    return Config.model_json_schema()
