"""A model to fit: its parameters, free and not, in one vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from icflow.config import FitControl, FitModel, Free, Link
from icflow.engines.base import BACKGROUND
from icflow.models.expression import Expression, parse
from icflow.models.scenario import Setting, complete
from icflow.typing import Floats


@dataclass(frozen=True)
class Model:
    """A model to fit, its parameters in one vector.

    Attributes
    ----------
    names : tuple of str
        Unlinked parameters in XSPEC's order, then the background factors.
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
        """Return every parameter by name, linked ones and background factors included."""
        return {name: float(theta[position]) for name, position in self.position.items()}


def build_model(
    model: FitModel, control: FitControl, backgrounds: Sequence[str], at_truth: Sequence[str]
) -> Model:
    """Lay the parameters of a model out in one vector."""
    expression = parse(model.expression)
    settings = complete(expression, model.parameters, "parameters")
    names = [name for name, setting in settings.items() if not isinstance(setting, Link)]
    position = {name: i for i, name in enumerate(names)}
    for name, setting in settings.items():
        if isinstance(setting, Link):
            position[name] = position[setting.link]
    start, lower, upper, free = [], [], [], []
    for i, name in enumerate(names):
        setting = settings[name]
        if isinstance(setting, Free):
            start.append(np.nan if setting.start is None else setting.start)
            lower.append(setting.free[0])
            upper.append(setting.free[1])
            if name not in at_truth:
                free.append(i)
        else:
            assert isinstance(setting, (int, float))
            for values in (start, lower, upper):
                values.append(float(setting))
    for name in backgrounds:
        position[BACKGROUND + name] = len(names)
        if control.background_range > 0:
            free.append(len(names))
        names.append(BACKGROUND + name)
        start.append(1.0)
        lower.append(1.0 - control.background_range)
        upper.append(1.0 + control.background_range)
    factors = [BACKGROUND + name for name in backgrounds]
    ordered = {name: position[name] for name in (*settings, *factors)}
    return Model(
        expression,
        tuple(names),
        ordered,
        np.array(start),
        np.array(lower),
        np.array(upper),
        tuple(free),
        settings,
    )
