"""Many fits of one model: from a model and its tables to the lowest C.

A fit of one spectrum goes through four steps. A lattice of shape parameters
(`icflow.engines.embedded.lattice`) gives starting points. A descent
(`icflow.engines.embedded.descent`) from each in coarse bins, half as wide as
the resolution, leads to the same minima for a fraction of the work. The lowest
of them is then descended to at full resolution. Last, all other combinations
of temperature cells are looked at at once (`icflow.engines.embedded.cells`),
again from each that turns out lower.

Where no table holds a term, its tangents (`icflow.engines.embedded.direct`)
take its place: each descent goes as far as they can be trusted, and then on
with new ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from icflow.config import FitControl
from icflow.engines.base import FitResult
from icflow.engines.embedded import sobol
from icflow.engines.embedded.algebra import SINGULAR, inverse
from icflow.engines.embedded.cells import Cells, combine, promising
from icflow.engines.embedded.descent import Minimum, descents
from icflow.engines.embedded.deviations import DEVIATE
from icflow.engines.embedded.lattice import Lattice
from icflow.engines.embedded.marginal import (
    LEAST,
    MOST_REGIONS,
    WITHIN,
    Stratum,
    averaged,
)
from icflow.engines.embedded.parameters import Model
from icflow.engines.embedded.profile import end_of_interval
from icflow.engines.embedded.shapes import (
    BACKGROUND,
    KIND,
    PLASMA,
    ROW,
    Box,
    Shapes,
    information,
    model_counts,
)
from icflow.engines.embedded.tables import Tables, View
from icflow.errors import IcflowError
from icflow.statistic import Data, binned, statistic
from icflow.typing import Floats

AGREE = 0.01  # in C: starts that end this close found the same minimum
CLOSE, MOST_CLOSE = 0.5, 3  # combinations of cells that may win: how much higher, how many
# The same for the minima that a profile follows.
PROFILED, MOST_PROFILED = 5.0, 10

# Direct evaluation: points of a Sobol sequence from which starts are chosen, and starts from each.
SEEDS, PER_SEED = 32, 2
# How far tangents are trusted: at first, as a fraction of the range of a parameter; factors after
# steps that go as promised, and that do not; fractions of the promise that tell; and a fraction
# of the range that is nothing.
TRUST, WIDEN, NARROW = 0.1, 2.0, 0.25
GOOD, POOR = 0.75, 0.25
NOTHING, MOST_TANGENTS = 1e-7, 60
# Derivatives are numerical, and apec has steps in z: what is left at the bottom, in C.
DIRECT_ENOUGH, DIRECT_BOTTOM = 1e-4, 1.0


@dataclass(frozen=True)
class Outcome:
    """Where a search ended, how many starts it had, and how many of them led there.

    `shapes` are those that it ended with, `others` what else it came to close to the best.
    """

    best: Minimum
    starts: int
    agreeing: int
    shapes: Shapes
    others: Sequence[Minimum] = ()


class Fitter:
    """Fits of one model, every redshift that has a table frozen; any number of spectra.

    Attributes
    ----------
    box : Box
        What is free.
    others : Box
        What is free at given redshifts.
    """

    def __init__(self, model: Model, tables: Tables, control: FitControl) -> None:
        self.model, self.tables, self.control = model, tables, control
        self.box = self.others = model.box()
        self.lattice = Lattice(model, tables)
        self.direct = set(tables.direct.parameters)

    @cached_property
    def first(self) -> Box:
        """What is varied first, at given redshifts.

        Where no table holds a term, what is wrong with calibration and background stays: no cell
        of a temperature but that of the start is looked at, and in a wrong one deviates would take
        up whatever does not fit.
        """
        free = self.others.free.tolist()
        still = [p for p in free if self.model.names[p].startswith(DEVIATE)] if self.direct else []
        return self.model.box([p for p in free if p not in still])

    @cached_property
    def cells(self) -> Cells | None:
        """The combinations of temperature cells at given redshifts."""
        return combine(self.tables.terms, self.tables.temperatures, self.others)

    @cached_property
    def linear(self) -> bool:
        """Whether there are plasmas and fixed shapes alone.

        Then no minima are but those of combinations of cells.
        """
        kinds = set(self.tables.terms[:, KIND].tolist())
        return self.cells is not None and kinds <= {PLASMA, ROW, BACKGROUND}

    def fit(self, data: Data, channels: Data, fixed: Mapping[int, float]) -> FitResult:
        """Fit one spectrum.

        Parameters
        ----------
        data : Data
            Binned counts of the noticed channels.
        channels : Data
            The same before binning.
        fixed : mapping of int to float
            True values of parameters that are frozen at them, by position.
        """
        theta = self.model.start.copy()
        for position, value in fixed.items():
            theta[position] = value
        outcome = self._search(data, channels, theta)
        info = self._information(data, channels, outcome)
        result = self._result(outcome, info, data, channels)
        if self.control.errors == "hessian":
            return result
        return replace(result, intervals=self._intervals(data, outcome.best, result))

    def _intervals(
        self, data: Data, best: Minimum, result: FitResult
    ) -> dict[str, tuple[float, float]]:
        """Return an interval of every free parameter, by profile or averaged over the others.

        None where too few points would say what the average is.
        """
        given: dict[int, tuple[float, float]] = {}
        if self.control.errors == "marginal" and len(self.others.free):
            sample = averaged(data, self.others, self._strata(data, best), self.control)
            if sample.effective < LEAST:
                return {}
            given = sample.intervals(self.others, math.erf(math.sqrt(self.control.delta / 2)))
        intervals = {}
        for p, lower, upper in zip(*self.box, strict=True):
            name, limits = self.model.names[p], (float(lower), float(upper))
            intervals[name] = given.get(int(p)) or self._interval(
                data, best, int(p), limits, result.errors[name]
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

    def _result(self, outcome: Outcome, info: Floats, data: Data, channels: Data) -> FitResult:
        model, free, best = self.model, self.box.free, outcome.best
        # Steps end exactly on a bound, or off it.
        inside = (best.theta[free] > self.box.lower) & (best.theta[free] < self.box.upper)
        covariance = inverse(info, inside, np.nan, SINGULAR)
        sigma = np.zeros(len(model.names))
        with np.errstate(invalid="ignore"):
            sigma[free] = np.sqrt(np.diag(covariance))
        return FitResult(
            cstat=best.cstat,
            dof=len(data.counts) - len(free),
            bins=len(data.counts),
            converged=best.converged,
            starts=outcome.starts,
            agreeing=outcome.agreeing,
            iterations=best.iterations,
            gradient=best.decrement,
            values=model.values(best.theta),
            errors=model.values(sigma),
            free=tuple(model.names[p] for p in free),
            at_bound=tuple(model.names[p] for p in free[~inside]),
            covariance=covariance,
        )

    def minima(
        self, channels: Data, theta: Floats, within: float, most: int
    ) -> tuple[Shapes, Data, list[Minimum]]:
        """Return the lowest minima in coarse bins, best first, and what they are minima of.

        Every term needs a table of what is free in it.

        Parameters
        ----------
        within : float
            How far in C above the lowest.
        most : int
            The largest number of them.
        """
        tables = self.tables.in_coarse_bins
        shapes, coarse = tables.touch(tables.exact(theta), theta), tables.data(channels)
        starts = self._starts(shapes, coarse, theta)
        rough = separate(self._descend(shapes, coarse, self.others, starts), within)
        rivals = self._rivals(coarse, shapes, rough[0], within, most)
        return shapes, coarse, separate([*rough, *rivals], within)[:most]

    def _search(self, data: Data, channels: Data, theta: Floats) -> Outcome:
        coarse = self.tables.in_coarse_bins.data(channels)
        return self._at_redshift(View(self.tables, data), coarse, theta, [])

    def _information(self, data: Data, channels: Data, outcome: Outcome) -> Floats:
        theta = outcome.best.theta
        return information(self.tables.touch(outcome.shapes, theta), data, self.box, theta)[0]

    def _at_redshift(
        self, view: View, coarse: Data, theta: Floats, more: Sequence[Floats]
    ) -> Outcome:
        """Search at the redshift in `theta`, from the lattice's starts and `more`."""
        shapes = view.tables.exact(theta)
        blurred = self.tables.blurred(shapes, view.tables.runs)
        starts = self._starts(blurred, coarse, theta)
        rough = self._descend(blurred, coarse, self.first, [*more, *starts], True)
        near = separate(rough, CLOSE)[: 1 if self.linear else MOST_CLOSE]
        agreeing = sum(minimum.cstat < near[0].cstat + AGREE for minimum in rough)
        ends = self._descend(shapes, view.data, self.others, [minimum.theta for minimum in near])
        best, *others = self._settled(view.data, shapes, min(ends, key=by_cstat))
        return Outcome(best, len(rough), agreeing, shapes, others)

    def _settled(self, data: Data, shapes: Shapes, best: Minimum) -> list[Minimum]:
        """Return the lowest minima of all combinations of temperature cells, best first.

        They are looked at again from each that is lower: the farther away, the
        less is known about them.
        """
        minima = [best]
        while True:
            for start in self._promising(data, shapes, best.theta, CLOSE, MOST_CLOSE):
                (end,) = self._descend(shapes, data, self.others, [start])
                minima.append(end)
                if end.cstat < best.cstat - AGREE:
                    break
                best = min(best, end, key=by_cstat)
            else:
                return separate(minima, CLOSE)
            best = end

    def _rivals(
        self, data: Data, shapes: Shapes, best: Minimum, within: float, most: int
    ) -> list[Minimum]:
        """Return the lowest minima of all combinations of temperature cells, `best` included."""
        starts = self._promising(data, shapes, best.theta, within, most)
        ends = self._descend(shapes, data, self.others, starts)
        return separate([best, *ends], within)[:most]

    def _promising(
        self, data: Data, shapes: Shapes, theta: Floats, within: float, most: int
    ) -> list[Floats]:
        """Return starts in other combinations of temperature cells than that of a minimum."""
        if self.cells is None:
            return []
        here = self.tables.touch(shapes, theta)
        return list(promising(here, data, self.others, self.cells, theta, within, most))

    def _profile(self, data: Data, best: Minimum, position: int) -> Callable[[float], float]:
        box = self.model.box([p for p in self.others.free if p != position])
        # The best fit is a start for every value; from the others, the next value, which is
        # close, goes on where they ended.
        tracks = [
            (shapes, rivals[0].theta, [rival.theta for rival in rivals])
            for shapes, rivals in self._profiled(data, best)
        ]

        def lowest(value: float) -> float:
            values = []
            for shapes, first, starts in tracks:
                every = [start.copy() for start in (*starts, first)]
                for start in every:
                    start[position] = value
                minima = self._descend(shapes, data, box, every)
                starts[:] = [minimum.theta for minimum in minima[:-1]]
                values += [minimum.cstat for minimum in minima]
            return min(values)

        return lowest

    def _profiled(self, data: Data, best: Minimum) -> list[tuple[Shapes, list[Minimum]]]:
        """Return the minima that a profile follows, by the shapes that they belong to."""
        shapes = self.tables.exact(best.theta)
        within = self.control.delta + PROFILED
        return [(shapes, self._rivals(data, shapes, best, within, MOST_PROFILED))]

    def _strata(self, data: Data, best: Minimum) -> list[Stratum]:
        """Return what the likelihood is averaged over."""
        shapes = self.tables.touch(self.tables.exact(best.theta), best.theta)
        rivals = self._rivals(data, shapes, best, WITHIN, MOST_REGIONS)
        return [Stratum(shapes, [best.theta, *(rival.theta for rival in rivals)])]

    def _starts(self, shapes: Shapes, coarse: Data, theta: Floats) -> list[Floats]:
        """Return the most promising starting points, in coarse bins."""
        ranked = self._ranked(self.lattice, shapes, coarse, [theta], self.control.starts)
        return [start for _, start in ranked]

    def _ranked(
        self,
        lattice: Lattice,
        shapes: Shapes,
        coarse: Data,
        thetas: Sequence[Floats],
        number: int,
    ) -> list[tuple[float, Floats]]:
        """Return so many (approximate C, starting point) pairs for each redshift, best first.

        What no table holds is evaluated at points all over its limits, and
        the lattice ranked at each.
        """
        if not self.tables.direct.terms:
            return lattice.ranked_along(shapes, coarse, thetas, number)
        pairs: list[tuple[float, Floats]] = []
        for node, theta in enumerate(thetas):
            at_node = shapes._replace(plasma=shapes.plasma[node : node + 1])
            ranked: list[tuple[float, Floats]] = []
            for point in self._seeds(theta):
                try:
                    here = self.tables.touch(at_node, point, tangents=False)
                except IcflowError:
                    continue  # a corner in which a model is zero or not finite
                ranked += lattice.ranked(here, coarse, point, PER_SEED)
            pairs += sorted(ranked, key=lambda pair: pair[0])[:number]
        if not pairs:
            names = ", ".join(self.model.names[p] for p in sorted(self.direct))
            raise IcflowError(
                f"the model cannot be evaluated anywhere within the limits of {names}; give limits "
                "within which it is finite and not zero"
            )
        return sorted(pairs, key=lambda pair: pair[0])

    def _seeds(self, theta: Floats) -> list[Floats]:
        """Spread the parameters that no table holds over their limits; given starts stay."""
        model, unknown = self.model, [p for p in sorted(self.direct) if np.isnan(theta[p])]
        if not unknown:
            return [theta]
        points = []
        for fractions in sobol.points(SEEDS, len(unknown)):
            point = theta.copy()
            for p, fraction in zip(unknown, fractions, strict=True):
                point[p] = _between(fraction, model.lower[p], model.upper[p])
            points.append(point)
        return points

    def _descend(
        self,
        shapes: Shapes,
        data: Data,
        box: Box,
        starts: Sequence[Floats],
        rough: bool = False,
    ) -> list[Minimum]:
        limit = self.control.max_iterations
        if self.direct.intersection(box.free.tolist()):
            return [self._descend_directly(shapes, data, box, start) for start in starts]
        if self.direct:
            return [
                descents(self.tables.touch(shapes, start), data, box, [start], limit)[0]
                for start in starts
            ]
        return descents(shapes, data, box, starts, limit, rough)

    def _descend_directly(self, shapes: Shapes, data: Data, box: Box, start: Floats) -> Minimum:
        """Go down along tangents, which are made anew wherever a descent along them ends."""
        free, span, limit = box.free, box.upper - box.lower, self.control.max_iterations
        theta = start.copy()
        theta[free] = np.clip(theta[free], box.lower, box.upper)
        here = self.tables.touch(shapes, theta)
        value, iterations = _value(here, data, theta), 0
        trust = np.where(np.isin(free, list(self.direct)), TRUST * span, np.inf)
        for _ in range(MOST_TANGENTS):
            low = np.maximum(box.lower, theta[free] - trust)
            high = np.minimum(box.upper, theta[free] + trust)
            end = descents(here, data, Box(free, low, high), [theta], limit)[0]
            iterations, promise = iterations + end.iterations, value - end.cstat
            if promise < DIRECT_ENOUGH:
                break
            there = self.tables.touch(shapes, end.theta, tangents=False)
            gain = value - _value(there, data, end.theta)
            if gain > 0:
                theta, value = end.theta, value - gain
                here = self.tables.touch(shapes, theta)
            if gain < POOR * promise:
                trust = NARROW * trust
            elif gain > GOOD * promise:
                trust = WIDEN * trust
            if np.all(trust[np.isfinite(trust)] < NOTHING * span[np.isfinite(trust)]):
                break
        rest = value - descents(here, data, box, [theta], limit)[0].cstat
        return Minimum(theta, value, iterations, max(rest, 0.0), rest < DIRECT_BOTTOM)


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


def _value(shapes: Shapes, data: Data, theta: Floats) -> float:
    return float(statistic(data, binned(data, model_counts(shapes, theta))))


def _between(fraction: float, low: float, high: float) -> float:
    """Place a fraction between limits, evenly in the logarithm where they span decades."""
    if low > 0 and high / low > 20:
        return float(low * (high / low) ** fraction)
    return low + fraction * (high - low)
