"""Fits of an observed spectrum: errors and limits by profile, and checks of what is given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from icflow.config import FitModel, Free, Systematics
from icflow.engines.base import BACKGROUND, FitResult
from icflow.engines.embedded.profile import end_of_interval
from icflow.errors import IcflowError
from icflow.models.expression import parse
from icflow.observation.engine import ObservedEngine, check_systematics
from icflow.observation.simulations import Draws, cstat_of, replicas
from icflow.ogip.observation import SpectrumFiles, check_companions, read_observation
from icflow.settings import SourceSettings
from icflow.typing import Counts, Floats

# Rises of C for one parameter (Wilks 1938). Intervals are two-sided, as those of XSPEC's `error`;
# upper limits are one-sided: 1.2816 sigma is the 90 % quantile of a normal distribution.
INTERVAL_90, THREE_SIGMA = 2.7055, 9.0
RISES = {"68": 1.0, "90": INTERVAL_90, "3_sigma": THREE_SIGMA}
UPPER_90 = 1.6424
TAIL_90 = 0.1
# Limits are not drawn closer to the best value than this.
LEAST_SIGMAS = 0.3

# How far away an end of an interval is looked for first where a fit gives no error: a fraction of
# the range of the parameter.
BLIND = 1e-3
# In C: a profile that goes this much below the fit starts again from there.
MISSED = 0.01

# What is checked, as models and as the configuration name it.
CHECKED = {"Redshift": "redshift", "nH": "nH"}
# Redshifts around the given one that are tried, and column densities, 1e22 cm^-2.
REDSHIFTS, COLUMNS = 0.03, 5.0


def check_engine(name: str) -> None:
    """Check that observations can be analysed by an engine.

    Raises
    ------
    IcflowError
        If it is not the embedded one.
    """
    if name != "embedded":
        raise IcflowError(
            f"engine: is {name!r}, and observations are analysed by the embedded engine; "
            "set `engine: embedded` for them"
        )


def open_source(
    settings: SourceSettings, systematics: Systematics | None = None
) -> tuple[list[SpectrumFiles], ObservedEngine]:
    """Read the spectra of an observation and load the engine for them.

    Parameters
    ----------
    systematics : Systematics, optional
        What is wrong with simulated spectra.

    Raises
    ------
    IcflowError
        If an input is missing or cannot be used.
    """
    check_engine(settings.engine)
    modules = read_source(settings)
    for files in modules:
        check_systematics(files, systematics)
    return modules, engine_for(settings, modules, systematics)


def read_source(settings: SourceSettings) -> list[SpectrumFiles]:
    """Read the spectra of an observation, each checked against its response.

    Raises
    ------
    IcflowError
        If an input is missing or cannot be used.
    """
    low, high = settings.energies
    files = read_observation(settings.name, settings.observation)
    return [check_companions(module, low, high).files for module in files]


def engine_for(
    settings: SourceSettings,
    modules: Sequence[SpectrumFiles],
    systematics: Systematics | None = None,
) -> ObservedEngine:
    """Load the engine for spectra of an observation."""
    regroup = settings.observation.group_min is not None
    # Intervals are found here.
    control = settings.model_copy(update={"errors": "hessian"})
    return ObservedEngine(modules, control, regroup, settings.atomic_data, systematics)


def best_fits(engine: ObservedEngine, models: Mapping[str, FitModel]) -> dict[str, FitResult]:
    """Fit every model to the observed spectrum; errors as of `best_fit`."""
    return {name: best_fit(engine, name, model) for name, model in models.items()}


def best_fit(engine: ObservedEngine, name: str, model: FitModel) -> FitResult:
    """Fit a model to the observed spectrum.

    Raises
    ------
    IcflowError
        If a fit is impossible.
    """
    (fit,) = engine.fit(model)
    if fit.status != "ok":
        raise IcflowError(f"the fit of {name} failed: {fit.status}")
    return fit


# --- profiles --------------------------------------------------------------------------


@dataclass(frozen=True)
class Limits:
    """What a spectrum says about one parameter.

    Attributes
    ----------
    best, lowest, highest : float
        Value at the minimum, and the lowest and the highest that the parameter can take.
    intervals : dict of tuple of float
        Two-sided, by Wilks' theorem, for each of `RISES`.
    upper, rises : dict of float
        One-sided 90 % and 3 sigma limits, and by how much C rises up to them,
        which simulations say.
    """

    best: float
    lowest: float
    highest: float
    intervals: dict[str, tuple[float, float]]
    upper: dict[str, float]
    rises: dict[str, float]

    @property
    def endless(self) -> bool:
        """Whether an upper limit is no more than where the range of the parameter ends."""
        return max(self.upper.values()) >= self.highest


@dataclass(frozen=True)
class Profile:
    """C of a spectrum against one parameter, everything else that is free fitted anew.

    Each fit starts from all starting points: where another minimum takes over,
    the profile follows it.

    Attributes
    ----------
    model : FitModel
        In which the parameter is free.
    name : str
        The parameter.
    counts : ndarray of int, shape (1, n_channels), optional
        By default the observed spectrum; behind it, its background spectrum.
    """

    engine: ObservedEngine
    model: FitModel
    name: str
    counts: Counts | None = None

    def at(self, values: Floats) -> Floats:
        """Return C with the parameter frozen at each of some values."""
        spectrum = self.engine.counts[None] if self.counts is None else self.counts
        counts = np.repeat(spectrum, len(values), axis=0)
        return cstat_of(self.engine.fit(self.model, counts, {self.name: values}))

    def interval(self, fit: FitResult, delta: float) -> tuple[float, float]:
        """Return the range of the parameter in which C is less than `delta` above its minimum.

        Parameters
        ----------
        fit : FitResult
            With the parameter free.

        Returns
        -------
        tuple of float
            The limit of the parameter at an end up to which C rises less.
        """
        low, high = self.engine.range_of(self.model, self.name)
        sigma = fit.errors[self.name]
        step = np.sqrt(delta) * (sigma if sigma > 0 else BLIND * (high - low))
        best, lowest = fit.values[self.name], fit.cstat
        while True:
            ends, (deepest, there) = self._ends(best, lowest, step, delta)
            if deepest > lowest - MISSED:
                return ends
            best, lowest = there, deepest

    def _ends(
        self, best: float, lowest: float, step: float, delta: float
    ) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return the ends of the interval about a minimum, and the lowest C met, with its place."""
        tried = [(lowest, best)]

        def rise(value: float) -> float:
            cstat = float(self.at(np.array([value]))[0])
            tried.append((cstat if np.isfinite(cstat) else np.inf, value))
            return tried[-1][0] - lowest

        low, high = (
            best if best == limit else end_of_interval(rise, best, best + side * step, limit, delta)
            for side, limit in zip(
                (-1, 1), self.engine.range_of(self.model, self.name), strict=True
            )
        )
        return (low, high), min(tried)

    def limits(self, fit: FitResult, number: int, draws: Draws) -> Limits:
        """Find intervals and upper limits of the parameter.

        Parameters
        ----------
        fit : FitResult
            With the parameter free.
        number, draws
            As for `upper_rises`.
        """
        intervals = {name: self.interval(fit, delta) for name, delta in RISES.items()}
        rises = dict(zip(("90", "3_sigma"), self.upper_rises(fit, number, draws), strict=True))
        upper = {name: self.interval(fit, rise)[1] for name, rise in rises.items()}
        ends = self.engine.range_of(self.model, self.name)
        return Limits(fit.values[self.name], *ends, intervals, upper, rises)

    def upper_rises(self, fit: FitResult, number: int, draws: Draws) -> tuple[float, float]:
        """Return by how much C rises up to the one-sided 90 % and 3 sigma upper limits.

        Near a limit of the parameter, or where backgrounds end on theirs, Wilks'
        theorem does not hold. So spectra are simulated with the parameter at the
        limit by the theorem, and all else as fitted then. In them the best value
        lies this many sigma, square roots of the rise of C, below the true one.

        Parameters
        ----------
        fit : FitResult
            With the parameter free.
        number : int
            Simulated spectra.
        """
        _, limit = self.interval(fit, UPPER_90)
        (at_limit,) = self.engine.fit(self.model, self.counts, {self.name: np.array([limit])})
        simulated = replicas(self.engine, self.model, at_limit, number, draws)
        roots = self._signed_roots(limit, simulated)
        # Exact for any number of spectra: ranks divide them into one interval more.
        sigmas = max(-float(np.quantile(roots, TAIL_90, method="weibull")), LEAST_SIGMAS)
        # Too few are simulated to see the tail beyond; it is taken for that of a normal
        # distribution.
        beyond = math.sqrt(THREE_SIGMA) - math.sqrt(UPPER_90)
        return sigmas**2, (sigmas + beyond) ** 2

    def _signed_roots(self, truth: float, simulated: Counts) -> Floats:
        """Return by how many sigma, square roots of the rise of C, best values exceed the truth.

        Parameters
        ----------
        simulated : ndarray of int, shape (n_spectra, n_channels)
            With the parameter at `truth`.
        """
        free = self.engine.fit(self.model, simulated)
        frozen = self.engine.fit(self.model, simulated, {self.name: np.full(len(simulated), truth)})
        return np.array(
            [
                math.copysign(
                    math.sqrt(max(there.cstat - best.cstat, 0.0)), best.values[self.name] - truth
                )
                for best, there in zip(free, frozen, strict=True)
                if best.status == there.status == "ok"
            ]
        )


def intervals_90(
    engine: ObservedEngine, model: FitModel, fit: FitResult
) -> dict[str, tuple[float, float]]:
    """Return the 90 % intervals of all free parameters of the source."""
    return {
        name: Profile(engine, model, name).interval(fit, INTERVAL_90)
        for name in fit.free
        if not name.startswith(BACKGROUND)
    }


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
