"""Many fits of one model: from a model and its tables to the lowest C.

A fit of one spectrum goes through four steps. A lattice of shape parameters
(`icflow.engines.embedded.lattice`) gives starting points. `icflow.statistic.descend`
goes down from each in coarse bins, half as wide as the resolution: there the
same minima are found for a fraction of the work. The lowest of them are then
descended to at full resolution. Last, all other combinations of temperature
cells are looked at at once (`icflow.engines.embedded.cells`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from icflow import statistic as cstat
from icflow.config import FitControl
from icflow.engines.base import FitResult
from icflow.engines.embedded import cells
from icflow.engines.embedded.lattice import Lattice
from icflow.engines.embedded.parameters import Model
from icflow.engines.embedded.profile import end_of_interval
from icflow.engines.embedded.tables import Tables
from icflow.statistic import SINGULAR, Box, Data, Minimum, Shapes
from icflow.typing import Floats

AGREE = 0.01  # in C: starts that end this close found the same minimum
CLOSE, MOST_CLOSE = 0.5, 3  # combinations of cells that may win: how much higher, how many
# The same for the minima that a profile follows.
PROFILED, MOST_PROFILED = 5.0, 10


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
    """Fits of one model by its tables, every redshift frozen; any number of spectra."""

    def __init__(self, model: Model, tables: Tables, control: FitControl) -> None:
        super().__init__(model, control)
        self.tables = tables
        self.lattice = Lattice(model, tables)
        # What is free at a given redshift.
        self.others = self.box

    def minima(
        self, channel_counts: Floats, theta: Floats, within: float, most: int
    ) -> tuple[Shapes, Data, list[Minimum]]:
        """Return the lowest minima in coarse bins, best first, and what they are minima of.

        Parameters
        ----------
        within : float
            How far in C above the lowest.
        most : int
            The largest number of them.
        """
        coarse = self.tables.coarse_data(channel_counts)
        shapes = self.tables.coarsen(self.tables.exact(theta))
        starts = self.lattice.starts(shapes, coarse.counts, theta, self.control.starts)
        rough = separate(self._descend(shapes, coarse, self.others, starts), within)
        rivals = self._rivals(coarse, shapes, rough[0], within, most)
        return shapes, coarse, separate([*rough, *rivals], within)[:most]

    def _search(self, data: Data, channel_counts: Floats, theta: Floats) -> Found:
        coarse = self.tables.coarse_data(channel_counts)
        found, shapes = self._at_redshift(data, coarse, theta, [])
        return replace(found, best=self._rivals(data, shapes, found.best, CLOSE, MOST_CLOSE)[0])

    def _information(self, data: Data, channel_counts: Floats, theta: Floats) -> Floats:
        return cstat.information(self.tables.exact(theta), data, self.box, theta)[0]

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
        rough = self._descend(blurred, coarse, self.others, [*more, *starts])
        near = separate(rough, CLOSE)[:MOST_CLOSE]
        ends = self._descend(shapes, data, self.others, [one.theta for one in near])
        best = min(range(len(ends)), key=lambda i: ends[i].cstat)
        agreeing = sum(abs(one.cstat - near[best].cstat) < AGREE for one in rough)
        return Found(ends[best], len(rough), agreeing), shapes

    def _rivals(
        self, data: Data, shapes: Shapes, best: Minimum, within: float, most: int
    ) -> list[Minimum]:
        """Return the lowest minima of all combinations of temperature cells, `best` included."""
        starts = cells.promising(shapes, data, self.others, best.theta, within, most)
        ends = self._descend(shapes, data, self.others, starts)
        return separate([best, *ends], within)[:most]

    def _profile(self, data: Data, best: Minimum, position: int) -> Callable[[float], float]:
        box = self._box([p for p in self.others.free if p != position])
        # The best fit is a start for every value; from the others, the next value, which is
        # close, goes on where they ended.
        tracks = [
            (shapes, rivals[0].theta, [rival.theta for rival in rivals])
            for shapes, rivals in self._profiled(data, best)
        ]

        def lowest(value: float) -> float:
            found = []
            for shapes, first, starts in tracks:
                every = [start.copy() for start in (*starts, first)]
                for start in every:
                    start[position] = value
                minima = self._descend(shapes, data, box, every)
                starts[:] = [minimum.theta for minimum in minima[:-1]]
                found += [minimum.cstat for minimum in minima]
            return min(found)

        return lowest

    def _profiled(self, data: Data, best: Minimum) -> list[tuple[Shapes, list[Minimum]]]:
        """Return the minima that a profile follows, by the shapes that they belong to."""
        shapes = self.tables.exact(best.theta)
        within = self.control.delta + PROFILED
        return [(shapes, self._rivals(data, shapes, best, within, MOST_PROFILED))]

    def _descend(
        self, shapes: Shapes, data: Data, box: Box, starts: Sequence[Floats]
    ) -> list[Minimum]:
        limit = self.control.max_iterations
        return [Minimum(*cstat.descend(shapes, data, box, start, limit)) for start in starts]


def by_cstat(minimum: Minimum) -> float:
    """Return C: the key to sort minima by."""
    return minimum.cstat


def separate(minima: Sequence[Minimum], within: float) -> list[Minimum]:
    """Return the minima in order of C, those that agree with a lower one left out.

    None is more than `within` above the lowest.
    """
    kept: list[Minimum] = []
    for minimum in sorted(minima, key=by_cstat):
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
