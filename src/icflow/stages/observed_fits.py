"""Fits of an observed spectrum: errors and limits by profile, and checks of what is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icflow.config import FitModel, Free
from icflow.engines.base import BACKGROUND, FitResult
from icflow.engines.observed import ObservedEngine
from icflow.engines.profile import end_of_interval
from icflow.errors import IcflowError
from icflow.models.expression import parse

Floats = NDArray[np.float64]
Counts = NDArray[np.integer[Any]]

# Rises of C for one parameter (Wilks 1938). Intervals are two-sided, as those of XSPEC's `error`;
# upper limits are one-sided: 1.2816 sigma is the 90 % quantile of a normal distribution.
INTERVAL_68, INTERVAL_90 = 1.0, 2.7055
UPPER_90, THREE_SIGMA = 1.6424, 9.0

# How far away an end of an interval is looked for first where a fit gives no error: a fraction of
# the range of the parameter.
BLIND = 1e-3
# In C: a profile that goes this much below the fit starts again from there.
MISSED = 0.01

# Redshifts around the given one that are tried, and column densities, 1e22 cm^-2.
REDSHIFTS, COLUMNS = 0.03, 5.0


def best_fits(engine: ObservedEngine, models: Mapping[str, FitModel]) -> dict[str, FitResult]:
    """Fit every model to the observed spectrum.

    Raises
    ------
    IcflowError
        If a fit is impossible.
    """
    fits = {}
    for name, model in models.items():
        (fits[name],) = engine.fit(model)
        if fits[name].status != "ok":
            raise IcflowError(f"the fit of {name} failed: {fits[name].status}")
    return fits


def interval(
    engine: ObservedEngine,
    model: FitModel,
    fit: FitResult,
    name: str,
    delta: float,
    counts: Counts | None = None,
) -> tuple[float, float]:
    """Return the range of a parameter in which C is less than `delta` above its minimum.

    At every value that is tried the model is fitted anew, from all starting
    points: where another minimum takes over, the profile follows it.

    Parameters
    ----------
    fit : FitResult
        With the parameter free.
    counts : ndarray of int, shape (1, n_channels), optional
        By default the observed spectrum.

    Returns
    -------
    tuple of float
        The limit of the parameter at an end up to which C rises less.
    """
    low, high = engine.range_of(model, name)
    sigma = fit.errors[name]
    step = np.sqrt(delta) * (sigma if sigma > 0 else BLIND * (high - low))
    best, lowest = fit.values[name], fit.cstat
    while True:
        found = [(lowest, best)]

        def rise(
            value: float, base: float = lowest, found: list[tuple[float, float]] = found
        ) -> float:
            (frozen,) = engine.fit(model, counts, {name: np.array([value])})
            cstat = frozen.cstat if np.isfinite(frozen.cstat) else np.inf
            found.append((cstat, value))
            return cstat - base

        ends = [
            best if best == limit else end_of_interval(rise, best, best + side * step, limit, delta)
            for side, limit in ((-1, low), (1, high))
        ]
        if min(found)[0] > lowest - MISSED:
            return ends[0], ends[1]
        lowest, best = min(found)


def intervals_90(
    engine: ObservedEngine, model: FitModel, fit: FitResult
) -> dict[str, tuple[float, float]]:
    """Return the 90 % intervals of all free parameters of the source."""
    return {
        name: interval(engine, model, fit, name, INTERVAL_90)
        for name in fit.free
        if not name.startswith(BACKGROUND)
    }


@dataclass(frozen=True)
class Limits:
    """What a spectrum says about one parameter.

    Attributes
    ----------
    best, lowest : float
        Value at the minimum, and the lowest that the parameter can take.
    interval_68, interval_90, interval_3_sigma : tuple of float
        Two-sided.
    upper_90, upper_3_sigma : float
        One-sided.
    """

    best: float
    lowest: float
    interval_68: tuple[float, float]
    interval_90: tuple[float, float]
    interval_3_sigma: tuple[float, float]
    upper_90: float

    @property
    def upper_3_sigma(self) -> float:
        """The upper end of the 3 sigma interval, which 99.87 % of limits are above."""
        return self.interval_3_sigma[1]


def limits(engine: ObservedEngine, model: FitModel, fit: FitResult, name: str) -> Limits:
    """Find limits of a parameter with everything else that is free fitted again."""
    found = {
        delta: interval(engine, model, fit, name, delta)
        for delta in (INTERVAL_68, INTERVAL_90, UPPER_90, THREE_SIGMA)
    }
    return Limits(
        best=fit.values[name],
        lowest=engine.range_of(model, name)[0],
        interval_68=found[INTERVAL_68],
        interval_90=found[INTERVAL_90],
        interval_3_sigma=found[THREE_SIGMA],
        upper_90=found[UPPER_90][1],
    )


def profile(engine: ObservedEngine, model: FitModel, name: str, values: Floats) -> Floats:
    """Return C with a parameter frozen at each of some values and all else fitted."""
    counts = np.repeat(engine.counts[None], len(values), axis=0)
    return np.array([fit.cstat for fit in engine.fit(model, counts, {name: values})])


# --- checks of what is given -----------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """What a fit says about a parameter that was given.

    Attributes
    ----------
    kind : {"Redshift", "nH"}
    given, best : float
        As given, and as fitted.
    error : float
        1 sigma, NaN at a limit.
    delta_cstat : float
        By how much C falls when it is fitted.
    """

    kind: str
    given: float
    best: float
    error: float
    delta_cstat: float


def check_given(
    engine: ObservedEngine,
    model: FitModel,
    fit: FitResult,
    kind: str,
    counts: Counts | None = None,
) -> Check | None:
    """Fit the observed spectrum again with redshift or column density free.

    Parameters
    ----------
    fit : FitResult
        That with it frozen.
    kind : {"Redshift", "nH"}
    counts : ndarray of int, shape (1, n_channels), optional
        By default the observed spectrum.

    Returns
    -------
    Check or None
        None if the model has no such parameter.
    """
    frozen = {n: s for n, s in model.parameters.items() if isinstance(s, (int, float))}
    name = next((n for n in frozen if n.rpartition(".")[2] == kind), None)
    if name is None:
        return None
    given = float(frozen[name])
    declared = parse(model.expression).parameters[name]
    if kind == "Redshift":
        low, high = max(given - REDSHIFTS, 0.0), given + REDSHIFTS
        free = Free(free=[low, high])
    else:
        high = min(max(COLUMNS, 2 * given), declared.maximum)
        free = Free(free=[declared.minimum, high], start=given)
    freed = model.model_copy(update={"parameters": {**model.parameters, name: free}})
    (result,) = engine.fit(freed, counts)
    gain = max(fit.cstat - result.cstat, 0.0)
    return Check(kind, given, result.values[name], result.errors[name], gain)
