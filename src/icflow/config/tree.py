"""The whole configuration, and what its parts owe one another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from icflow.config import checks
from icflow.config.detection import Detection, Scan
from icflow.config.fits import Fits, Integrated, Ratio
from icflow.config.model import (
    AtomicData,
    Dataset,
    EngineName,
    Module,
    Modules,
    Scenario,
    listed_modules,
)
from icflow.config.networks import Autoencoder
from icflow.config.observe import Observation, Observe
from icflow.config.output import Archival, Containers, Figures
from icflow.config.references import Name
from icflow.errors import did_you_mean
from icflow.sections import MOST, Section, listed


class Config(Section):
    """The whole configuration, as in ``config.yaml``."""

    engine: EngineName = Field(description="what simulates and fits spectra")
    seed: int = Field(ge=0, le=2**63 - 1, description="seed of every random number")
    shard_size: int = Field(ge=1, le=MOST, description="spectra in one file, and in one job")
    atomic_data: AtomicData = Field(description="settings of the model library")
    instrument: Modules = Field(
        description="response, exposure and background of a single module; or a list of modules, "
        "each with these keys and a name"
    )
    scenarios: dict[Name, Scenario] = Field(description="models to simulate, by name")
    datasets: dict[Name, Dataset] = Field(description="sets of simulated spectra, by name")
    fits: Fits = Field(description="fits of spectra")
    integrals: dict[Name, Integrated] = Field(
        {}, description="likelihoods of spectra averaged over priors, by name"
    )
    ratios: dict[Name, Ratio] = Field(
        {}, description="likelihood ratios that networks estimate from spectra, by name"
    )
    autoencoder: Autoencoder = Field(description="autoencoders and their training")
    detection: Detection = Field(description="datasets, detectors and their evaluation")
    scans: dict[Name, Scan] = Field(
        {}, description="comparisons of the detectors under other conditions, by name"
    )
    observations: dict[Name, Observation] = Field(
        {}, description="observed sources to look for IC in, by name"
    )
    observe: Observe = Field(description="how observations are analysed")
    figures: Figures = Field(description="how figures look")
    containers: Containers = Field(description="Apptainer images, for --use-singularity only")
    responses: dict[Name, Archival] = Field(
        {}, description="response files to make from archival data, by name; none by default"
    )

    @property
    def modules(self) -> list[Module]:
        """The modules of the instrument; the name of a single one is empty."""
        return listed_modules(self.instrument)

    def keyed_modules(self) -> list[tuple[str, Module]]:
        """Return the modules of the instrument, each after the key that describes it."""
        return [(f"instrument.{m.name}" if m.name else "instrument", m) for m in self.modules]

    @model_validator(mode="before")
    @classmethod
    def _alike(cls, tree: Any) -> Any:
        """Give datasets that are like another one what they do not say themselves."""
        datasets = tree.get("datasets") if isinstance(tree, Mapping) else None
        if not isinstance(datasets, Mapping):
            return tree
        given = {name: keys for name, keys in datasets.items() if isinstance(keys, Mapping)}
        plain = {name: keys for name, keys in given.items() if keys.get("like") is None}
        filled = dict(datasets)
        for name, keys in given.items():
            if name in plain:
                continue
            like = keys["like"]
            if like not in plain:
                raise ValueError(
                    f"datasets.{name}.like is {like!r}, allowed: {', '.join(plain)}"
                    f"{did_you_mean(str(like), plain)}"
                )
            filled[name] = overlay(plain[like], keys)
        return {**tree, "datasets": filled}

    @model_validator(mode="after")
    def _cross_checks(self) -> Config:
        checks.check(self)
        return self

    def shards(self, dataset: str, spectra: int | None = None) -> list[int]:
        """Numbers of the shards that hold the first spectra of a dataset, all by default."""
        size = self.datasets[dataset].size if spectra is None else spectra
        return list(shard_numbers(size, self.shard_size))

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

    def scanned(self, scan: str, role: Literal["test", "validation"]) -> list[str]:
        """Datasets that play a role at the points of a scan and none in the default run."""
        known = {*self.detection.test, *self.detection.validation}
        named = [n for point in self.scans[scan].points for n in listed(getattr(point, role))]
        return [name for name in dict.fromkeys(named) if name not in known]

    def at_point(self, scan: str, point: str) -> Detection:
        """Datasets at one point of a scan, its detectors and what they read."""
        settings = self.scans[scan]
        (own,) = (candidate for candidate in settings.points if candidate.name == point)
        roles = {role: getattr(own, role) for role in checks.ROLES}
        given = {role: names for role, names in roles.items() if names is not None}
        detectors = {
            name: detector.model_copy(update=dict(own.reads.get(name, ())))
            for name, detector in self.detection.detectors.items()
            if settings.detectors is None or name in settings.detectors
        }
        return self.detection.model_copy(update={**given, "detectors": detectors})


def shard_numbers(spectra: int, shard_size: int) -> range:
    """Return the numbers of the files that hold the first spectra of a dataset."""
    return range(math.ceil(spectra / shard_size))


def overlay(base: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the values of `above` laid over it, subtree by subtree.

    What lies over a list of modules holds for each of them, unless it is a module of its own. The
    systematics of a single module hold for each of a list over it that has none of its own.
    """
    merged = dict(base)
    for key, value in above.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = overlay(below, value)
        elif isinstance(below, list) and _of_each(value, below):
            merged[key] = [overlay(entry, value) for entry in below]
        elif isinstance(value, list) and isinstance(below, Mapping) and _KEPT in below:
            merged[key] = [_with_systematics(entry, below[_KEPT]) for entry in value]
        else:
            merged[key] = value
    return merged


# A module of a list says the other keys itself, or leaves them out for none.
_KEPT = "systematics"


def _with_systematics(module: Any, systematics: Any) -> Any:
    """Return a module of a list, with systematics if it has none of its own."""
    return {_KEPT: systematics, **module} if isinstance(module, Mapping) else module


def _of_each(value: Any, below: list[Any]) -> bool:
    """Tell whether a value is for every mapping of the list that it is laid over."""
    # A module has a matrix: with one, this is the instrument.
    return (
        isinstance(value, Mapping)
        and "rmf" not in value
        and bool(below)
        and all(isinstance(entry, Mapping) for entry in below)
    )
