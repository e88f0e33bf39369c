"""Scenarios: models with a value, a link or a distribution for every parameter."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from icflow.config import Config, FitModel, Free, Link, Prior, Scenario
from icflow.errors import IcflowError
from icflow.models.expression import Expression, parse

Setting = float | Link | Prior | Free


def generator(seed: int, dataset: str, index: int, purpose: str) -> np.random.Generator:
    """Return the random generator of one spectrum for one purpose.

    Counter-based (Philox) and keyed by everything that names the spectrum, so
    spectrum 4711 is the same whatever the shard, the number of cores or the
    machine.
    """
    text = f"icflow/{purpose}/{seed}/{dataset}/{index}"
    key = np.frombuffer(hashlib.sha256(text.encode()).digest()[:16], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


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
        name: setting.quantile(generator(seed, dataset, index, name).random())
        for name, setting in settings.items()
        if isinstance(setting, Prior)
    }
    return resolve(settings, drawn)


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
    }
    for key, model in models.items():
        try:
            expression = parse(model.expression)
        except IcflowError as error:
            raise IcflowError(f"{key}.{error}") from None
        complete(expression, model.parameters, f"{key}.parameters")
