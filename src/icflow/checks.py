"""What a run would refuse, refused before it starts.

`check` is asked by ``icflow validate``, by Snakemake before it makes a job, and
by commands that read a configuration themselves. What needs nothing but the
configuration has been checked when it was read (`icflow.config.checks`); here
are the checks against XSPEC's names, the registries of engines and detectors,
and files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec

from icflow import inputs, reach
from icflow import settings as settings_of
from icflow.config import (
    Config,
    Detection,
    Detector,
    FitModel,
    Free,
    Link,
    Ratio,
    Scan,
    Scenario,
)
from icflow.config.checks import given_by_component, models
from icflow.config.references import InFigures, marked
from icflow.detection import detectors, observed
from icflow.detection.base import (
    FITS,
    INTEGRALS,
    KINDS,
    RATIOS,
    TRAINING,
    TRAINING_IC,
    Method,
    sizes_of,
    with_ic,
)
from icflow.detection.columns import check_columns
from icflow.detection.fits import FEWEST
from icflow.engines.base import BACKGROUND
from icflow.engines.embedded import terms
from icflow.engines.registry import ENGINES
from icflow.errors import IcflowError, did_you_mean
from icflow.layout import Layout
from icflow.models.background import read_background
from icflow.models.expression import parse
from icflow.models.library import check_abundances, check_data
from icflow.models.priors import Prior
from icflow.models.scenario import at_source, complete
from icflow.models.systematics import check_components, norms_in_common, scatter_of
from icflow.networks.data import split
from icflow.networks.labels import LabelSource


def check(
    config: Config, contents: bool = False
) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Check everything that can be checked before a run; return the files that it reads.

    Results that are there must be of this version.

    Parameters
    ----------
    config : Config
    contents : bool
        Whether to look into responses too, which takes seconds.

    Returns
    -------
    files : dict
        SHA-256 of those that simulations and fits read and the run does not make, by path.
    observations : dict
        The same of each observation.

    Raises
    ------
    IcflowError
        Naming the key, and the file.
    """
    Layout().check_version()
    _check_engine(config)
    _check_models(config)
    _check_labels(config)
    _check_integrals(config)
    _check_tables(config)
    _check_detection(config)
    reach.check(config)
    _check_batch(config)
    _check_mathematics(config)
    _check_observe(config)
    observations = {name: _check_source(config, name) for name in config.observations}
    found = inputs.digests(config)
    _check_components(config)
    _check_sky(config)
    if contents:
        from icflow import contents as files  # compiles what groups channels

        files.check_responses(config)
        for name in config.observations:
            files.check_spectra(config, name)
        for name in config.responses:
            inputs.region_digest(config, name)
    return found, observations


def _check_engine(config: Config) -> None:
    """Check that this version has the engine."""
    there = [name for name, (module, _) in ENGINES.items() if find_spec(module) is not None]
    if config.engine not in there:
        raise IcflowError(
            f"engine: {config.engine!r} is not part of this version, allowed: {', '.join(there)}"
        )


def _check_mathematics(config: Config) -> None:
    """Check that figures can show what stands between dollars in titles."""
    for path, text, marker in marked(config):
        if not isinstance(marker, InFigures) or "$" not in text:
            continue
        from matplotlib.cbook import is_math_text  # slow to import, and few titles need it
        from matplotlib.mathtext import MathTextParser

        try:
            if is_math_text(text):
                MathTextParser("path").parse(text)
        except ValueError as error:
            why = str(error).splitlines()[-1].split(",")[0]
            raise IcflowError(
                f"{'.'.join(path)} is {text!r}, and figures cannot show what is between its "
                f"dollars ({why}); correct it, or write \\$ for a dollar"
            ) from None


# --- models -------------------------------------------------------------------------


def _check_models(config: Config) -> None:
    """Check every expression and parameter name against XSPEC."""
    if config.engine == "embedded":
        check_abundances(config.atomic_data)
    for key, model in models(config):
        try:
            expression = parse(model.expression)
        except IcflowError as error:
            raise IcflowError(f"{key}.{error}") from None
        try:
            # XSPEC in a process of its own has them.
            if config.engine == "embedded":
                for component in expression.components:
                    check_data(component.definition)
        except IcflowError as error:
            raise IcflowError(f"{key}.expression: {error}") from None
        complete(expression, model.parameters, f"{key}.parameters")


def _check_integrals(config: Config) -> None:
    """Check that no integral is over redshifts, along which a likelihood is a staircase."""
    for name, integral in config.integrals.items():
        for parameter, setting in config.scenarios[integral.scenario].parameters.items():
            drawn = isinstance(setting, Prior) and parameter not in integral.at_truth
            if drawn and parameter.endswith(".Redshift"):
                raise IcflowError(
                    f"integrals.{name}.at_truth lacks {parameter}, which has a prior that cannot "
                    "be integrated over; add it, or take a ratio_estimator (config/ratio.yaml), "
                    "which averages over it"
                )


def _check_tables(config: Config) -> None:
    """Check that tables hold what is averaged over priors: all that no fit would take is named."""
    for name, integral in config.integrals.items():
        _check_scenario(config, f"integrals.{name}", integral.scenario, integral.at_truth)
    judging = {detector.ratio for detector in config.detection.detectors.values()}
    for name, ratio in config.ratios.items():
        if name in config.observe.ratios() and name not in judging:
            continue  # Redshift and column density are the source's.
        for scenario in (ratio.thermal, ratio.alternative):
            redshifts = _check_scenario(config, f"ratios.{name}", scenario, [])
            if len(redshifts) > 1:
                raise IcflowError(
                    f"ratios.{name}: scenarios.{scenario} has several redshifts "
                    f"({', '.join(sorted(redshifts))}), of which spectra cannot be drawn by the "
                    "million; link them"
                )


def _check_scenario(config: Config, key: str, name: str, at_truth: Sequence[str]) -> set[str]:
    """Check that tables hold the terms of a scenario; return the redshifts of its plasmas."""
    scenario = config.scenarios[name]
    expression = parse(scenario.expression)
    settings = complete(expression, scenario.parameters, f"scenarios.{name}.parameters")
    redshifts = set()
    for term in expression.terms:
        drawn = terms.untabled(term, settings)
        if drawn and not set(terms.varying(term, settings)) <= {*at_truth}:
            raise IcflowError(
                f"{key}: scenarios.{name} draws {', '.join(drawn)}, and no table holds "
                f"{term.additive.name} where that varies, so that detectors of fits take it and "
                f"this does not; name a scenario here that fixes {', '.join(drawn)}"
            )
        if terms.is_plasma(term, settings):
            redshift = terms.plasma_parameters(term)[2]
            setting = settings[redshift]
            redshifts.add(setting.link if isinstance(setting, Link) else redshift)
    return redshifts


def _check_components(config: Config) -> None:
    """Check that backgrounds have the components that keys name."""
    for key, given, modules in given_by_component(config):
        for module in modules:
            parts = read_background(module.background) if module.background else ()
            check_components(key, given, [part.name for part in parts])


def _check_sky(config: Config) -> None:
    """Check that integrals are over one norm of a background that all modules see."""
    for name in config.integrals:
        scatters, common = {}, {}
        for module in settings_of.integrate(config, name).modules:
            for part in read_background(module.background) if module.background else ():
                if part.focused:
                    factor = f"{BACKGROUND}{module.name}.{part.name}"
                    scatters[factor] = scatter_of(module.systematics, part.name)
                    common[factor] = part.name
        try:
            norms_in_common(scatters, common)
        except IcflowError as error:
            raise IcflowError(
                f"integrals.{name}: {error}, in instrument or as background_scatter here"
            ) from None


def _check_labels(config: Config) -> None:
    """Check that the labels of networks are parameters that differ among the training spectra."""
    simulated = _varying(config.simulated(config.detection.training))
    label = config.fits.label
    fitted = _varying(config.fits.models[label.model])
    fitted = [name for name in fitted if name not in label.at_truth or name in simulated]
    for key, sources in _labels(config):
        for name, text in sources.items():
            source = LabelSource.parse(text)
            assert source is not None  # Checked when the configuration was read.
            allowed = fitted if source.origin == "fit" else simulated
            if source.parameter not in allowed and not source.parameter.startswith(BACKGROUND):
                raise IcflowError(
                    f"{key}.labels.{name} is {text!r}, which is no parameter that differs among "
                    f"the training spectra; allowed: {', '.join(allowed)}"
                    f"{did_you_mean(source.parameter, allowed)}"
                )


def _labels(config: Config) -> Iterator[tuple[str, dict[str, str]]]:
    """Return the labels that networks are held to, after the key of their section."""
    shared = config.autoencoder
    if any(network.labels is None for network in shared.networks.values()):
        yield "autoencoder", shared.labels
    for name, network in shared.networks.items():
        if network.labels is not None:
            yield f"autoencoder.networks.{name}", network.labels


def _varying(model: Scenario | FitModel) -> list[str]:
    """Return the parameters of a model that are drawn or fitted, and those linked to them."""
    settings = complete(parse(model.expression), model.parameters, "parameters")
    roots = {n: settings[s.link] if isinstance(s, Link) else s for n, s in settings.items()}
    return [name for name, root in roots.items() if isinstance(root, Free | Prior)]


# --- detectors ----------------------------------------------------------------------


def _check_detection(config: Config) -> None:
    """Check the default run and every point of every scan."""
    _check_evaluation(config, config.detection, "detection")
    classes = with_ic(config.datasets, config.detection.training)
    if len({classes[dataset] for dataset in config.detection.test}) < 2:
        raise IcflowError(
            "detection.test names datasets of one class, and detectors are to tell two apart; add "
            "one of the other"
        )
    _check_reads(config, config.detection.detectors, "detection.detectors")
    check_columns(config.detection.detectors)
    for name, scan in config.scans.items():
        for point in scan.points:
            path, detection = f"scans.{name}.points.{point.name}", config.at_point(name, point.name)
            _check_point(config, path, detection)
            _check_parts(f"scans.{name}.detectors", detection)
            _check_evaluation(config, detection, path)
            changed = {detector: detection.detectors[detector] for detector in point.reads}
            _check_pairs(changed, f"{path}.reads")
            _check_reads(config, changed, f"{path}.reads")
        _check_axis(f"scans.{name}", scan)


def _check_reads(config: Config, given: Mapping[str, Detector], section: str) -> None:
    """Check that detectors name fits where they read fits, and integrals where they read these."""
    sections = {
        FITS: list(config.fits.baseline),
        INTEGRALS: list(config.integrals),
        RATIOS: list(config.ratios),
    }
    for name, detector in given.items():
        method = detectors.method_of(name, detector, section)
        allowed = sections[method.reads]
        for key in KINDS[method.reads].keys:
            value = getattr(detector, key)
            if key in method.needs and value not in allowed:
                raise IcflowError(
                    f"{section}.{name}.{key} is {value!r}, which {method.reads} does not have; "
                    f"allowed: {', '.join(allowed) or 'none, so add it there'}"
                )


def _check_evaluation(config: Config, detection: Detection, path: str) -> None:
    """Check that detectors find spectra of the classes, and as many, as they need."""
    sizes = sizes_of(detection, config.datasets)
    classes = with_ic(config.datasets, detection.training)
    for part, positive in ((TRAINING, False), (TRAINING_IC, True)):
        for dataset in sizes[part]:
            if classes[dataset] != positive:
                raise IcflowError(
                    f"{path}.{part} is {dataset!r}, whose spectra are of the other class; "
                    "name another dataset, or correct its key `ic`"
                )
    for name, detector in detection.detectors.items():
        key = f"detection.detectors.{name}"
        method = detectors.method_of(name, detector)
        _check_threshold(key, method, {classes[dataset] for dataset in detection.validation})
        for part in method.learns:
            number = sum(sizes[part].values())
            if not sizes[part]:
                raise IcflowError(
                    f"{key} learns from detection.{part}, which is not set; name a dataset"
                )
            if number < FEWEST:
                raise IcflowError(
                    f"{key} learns from fits of {number} spectra of {path}.{part}, and "
                    f"{FEWEST} are the fewest to learn from; raise detection.fitted and the size "
                    "of the dataset"
                )
        if detector.method == "latent_density":
            _check_density(config, str(detector.network), key)


def _check_threshold(key: str, method: Method, classes: set[bool]) -> None:
    """Check that a threshold can be chosen on validation spectra of certain classes."""
    if method.sees not in ("threshold", "training"):
        return
    # Folds keep out spectra without IC for the thresholds of networks.
    needed = {True} if "network" in method.needs else {True, False}
    for is_ic in needed - classes:
        raise IcflowError(
            f"detection.validation names no dataset {'with' if is_ic else 'without'} IC, which "
            f"{key} needs for its threshold; add one"
        )


def _check_point(config: Config, path: str, detection: Detection) -> None:
    """Check that rates can be counted at a point of a scan, and a threshold chosen for them."""
    classes = with_ic(config.datasets, detection.training)
    if all(classes[dataset] for dataset in detection.test):
        raise IcflowError(
            f"{path}.test names no dataset without IC, so there are no false alarms to "
            "count; add a thermal one"
        )
    if len({classes[dataset] for dataset in detection.validation}) < 2:
        raise IcflowError(
            f"{path}.validation names datasets of one class, and a threshold needs both; "
            "add one of the other"
        )


def _check_parts(path: str, detection: Detection) -> None:
    """Check that the detectors of a scan that combine others have them."""
    for name, detector in detection.detectors.items():
        missing = set(detector.parts or ()) - set(detection.detectors)
        if missing:
            raise IcflowError(
                f"{path} names {name!r}, but not {', '.join(sorted(missing))}, which it combines; "
                "add it"
            )


def _check_pairs(changed: Mapping[str, Detector], path: str) -> None:
    """Check that detectors that read something else at a point read fits or integrals."""
    for name, detector in changed.items():
        if "thermal" not in detectors.method_of(name, detector).needs:
            raise IcflowError(
                f"{path} names {name!r}, whose method {detector.method!r} reads "
                "no pair of fits or integrals; take it out"
            )


def _check_axis(path: str, scan: Scan) -> None:
    """Check that the figure of a scan has a place for each of its points."""
    named = scan.figure in ("changes", "matrix")
    if not named and any(point.value is None for point in scan.points):
        raise IcflowError(
            f"{path}: its figure is drawn against the value, which a point lacks; give "
            "every point one, or draw `changes` or a `matrix`"
        )
    if scan.figure == "fluxes" and any((point.value or 0) <= 0 for point in scan.points):
        raise IcflowError(
            f"{path}: its figure has a logarithmic axis, and a point has a value that is "
            "not positive; give it another one"
        )


def _check_density(config: Config, network: str, key: str) -> None:
    """Check that a network has labels, and that a fold keeps enough spectra from it."""
    training = config.autoencoder.training
    if not config.autoencoder.labels_of(config.autoencoder.networks[network]):
        raise IcflowError(f"{key}.network is {network!r}, which has no labels; give it some")
    unseen = training.spectra // training.folds
    if unseen < FEWEST:
        raise IcflowError(
            f"{key} learns from the {unseen} spectra that a fold holds out, and {FEWEST} are the "
            "fewest that show how latents are distributed; raise autoencoder.training.spectra"
        )


def _check_batch(config: Config) -> None:
    """Check that a batch is not larger than what trains in a fold."""
    training = config.autoencoder.training
    trained = len(split(training.spectra, training.folds, 0, config.seed).train)
    if training.batch > trained:
        raise IcflowError(
            f"autoencoder.training.batch is {training.batch}, but only {trained} spectra train in "
            "a fold; lower it or use more spectra"
        )


# --- observations -------------------------------------------------------------------


def _check_observe(config: Config) -> None:
    """Check the models and detectors of all observations, those to come as well."""
    observe = config.observe
    for ratio in observe.ratios():
        _check_unused(f"ratios.{ratio}", config.ratios[ratio])
    for role in (observe.with_ic, observe.both):
        _check_component(f"fits.models.{role}", config.fits.models[role], observe.ic)
    networks = {name: settings_of.score_observed(config, name) for name in observe.networks()}
    observed.check_detectors(observe, networks)


def check_observation(config: Config, name: str) -> dict[str, str]:
    """Check models and detectors of an observation; return the files that it reads.

    Raises
    ------
    IcflowError
        Naming the key, and the file.
    """
    _check_observe(config)
    return _check_source(config, name)


def _check_source(config: Config, name: str) -> dict[str, str]:
    """Check what belongs to one observation alone; return the files that it reads."""
    # It takes a second, and most runs have none.
    from icflow.observation import scores
    from icflow.observation.fits import check_engine

    settings = settings_of.observe(config, name)
    observation = settings.observation
    check_engine(config.engine)
    for role, model in settings.models.items():
        source = at_source(model, observation.redshift, observation.nH)
        complete(parse(model.expression), source.parameters, f"observations.{name}")
        for parameter, prior in observation.priors.get(role, {}).items():
            _check_prior(f"observations.{name}.priors.{role}", parameter, prior, source, role)
    scores.check_detectors(settings)
    return inputs.observation_digests(config, name)


def _check_unused(key: str, ratio: Ratio) -> None:
    """Check that a ratio for observations leaves to them what they say themselves."""
    for name, there in (
        ("systematics", "observe.systematics"),
        ("exposure", "the exposure of the spectrum"),
    ):
        if getattr(ratio, name) is not None:
            raise IcflowError(
                f"{key}.{name} has no use for observations, for which ratios are trained with "
                f"{there}; leave it out, or have observe.detectors read another ratio"
            )


def _check_prior(key: str, parameter: str, prior: Prior, model: FitModel, role: str) -> None:
    """Check that what a prior allows is allowed to a free parameter of the fit."""
    limits = model.parameters.get(parameter)
    if not isinstance(limits, Free):
        free = [n for n, setting in model.parameters.items() if isinstance(setting, Free)]
        raise IcflowError(
            f"{key} names {parameter!r}, which is not free in fits.models.{role}; "
            f"allowed: {', '.join(free)}{did_you_mean(parameter, free)}"
        )
    (low, high), (lowest, highest) = prior.bounds, limits.free
    if not lowest <= low <= high <= highest:
        raise IcflowError(
            f"{key}.{parameter} reaches from {low:g} to {high:g}, outside of "
            f"{lowest:g} to {highest:g}, what fits.models.{role} lets it take; narrow the "
            "prior or widen these limits"
        )


def _check_component(key: str, model: FitModel, name: str) -> None:
    """Check that a model has a component of which the norm, and nothing else, is free."""
    components = {term.additive.name: term.additive for term in parse(model.expression).terms}
    if name not in components:
        raise IcflowError(
            f"observe.ic is {name!r}, which {key} does not have; allowed: {', '.join(components)}"
        )
    for parameter in components[name].parameters:
        is_norm = parameter.endswith(".norm")
        if isinstance(model.parameters.get(parameter), Free) != is_norm:
            raise IcflowError(
                f"{key}.parameters.{parameter} must {'' if is_norm else 'not '}be free: the flux "
                "of observe.ic is limited by stepping its norm with its shape frozen"
            )
