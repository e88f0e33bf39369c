"""Scenarios: models with a value, a link or a distribution for every parameter."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from scipy.special import ndtri

from icflow import settings as settings_of
from icflow.config import Config, FitModel, Free, Link, Scenario
from icflow.errors import IcflowError
from icflow.models.expression import Expression, parse
from icflow.models.priors import Prior
from icflow.seeds import of_spectrum

Setting = float | Link | Prior | Free


def complete(
    expression: Expression, given: Mapping[str, Setting], where: str
) -> dict[str, Setting]:
    """Return a setting for every parameter of a model, XSPEC's default where none is given.

    Raises
    ------
    IcflowError
        If a name is not a parameter of the model, or a value or a bound lies
        outside the hard limits of XSPEC.
    """
    declared = expression.parameters
    for name in given:
        if name not in declared:
            raise IcflowError(
                f"{where}.{name}: {expression.text!r} has no such parameter; "
                f"allowed: {', '.join(declared)}"
            )
    settings: dict[str, Setting] = {}
    for name, parameter in declared.items():
        setting = given.get(name, parameter.default)
        for value in _values(setting):
            if not parameter.minimum <= value <= parameter.maximum:
                raise IcflowError(
                    f"{where}.{name}: {value:g} lies outside XSPEC's hard limits, "
                    f"{parameter.minimum:g} to {parameter.maximum:g}"
                )
        settings[name] = setting
    return settings


def _values(setting: Setting) -> tuple[float, ...]:
    if isinstance(setting, Link):
        return ()
    if isinstance(setting, Prior):
        return setting.bounds
    if isinstance(setting, Free):
        return tuple(setting.free)
    return (setting,)


def resolve(settings: Mapping[str, Setting], values: Mapping[str, float]) -> dict[str, float]:
    """Return the value of every parameter: given, fixed, or that of its link."""
    resolved = {n: float(s) for n, s in settings.items() if isinstance(s, (int, float))}
    resolved |= {name: values[name] for name in settings if name in values}
    for name, setting in settings.items():
        if isinstance(setting, Link):
            resolved[name] = resolved[setting.link]
    return {name: resolved[name] for name in settings}


def draw(settings: Mapping[str, Setting], seed: int, dataset: str, index: int) -> dict[str, float]:
    """Draw the parameters of one spectrum.

    Each parameter has a generator of its own, so adding a prior to one
    parameter leaves the values of the others as they were.
    """
    drawn = {
        name: float(setting.quantile(of_spectrum(seed, dataset, index, name).random()))
        for name, setting in settings.items()
        if isinstance(setting, Prior)
    }
    return resolve(settings, drawn)


def background_factors(
    names: Iterable[str], scatter: float, seed: int, dataset: str, index: int
) -> dict[str, float]:
    """Draw the factors of the background norms of one spectrum, each by itself.

    They are log-normal, with mean 1 and standard deviation `scatter`: a norm
    stays positive however large its scatter, on average the background is the
    given one, and a small scatter is as good as Gaussian.
    """
    spread = math.sqrt(math.log1p(scatter**2))
    return {
        name: math.exp(
            spread * float(ndtri(of_spectrum(seed, dataset, index, name).random())) - spread**2 / 2
        )
        for name in names
    }


def check(config: Config) -> None:
    """Check every expression and parameter name of a configuration against XSPEC.

    Raises
    ------
    IcflowError
        Naming the key, as `icflow.models.expression.parse` and `complete`.
    """
    models: dict[str, Scenario | FitModel] = {
        **{f"scenarios.{name}": scenario for name, scenario in config.scenarios.items()},
        **{f"fits.models.{name}": model for name, model in config.fits.models.items()},
        **{
            f"datasets.{name}": config.simulated(name)
            for name, dataset in config.datasets.items()
            if dataset.parameters
        },
    }
    for key, model in models.items():
        try:
            expression = parse(model.expression)
        except IcflowError as error:
            raise IcflowError(f"{key}.{error}") from None
        complete(expression, model.parameters, f"{key}.parameters")
    for name in config.observations:
        _check_observation(config, name)


def at_source(model: FitModel, redshift: float, nH: float) -> FitModel:
    """Return a model with redshift and Galactic column density frozen at those of a source.

    Every parameter named ``Redshift`` or ``nH`` is, unless it is linked.
    """
    known = {"Redshift": redshift, "nH": nH}
    parameters = dict(model.parameters)
    for name in parse(model.expression).parameters:
        value = known.get(name.rpartition(".")[2])
        if value is not None and not isinstance(parameters.get(name), Link):
            parameters[name] = value
    return model.model_copy(update={"parameters": parameters})


def _check_observation(config: Config, name: str) -> None:
    """Check the models of an observation: values within limits, names that exist."""
    settings = settings_of.observe(config, name)
    observe, observation = settings.observe, settings.observation
    for role, model in settings.models.items():
        source = at_source(model, observation.redshift, observation.nH)
        complete(parse(model.expression), source.parameters, f"observations.{name}")
        for parameter, prior in observation.priors.get(role, {}).items():
            key, limits = f"observations.{name}.priors.{role}", source.parameters.get(parameter)
            if not isinstance(limits, Free):
                free = [n for n, s in source.parameters.items() if isinstance(s, Free)]
                raise IcflowError(
                    f"{key} names {parameter!r}, which is not free in fits.models.{role}; "
                    f"allowed: {', '.join(free)}"
                )
            (low, high), (lowest, highest) = prior.bounds, limits.free
            if not lowest <= low <= high <= highest:
                raise IcflowError(
                    f"{key}.{parameter} reaches from {low:g} to {high:g}, outside of "
                    f"{lowest:g} to {highest:g}, what fits.models.{role} lets it take; narrow the "
                    "prior or widen these limits"
                )
    for role in (observe.with_ic, observe.both):
        _check_component(f"fits.models.{role}", settings.models[role], observe.ic)


def _check_component(key: str, model: FitModel, name: str) -> None:
    """Check that a model has a component of which the norm, and nothing else, is free."""
    components = {term.additive.name: term.additive for term in parse(model.expression).terms}
    if name not in components:
        raise IcflowError(
            f"observe.ic is {name!r}, which {key} does not have; allowed: {', '.join(components)}"
        )
    for parameter in components[name].parameters:
        free, wanted = (
            isinstance(model.parameters.get(parameter), Free),
            parameter.endswith(".norm"),
        )
        if free != wanted:
            raise IcflowError(
                f"{key}.parameters.{parameter} must {'' if wanted else 'not '}be free: the flux of "
                "observe.ic is limited by stepping its norm with its shape frozen"
            )
