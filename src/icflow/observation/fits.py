"""Fits of an observed spectrum: errors and limits by profile, and checks of what is given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from icflow.config import FitModel, Free
from icflow.engines.base import BACKGROUND, FitResult
from icflow.engines.embedded.profile import end_of_interval
from icflow.errors import IcflowError
from icflow.models.expression import parse
from icflow.observation.engine import ObservedEngine, draw_counts
from icflow.ogip.observation import SpectrumFiles, check_companions, read_observation
from icflow.settings import SourceSettings
from icflow.typing import Counts, Floats

# Rises of C for one parameter (Wilks 1938). Intervals are two-sided, as those of XSPEC's `error`;
# upper limits are one-sided: 1.2816 sigma is the 90 % quantile of a normal distribution.
INTERVAL_68, INTERVAL_90 = 1.0, 2.7055
UPPER_90, THREE_SIGMA = 1.6424, 9.0
TAIL_90 = 0.1
# Limits are not drawn closer to the best value than this.
LEAST_SIGMAS = 0.3

# How far away an end of an interval is looked for first where a fit gives no error: a fraction of
# the range of the parameter.
BLIND = 1e-3
# In C: a profile that goes this much below the fit starts again from there.
MISSED = 0.01

# Redshifts around the given one that are tried, and column densities, 1e22 cm^-2.
REDSHIFTS, COLUMNS = 0.03, 5.0


def open_source(settings: SourceSettings) -> tuple[list[SpectrumFiles], ObservedEngine]:
    """Read the spectra of an observation and load the engine for them.

    Raises
    ------
    IcflowError
        If an input is missing or cannot be used.
    """
    if settings.engine != "embedded":
        raise IcflowError(
            f"engine: is {settings.engine!r}, and observations are analysed by the embedded "
            "engine; set `engine: embedded` for them"
        )
    modules = read_observation(settings.name, settings.observation)
    for module in modules:
        check_companions(module, *settings.energies)
    return modules, engine_for(settings, modules)


def engine_for(settings: SourceSettings, modules: Sequence[SpectrumFiles]) -> ObservedEngine:
    """Load the engine for spectra of an observation."""
    regroup = settings.observation.group_min is not None
    return ObservedEngine(modules, settings, regroup, settings.atomic_data)


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
        Two-sided, by Wilks' theorem.
    upper_90, upper_3_sigma : float
        One-sided, at the rises of C that simulations give.
    rise_90, rise_3_sigma : float
        These rises.
    """

    best: float
    lowest: float
    interval_68: tuple[float, float]
    interval_90: tuple[float, float]
    interval_3_sigma: tuple[float, float]
    upper_90: float
    upper_3_sigma: float
    rise_90: float
    rise_3_sigma: float


def limits(
    engine: ObservedEngine,
    model: FitModel,
    fit: FitResult,
    name: str,
    number: int,
    seed: int,
    key: str,
) -> Limits:
    """Find limits of a parameter with everything else that is free fitted again.

    Parameters
    ----------
    number, seed, key
        As for `rises_to_limits`.
    """
    found = {
        delta: interval(engine, model, fit, name, delta)
        for delta in (INTERVAL_68, INTERVAL_90, UPPER_90, THREE_SIGMA)
    }
    rises = rises_to_limits(engine, model, name, found[UPPER_90][1], number, seed, key)
    upper = [interval(engine, model, fit, name, rise)[1] for rise in rises]
    return Limits(
        best=fit.values[name],
        lowest=engine.range_of(model, name)[0],
        interval_68=found[INTERVAL_68],
        interval_90=found[INTERVAL_90],
        interval_3_sigma=found[THREE_SIGMA],
        upper_90=upper[0],
        upper_3_sigma=upper[1],
        rise_90=rises[0],
        rise_3_sigma=rises[1],
    )


def rises_to_limits(
    engine: ObservedEngine,
    model: FitModel,
    name: str,
    limit: float,
    number: int,
    seed: int,
    key: str,
    counts: Counts | None = None,
) -> tuple[float, float]:
    """Return by how much C rises up to the one-sided 90 % and 3 sigma upper limits.

    Near a limit of the parameter, or where backgrounds end on theirs, Wilks'
    theorem does not hold. So spectra are simulated with the parameter at the
    limit by the theorem, and all else as fitted then. In them the best value
    lies this many sigma, square roots of the rise of C, below the true one.

    Parameters
    ----------
    limit : float
        The 90 % upper limit by Wilks' theorem.
    number : int
        Simulated spectra.
    seed, key : int, str
        Of their random numbers.
    counts : ndarray of int, shape (1, n_channels), optional
        By default the observed spectrum.
    """
    (at_limit,) = engine.fit(model, counts, {name: np.array([limit])})
    expected = engine.expected(model, at_limit.values)
    simulated = draw_counts(expected, seed, key, range(number))
    roots = signed_roots(engine, model, name, limit, simulated)
    sigmas = max(-float(np.quantile(roots, TAIL_90)), LEAST_SIGMAS)
    # Too few are simulated to see the tail beyond: it is taken for that of a normal distribution.
    return sigmas**2, (sigmas + math.sqrt(THREE_SIGMA) - math.sqrt(UPPER_90)) ** 2


def signed_roots(
    engine: ObservedEngine, model: FitModel, name: str, truth: float, counts: Counts
) -> Floats:
    """Return by how many sigma, square roots of the rise of C, best values exceed the true one.

    Parameters
    ----------
    counts : ndarray of int, shape (n_spectra, n_channels)
        Simulated with the parameter at `truth`.
    """
    free = engine.fit(model, counts)
    frozen = engine.fit(model, counts, {name: np.full(len(counts), truth)})
    roots = [
        math.copysign(math.sqrt(max(there.cstat - best.cstat, 0.0)), best.values[name] - truth)
        for best, there in zip(free, frozen, strict=True)
        if best.status == there.status == "ok"
    ]
    return np.array(roots)


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
