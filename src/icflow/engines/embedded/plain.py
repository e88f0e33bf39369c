"""Fits from one start, step by step as XSPEC makes them.

The descent of XSPEC 12 (``LevMarq`` and ``StatManager`` in its sources; checked
against fits by 12.9.1) stops above the minimum more often than not, and
whoever compares with published fits needs the same ends:

* derivatives are differences to both sides by 1 % of a parameter. A side that a
  hard limit cuts off counts as if it were whole, so that near a limit a
  derivative is too small by up to a half;
* a parameter whose step leads beyond a limit goes a power of 1/2 of it, the
  others all of theirs, so that it creeps up to the limit;
* a step that lowers C by no more than 0.01 is the last one.
"""

from __future__ import annotations

import math

import numpy as np

from icflow.config import FitControl
from icflow.engines.base import FitResult
from icflow.engines.embedded.descent import Minimum
from icflow.engines.embedded.fitting import Fitter, Outcome
from icflow.engines.embedded.parameters import Model
from icflow.engines.embedded.shapes import (
    CURVE,
    FIRST,
    KIND,
    PLASMA,
    THIRD,
    Shapes,
    derivatives,
    model_counts,
)
from icflow.engines.embedded.tables import Tables
from icflow.engines.starts import start
from icflow.statistic import Data, binned, metric, statistic
from icflow.typing import Booleans, Floats

CRITICAL = 0.01  # in C: XSPEC's critical delta
STEP = 0.01  # of the differences, relative to the value; absolute where that is 0
# Of the damping: at first, factors after steps that succeed and that fail, most failures.
DAMPING, RELAX, TIGHTEN, TRIALS = 1e-3, 0.1, 10.0, 100
SINGULAR = 1e-12  # principal axes that weigh less than this part of the heaviest are left out
KEPT = 8  # shapes that are kept, so that none is made twice


class PlainFitter(Fitter):
    """Fits of one model, each from one start that is the same for every spectrum."""

    def __init__(self, model: Model, tables: Tables, control: FitControl) -> None:
        super().__init__(model, tables, control)
        plasmas = tables.terms[tables.terms[:, KIND] == PLASMA]
        curves = tables.terms[tables.terms[:, KIND] == CURVE]
        # What the expected counts are not linear in.
        self._curved = {*plasmas[:, FIRST], *plasmas[:, THIRD], *curves[:, FIRST], *self.direct}
        self._kept: dict[tuple[float, ...], Shapes] = {}

    def _search(self, data: Data, channels: Data, theta: Floats) -> Outcome:
        best = self._perform(data, self._start(data, theta))
        return Outcome(best, 1, 1, self._shapes(best.theta))

    def _start(self, data: Data, theta: Floats) -> Floats:
        """Return the generic start, its norms multiplied so that the number of counts is right.

        With a background spectrum XSPEC leaves them as they are.
        """
        model, free, theta = self.model, self.box.free, theta.copy()
        limits = {
            model.names[p]: (float(low), float(high))
            for p, low, high in zip(*self.box, strict=True)
            if model.names[p] in model.settings
        }
        for name, value in start(model.expression, model.settings, limits, 0).items():
            theta[model.position[name]] = value
        norms = [p for p in free if model.names[p].endswith(".norm")]
        without = theta.copy()
        without[norms] = 0.0
        rest = float(self._counts(data, without).sum())
        source = float(self._counts(data, theta).sum()) - rest
        if norms and source > 0 and not len(data.behind):
            theta[norms] *= (float(data.counts.sum()) - rest) / source
            theta[free] = np.clip(theta[free], self.box.lower, self.box.upper)
        return theta

    def _perform(self, data: Data, theta: Floats) -> Minimum:
        """Go down from a start until a step gains nothing to speak of.

        Parameters that reach a limit are pegged there until then; a descent
        that comes to its end with some goes on once without pegs.
        """
        (free, lower, upper), cstat = self.box, self._cstat(data, theta)
        damping, gain, pegged, released = DAMPING, math.inf, np.zeros(len(free), bool), False
        for iteration in range(1, self.control.max_iterations + 1):
            info, push = self._metric(data, theta)
            pegged |= np.diag(info) <= 0
            end, damping = self._lower(data, theta, cstat, (info, push, ~pegged), damping)
            if end is None:
                return Minimum(theta, cstat, iteration, gain, False)
            gain, (theta, cstat) = cstat - end[1], end
            if not released:
                pegged |= (theta[free] <= lower) | (theta[free] >= upper)
            if gain > CRITICAL:
                released = False
            elif released or not pegged.any():
                return Minimum(theta, cstat, iteration, gain, True)
            else:
                damping, released, pegged = DAMPING, True, np.zeros(len(free), bool)
        return Minimum(theta, cstat, self.control.max_iterations, gain, False)

    def _lower(
        self,
        data: Data,
        theta: Floats,
        cstat: float,
        equations: tuple[Floats, Floats, Booleans],
        damping: float,
    ) -> tuple[tuple[Floats, float] | None, float]:
        """Look for a step that does not raise C.

        Parameters
        ----------
        equations : tuple of ndarray
            Information, push, and which parameters move.

        Returns
        -------
        end : tuple of ndarray and float, or None
            Parameters and C after the step; None without such a step.
        damping : float
            For the next one.
        """
        for _ in range(TRIALS):
            trial = theta.copy()
            trial[self.box.free] += self._step(theta, *equations, damping)
            value = self._cstat(data, trial)
            if value <= cstat:
                return (trial, value), damping * RELAX
            damping *= TIGHTEN
        return None, damping

    def _step(
        self, theta: Floats, info: Floats, push: Floats, moving: Booleans, damping: float
    ) -> Floats:
        """Return the damped step, that of each parameter cut where it leads beyond its limits."""
        free, lower, upper = self.box
        info, push = info[moving][:, moving], push[moving]
        scale = np.sqrt(info.diagonal())
        normal = info / (scale[:, None] * scale)
        normal.flat[:: len(scale) + 1] = 1 + damping
        weight, axes = np.linalg.eigh(normal)
        along = np.where(weight > SINGULAR * weight[-1], push / scale @ axes / weight, 0.0)
        step = np.zeros(len(free))
        step[moving] = axes @ along / scale
        here = theta[free]
        room = np.where(step < 0, here - lower, upper - here)
        for i in np.flatnonzero(np.abs(step) > room):
            part = room[i] / abs(step[i])
            step[i] *= 0.5 ** (int(-math.log2(part)) + 1) if part > 0 else 0.0
        return step

    def _intervals(
        self, data: Data, best: Minimum, result: FitResult
    ) -> dict[str, tuple[float, float]]:
        """Return none: C has no profile around what is not its minimum."""
        return {}

    def _information(self, data: Data, channels: Data, outcome: Outcome) -> Floats:
        return self._metric(data, outcome.best.theta)[0]

    def _metric(self, data: Data, theta: Floats) -> tuple[Floats, Floats]:
        """Return the observed information, and half the fall of C along each parameter."""
        n, model = len(self.box.free), self._counts(data, theta)
        slopes = derivatives(self._shapes(theta), data, self.box, theta)
        for i, (p, lower, upper) in enumerate(zip(*self.box, strict=True)):
            step = STEP * abs(theta[p]) or STEP
            up, down = theta.copy(), theta.copy()
            up[p], down[p] = min(theta[p] + step, upper), max(theta[p] - step, lower)
            if p in self._curved:
                slopes[i] = (self._counts(data, up) - self._counts(data, down)) / (2 * step)
            else:
                slopes[i] *= (up[p] - down[p]) / (2 * step)
        info, push = np.empty((n, n)), np.empty(n)
        metric(data, model, slopes, 0.0, info, push)
        return info, push

    def _cstat(self, data: Data, theta: Floats) -> float:
        return float(statistic(data, self._counts(data, theta)))

    def _counts(self, data: Data, theta: Floats) -> Floats:
        """Return the binned counts that are expected."""
        return binned(data, model_counts(self._shapes(theta), theta))

    def _shapes(self, theta: Floats) -> Shapes:
        """Return the shapes at the redshifts and in the temperature cells of `theta`."""
        nodes = sorted({node for cell in self.tables.cells(theta) for node in (cell, cell + 1)})
        key = (*theta[self.tables.redshift_of].tolist(), *nodes)
        if key not in self._kept:
            if len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = self.tables.exact(theta, np.array(nodes))
        return self.tables.touch(self._kept[key], theta, tangents=False)
