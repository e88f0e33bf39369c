"""What XSPEC is to fit, from where, and what its reply says."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from icflow.config import FitControl, FitModel, Free, Link
from icflow.engines.base import FitResult, checked, failed_fit
from icflow.engines.starts import Limits, start
from icflow.models.expression import Expression, parse
from icflow.models.scenario import Setting, complete
from icflow.typing import Floats

AGREE = 0.01  # in C: starts that end this close found the same minimum
CONVERGED = 0.01  # in C: what a repeated fit may still gain, XSPEC's critical delta
NINE_LETTERS = re.compile("[TF]{9}")  # the status of an error
EDGE = 1e-5  # of the range of a parameter: this close to a limit is on it


@dataclass(frozen=True)
class Plan:
    """How to fit a model to any spectrum.

    Attributes
    ----------
    settings : dict
        What each parameter of the source does, in XSPEC's order, then each
        background factor.
    bounds : dict
        Limits of everything that is free, in the same order.
    starts : tuple of dict
        Starting points: values of everything that is free.
    """

    expression: Expression
    settings: dict[str, Setting]
    bounds: dict[str, Limits]
    starts: tuple[dict[str, float], ...]

    @classmethod
    def of(
        cls,
        model: FitModel,
        control: FitControl,
        at_truth: Sequence[str],
        factors: Mapping[str, Sequence[float]],
    ) -> Plan:
        """Return the plan for a model and background factors, given by their limits."""
        expression = parse(model.expression)
        settings = complete(expression, model.parameters, "parameters")
        settings |= {
            name: Free(free=list(limits), start=1.0) if limits[0] < limits[1] else 1.0
            for name, limits in factors.items()
        }
        bounds = {
            name: (setting.free[0], setting.free[1])
            for name, setting in settings.items()
            if isinstance(setting, Free) and name not in at_truth
        }
        number = control.starts if control.strategy == "thorough" else 1
        starts = [start(expression, settings, bounds, position) for position in range(number)]
        return cls(expression, settings, bounds, tuple(starts))

    def seeded(self, minimum: FitResult) -> Plan:
        """Return the plan whose one start is the minimum that another engine has found."""
        return replace(self, starts=({name: minimum.values[name] for name in self.bounds},))

    def root(self, name: str) -> str:
        """Return the parameter that a parameter follows: that of its link, or itself."""
        setting = self.settings[name]
        return setting.link if isinstance(setting, Link) else name

    def settings_with(self, fixed: Mapping[str, float]) -> dict[str, Any]:
        """Return what each parameter does as `icflow.engines.xspec.worker` takes it."""
        numbers = {name: number for number, name in enumerate(self.settings, start=1)}
        settings: dict[str, Any] = {}
        for name, setting in self.settings.items():
            if name in fixed:
                settings[name] = fixed[name]
            elif isinstance(setting, Link):
                settings[name] = f"={numbers[setting.link]}"
            elif name in self.bounds:
                settings[name] = [self.starts[0][name], *self.bounds[name]]
            else:
                assert isinstance(setting, (int, float))
                settings[name] = float(setting)
        return settings


# --- results --------------------------------------------------------------------------------------


def fit_result(plan: Plan, reply: Mapping[str, Any], bins: int) -> FitResult:
    """Turn the reply to a fit into a result.

    XSPEC tells no number of iterations (0 here); `gradient` is what the fit
    gained the last time that it was repeated.
    """
    values, sigma = _by_name(plan, reply["values"]), _by_name(plan, reply["sigma"])
    cstats = reply["cstats"]
    result = FitResult(
        cstat=reply["cstat"],
        dof=reply["dof"],
        bins=bins,
        converged=abs(reply["gain"]) < CONVERGED,
        starts=len(plan.starts),
        agreeing=sum(cstat < min(cstats) + AGREE for cstat in cstats),
        iterations=0,
        gradient=reply["gain"],
        values=values,
        errors={name: _error(plan, plan.root(name), values, sigma) for name in plan.settings},
        free=tuple(plan.bounds),
        at_bound=tuple(name for name in plan.bounds if _on_limit(plan, name, values)),
        covariance=covariance(reply["covariance"], [sigma[name] for name in plan.bounds]),
        intervals={
            name: interval(plan.bounds[name], *ends)
            for name, ends in zip(plan.bounds, reply["intervals"], strict=False)  # or none
        },
    )
    return checked(result)


def failed(plan: Plan, reason: str) -> FitResult:
    """Return the result of a fit that was impossible."""
    fixed = {name: plan.root(name) not in plan.bounds for name in plan.settings}
    return failed_fit(fixed, tuple(plan.bounds), reason)


def _by_name(plan: Plan, numbers: Sequence[Sequence[float]]) -> dict[str, float]:
    """Return numbers of all parameters of the source and of the factor of each background."""
    source, *backgrounds = numbers
    return dict(zip(plan.settings, [*source, *(b[0] for b in backgrounds)], strict=True))


def interval(limits: Limits, low: float, high: float, status: str) -> Limits:
    """Return the ends of an interval, NaN for one that XSPEC did not find.

    The nine letters of the status, T for true: a new minimum, C that does not
    rise all the way, another problem, the hard lower and upper limit reached,
    a parameter that is frozen, a search that failed downwards, upwards, and a
    fit too bad. An end that lies beyond a hard limit is the limit.
    """
    if not NINE_LETTERS.fullmatch(status):
        return math.nan, math.nan
    new, uneven, problem, at_low, at_high, frozen, no_low, no_high, bad = (c == "T" for c in status)
    if new or uneven or problem or frozen or bad:
        no_low = no_high = True
    lower = limits[0] if at_low else math.nan if no_low else low
    upper = limits[1] if at_high else math.nan if no_high else high
    return lower, upper


def _on_limit(plan: Plan, name: str, values: Mapping[str, float]) -> bool:
    low, high = plan.bounds[name]
    return min(values[name] - low, high - values[name]) <= EDGE * (high - low)


def _error(plan: Plan, name: str, values: Mapping[str, float], sigma: Mapping[str, float]) -> float:
    """Return the error of a parameter that is no link: 0 if fixed, NaN at a limit."""
    if name not in plan.bounds:
        return 0.0
    # XSPEC gives -1 to a parameter that ended on a limit.
    if _on_limit(plan, name, values) or not sigma[name] > 0:
        return math.nan
    return sigma[name]


def covariance(triangle: Sequence[float], sigma: Sequence[float]) -> Floats:
    """Return the covariance of the free parameters, NaN for those that XSPEC left out.

    XSPEC gives the lower triangle, without parameters on a limit. Its order is
    that of sources and parameters; where the diagonal says otherwise, all is NaN.
    """
    kept = np.flatnonzero(np.array(sigma) > 0)
    matrix = np.full((len(sigma), len(sigma)), np.nan)
    rows, columns = np.tril_indices(len(kept))
    if len(triangle) != len(rows):
        return matrix
    given = np.empty((len(kept), len(kept)))
    given[rows, columns] = given[columns, rows] = triangle
    if np.allclose(np.diag(given), np.array(sigma)[kept] ** 2, rtol=1e-3, atol=0):
        matrix[np.ix_(kept, kept)] = given
    return matrix
