"""Fits of models that no table holds: every step asks XSPEC's functions.

Slower than `icflow.engines.embedded.fitting` by a factor of hundreds, and never wrong:
free column densities, several free shape parameters in one term, any additive
and multiplicative model of XSPEC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy.optimize import nnls
from scipy.stats import qmc

from icflow import statistic as cstat
from icflow.config import FitControl
from icflow.engines.embedded.fitting import AGREE, FitterBase, Found
from icflow.engines.embedded.parameters import Model
from icflow.errors import IcflowError
from icflow.statistic import Box, Data, Minimum
from icflow.typing import Floats

# Folded counts per noticed channel of each term for norm 1, at given parameters.
TermCounts = Callable[[Mapping[str, float]], Sequence[Floats]]

SEEDS = 32  # points of a Sobol sequence from which the starts are chosen
DIFFERENCE = 1e-4  # relative step of numerical derivatives
DIFFERENCE_REDSHIFT = 2e-3  # absolute: smaller ones fall between the hops of lines


class DirectFitter(FitterBase):
    """Fits of one model by direct evaluation.

    Parameters
    ----------
    term_counts : callable
        See `TermCounts`.
    backgrounds : ndarray, shape (n_backgrounds, n_channels)
        Expected counts of each background component.
    """

    def __init__(
        self, model: Model, term_counts: TermCounts, backgrounds: Floats, control: FitControl
    ) -> None:
        super().__init__(model, control)
        self.term_counts, self.backgrounds = term_counts, backgrounds
        self.norms = [
            model.position[f"{term.additive.name}.norm"] for term in model.expression.terms
        ]
        self.first_background = len(model.names) - len(backgrounds)
        self.shapes = [p for p in model.free if p not in self.norms and p < self.first_background]

    def _search(self, data: Data, channel_counts: Floats, theta: Floats) -> Found:
        starts = self._starts(data, channel_counts, theta)
        minima = [self._descend(data, self.box, start) for start in starts]
        best = min(minima, key=lambda one: one.cstat)
        return Found(best, len(minima), sum(m.cstat < best.cstat + AGREE for m in minima))

    def _information(self, data: Data, channel_counts: Floats, theta: Floats) -> Floats:
        model, slopes = self._evaluate(data, self.box, theta)
        return self._metric(data, model, slopes)[0]

    # --- the model -------------------------------------------------------------------

    def _terms(self, theta: Floats) -> Floats:
        return np.stack(list(self.term_counts(self.model.values(theta))))

    def _evaluate(self, data: Data, box: Box, theta: Floats) -> tuple[Floats, Floats]:
        """Return binned counts and their derivatives by the parameters in a box."""
        terms = self._terms(theta)
        norms = theta[self.norms]
        model = norms @ terms + theta[self.first_background :] @ self.backgrounds
        slopes = np.zeros((len(box.free), len(model)))
        for i, p in enumerate(box.free):
            if p >= self.first_background:
                slopes[i] = self.backgrounds[p - self.first_background]
            elif p in self.shapes:
                step = self._difference(box.upper[i], p, theta)
                moved = theta.copy()
                moved[p] += step
                slopes[i] = (norms @ self._terms(moved) - norms @ terms) / step
            else:
                slopes[i] = terms[[k for k, norm in enumerate(self.norms) if norm == p]].sum(axis=0)
        return cstat.binned(data, model), cstat.binned(data, slopes)

    def _counts(self, data: Data, theta: Floats) -> Floats:
        source = theta[self.norms] @ self._terms(theta)
        return cstat.binned(data, source + theta[self.first_background :] @ self.backgrounds)

    def _difference(self, upper: float, p: int, theta: Floats) -> float:
        if self.model.names[p].endswith(".Redshift"):
            step = DIFFERENCE_REDSHIFT
        else:
            step = DIFFERENCE * max(abs(theta[p]), 1e-2)
        return -step if theta[p] + step > upper else step

    @staticmethod
    def _metric(data: Data, model: Floats, slopes: Floats) -> tuple[Floats, Floats]:
        m = np.maximum(model, cstat.FLOOR)
        info = (slopes * (data.counts / m**2)) @ slopes.T
        return info, slopes @ (data.counts / m - 1)

    # --- going down --------------------------------------------------------------------

    def _starts(self, data: Data, channel_counts: Floats, theta: Floats) -> list[Floats]:
        """Return starting points: the best of a Sobol sequence with their best norms."""
        lower, upper = self.model.lower, self.model.upper
        if not self.shapes:
            return [self._with_norms(channel_counts, theta)[1]]
        sequence = qmc.Sobol(len(self.shapes), scramble=False)
        points = sequence.random(SEEDS) if SEEDS else np.empty((0, 0))
        ranked: list[tuple[float, Floats]] = []
        for point in points:
            start = theta.copy()
            for p, u in zip(self.shapes, point, strict=True):
                given = self.model.start[p]
                start[p] = given if np.isfinite(given) else _spread(u, lower[p], upper[p])
            try:
                ranked.append(self._with_norms(channel_counts, start))
            except IcflowError:
                continue  # a corner in which a model is zero or not finite
        if not ranked:
            raise IcflowError("the model cannot be evaluated anywhere within its limits")
        ranked.sort(key=lambda pair: pair[0])
        return [start for _, start in ranked[: min(self.control.starts, 3)]]

    def _with_norms(self, counts: Floats, theta: Floats) -> tuple[float, Floats]:
        """Return a start with the best non-negative norms, and its approximate C."""
        terms = self._terms(theta)
        weight = 1 / np.sqrt(np.maximum(counts, 1.0))
        rest = (counts - theta[self.first_background :] @ self.backgrounds) * weight
        norms, residual = nnls((terms * weight).T, rest)
        start = theta.copy()
        for p, norm in zip(self.norms, norms, strict=True):
            if p in self.box.free:
                start[p] = np.clip(norm, self.model.lower[p], self.model.upper[p])
        return float(residual**2), start

    def _profile(self, data: Data, best: Minimum, position: int) -> Callable[[float], float]:
        start = best.theta.copy()
        box = self._box([int(p) for p in self.box.free if p != position])

        def lowest(value: float) -> float:
            start[position] = value
            minimum = self._descend(data, box, start)
            # The next value is close: go on from where this ended.
            start[:] = minimum.theta
            return minimum.cstat

        return lowest

    def _descend(self, data: Data, box: Box, start: Floats) -> Minimum:
        """Levenberg-Marquardt in a box, as `cstat.descend`."""
        free, low, high = box
        theta = start.copy()
        theta[free] = np.clip(theta[free], low, high)
        model, slopes = self._evaluate(data, box, theta)
        value = cstat.cstat(data.counts, model)
        damping, decrement, step = 1e-3, np.inf, np.zeros(len(free))
        for iteration in range(1, self.control.max_iterations + 1):
            info, push = self._metric(data, model, slopes)
            held = (
                (np.diag(info) <= 0)
                | ((theta[free] <= low) & (push <= 0))
                | ((theta[free] >= high) & (push >= 0))
            )
            moving = np.flatnonzero(~held)
            newton = np.linalg.lstsq(info[np.ix_(moving, moving)], push[moving], rcond=None)[0]
            decrement = float(newton @ push[moving])
            if decrement < ENOUGH:
                return Minimum(theta, value, iteration, decrement, True)
            for _ in range(12):
                solved = cstat.boxed_step(
                    info, push, damping, held, theta, free, low, high, np.empty_like(info), step
                )
                trial = theta.copy()
                trial[free] = np.clip(theta[free] + step, low, high)
                trial_value = cstat.cstat(data.counts, self._counts(data, trial))
                if solved and trial_value < value:
                    break
                damping = max(damping * 8, 1e-6)
            else:
                # The derivatives are numerical, and apec has steps in z: this is the bottom.
                return Minimum(theta, value, iteration, decrement, decrement < 1.0)
            theta, value, damping = trial, trial_value, max(damping / 10, 1e-12)
            model, slopes = self._evaluate(data, box, theta)
        return Minimum(theta, value, self.control.max_iterations, decrement, False)


# A minimum counts as reached when a full Newton step would lower C by less than this.
ENOUGH = 1e-4


def _spread(u: float, low: float, high: float) -> float:
    """Place a fraction between limits, evenly in the logarithm where they span decades."""
    if low > 0 and high / low > 20:
        return float(low * (high / low) ** u)
    return low + u * (high - low)
