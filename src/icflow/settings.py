"""What each stage needs of the configuration.

The workflow hands it to the command line as canonical JSON, so a job reruns
exactly when something that it depends on has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from icflow.config import (
    Architecture,
    Archival,
    AtomicData,
    Config,
    Dataset,
    Detection,
    Detector,
    EngineName,
    Fit,
    FitControl,
    FitModel,
    Integrated,
    Module,
    Observation,
    Observe,
    Ratio,
    Scan,
    Scenario,
    Systematics,
    Training,
    shard_numbers,
)
from icflow.sections import Energies, Interval, Number, Positive, Section, Settings, listed


class Shards(Section):
    """Which simulated spectra a stage reads: the first ones of each dataset."""

    shard_size: int
    spectra: dict[str, int]

    def numbers(self, dataset: str) -> range:
        """Return the numbers of the files that hold those of a dataset."""
        return shard_numbers(self.spectra[dataset], self.shard_size)

    def files(self, place: Callable[[str, int], Path], *datasets: str) -> list[Path]:
        """Return the files of some datasets, of all by default; `place` says where each lies."""
        return [place(name, n) for name in datasets or self.spectra for n in self.numbers(name)]


class SimulateSettings(Section):
    """What the simulation of a dataset depends on; ``xspec`` is the version of XSPEC, if known."""

    engine: EngineName
    xspec: str | None = None
    seed: int
    atomic_data: AtomicData
    modules: list[Module]
    dataset: str
    draws: str
    scenario: str
    model: Scenario


class FitSettings(FitControl):
    """What one fit of a dataset depends on; ``xspec`` is the version of XSPEC, if known."""

    engine: EngineName
    xspec: str | None = None
    atomic_data: AtomicData
    modules: list[Module]
    name: str
    model: FitModel
    at_truth: list[str]


class IntegralSettings(Section):
    """What an evidence of every spectrum of a dataset depends on."""

    seed: int
    atomic_data: AtomicData
    modules: list[Module]
    name: str
    scenario: Scenario
    at_truth: list[str]
    energies: Interval


class RatioSettings(Section):
    """What the training of an estimate of a likelihood ratio depends on."""

    seed: int
    atomic_data: AtomicData
    modules: list[Module]
    energies: Interval
    name: str
    thermal: Scenario
    alternative: Scenario
    at_truth: list[str]
    spectra: int
    batch: int
    units: int
    layers: int
    learning_rate: float


class ResponseSettings(Archival):
    """What response files made from archival data depend on."""

    name: str


class TrainSettings(Section):
    """What the training of one network in one fold depends on."""

    seed: int
    responses: list[str]
    energies: Interval
    labels: dict[str, str]
    architecture: Architecture
    training: Training
    network: str
    kind: Literal["published", "dense"] = "published"
    constraint: float
    fold: int
    # SHA-256 of all that the spectra of a network for one observation are drawn with.
    drawn_with: str = ""


class TrainFoldSettings(Section):
    """The training of one network in one fold, and the spectra that it reads."""

    train: TrainSettings
    training: str
    shards: Shards


class ScoreSettings(Section):
    """What the scores of one trained network depend on."""

    train: TrainSettings
    score_energies: Interval
    training: str | None = None
    validation: list[str]
    test: list[str]
    example: int
    shards: Shards | None = None


class EvaluateSettings(Section):
    """What thresholds, metrics and Table 1 depend on.

    ``tested`` are the models of the test datasets, with what these draw themselves. ``scan`` is
    the scan that an evaluation belongs to, ``scored`` tells whether it has scores of its own
    besides those of the default run.
    """

    seed: int
    detection: Detection
    datasets: dict[str, Dataset]
    tested: dict[str, Scenario]
    held_out: bool
    folds_trained: int
    shard_size: int
    networks: list[str]
    scan: str | None = None
    scored: bool = False


class FluxSettings(Section):
    """What the true fluxes of the test spectra depend on."""

    atomic_data: AtomicData
    energies: Energies
    thermal: str
    expressions: dict[str, str]
    datasets: list[str]
    shards: Shards


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

    engine: EngineName
    seed: int
    atomic_data: AtomicData
    name: str
    observation: Observation


class ObserveNetworkSettings(SourceSettings):
    """What a network for one observation depends on."""

    scenario: str
    model: FitModel
    simulations: int
    systematics: Systematics | None = None
    score: ScoreSettings


class ObserveSettings(SourceSettings):
    """What the analysis of one observation depends on."""

    observe: Observe
    models: dict[str, FitModel]
    networks: dict[str, ScoreSettings]
    ratios: dict[str, RatioSettings]

    def of_network(self, network: str) -> ObserveNetworkSettings:
        """Return the settings of one of the networks."""
        return ObserveNetworkSettings(
            **{key: getattr(self, key) for key in SourceSettings.model_fields},
            scenario=self.observe.thermal,
            model=self.models[self.observe.thermal],
            simulations=self.observe.simulations,
            systematics=self.observe.systematics,
            score=self.networks[network],
        )


class ObserveRatioSettings(SourceSettings):
    """What a likelihood ratio for one observation depends on."""

    systematics: Systematics | None = None
    ratio: RatioSettings


class ModelSettings(AtomicData):
    """What models depend on besides their parameters."""

    @property
    def atomic_data(self) -> AtomicData:
        """The settings of the model library."""
        return AtomicData(**{name: getattr(self, name) for name in AtomicData.model_fields})


class BackgroundFitSettings(ModelSettings):
    """The fit of background norms to source-free spectra."""

    rmf: str | None = None
    energies: Energies
    each_model: bool


class PredictSettings(ModelSettings):
    """A model with its values, whose expected counts are wanted."""

    expression: str
    rmf: str
    arf: str | None = None
    background: str | None = None
    values: dict[str, Number]
    exposure: Positive

    def module(self) -> Module:
        """Return the module of a spectrum with this response; ``none`` is no file."""
        arf, background = (
            None if name is None or name.lower() == "none" else name
            for name in (self.arf, self.background)
        )
        return Module(rmf=self.rmf, arf=arf, exposure=self.exposure, background=background)


class FakeSettings(ModelSettings):
    """A model with its values, and companions of an observed spectrum that one like it has."""

    expression: str
    values: dict[str, Number]
    exposure: Positive | None = None
    seed: Annotated[int, Field(ge=0)]
    rmf: str | None = None
    arf: str | None = None
    background: str | None = None


class FitSpectrumSettings(ModelSettings, FitControl):
    """The fit of a model to spectra: companions once for all of them, or for each."""

    expression: str
    rmf: list[str] = Field([])
    arf: list[str] = Field([])
    background: list[str] = Field([])
    energies: Energies = Field([3.0, 80.0])
    group_min: Annotated[int, Field(ge=0)] = 0
    strategy: Literal["thorough", "plain"] = "thorough"
    max_iterations: int = 500
    freeze: dict[str, Number]
    link: dict[str, str]
    limits: dict[str, Interval]
    start: dict[str, Number] = Field({})


def _take(kind: type[Settings], *sections: Section, **own: Any) -> Settings:
    """Return settings of which those not given are the keys of that name in some sections."""
    taken = {
        key: getattr(section, key)
        for section in sections
        for key in kind.model_fields
        if hasattr(section, key)
    }
    return kind(**taken | own)


def _modules(config: Config, own: Dataset | Ratio) -> list[Module]:
    """Return the modules of the instrument, with what a dataset or a ratio says itself."""
    given = {key: getattr(own, key, None) for key in ("exposure", "systematics")}
    update = {key: value for key, value in given.items() if value is not None}
    return [module.model_copy(update=update) for module in config.modules]


def _integrated_modules(config: Config, integral: Integrated) -> list[Module]:
    """Return the modules of the instrument, with the systematics that an integral knows of."""

    def known(module: Module) -> Systematics:
        scatter = integral.background_scatter
        return Systematics(background=module.systematics.background if scatter is None else scatter)

    return [module.model_copy(update={"systematics": known(module)}) for module in config.modules]


def simulate(config: Config, dataset: str) -> SimulateSettings:
    """Settings of the simulation of one dataset."""
    settings = config.datasets[dataset]
    return _take(
        SimulateSettings,
        config,
        modules=_modules(config, settings),
        dataset=dataset,
        draws=config.source(dataset),
        scenario=settings.scenario,
        model=config.simulated(dataset),
    )


def label(config: Config) -> FitSettings:
    """Settings of the fit that gives the labels."""
    return _fit(config, "label", config.fits.label)


def baseline(config: Config, name: str) -> FitSettings:
    """Settings of one entry of ``fits.baseline``."""
    return _fit(config, name, config.fits.baseline[name])


def _fit(config: Config, name: str, fit: Fit) -> FitSettings:
    reach = fit.background_range
    own: dict[str, Any] = {
        "strategy": fit.strategy or config.fits.strategy,
        "background_range": config.fits.background_range if reach is None else reach,
    }
    if own["strategy"] == "plain":
        own["starts"] = 1
    model = config.fits.models[fit.model]
    return _take(FitSettings, config, config.fits, fit, name=name, model=model, **own)


def integrate(config: Config, name: str) -> IntegralSettings:
    """Settings of one entry of ``integrals``."""
    integral = config.integrals[name]
    return _take(
        IntegralSettings,
        config,
        integral,
        modules=_integrated_modules(config, integral),
        name=name,
        scenario=config.scenarios[integral.scenario],
        energies=config.fits.energies,
    )


def ratio(config: Config, name: str) -> RatioSettings:
    """Settings of one entry of ``ratios``."""
    own = config.ratios[name]
    return _take(
        RatioSettings,
        config,
        own,
        modules=_modules(config, own),
        name=name,
        energies=config.fits.energies,
        thermal=config.scenarios[own.thermal],
        alternative=config.scenarios[own.alternative],
    )


def responses(config: Config, name: str) -> ResponseSettings:
    """Settings of response files made from archival data."""
    return _take(ResponseSettings, config.responses[name], name=name)


def train(config: Config, network: str, fold: int) -> TrainSettings:
    """Settings of the training of one network in one fold."""
    shared = config.autoencoder
    own = shared.networks[network]
    epochs = {} if own.epochs is None else {"epochs": own.epochs}
    return _take(
        TrainSettings,
        config,
        shared,
        own,
        responses=[module.rmf for module in config.modules],
        labels=shared.labels_of(own),
        architecture=shared.architecture.model_copy(update={"latents": shared.latents_of(own)}),
        training=shared.training.model_copy(update=epochs),
        network=network,
        fold=fold,
    )


def train_fold(config: Config, network: str, fold: int) -> TrainFoldSettings:
    """Settings of the training of one network in one fold, with the spectra that it reads."""
    return TrainFoldSettings(
        train=train(config, network, fold),
        training=config.detection.training,
        shards=trained(config),
    )


def trained(config: Config) -> Shards:
    """Return the spectra that the networks are trained with."""
    return shards(config, {config.detection.training: config.autoencoder.training.spectra})


def shards(config: Config, spectra: Iterable[str] | Mapping[str, int]) -> Shards:
    """Return which spectra are read, all of a dataset if no number is given."""
    if not isinstance(spectra, Mapping):
        spectra = {name: config.datasets[name].size for name in spectra}
    return Shards(shard_size=config.shard_size, spectra=dict(spectra))


def score(config: Config, network: str, fold: int) -> ScoreSettings:
    """Settings of the scores that one trained network gives."""
    detection = config.detection
    return _take(
        ScoreSettings,
        detection,
        config.figures,
        train=train(config, network, fold),
        shards=scored(config),
    )


def scored(config: Config) -> Shards:
    """Return the spectra that the networks score in the default run."""
    detection = config.detection
    sizes = {name: config.datasets[name].size for name in (*detection.validation, *detection.test)}
    return shards(config, sizes | trained(config).spectra)


def scan_score(config: Config, scan: str, network: str, fold: int) -> ScoreSettings:
    """Settings of the scores that a network gives the spectra of a scan."""
    validation, test = (config.scanned(scan, role) for role in ("validation", "test"))
    return score(config, network, fold).model_copy(
        update={
            "training": None,
            "validation": validation,
            "test": test,
            "shards": shards(config, [*validation, *test]),
        }
    )


def evaluate(config: Config, detection: Detection | None = None) -> EvaluateSettings:
    """Settings of thresholds, metrics and Table 1, by default those of the default run."""
    settings = detection or config.detection
    roles = (settings.training, settings.training_ic, settings.validation, settings.test)
    used = {name for role in roles for name in listed(role)}
    used.add(config.detection.training)
    return _take(
        EvaluateSettings,
        config,
        config.autoencoder.training,
        detection=settings,
        datasets={name: config.datasets[name] for name in sorted(used)},
        tested={name: config.simulated(name) for name in settings.test},
        held_out=settings.validation == config.detection.validation,
        networks=sorted(config.autoencoder.networks),
    )


def scan_point(config: Config, scan: str, point: str) -> EvaluateSettings:
    """Settings of the evaluation at one point of a scan."""
    detection = config.at_point(scan, point)
    read = {detector.network for detector in detection.detectors.values()}
    own = {*config.scanned(scan, "validation"), *config.scanned(scan, "test")}
    return evaluate(config, detection).model_copy(
        update={
            "networks": sorted(read & {*config.autoencoder.networks}),
            "scan": scan,
            "scored": bool(own & {*detection.validation, *detection.test}),
        }
    )


def scan(config: Config, name: str) -> ScanSettings:
    """Settings of the table of a scan."""
    scan = config.scans[name]
    first = config.at_point(name, scan.points[0].name)
    return _take(
        ScanSettings,
        config,
        config.detection,
        name=name,
        scan=scan,
        sources={
            dataset: config.source(dataset)
            for point in scan.points
            for role in (point.test, point.validation or config.detection.validation)
            for dataset in role
        },
        detectors=first.detectors,
        energies=config.observe.ic_energies,
    )


def fluxes(config: Config, datasets: Sequence[str] | None = None) -> FluxSettings:
    """Settings of the true fluxes of some spectra, by default the test spectra."""
    names = config.detection.test if datasets is None else datasets
    scenarios = {config.datasets[name].scenario for name in names}
    return _take(
        FluxSettings,
        config,
        energies=config.observe.ic_energies,
        thermal=config.scenarios[config.datasets[config.detection.training].scenario].expression,
        expressions={name: config.scenarios[name].expression for name in scenarios},
        datasets=list(names),
        shards=shards(config, names),
    )


def scan_fluxes(config: Config, scan: str) -> FluxSettings:
    """Settings of the true fluxes of the test spectra of a scan."""
    points = config.scans[scan].points
    return fluxes(config, list(dict.fromkeys(name for point in points for name in point.test)))


def observe(config: Config, name: str) -> ObserveSettings:
    """Settings of the analysis of one observation."""
    observe = config.observe
    roles = dict.fromkeys([observe.thermal, observe.with_ic, observe.both, *observe.others])
    return _source(
        ObserveSettings,
        config,
        name,
        models={model: config.fits.models[model] for model in roles},
        networks={network: score_observed(config, network) for network in observe.networks()},
        ratios={name: _ratio_observed(config, name) for name in observe.ratios()},
    )


def observe_network(config: Config, name: str, network: str) -> ObserveNetworkSettings:
    """Settings of a network for one observation."""
    return observe(config, name).of_network(network)


def observe_ratio(config: Config, name: str, ratio: str) -> ObserveRatioSettings:
    """Settings of a likelihood ratio for one observation."""
    return _source(
        ObserveRatioSettings,
        config,
        name,
        systematics=config.observe.systematics,
        ratio=_ratio_observed(config, ratio),
    )


def _source(kind: type[Settings], config: Config, name: str, **own: Any) -> Settings:
    """Return settings of one observation, which may have energies and groups of its own."""
    observation = config.observations[name]
    keys = ("energies", "group_min", "cross_normalisation")
    given = {key: getattr(observation, key) for key in keys}
    own |= {key: value for key, value in given.items() if value is not None}
    return _take(kind, config, config.fits, name=name, observation=observation, **own)


def _ratio_observed(config: Config, name: str) -> RatioSettings:
    """Settings of a likelihood ratio for an observation, which has modules of its own."""
    return ratio(config, name).model_copy(update={"modules": []})


def score_observed(config: Config, network: str) -> ScoreSettings:
    """Settings of a network's scores of the spectra of an observation.

    Without constraint it needs no labels.
    """
    settings = score(config, network, 0)
    if settings.train.constraint > 0:
        return settings
    train = settings.train.model_copy(update={"labels": {}})
    return settings.model_copy(update={"train": train})
