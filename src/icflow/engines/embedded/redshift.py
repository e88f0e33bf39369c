"""Fits with a free redshift.

C is a staircase in redshift (`icflow.engines.embedded.staircase`). A search on tables
that are smooth in redshift leads to the right neighbourhood; there, fits with
the redshift frozen and surveys of the staircase take turns, in bins that are single
channels only where lines are. What ends lowest is descended to at full resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from math import erf

import numpy as np

from icflow.config import FitControl
from icflow.engines.base import FitResult
from icflow.engines.embedded import sobol, staircase
from icflow.engines.embedded.descent import Minimum
from icflow.engines.embedded.fitting import (
    AGREE,
    CLOSE,
    MOST_CLOSE,
    Fitter,
    Outcome,
    by_cstat,
    separate,
)
from icflow.engines.embedded.lattice import Lattice
from icflow.engines.embedded.marginal import Stratum
from icflow.engines.embedded.parameters import Model
from icflow.engines.embedded.shapes import Box, Shapes, information
from icflow.engines.embedded.tables import Tables, View
from icflow.statistic import Data
from icflow.typing import Floats, Integers

# The search on the smooth tables: every so many nodes in redshift and temperature, starts from each
# redshift, starts that are followed.
SEARCH_EVERY, SCANNED, PER_NODE, ROUGH_STARTS = 4, 2, 2, 6
RIVAL_ROUGH = 50.0  # in C: smooth minima that are followed are at most this much higher
# Combinations of cells that are followed, for a lower step may wait for a higher minimum: how
# much higher in C, at first and later, and how many.
RIVAL, LATER_RIVAL, MOST_RIVALS = 7.0, 4.0, 8
# How far the staircase is surveyed to both sides: sigma, and limits.
REACH, LEAST_REACH, MOST_REACH = 5.0, 0.003, 0.004
MOST_HOPS, STEPS_TRIED = 240, 8
# By how much a step may turn out lower than estimated, from elsewhere and from the best one.
FIRST_ERROR, LATER_ERROR = 1.5, 0.5
# Once so many steps are tried, by how much more than those.
CALIBRATED, MISSED = 3, 0.3
GAIN, ROUNDS = 0.002, 4  # a round that lowers C by less is the last; most rounds
POOR, PROBES = 1.1, 10  # a fit with more C per bin is probed at so many redshifts
# The last survey, in which every hop counts.
FINE_REACH, FINE_STEPS, ALL_HOPS = 0.0005, 4, 10**6
# The survey behind the error of the redshift: hops, and the reach beyond which there is no error.
SPREAD_HOPS, MOST_SPREAD = 100, 0.2
STRATA = 16  # redshifts at which the likelihood is averaged over all else: a power of two
# Minima that may be the lowest at full resolution: how much higher in C, how many. Those are the
# same whose temperatures differ by less than a fraction, on steps that are closer than that.
BLUR, MOST_BLURRED, ALIKE, STAIRS = 0.2, 6, 0.03, 1e-3
SAFE = 1.5  # the error of the staircase is larger than that of the smooth tables


class RedshiftFitter(Fitter):
    """Fits of one model by its tables, at least one redshift free."""

    def __init__(self, model: Model, tables: Tables, control: FitControl) -> None:
        super().__init__(model, tables, control)
        self.redshifts = [p for p in dict.fromkeys(tables.redshift_of) if p in model.free]
        self.others = model.box([p for p in model.free if p not in self.redshifts])
        self.smooth = tables.smooth()
        self._boxes: dict[tuple[int, ...], tuple[Integers, Box]] = {}

    def _search(self, data: Data, channels: Data, theta: Floats) -> Outcome:
        coarse = self.tables.in_coarse_bins.data(channels)
        view = self._view(data, channels)
        starts = self._starts_at_redshifts(coarse, theta)
        rough = self._descend(self.smooth, coarse, self.box, starts, True)
        ends: list[Outcome] = []
        tried: list[Minimum] = []
        for start in separate(rough, RIVAL_ROUGH):
            reach = self._reach(coarse, start.theta)
            if not any(self._near(start.theta, end.best.theta, reach) for end in ends):
                ends.append(self._refine(view, coarse, start.theta, reach, tried))
        outcome = min(ends, key=lambda end: end.best.cstat)
        return replace(outcome, best=self._sharpest(data, tried))

    def _view(self, data: Data, channels: Data) -> View:
        """Return a spectrum in bins in which the staircase is as good as at full resolution."""
        if self.direct:
            # What no table holds is evaluated in channels.
            return View(self.tables, data)
        tables = self.tables.in_line_bins
        return View(tables, tables.data(channels, data.starts))

    def _sharpest(self, data: Data, tried: Sequence[Minimum]) -> Minimum:
        """Return the lowest minimum at full resolution, of those that may be."""
        view = View(self.tables, data)
        return min((self._beside(view, start) for start in self._sharp_starts(tried)), key=by_cstat)

    def _sharp_starts(self, tried: Sequence[Minimum]) -> list[Floats]:
        """Return where to descend at full resolution: minima with temperatures of their own.

        Each on its step, and on the lowest one beside it, for all have not been tried on all.
        """
        if not self.linear:
            return [minimum.theta for minimum in separate(tried, CLOSE)[:MOST_CLOSE]]
        starts: list[Floats] = []
        minima, heat = sorted(tried, key=by_cstat), self.tables.heat
        for minimum in minima:
            if minimum.cstat > minima[0].cstat + BLUR or len(starts) >= MOST_BLURRED:
                break
            beside = [s for s in starts if self._near(s, minimum.theta, STAIRS)]
            if any(np.all(np.abs(s[heat] / minimum.theta[heat] - 1) < ALIKE) for s in beside):
                continue
            starts.append(minimum.theta)
            if beside and not np.array_equal(beside[0][self.redshifts], starts[-1][self.redshifts]):
                starts.append(starts[-1].copy())
                starts[-1][self.redshifts] = beside[0][self.redshifts]
        return starts

    def _starts_at_redshifts(self, coarse: Data, theta: Floats) -> list[Floats]:
        """Rank a lattice at several redshifts and return the best starts of all."""
        shapes, redshifts = self._scanned
        thetas = np.repeat(theta[None], len(redshifts), axis=0)
        thetas[:, self.redshifts] = redshifts[:, None]
        ranked = self._ranked(self._scan, shapes, coarse, list(thetas), PER_NODE)
        return [start for _, start in ranked[:ROUGH_STARTS]]

    @cached_property
    def _scan(self) -> Lattice:
        """A lattice of fewer temperatures, which is enough to tell redshifts apart."""
        return Lattice(self.model, self.tables, SCANNED)

    @cached_property
    def _scanned(self) -> tuple[Shapes, Floats]:
        """The redshifts at which it is ranked, and the shapes there."""
        first, step = self.smooth.redshifts
        position = self.redshifts[0]
        nodes = np.arange(1, len(self.smooth.plasma) - 1, SEARCH_EVERY)
        z = first + step * nodes
        inside = (self.model.lower[position] <= z) & (z <= self.model.upper[position])
        plasma = np.ascontiguousarray(self.smooth.plasma[nodes[inside]][:, :, ::SCANNED])
        temperatures = self.smooth.temperatures[::SCANNED]
        return self.smooth._replace(plasma=plasma, temperatures=temperatures), z[inside]

    def _reach(self, coarse: Data, theta: Floats) -> float:
        """Return how far to both sides the staircase is searched."""
        info = self._smooth_information(coarse, theta)
        places = [i for i, p in enumerate(self.box.free) if p in self.redshifts]
        sigma = 1 / np.sqrt(max(info[places, places].min(), 1.0))
        return float(np.clip(REACH * sigma, LEAST_REACH, MOST_REACH))

    def _near(self, theta: Floats, other: Floats, reach: float) -> bool:
        """Tell whether two redshifts lie on staircases that were searched together."""
        return all(abs(theta[p] - other[p]) < reach for p in self.redshifts)

    def _refine(
        self, view: View, coarse: Data, theta: Floats, reach: float, tried: list[Minimum]
    ) -> Outcome:
        """Alternate between all minima at one redshift and the staircase around it.

        Every minimum on a step that is come to is added to `tried`.
        """
        outcome = self._at_redshift(view, coarse, theta, [theta])
        best, shapes = outcome.best, outcome.shapes
        tried += [best, *outcome.others]
        for number in range(ROUNDS):
            if number > 0:
                minima = self._settled(view.data, shapes, best)
                best = minima[0]
                tried += minima
            within = RIVAL if number == 0 else LATER_RIVAL
            blurred = self.tables.blurred(shapes, view.tables.runs)
            rivals = [best, *self._others(coarse, blurred, best.theta, within)]
            error = FIRST_ERROR if number == 0 else LATER_ERROR
            ends = self._down_stairs(view, shapes, rivals, reach, error)
            end = min([best, *ends], key=by_cstat)
            if number == 0 and end.cstat > POOR * len(view.data.counts):
                ends += self._probe(view, end, reach)
                end = min([end, *ends], key=by_cstat)
            tried += ends
            if end.cstat > best.cstat - GAIN:
                break
            shapes = view.tables.exact(end.theta)
            (best,) = self._descend(shapes, view.data, self.others, [end.theta])
            tried.append(best)
        tried += self._fine(view, shapes, best)
        return replace(outcome, best=min(tried, key=by_cstat))

    def _others(self, coarse: Data, blurred: Shapes, theta: Floats, within: float) -> list[Minimum]:
        """Return the minima in coarse bins of other combinations of temperature cells."""
        (here,) = self._descend(blurred, coarse, self.others, [theta])
        rivals = self._rivals(coarse, blurred, here, within, MOST_RIVALS)
        return [rival for rival in rivals if abs(rival.cstat - here.cstat) > AGREE]

    def _probe(self, view: View, best: Minimum, reach: float) -> list[Minimum]:
        """Try steps all over the staircase, whatever they promise.

        The estimates know one temperature cell. In a poor fit C can fall by
        hundreds where a temperature leaves it.
        """
        return [
            self._on_step(view, best.theta, position, float(z))
            for position in self.redshifts
            for z in np.clip(
                best.theta[position] + reach * np.linspace(-1, 1, PROBES),
                self.model.lower[position],
                self.model.upper[position],
            )
        ]

    def _fine(self, view: View, shapes: Shapes, best: Minimum) -> list[Minimum]:
        """Try the steps next to the best one, however small the hops between them."""
        ends = []
        for position in self.redshifts:
            stairs = self._survey(view, shapes, best.theta, position, FINE_REACH, ALL_HOPS)
            for i in np.argsort(stairs.cstat, kind="stable")[:FINE_STEPS]:
                if stairs.cstat[i] < best.cstat:
                    ends.append(self._on_step(view, best.theta, position, stairs.middle[i]))
                    best = min(best, ends[-1], key=by_cstat)
        return ends

    def _down_stairs(
        self,
        view: View,
        shapes: Shapes,
        rivals: Sequence[Minimum],
        reach: float,
        error: float,
    ) -> list[Minimum]:
        """Go down on the lowest steps of every free redshift in turn; return where these end.

        As z changes, lines hop from bin to bin, and C between two hops is
        nearly constant: a staircase, of which the smooth tables know only the
        mean. The steps that promise the lowest C, whichever rival they belong
        to, are descended to.
        """
        lowest, ends, missed = rivals[0], [], []
        for position in self.redshifts:
            steps: list[tuple[float, float, Floats]] = []
            for rival in rivals:
                stairs = self._survey(view, shapes, rival.theta, position, reach)
                best = np.argsort(stairs.cstat, kind="stable")[:STEPS_TRIED]
                steps += [(stairs.cstat[i], stairs.middle[i], rival.theta) for i in best]
            steps.sort(key=lambda step: step[0])
            for estimate, z, theta in steps[:STEPS_TRIED]:
                if estimate > lowest.cstat + error:
                    break
                ends.append(self._on_step(view, theta, position, z))
                lowest = min(lowest, ends[-1], key=by_cstat)
                missed.append(ends[-1].cstat - estimate)
                if len(missed) >= CALIBRATED:
                    # Estimates are off by about as much on all steps.
                    error = min(error, MISSED - min(missed))
        return ends

    def _survey(
        self,
        view: View,
        shapes: Shapes,
        theta: Floats,
        position: int,
        reach: float,
        most: int = MOST_HOPS,
    ) -> staircase.Survey:
        z = theta[position]
        low = max(self.model.lower[position], z - reach)
        high = min(self.model.upper[position], z + reach)
        problem = staircase.Problem(view, self.tables.touch(shapes, theta), self.others)
        return staircase.survey(problem, theta, position, (low, high), most)

    def _on_step(self, view: View, theta: Floats, position: int, redshift: float) -> Minimum:
        """Descend on one step."""
        start = theta.copy()
        start[position] = redshift
        return self._beside(view, start)

    def _beside(self, view: View, start: Floats) -> Minimum:
        """Descend from a start, with no tables but of the temperatures beside those in it.

        Temperatures stay within a cell of where they are.
        """
        nodes, box = self._around(self.tables.cells(start))
        shapes = view.tables.exact(start, nodes)
        return self._descend(shapes, view.data, box, [start])[0]

    def _around(self, cells: tuple[int, ...]) -> tuple[Integers, Box]:
        """Return the nodes beside some cells, and the box between them."""
        if cells not in self._boxes:
            nodes, limits = self.tables.neighbourhood(cells)
            free, lower, upper = (
                self.others.free,
                self.others.lower.copy(),
                self.others.upper.copy(),
            )
            for i, p in enumerate(free.tolist()):
                if p in limits:
                    lower[i], upper[i] = max(lower[i], limits[p][0]), min(upper[i], limits[p][1])
            self._boxes[cells] = nodes, Box(free, lower, upper)
        return self._boxes[cells]

    def _information(self, data: Data, channels: Data, outcome: Outcome) -> Floats:
        # C has no curvature in z on a stair: that of the smooth tables.
        return self._smooth_information(
            self.tables.in_coarse_bins.data(channels), outcome.best.theta
        )

    def _smooth_information(self, coarse: Data, theta: Floats) -> Floats:
        return information(self.tables.touch(self.smooth, theta), coarse, self.box, theta)[0]

    def _result(self, outcome: Outcome, info: Floats, data: Data, channels: Data) -> FitResult:
        result, view = super()._result(outcome, info, data, channels), self._view(data, channels)
        nodes, _ = self._around(self.tables.cells(outcome.best.theta))
        shapes, errors = view.tables.exact(outcome.best.theta, nodes), dict(result.errors)
        for position in self.redshifts:
            if self.model.names[position] not in result.at_bound:
                # The smooth tables know about how far to look.
                smooth = errors[self.model.names[position]]
                _, half = self._spread(view, shapes, outcome.best, position, 1.0, smooth)
                errors |= {n: half for n, p in self.model.position.items() if p == position}
        return replace(result, errors=errors)

    def _spread(
        self,
        view: View,
        shapes: Shapes,
        best: Minimum,
        position: int,
        delta: float,
        guess: float = 0.0,
    ) -> tuple[staircase.Survey, float]:
        """Return the staircase around a minimum, and the error of the redshift from it."""
        fraction = erf(np.sqrt(delta / 2))
        reach = float(np.clip(SAFE * REACH * np.nan_to_num(guess), FINE_REACH, MOST_SPREAD))
        while True:
            stairs = self._survey(view, shapes, best.theta, position, reach, SPREAD_HOPS)
            half = staircase.half_width(stairs, best.theta[position], fraction)
            if half < reach / REACH or reach > MOST_SPREAD:
                return stairs, half
            reach *= 3

    def _profiled(self, data: Data, best: Minimum) -> list[tuple[Shapes, list[Minimum]]]:
        """Add the lowest steps about 1 sigma to both sides: other parameters go with them."""
        followed = super()._profiled(data, best)
        shapes, _ = followed[0]
        for position in self.redshifts:
            stairs, sigma = self._spread(View(self.tables, data), shapes, best, position, 1.0)
            away = (stairs.middle - best.theta[position]) / sigma
            for side in (-away, away):
                near = np.flatnonzero((side > 0.5) & (side < 2.0))
                if len(near) == 0:
                    continue
                start = best.theta.copy()
                start[position] = stairs.middle[near[np.argmin(stairs.cstat[near])]]
                there = self.tables.exact(start)
                (end,) = self._descend(there, data, self.others, [start])
                followed.append((there, self._rivals(data, there, end, CLOSE, MOST_CLOSE)))
        return followed

    def _strata(self, data: Data, best: Minimum) -> list[Stratum]:
        """Return the same at redshifts drawn from the likelihood of the steps of the staircase.

        Those of a Sobol sequence: as many between any two as likelihood.
        """
        (at_best,), view = super()._strata(data, best), View(self.tables, data)
        stairs = {
            position: self._spread(view, at_best.shapes, best, position, 1.0)[0]
            for position in self.redshifts
        }
        strata = []
        for place in sobol.points(STRATA, len(stairs)) + 0.5 / STRATA:
            thetas, log_density = [start.copy() for start in at_best.starts], 0.0
            for (position, survey), probability in zip(stairs.items(), place, strict=True):
                z, log = staircase.drawn(survey, float(probability))
                log_density += log
                for theta in thetas:
                    theta[position] = z
            shapes = self.tables.touch(self.tables.exact(thetas[0]), thetas[0])
            strata.append(Stratum(shapes, thetas, log_density))
        return strata

    def _interval(
        self, data: Data, best: Minimum, position: int, limits: tuple[float, float], sigma: float
    ) -> tuple[float, float]:
        if position not in self.redshifts:
            return super()._interval(data, best, position, limits, sigma)
        # C is a staircase, of which no profile is to be had.
        shapes = self.tables.exact(best.theta)
        delta = self.control.delta
        guess, view = sigma * float(np.sqrt(delta)), View(self.tables, data)
        _, half = self._spread(view, shapes, best, position, delta, guess)
        value = float(best.theta[position])
        return max(value - half, limits[0]), min(value + half, limits[1])
