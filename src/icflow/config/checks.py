"""What the parts of a configuration owe one another.

These checks need nothing but the configuration and are made whenever one is
read. Those that need XSPEC's names, the registries of engines and detectors,
or files, are in `icflow.checks`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from icflow.config.detection import Detection, Detector, Pair
from icflow.config.fits import Fit, FitControl, Integrated, Ratio
from icflow.config.model import Dataset, FitModel, Link, Module, Scenario
from icflow.config.references import FileName, InFigures, marked
from icflow.config.systematics import ByComponent, Systematics
from icflow.errors import did_you_mean
from icflow.models.priors import Prior
from icflow.sections import check_name, listed

if TYPE_CHECKING:
    from icflow.config.tree import Config

# Of a dataset: each is a job of every stage.
MOST_SHARDS = 10_000
ROLES = ("test", "validation", "training", "training_ic")


def check(config: Config) -> None:
    """Check that names are those of other parts, and that these have what is asked of them.

    Raises
    ------
    ValueError
        Naming the key.
    """
    _check_names(config)
    _check_read(config.detection.detectors, "detection.detectors")
    _check_read(config.observe.detectors, "observe.detectors")
    for path, model in models(config):
        for name, parameter in model.parameters.items():
            if isinstance(parameter, Link):
                _check_link(f"{path}.parameters.{name}.link", name, parameter, model)
    _check_modules(config)
    _check_strategies(config)
    _check_errors(config)
    _check_systematics(config)
    _check_truths(config)
    _check_sizes(config)
    for name in config.scans:
        _check_points(config, name)
    _check_untouched(config)
    _check_trained(config)


def _check_names(config: Config) -> None:
    """Check keys that name other parts, names that files are named after, and what is shown."""
    for path, text, marker in marked(config):
        key = ".".join(path)
        if isinstance(marker, FileName):
            check_name(text, f"{key} has the name {text!r}; names")
        elif isinstance(marker, InFigures):
            if not text.strip() or not text.isprintable():
                raise ValueError(f"{key} is {text!r}; figures show it, so give one line of text")
        else:
            _check_allowed(key, text, {n for k in marker.keys for n in _names_at(config, k)})


def _check_allowed(key: str, name: str, allowed: Iterable[str]) -> None:
    if name not in allowed:
        hint = did_you_mean(name, allowed)
        raise ValueError(f"{key} is {name!r}, allowed: {', '.join(sorted(allowed))}{hint}")


def _names_at(config: Config, key: str) -> list[str]:
    """Return the names that a section has, or that a key gives."""
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return list(value) if isinstance(value, Mapping) else listed(value)


def _check_read(detectors: Mapping[str, Detector], section: str) -> None:
    """Check that detectors combine others that combine none, and compare two fits."""
    simple = {name for name, detector in detectors.items() if detector.parts is None}
    for name, detector in detectors.items():
        _check_differ(f"{section}.{name}", detector, "one")
        for position, part in enumerate(detector.parts or []):
            _check_allowed(f"{section}.{name}.parts.{position}", part, simple)


def models(config: Config) -> Iterator[tuple[str, Scenario | FitModel]]:
    """Return every model that is simulated or fitted, after its key."""
    for name, scenario in config.scenarios.items():
        yield f"scenarios.{name}", scenario
    for name, model in config.fits.models.items():
        yield f"fits.models.{name}", model
    for name, dataset in config.datasets.items():
        if dataset.parameters:
            yield f"datasets.{name}", config.simulated(name)


def _check_link(path: str, name: str, link: Link, model: Scenario | FitModel) -> None:
    _check_allowed(path, link.link, [other for other in model.parameters if other != name])
    if isinstance(model.parameters[link.link], Link):
        raise ValueError(f"{path} is {link.link!r}, itself a link: name the parameter that varies")


def _check_modules(config: Config) -> None:
    """Check that the engine takes the modules of the instrument, and fits their factors."""
    names = [module.name for module in config.modules]
    if config.engine == "xspec" and len(names) > 1:
        raise ValueError(
            f"engine is 'xspec', which takes one module of an instrument, not {len(names)} "
            f"({', '.join(names)}); set engine: embedded, or leave one module in instrument"
        )
    lowest, highest = config.fits.cross_normalisation
    for key, module in config.keyed_modules():
        factor = module.cross_normalisation
        low, high = factor.bounds if isinstance(factor, Prior) else (factor, factor)
        if not lowest <= low <= high <= highest:
            drawn = f"reaches from {low:g} to {high:g}" if low < high else f"is {low:g}"
            raise ValueError(
                f"{key}.cross_normalisation {drawn}, outside of {lowest:g} to {highest:g}, what "
                "fits.cross_normalisation lets fits take; correct it or widen these limits"
            )


def _fits(config: Config) -> dict[str, Fit | FitControl]:
    """Return what all fits share, and each fit, by their keys."""
    fits: dict[str, Fit | FitControl] = {"fits": config.fits, "fits.label": config.fits.label}
    return fits | {f"fits.baseline.{name}": fit for name, fit in config.fits.baseline.items()}


def _check_strategies(config: Config) -> None:
    """Check that fits are seeded where there is another engine to seed them."""
    for path, fit in _fits(config).items():
        if fit.strategy == "seeded" and config.engine != "xspec":
            raise ValueError(
                f"{path}.strategy is 'seeded', which starts XSPEC from the minima of the embedded "
                "engine; set engine: xspec, or strategy: thorough"
            )


def _check_errors(config: Config) -> None:
    """Check that the engine gives the errors that are asked for."""
    if config.fits.errors == "marginal" and config.engine == "xspec":
        raise ValueError(
            "fits.errors is 'marginal', which engine: xspec cannot give; set engine: embedded, or "
            "errors: profile"
        )


def given_systematics(config: Config) -> Iterator[tuple[str, Systematics, list[Module]]]:
    """Return all systematics that a configuration gives: key, what they are, for which modules."""
    for key, module in config.keyed_modules():
        yield f"{key}.systematics", module.systematics, [module]
    own: dict[str, Dataset | Ratio] = {f"datasets.{n}": d for n, d in config.datasets.items()}
    own |= {f"ratios.{name}": ratio for name, ratio in config.ratios.items()}
    for key, part in own.items():
        if part.systematics is not None:
            yield f"{key}.systematics", part.systematics, config.modules


def given_by_component(config: Config) -> Iterator[tuple[str, ByComponent, list[Module]]]:
    """Return what may be given by background component: key, value, for which modules."""
    for key, systematics, modules in given_systematics(config):
        yield f"{key}.background", systematics.background, modules
    given: dict[str, ByComponent | None] = {
        f"integrals.{name}.background_scatter": integral.background_scatter
        for name, integral in config.integrals.items()
    }
    given |= {f"{key}.background_range": f.background_range for key, f in _fits(config).items()}
    for key, value in given.items():
        if value is not None:
            yield key, value, config.modules


def _check_systematics(config: Config) -> None:
    """Check that the engine takes the systematics, and that models have what is measured."""
    for key, systematics, _ in given_systematics(config):
        if config.engine == "xspec" and (systematics.area or systematics.gain):
            raise ValueError(
                f"{key} gives area or gain, which engine: xspec cannot vary; set engine: embedded, "
                "or leave them out"
            )
        _check_known(config, f"{key}.known", systematics.known)
    modules = [module for module in config.modules if module.systematics.area is not None]
    nodes = {m.name: [energy for energy, _ in m.systematics.area or ()] for m in modules}
    for name, energies in nodes.items():
        first = modules[0].name
        if energies != nodes[first]:
            raise ValueError(
                f"instrument.{name}.systematics.area has nodes at other energies than that of "
                f"{first}, and the areas of all modules are wrong in the same way; give both the "
                "same energies"
            )


def _check_known(config: Config, key: str, known: Mapping[str, float]) -> None:
    """Check that what is measured is a parameter, asked for somewhere, and told something of."""
    fits = config.fits
    uses: list[Fit | Integrated | Ratio] = [fits.label, *fits.baseline.values()]
    uses += [*config.integrals.values(), *config.ratios.values()]
    asked = {parameter for use in uses for parameter in use.at_truth}
    scenarios = config.scenarios.values()
    for parameter, error in known.items():
        _check_allowed(key, parameter, {name for model in scenarios for name in model.parameters})
        if parameter not in asked:
            raise ValueError(
                f"{key} names {parameter!r}, which no fit, integral or ratio has under at_truth, "
                "so that none is given what was measured; add it there, or leave it out here"
            )
        for name, scenario in config.scenarios.items():
            setting = scenario.parameters.get(parameter)
            if setting is not None and error > _width(setting):
                raise ValueError(
                    f"{key}.{parameter} is {error:g}, more than the {_width(setting):g} that "
                    f"scenarios.{name} leaves it, so that nothing is known of it; give less, or "
                    "leave it out here and under at_truth"
                )


def _width(setting: float | Link | Prior) -> float:
    """Return how far from its true values a parameter can be taken for, at the most."""
    if isinstance(setting, Prior):
        return setting.bounds[1] - setting.bounds[0]
    return abs(setting) if isinstance(setting, int | float) and setting else math.inf


def _check_truths(config: Config) -> None:
    """Check that parameters frozen at the truth exist where the truth is simulated."""
    judged = [*config.detection.test, *config.detection.validation]
    points = [point for scan in config.scans.values() for point in scan.points]
    judged += [name for point in points for name in (*point.test, *listed(point.validation))]
    uses: list[tuple[str, Fit | Integrated | Ratio, list[str]]] = [
        ("fits.label", config.fits.label, [config.detection.training])
    ]
    uses += [(f"fits.baseline.{name}", fit, judged) for name, fit in config.fits.baseline.items()]
    uses += [(f"integrals.{name}", use, judged) for name, use in config.integrals.items()]
    uses += [(f"ratios.{name}", use, judged) for name, use in config.ratios.items()]
    for path, use, datasets in uses:
        for parameter in use.at_truth:
            for where, model in _frozen(config, use).items():
                if parameter not in model.parameters:
                    raise ValueError(
                        f"{path}.at_truth names {parameter!r}, which {where} does not have; "
                        f"allowed: {', '.join(model.parameters)}"
                        f"{did_you_mean(parameter, model.parameters)}"
                    )
                value = model.parameters[parameter]
                if isinstance(use, Fit) and isinstance(value, int | float):
                    raise ValueError(
                        f"{path}.at_truth names {parameter!r}, which {where} fixes at {value:g}; "
                        "write {free: [low, high]} there, and it is frozen at the truth"
                    )
            for dataset in datasets:
                if parameter not in config.simulated(dataset).parameters:
                    raise ValueError(
                        f"{path}.at_truth names {parameter!r}, which the scenario "
                        f"{config.datasets[dataset].scenario!r} of dataset {dataset!r} does not "
                        "simulate"
                    )


def _frozen(config: Config, use: Fit | Integrated | Ratio) -> dict[str, FitModel | Scenario]:
    """Return the models in which parameters are frozen at the truth, by their keys."""
    if isinstance(use, Fit):
        return {f"fits.models.{use.model}": config.fits.models[use.model]}
    names = [use.thermal, use.alternative] if isinstance(use, Ratio) else [use.scenario]
    return {f"scenarios.{name}": config.scenarios[name] for name in names}


def _check_sizes(config: Config) -> None:
    """Check that the spectra that other parts ask for are simulated."""
    spectra, name = config.autoencoder.training.spectra, config.detection.training
    if spectra > config.datasets[name].size:
        raise ValueError(
            f"autoencoder.training.spectra is {spectra}, allowed: up to "
            f"{config.datasets[name].size}, the size of the dataset {name!r}"
        )
    for name, dataset in config.datasets.items():
        shards = math.ceil(dataset.size / config.shard_size)
        if shards > MOST_SHARDS:
            raise ValueError(
                f"datasets.{name}.size is {dataset.size}, which makes {shards} files of shard_size "
                f"{config.shard_size}, allowed: {MOST_SHARDS}; raise shard_size"
            )
    for name in config.detection.test:
        if config.figures.example >= config.datasets[name].size:
            raise ValueError(
                f"figures.example is {config.figures.example}, allowed: 0 to "
                f"{config.datasets[name].size - 1}, the last spectrum of the dataset {name!r}"
            )


def _check_points(config: Config, scan: str) -> None:
    """Check the names of the points of a scan, and that it has the detectors that they change."""
    settings, path = config.scans[scan], f"scans.{scan}.points"
    names = [point.name for point in settings.points]
    for point in settings.points:
        check_name(point.name, f"{path} has the name {point.name!r}; names")
        if names.count(point.name) > 1:
            raise ValueError(f"{path} has two points {point.name!r}; rename one")
        for detector in point.reads:
            allowed = settings.detectors or config.detection.detectors
            _check_allowed(f"{path}.{point.name}.reads", detector, allowed)
            _check_differ(f"{path}.{point.name}.reads.{detector}", point.reads[detector], "one")


def _evaluations(config: Config) -> dict[str, Detection]:
    """Return the default evaluation and that at every point of every scan, by their keys."""
    return {"detection": config.detection} | {
        f"scans.{name}.points.{point.name}": config.at_point(name, point.name)
        for name, scan in config.scans.items()
        for point in scan.points
    }


def _check_untouched(config: Config) -> None:
    """Check that no spectrum is tested twice, or something was learnt or chosen from."""
    for path, detection in _evaluations(config).items():
        for part in ("test", "validation"):
            names = getattr(detection, part)
            twice = [name for name in names if names.count(name) > 1]
            if twice:
                raise ValueError(f"{path}.{part} names {twice[0]!r} twice; name it once")
        for name in detection.test:
            for part in ("training", "training_ic", "validation"):
                used = listed(getattr(detection, part))
                if config.source(name) in map(config.source, used):
                    raise ValueError(
                        f"{path}.test names {name!r}, which {path}.{part} uses; "
                        "test on a dataset of its own"
                    )


def _check_trained(config: Config) -> None:
    """Check that ratios tell two scenarios apart, and judge what they are trained for."""
    for name, ratio in config.ratios.items():
        _check_differ(f"ratios.{name}", ratio, "scenario")
    for path, detection in _evaluations(config).items():
        names = [detector.ratio for detector in detection.detectors.values()]
        for name in dict.fromkeys(name for name in names if name in config.ratios):
            for dataset in (*detection.test, *detection.validation):
                _check_judged(config, f"{path} has ratios.{name} judge", str(name), dataset)


def _check_differ(key: str, pair: Detector | Pair | Ratio, kind: str) -> None:
    """Check that what is compared is not one and the same."""
    if pair.thermal is not None and pair.thermal == pair.alternative:
        raise ValueError(
            f"{key}.alternative is {pair.alternative!r}, which {key}.thermal is too; name the "
            f"{kind} with IC"
        )


def _check_judged(config: Config, path: str, name: str, dataset: str) -> None:
    """Check that a ratio knows of the exposure of spectra, and of what is wrong with them."""
    ratio, own = config.ratios[name], config.datasets[dataset]
    for module in config.modules:
        trained, exposure = (part.exposure or module.exposure for part in (ratio, own))
        if trained != exposure:
            raise ValueError(
                f"{path} the dataset {dataset!r} of {exposure:g} s, and it is trained for "
                f"{trained:g} s; have a ratio with exposure: {exposure:g} judge it"
            )
    wrong = own.systematics is not None and any(
        own.systematics != module.systematics for module in config.modules
    )
    if wrong and ratio.systematics is None:
        raise ValueError(
            f"{path} the dataset {dataset!r}, whose "
            "systematics are not those of the instrument, which it is trained with; "
            f"say in ratios.{name}.systematics which ones it shall know of"
        )
