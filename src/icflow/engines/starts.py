"""Where fits start that search for nothing: as a user of XSPEC would let them."""

from __future__ import annotations

from collections.abc import Mapping

from icflow.config import Free
from icflow.models.expression import Expression
from icflow.models.library import Parameter
from icflow.models.scenario import Setting
from icflow.seeds import of_spectrum

NORM_START = 1e-3  # of its upper limit: where a norm starts before XSPEC renormalises

Limits = tuple[float, float]


def start(
    expression: Expression,
    settings: Mapping[str, Setting],
    bounds: Mapping[str, Limits],
    number: int,
) -> dict[str, float]:
    """Return one starting point.

    The first takes the values that the model gives, generic ones elsewhere;
    the others are drawn between the limits, background factors apart.
    """
    values = {}
    for name, limits in bounds.items():
        setting, parameter = settings[name], expression.parameters.get(name)
        assert isinstance(setting, Free)
        if setting.start is not None and (number == 0 or parameter is None):
            values[name] = setting.start
            continue
        assert parameter is not None
        if number > 0:
            random = of_spectrum(0, expression.text, number, f"start/{name}").random()
            values[name] = drawn(parameter, limits, random)
        else:
            values[name] = generic(parameter, limits, *_place(expression, bounds, name))
    return values


def _place(expression: Expression, bounds: Mapping[str, Limits], name: str) -> tuple[int, int]:
    """Return which of how many free parameters of the same model and name this one is."""
    models = {c.name: c.definition.name for c in expression.components}

    def kind(other: str) -> tuple[str | None, str]:
        component, parameter = other.split(".", 1)
        return models.get(component), parameter

    alike = [other for other in bounds if kind(other) == kind(name)]
    return alike.index(name), len(alike)


def generic(parameter: Parameter, limits: Limits, position: int, number: int) -> float:
    """Return a value that a fit of any spectrum may start from.

    Norms start low, and XSPEC renormalises them together. Parameters with a
    positive lower limit, temperatures among them, divide their range evenly
    in the logarithm, so that two plasmas start at different temperatures.
    Others start at XSPEC's default if it is inside, a quarter up their range
    if it is below.
    """
    low, high = limits
    if parameter.name == "norm":
        return max(low, _norm(parameter, high))
    if number == 1 and low <= 0:
        if low < parameter.default < high:
            return parameter.default
        if parameter.default <= low:
            return _between(limits, 0.25)
    return _between(limits, (position + 1) / (number + 1))


def drawn(parameter: Parameter, limits: Limits, random: float) -> float:
    """Return a value for a random number between 0 and 1."""
    low, high = limits
    if parameter.name == "norm":
        # A decade up and down: only ratios matter before XSPEC renormalises.
        return float(min(max(low, _norm(parameter, high) * 10 ** (2 * random - 1)), high))
    return _between(limits, random)


def _norm(parameter: Parameter, high: float) -> float:
    return min(parameter.default, NORM_START * high)


def _between(limits: Limits, share: float) -> float:
    """Return the value at a share of the range, in the logarithm where that exists."""
    low, high = limits
    return float(low * (high / low) ** share if low > 0 else low + share * (high - low))
