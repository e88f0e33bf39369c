"""The whole configuration, and what its parts owe one another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import (
    Field,
    model_validator,
)

from icflow.config.detection import Detection, Scan
from icflow.config.fits import Fit, Fits, Integrated
from icflow.config.model import (
    AtomicData,
    Dataset,
    EngineName,
    FitModel,
    Instrument,
    Link,
    Scenario,
)
from icflow.config.networks import (
    Autoencoder,
)
from icflow.config.observe import Observation, Observe
from icflow.config.output import Archival, Containers, Figures
from icflow.sections import (
    NAME,
    Section,
    listed,
)


class Config(Section):
    """The whole configuration, as in ``config.yaml``."""

    engine: EngineName = Field(description="what simulates and fits spectra")
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
                    for dataset_name in listed(getattr(point, role)):
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
                own = [*point.test, *listed(point.validation)]
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
                    used = listed(getattr(detection, part))
                    if self.source(name) in map(self.source, used):
                        raise ValueError(
                            f"{path}.test names {name!r}, which {path}.{part} uses; "
                            "test on a dataset of its own"
                        )

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

    def scanned(self, scan: str, role: Literal["test", "validation"]) -> list[str]:
        """Datasets that play a role at the points of a scan and none in the default run."""
        known = {*self.detection.test, *self.detection.validation}
        named = [n for point in self.scans[scan].points for n in listed(getattr(point, role))]
        return [name for name in dict.fromkeys(named) if name not in known]

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


def _check_link(path: str, name: str, link: Link, model: Scenario | FitModel) -> None:
    target = model.parameters.get(link.link)
    if target is None:
        raise ValueError(
            f"{path} is {link.link!r}, allowed: "
            + ", ".join(other for other in model.parameters if other != name)
        )
    if isinstance(target, Link) or link.link == name:
        raise ValueError(f"{path} is {link.link!r}, itself a link: name the parameter that varies")


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
