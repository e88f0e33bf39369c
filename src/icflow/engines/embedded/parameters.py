"""A model to fit: its parameters, free and not, in one vector."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from icflow.config import FitModel, Free, Link, Scenario
from icflow.engines.embedded.shapes import Box
from icflow.models.expression import Expression, parse
from icflow.models.priors import Prior
from icflow.models.scenario import Setting, complete
from icflow.typing import Floats

# No deviates, and no factors that are those of others.
NONE: Mapping[str, tuple[float, float, float]] = MappingProxyType({})
NO_LINKS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Model:
    """A model to fit, its parameters in one vector.

    Attributes
    ----------
    names : tuple of str
        Unlinked parameters in XSPEC's order, then the factors of modules and of backgrounds, and
        what is wrong with these.
    position : dict
        Position in the vector of every parameter, that of its link for a linked one.
    start, lower, upper : ndarray, shape (n_parameters,)
        Values of fixed parameters (NaN where a true value will be put in),
        starts where given, and hard limits of free ones.
    free : tuple of int
        Positions of the free parameters.
    """

    expression: Expression
    names: tuple[str, ...]
    position: dict[str, int]
    start: Floats
    lower: Floats
    upper: Floats
    free: tuple[int, ...]
    settings: dict[str, Setting]

    def values(self, theta: Floats) -> dict[str, float]:
        """Return every parameter by name, linked ones and all factors included."""
        return {name: float(theta[position]) for name, position in self.position.items()}

    def box(self, free: Sequence[int] | None = None) -> Box:
        """Return the limits of some parameters, by default of all that are free."""
        positions = np.array(self.free if free is None else free, dtype=np.int64)
        return Box(positions, self.lower[positions], self.upper[positions])


def as_model(scenario: Scenario) -> FitModel:
    """Return a scenario as a model whose free parameters are those with priors."""
    return FitModel(
        expression=scenario.expression,
        parameters={
            name: Free(free=list(setting.bounds)) if isinstance(setting, Prior) else setting
            for name, setting in scenario.parameters.items()
        },
    )


def build_model(
    model: FitModel,
    factors: Mapping[str, Sequence[float]],
    backgrounds: Mapping[str, Sequence[float]],
    at_truth: Sequence[str],
    deviates: Mapping[str, tuple[float, float, float]] = NONE,
    linked: Mapping[str, str] = NO_LINKS,
) -> Model:
    """Lay the parameters of a model out in one vector.

    Parameters
    ----------
    factors : mapping of str to sequence of float
        Limits of the factors of modules by their names; they start at 1.
    backgrounds : mapping of str to sequence of float
        Limits of the factors in front of background components by their
        names; they start at 1, and are free if their limits differ.
    at_truth : sequence of str
        Parameters that are not free.
    deviates : mapping of str to tuple of float
        Starts and limits of what is wrong with calibration and background by their names; they
        are free if their limits differ.
    linked : mapping of str to str
        Factors in front of background components that are those of others, by their names.
    """
    expression = parse(model.expression)
    settings = complete(expression, model.parameters, "parameters")
    links = {name: s.link for name, s in settings.items() if isinstance(s, Link)} | dict(linked)
    limits = {name: _limits(s) for name, s in settings.items() if name not in links}
    all_factors = {**factors, **backgrounds}
    limits |= {
        name: (min(max(1.0, low), high), low, high)
        for name, (low, high) in all_factors.items()
        if name not in links
    }
    varying = {name for name, s in settings.items() if isinstance(s, Free)} | set(factors)
    varying |= {name for name, (low, high) in backgrounds.items() if low < high}
    limits |= deviates
    varying |= {name for name, (_, low, high) in deviates.items() if low < high}
    names = tuple(limits)
    place = {name: i for i, name in enumerate(names)}
    start, lower, upper = np.array(list(limits.values())).reshape(-1, 3).T.copy()
    return Model(
        expression,
        names,
        {name: place[links.get(name, name)] for name in (*settings, *all_factors, *deviates)},
        start,
        lower,
        upper,
        tuple(i for i, name in enumerate(names) if name in varying and name not in at_truth),
        settings,
    )


def _limits(setting: Setting) -> tuple[float, float, float]:
    """Return start and limits of a parameter, NaN for a start that is not given."""
    if isinstance(setting, Free):
        start = math.nan if setting.start is None else setting.start
        return start, setting.free[0], setting.free[1]
    assert isinstance(setting, (int, float))
    return float(setting), float(setting), float(setting)
