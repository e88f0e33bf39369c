"""Scenarios: models with a value, a link or a distribution for every parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from icflow.config import FitModel, Free, Link, Scenario
from icflow.errors import IcflowError
from icflow.models.expression import Expression, parse
from icflow.models.priors import Prior
from icflow.seeds import of_spectrum

Setting = float | Link | Prior | Free
AnyModel = TypeVar("AnyModel", FitModel, Scenario)


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
        if parameter.switch and isinstance(setting, (Free, Prior)):
            raise IcflowError(f"{where}.{name}: is a switch, which is not fitted; give its value")
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


def at_source(model: AnyModel, redshift: float, nH: float) -> AnyModel:
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
