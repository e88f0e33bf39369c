"""Many fits of one model: from a model and its tables to the lowest C.

A fit of one spectrum goes through three steps. A lattice of shape parameters
(`icflow.engines.lattice`) gives starting points. `icflow.engines.cstat.descend`
goes down from each in coarse bins, half as wide as the resolution: there the
same minima are found for a fraction of the work. The lowest of them are then
descended to at full resolution. Where the redshift is free, the first two
steps look for it on a table that is smooth in redshift, and the lowest step of
the staircase that C really is (`icflow.engines.staircase`) is looked for
around what they find.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import erf

import numpy as np
from numpy.typing import NDArray

from icflow.config import FitControl
from icflow.engines import cells, cstat, staircase
from icflow.engines.base import FitResult
from icflow.engines.cstat import SINGULAR, Box, Data, Minimum, Shapes
from icflow.engines.lattice import Lattice
from icflow.engines.parameters import Model
from icflow.engines.profile import end_of_interval
from icflow.engines.tables import Tables

Floats = NDArray[np.float64]

AGREE = 0.01  # in C: starts that end this close found the same minimum
CLOSE, MOST_CLOSE = 0.5, 3  # combinations of cells that may win: how much higher, how many
# Where the redshift is free.
SEARCH_EVERY = 4  # of the nodes of the searching table
PER_NODE, ROUGH_STARTS = 2, 6  # starts from each of them, and those that are followed
RIVAL_ROUGH = 50.0  # smooth minima that are followed are at most this much higher
RIVAL, MOST_RIVALS = 5.0, 6  # as CLOSE: a lower step may wait for a higher minimum
REACH = 5.0  # sigma of the redshift by which the staircase is searched to both sides
LEAST_REACH, MOST_REACH = 0.002, 0.004
ERROR_REACH = 0.0005  # as LEAST_REACH, for the error
MOST_HOPS = 240
FINE_REACH, FINE_STEPS, ALL_HOPS = 0.0005, 4, 10**6
STEPS_TRIED = 8
# By how much a step may turn out lower than estimated, from elsewhere and from the best one.
FIRST_ERROR, LATER_ERROR = 0.7, 0.1
GAIN = 0.002  # in C: a round that lowers it by less is the last
ROUNDS = 4


@dataclass(frozen=True)
class Found:
    """Where a search ended, how many starts it had, and how many of them led there."""

    best: Minimum
    starts: int
    agreeing: int


class FitterBase(ABC):
    """What fits by tables and by direct evaluation share: from a minimum to a result."""

    def __init__(self, model: Model, control: FitControl) -> None:
        self.model, self.control = model, control
        self.box = self._box(list(model.free))

    def _box(self, free: list[int]) -> Box:
        positions = np.array(free, dtype=np.int64)
        return Box(positions, self.model.lower[positions], self.model.upper[positions])

    def fit(self, data: Data, channel_counts: Floats, fixed: Mapping[int, float]) -> FitResult:
        """Fit one spectrum.

        Parameters
        ----------
        data : Data
            Binned counts of the noticed channels.
        channel_counts : ndarray, shape (n_channels,)
            The same before binning.
        fixed : mapping of int to float
            True values of parameters that are frozen at them, by position.
        """
        theta = self.model.start.copy()
        for position, value in fixed.items():
            theta[position] = value
        found = self._search(data, channel_counts, theta)
        result = self._result(
            found, self._information(data, channel_counts, found.best.theta), data
        )
        if self.control.errors == "profile":
            return replace(result, intervals=self._intervals(data, found.best, result))
        return result

    @abstractmethod
    def _search(self, data: Data, channel_counts: Floats, theta: Floats) -> Found:
        """Return the lowest minimum."""

    @abstractmethod
    def _information(self, data: Data, channel_counts: Floats, theta: Floats) -> Floats:
        """Return the observed information of the free parameters."""

    @abstractmethod
    def _profile(self, data: Data, best: Minimum, position: int) -> Callable[[float], float]:
        """Return C as a function of one parameter, minimised over the others."""

    def _intervals(
        self, data: Data, best: Minimum, result: FitResult
    ) -> dict[str, tuple[float, float]]:
        """Return the range of every free parameter in which C rises by less than delta."""
        intervals = {}
        for p, lower, upper in zip(*self.box, strict=True):
            name = self.model.names[p]
            intervals[name] = self._interval(
                data, best, int(p), (float(lower), float(upper)), result.errors[name]
            )
        return intervals

    def _interval(
        self, data: Data, best: Minimum, position: int, limits: tuple[float, float], sigma: float
    ) -> tuple[float, float]:
        value, delta = float(best.theta[position]), self.control.delta

        def end(side: int, limit: float) -> float:
            room = abs(limit - value)
            if room == 0:
                return value
            profile = self._profile(data, best, position)
            step = sigma * np.sqrt(delta) if 0 < sigma * np.sqrt(delta) < room else 0.1 * room
            return end_of_interval(
                lambda x: profile(x) - best.cstat, value, value + side * step, limit, delta
            )

        return end(-1, limits[0]), end(1, limits[1])

    def _result(self, found: Found, info: Floats, data: Data) -> FitResult:
        model, free, best = self.model, self.box.free, found.best
        # Steps end exactly on a bound, or off it.
        inside = (best.theta[free] > self.box.lower) & (best.theta[free] < self.box.upper)
        covariance = np.full(info.shape, np.nan)
        usable = np.flatnonzero(inside & (np.diag(info) > 0))
        covariance[np.ix_(usable, usable)] = _inverse(info[np.ix_(usable, usable)])
        sigma = np.zeros(len(model.names))
        with np.errstate(invalid="ignore"):
            sigma[free] = np.sqrt(np.diag(covariance))
        return FitResult(
            cstat=best.cstat,
            dof=len(data.counts) - len(free),
            bins=len(data.counts),
            converged=best.converged,
            starts=found.starts,
            agreeing=found.agreeing,
            iterations=best.iterations,
            gradient=best.decrement,
            values=model.values(best.theta),
            errors=model.values(sigma),
            free=tuple(model.names[p] for p in free),
            at_bound=tuple(model.names[p] for p in free[~inside]),
            covariance=covariance,
        )


class Fitter(FitterBase):
    """Fits of one model by its tables, any number of spectra."""

    def __init__(self, model: Model, tables: Tables, control: FitControl) -> None:
        super().__init__(model, control)
        self.tables = tables
        self.lattice = Lattice(model, tables)
        self.free_redshift = [p for p in dict.fromkeys(tables.redshift_of) if p in model.free]
        self.smooth = tables.smooth()
        self.box_exact = self._box([p for p in model.free if p not in self.free_redshift])

    def _search(self, data: Data, channel_counts: Floats, theta: Floats) -> Found:
        coarse = self.tables.coarse_data(channel_counts)
        if not self.free_redshift:
            found, shapes = self._at_redshift(data, coarse, theta, [])
            best = self._rivals(data, shapes, found.best, CLOSE, MOST_CLOSE)[0]
            return replace(found, best=best)
        # First the redshift, on tables that are smooth in it; then everything else, on the exact
        # ones; then the staircase; and again from where that ends, until it gains nothing.
        starts = self._redshift_starts(coarse.counts, theta)
        rough = self._descend(self.smooth, coarse, self.box, starts)
        ends: list[Found] = []
        for one in _separate(rough, RIVAL_ROUGH):
            reach = self._reach(coarse, one.theta)
            if not any(self._near(one.theta, end.best.theta, reach) for end in ends):
                ends.append(self._refine(data, coarse, one.theta, reach))
        return min(ends, key=lambda end: end.best.cstat)

    def _at_redshift(
        self, data: Data, coarse: Data, theta: Floats, more: Sequence[Floats]
    ) -> tuple[Found, Shapes]:
        """Search at the redshift in `theta`, from the lattice's starts and `more`.

        Returns
        -------
        found : Found
        shapes : Shapes
            The exact ones.
        """
        shapes = self.tables.exact(theta)
        blurred = self.tables.coarsen(shapes)
        starts = self.lattice.starts(blurred, coarse.counts, theta, self.control.starts)
        rough = self._descend(blurred, coarse, self.box_exact, [*more, *starts])
        near = _separate(rough, CLOSE)[:MOST_CLOSE]
        ends = self._descend(shapes, data, self.box_exact, [one.theta for one in near])
        best = min(range(len(ends)), key=lambda i: ends[i].cstat)
        agreeing = sum(abs(one.cstat - near[best].cstat) < AGREE for one in rough)
        return Found(ends[best], len(rough), agreeing), shapes

    def _rivals(
        self, data: Data, shapes: Shapes, best: Minimum, within: float, most: int
    ) -> list[Minimum]:
        """Return the lowest minima of all combinations of temperature cells, `best` included."""
        starts = cells.promising(shapes, data, self.box_exact, best.theta, within, most)
        ends = self._descend(shapes, data, self.box_exact, starts)
        return _separate([best, *ends], within)[:most]

    def _reach(self, coarse: Data, theta: Floats) -> float:
        """Return how far to both sides the staircase is searched."""
        info = cstat.information(self.smooth, coarse, self.box, theta)[0]
        places = [i for i, p in enumerate(self.box.free) if p in self.free_redshift]
        sigma = 1 / np.sqrt(max(info[places, places].min(), 1.0))
        return float(np.clip(REACH * sigma, LEAST_REACH, MOST_REACH))

    def _near(self, theta: Floats, other: Floats, reach: float) -> bool:
        """Tell whether two redshifts lie on staircases that were searched together."""
        return all(abs(theta[p] - other[p]) < reach for p in self.free_redshift)

    def _refine(self, data: Data, coarse: Data, theta: Floats, reach: float) -> Found:
        """Alternate between all minima at one redshift and the staircase around it."""
        found, shapes = self._at_redshift(data, coarse, theta, [theta])
        best = found.best
        for number in range(ROUNDS):
            rivals = self._rivals(data, shapes, best, RIVAL, MOST_RIVALS)
            best = rivals[0]
            error = FIRST_ERROR if number == 0 else LATER_ERROR
            end = self._down_stairs(data, shapes, rivals, reach, error)
            if end.cstat > best.cstat - GAIN:
                break
            shapes = self.tables.exact(end.theta)
            (best,) = self._descend(shapes, data, self.box_exact, [end.theta])
        return replace(found, best=self._fine(data, shapes, best))

    def _fine(self, data: Data, shapes: Shapes, best: Minimum) -> Minimum:
        """Try the steps next to the best one, however small the hops between them."""
        for position in self.free_redshift:
            found = self._survey(data, shapes, best.theta, position, FINE_REACH, ALL_HOPS)
            for i in np.argsort(found.cstat, kind="stable")[:FINE_STEPS]:
                if found.cstat[i] < best.cstat:
                    end = self._on_step(data, best.theta, position, found.middle[i])
                    best = min(best, end, key=_by_cstat)
        return best

    def _information(self, data: Data, channel_counts: Floats, theta: Floats) -> Floats:
        if not self.free_redshift:
            return cstat.information(self.tables.exact(theta), data, self.box, theta)[0]
        # C has no curvature in z on a stair: that of the smooth tables.
        coarse = self.tables.coarse_data(channel_counts)
        return cstat.information(self.smooth, coarse, self.box, theta)[0]

    def _result(self, found: Found, info: Floats, data: Data) -> FitResult:
        result = super()._result(found, info, data)
        if not self.free_redshift:
            return result
        errors = dict(result.errors)
        for position in self.free_redshift:
            name = self.model.names[position]
            half = self._redshift_error(data, found.best, position, result.errors[name], 1.0)
            errors |= {n: half for n, p in self.model.position.items() if p == position}
        return replace(result, errors=errors)

    def _redshift_error(
        self, data: Data, best: Minimum, position: int, sigma: float, delta: float
    ) -> float:
        """Return the error of a redshift, from the likelihood of the steps around it.

        Parameters
        ----------
        sigma : float
            1 sigma error of the smooth tables.
        """
        if not sigma > 0:
            return sigma
        reach = REACH * sigma * float(np.sqrt(delta))
        shapes = self.tables.exact(best.theta)
        found = self._survey(data, shapes, best.theta, position, max(reach, ERROR_REACH))
        return staircase.half_width(found, best.theta[position], erf(np.sqrt(delta / 2)))

    def _interval(
        self, data: Data, best: Minimum, position: int, limits: tuple[float, float], sigma: float
    ) -> tuple[float, float]:
        if position not in self.free_redshift:
            return super()._interval(data, best, position, limits, sigma)
        # C is a staircase, of which no profile is to be had.
        half = self._redshift_error(data, best, position, sigma, self.control.delta)
        value = float(best.theta[position])
        return max(value - half, limits[0]), min(value + half, limits[1])

    def _profile(self, data: Data, best: Minimum, position: int) -> Callable[[float], float]:
        shapes = self.tables.exact(best.theta)
        rivals = self._rivals(data, shapes, best, self.control.delta + RIVAL, 10)
        starts = [rival.theta for rival in rivals]
        box = self._box([p for p in self.box_exact.free if p != position])

        def lowest(value: float) -> float:
            every = [start.copy() for start in (*starts, best.theta)]
            for start in every:
                start[position] = value
            minima = self._descend(shapes, data, box, every)
            # The next value is close: go on from where these ended.
            starts[:] = [minimum.theta for minimum in minima[:-1]]
            return min(minimum.cstat for minimum in minima)

        return lowest

    def _descend(
        self, shapes: Shapes, data: Data, box: Box, starts: Sequence[Floats]
    ) -> list[Minimum]:
        limit = self.control.max_iterations
        return [Minimum(*cstat.descend(shapes, data, box, start, limit)) for start in starts]

    def _redshift_starts(self, counts: Floats, theta: Floats) -> list[Floats]:
        """Rank the lattice at several redshifts and return the best starts of all."""
        first, step = self.smooth.redshifts
        position = self.free_redshift[0]
        found: list[tuple[float, Floats]] = []
        for node in range(1, self.smooth.plasma.shape[1] - 1, SEARCH_EVERY):
            z = first + step * node
            if not self.model.lower[position] <= z <= self.model.upper[position]:
                continue
            shapes = self.smooth._replace(plasma=self.smooth.plasma[:, node : node + 1])
            here = theta.copy()
            for p in self.free_redshift:
                here[p] = z
            found += self.lattice.ranked(shapes, counts, here, PER_NODE)
        found.sort(key=lambda pair: pair[0])
        return [start for _, start in found[:ROUGH_STARTS]]

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
        for position in self.free_redshift:
            steps: list[tuple[float, float, Floats]] = []
            for rival in rivals:
                found = self._survey(data, shapes, rival.theta, position, reach)
                best = np.argsort(found.cstat, kind="stable")[:STEPS_TRIED]
                steps += [(found.cstat[i], found.middle[i], rival.theta) for i in best]
            steps.sort(key=lambda step: step[0])
            for estimate, z, theta in steps[:STEPS_TRIED]:
                if estimate > lowest.cstat + error:
                    break
                lowest = min(lowest, self._on_step(data, theta, position, z), key=_by_cstat)
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
        return staircase.survey(
            self.tables, shapes, data, self.box_exact, theta, position, low, high, most
        )

    def _on_step(self, data: Data, theta: Floats, position: int, redshift: float) -> Minimum:
        """Descend on one step; temperatures stay within a cell of where they are."""
        start = theta.copy()
        start[position] = redshift
        nodes, limits = self.tables.neighbourhood(start)
        box = self.box_exact
        for i, p in enumerate(box.free):
            if p in limits:
                box = box._replace(lower=box.lower.copy(), upper=box.upper.copy())
                box.lower[i] = max(box.lower[i], limits[p][0])
                box.upper[i] = min(box.upper[i], limits[p][1])
        return self._descend(self.tables.exact(start, nodes), data, box, [start])[0]


def _by_cstat(minimum: Minimum) -> float:
    return minimum.cstat


def _separate(minima: Sequence[Minimum], within: float) -> list[Minimum]:
    """Return the minima in order of C, those that agree with a lower one left out.

    None is more than `within` above the lowest.
    """
    kept: list[Minimum] = []
    for minimum in sorted(minima, key=_by_cstat):
        if not kept or kept[-1].cstat + AGREE < minimum.cstat < kept[0].cstat + within:
            kept.append(minimum)
    return kept


def _inverse(matrix: Floats) -> Floats:
    """Invert the information; NaN for parameters that the data do not determine.

    Two plasmas that share a temperature cell, or two components alike, can
    be exchanged for one another at no cost in C.
    """
    scale = 1 / np.sqrt(np.diag(matrix))
    values, vectors = np.linalg.eigh(matrix * np.outer(scale, scale))
    fixed = values > SINGULAR * values.max(initial=0.0)
    inverse = (vectors[:, fixed] / values[fixed]) @ vectors[:, fixed].T * np.outer(scale, scale)
    undetermined = (vectors[:, ~fixed] ** 2).sum(axis=1) > 1e-6
    inverse[undetermined] = inverse[:, undetermined] = np.nan
    return np.asarray(inverse)
