"""Fits with a free redshift.

C is a staircase in redshift (`icflow.engines.embedded.staircase`). A search on tables
that are smooth in redshift leads to the right neighbourhood; there, fits with
the redshift frozen and surveys of the staircase take turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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
from icflow.engines.embedded.marginal import Stratum
from icflow.engines.embedded.parameters import Model
from icflow.engines.embedded.shapes import Shapes, information
from icflow.engines.embedded.tables import Tables
from icflow.statistic import Data
from icflow.typing import Floats

# The search on the smooth tables: every so many nodes, starts from each, starts that are followed.
SEARCH_EVERY, PER_NODE, ROUGH_STARTS = 4, 2, 6
RIVAL_ROUGH = 50.0  # in C: smooth minima that are followed are at most this much higher
# Combinations of cells that are followed, for a lower step may wait for a higher minimum: how
# much higher in C, how many.
RIVAL, MOST_RIVALS = 5.0, 6
# How far the staircase is surveyed to both sides: sigma, and limits.
REACH, LEAST_REACH, MOST_REACH = 5.0, 0.002, 0.004
MOST_HOPS, STEPS_TRIED = 240, 8
# By how much a step may turn out lower than estimated, from elsewhere and from the best one.
FIRST_ERROR, LATER_ERROR = 0.7, 0.1
GAIN, ROUNDS = 0.002, 4  # a round that lowers C by less is the last; most rounds
POOR, PROBES = 1.1, 10  # a fit with more C per bin is probed at so many redshifts
# The last survey, in which every hop counts.
FINE_REACH, FINE_STEPS, ALL_HOPS = 0.0005, 4, 10**6
# The survey behind the error of the redshift: hops, and the reach beyond which there is no error.
SPREAD_HOPS, MOST_SPREAD = 100, 0.2
STRATA = 16  # redshifts at which the likelihood is averaged over all else: a power of two
SAFE = 1.5  # the error of the staircase is larger than that of the smooth tables


class RedshiftFitter(Fitter):
    """Fits of one model by its tables, at least one redshift free."""

    def __init__(self, model: Model, tables: Tables, control: FitControl) -> None:
        super().__init__(model, tables, control)
        self.redshifts = [p for p in dict.fromkeys(tables.redshift_of) if p in model.free]
        self.others = model.box([p for p in model.free if p not in self.redshifts])
        self.smooth = tables.smooth()

    def _search(self, data: Data, channels: Data, theta: Floats) -> Outcome:
        coarse = self.tables.coarse_data(channels)
        starts = self._starts_at_redshifts(coarse, theta)
        rough = self._descend(self.smooth, coarse, self.box, starts)
        ends: list[Outcome] = []
        for start in separate(rough, RIVAL_ROUGH):
            reach = self._reach(coarse, start.theta)
            if not any(self._near(start.theta, end.best.theta, reach) for end in ends):
                ends.append(self._refine(data, coarse, start.theta, reach))
        return min(ends, key=lambda end: end.best.cstat)

    def _starts_at_redshifts(self, coarse: Data, theta: Floats) -> list[Floats]:
        """Rank the lattice at several redshifts and return the best starts of all."""
        first, step = self.smooth.redshifts
        position = self.redshifts[0]
        ranked: list[tuple[float, Floats]] = []
        for node in range(1, len(self.smooth.plasma) - 1, SEARCH_EVERY):
            z = first + step * node
            if not self.model.lower[position] <= z <= self.model.upper[position]:
                continue
            shapes = self.smooth._replace(plasma=self.smooth.plasma[node : node + 1])
            here = theta.copy()
            here[self.redshifts] = z
            ranked += self._ranked(shapes, coarse, here, PER_NODE)
        ranked.sort(key=lambda pair: pair[0])
        return [start for _, start in ranked[:ROUGH_STARTS]]

    def _reach(self, coarse: Data, theta: Floats) -> float:
        """Return how far to both sides the staircase is searched."""
        info = self._smooth_information(coarse, theta)
        places = [i for i, p in enumerate(self.box.free) if p in self.redshifts]
        sigma = 1 / np.sqrt(max(info[places, places].min(), 1.0))
        return float(np.clip(REACH * sigma, LEAST_REACH, MOST_REACH))

    def _near(self, theta: Floats, other: Floats, reach: float) -> bool:
        """Tell whether two redshifts lie on staircases that were searched together."""
        return all(abs(theta[p] - other[p]) < reach for p in self.redshifts)

    def _refine(self, data: Data, coarse: Data, theta: Floats, reach: float) -> Outcome:
        """Alternate between all minima at one redshift and the staircase around it."""
        outcome = self._at_redshift(data, coarse, theta, [theta])
        best, shapes = outcome.best, outcome.shapes
        for number in range(ROUNDS):
            if number > 0:
                best = self._settled(data, shapes, best)
            rivals = [best, *self._others(coarse, shapes, best.theta)]
            error = FIRST_ERROR if number == 0 else LATER_ERROR
            end = self._down_stairs(data, shapes, rivals, reach, error)
            if number == 0 and end.cstat > POOR * len(data.counts):
                end = min([end, *self._probe(data, end, reach)], key=by_cstat)
            if end.cstat > best.cstat - GAIN:
                break
            shapes = self.tables.exact(end.theta)
            (best,) = self._descend(shapes, data, self.others, [end.theta])
        return replace(outcome, best=self._fine(data, shapes, best))

    def _others(self, coarse: Data, shapes: Shapes, theta: Floats) -> list[Minimum]:
        """Return the minima in coarse bins of other combinations of temperature cells."""
        blurred = self.tables.coarsen(shapes)
        (here,) = self._descend(blurred, coarse, self.others, [theta])
        rivals = self._rivals(coarse, blurred, here, RIVAL, MOST_RIVALS)
        return [rival for rival in rivals if abs(rival.cstat - here.cstat) > AGREE]

    def _probe(self, data: Data, best: Minimum, reach: float) -> list[Minimum]:
        """Try steps all over the staircase, whatever they promise.

        The estimates know one temperature cell. In a poor fit C can fall by
        hundreds where a temperature leaves it.
        """
        return [
            self._on_step(data, best.theta, position, float(z))
            for position in self.redshifts
            for z in np.clip(
                best.theta[position] + reach * np.linspace(-1, 1, PROBES),
                self.model.lower[position],
                self.model.upper[position],
            )
        ]

    def _fine(self, data: Data, shapes: Shapes, best: Minimum) -> Minimum:
        """Try the steps next to the best one, however small the hops between them."""
        for position in self.redshifts:
            stairs = self._survey(data, shapes, best.theta, position, FINE_REACH, ALL_HOPS)
            for i in np.argsort(stairs.cstat, kind="stable")[:FINE_STEPS]:
                if stairs.cstat[i] < best.cstat:
                    end = self._on_step(data, best.theta, position, stairs.middle[i])
                    best = min(best, end, key=by_cstat)
        return best

    def _down_stairs(
        self,
        data: Data,
        shapes: Shapes,
        rivals: Sequence[Minimum],
        reach: float,
        error: float,
    ) -> Minimum:
        """Go to the lowest step of every free redshift in turn.

        As z changes, lines hop from bin to bin, and C between two hops is
        nearly constant: a staircase, of which the smooth tables know only the
        mean. The steps that promise the lowest C, whichever rival they belong
        to, are descended to in full.
        """
        lowest = rivals[0]
        for position in self.redshifts:
            steps: list[tuple[float, float, Floats]] = []
            for rival in rivals:
                stairs = self._survey(data, shapes, rival.theta, position, reach)
                best = np.argsort(stairs.cstat, kind="stable")[:STEPS_TRIED]
                steps += [(stairs.cstat[i], stairs.middle[i], rival.theta) for i in best]
            steps.sort(key=lambda step: step[0])
            for estimate, z, theta in steps[:STEPS_TRIED]:
                if estimate > lowest.cstat + error:
                    break
                lowest = min(lowest, self._on_step(data, theta, position, z), key=by_cstat)
        return lowest

    def _survey(
        self,
        data: Data,
        shapes: Shapes,
        theta: Floats,
        position: int,
        reach: float,
        most: int = MOST_HOPS,
    ) -> staircase.Survey:
        z = theta[position]
        low = max(self.model.lower[position], z - reach)
        high = min(self.model.upper[position], z + reach)
        problem = staircase.Problem(self.tables.touch(shapes, theta), data, self.others)
        return staircase.survey(self.tables, problem, theta, position, (low, high), most)

    def _on_step(self, data: Data, theta: Floats, position: int, redshift: float) -> Minimum:
        """Descend on one step; temperatures stay within a cell of where they are."""
        start = theta.copy()
        start[position] = redshift
        nodes, limits = self.tables.neighbourhood(start)
        box = self.others
        for i, p in enumerate(box.free):
            if p in limits:
                box = box._replace(lower=box.lower.copy(), upper=box.upper.copy())
                box.lower[i] = max(box.lower[i], limits[p][0])
                box.upper[i] = min(box.upper[i], limits[p][1])
        return self._descend(self.tables.exact(start, nodes), data, box, [start])[0]

    def _information(self, data: Data, channels: Data, outcome: Outcome) -> Floats:
        # C has no curvature in z on a stair: that of the smooth tables.
        return self._smooth_information(self.tables.coarse_data(channels), outcome.best.theta)

    def _smooth_information(self, coarse: Data, theta: Floats) -> Floats:
        return information(self.tables.touch(self.smooth, theta), coarse, self.box, theta)[0]

    def _result(self, outcome: Outcome, info: Floats, data: Data) -> FitResult:
        result = super()._result(outcome, info, data)
        nodes, _ = self.tables.neighbourhood(outcome.best.theta)
        shapes, errors = self.tables.exact(outcome.best.theta, nodes), dict(result.errors)
        for position in self.redshifts:
            if self.model.names[position] not in result.at_bound:
                # The smooth tables know about how far to look.
                smooth = errors[self.model.names[position]]
                _, half = self._spread(data, shapes, outcome.best, position, 1.0, smooth)
                errors |= {n: half for n, p in self.model.position.items() if p == position}
        return replace(result, errors=errors)

    def _spread(
        self,
        data: Data,
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
            stairs = self._survey(data, shapes, best.theta, position, reach, SPREAD_HOPS)
            half = staircase.half_width(stairs, best.theta[position], fraction)
            if half < reach / REACH or reach > MOST_SPREAD:
                return stairs, half
            reach *= 3

    def _profiled(self, data: Data, best: Minimum) -> list[tuple[Shapes, list[Minimum]]]:
        """Add the lowest steps about 1 sigma to both sides: other parameters go with them."""
        followed = super()._profiled(data, best)
        shapes, _ = followed[0]
        for position in self.redshifts:
            stairs, sigma = self._spread(data, shapes, best, position, 1.0)
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
        (at_best,) = super()._strata(data, best)
        stairs = {
            position: self._spread(data, at_best.shapes, best, position, 1.0)[0]
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
        _, half = self._spread(data, shapes, best, position, delta, sigma * float(np.sqrt(delta)))
        value = float(best.theta[position])
        return max(value - half, limits[0]), min(value + half, limits[1])
