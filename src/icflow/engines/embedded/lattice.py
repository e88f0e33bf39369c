"""Where to start a fit: a lattice of shape parameters, ranked.

Every combination of table temperatures, abundances and redshifts is judged by
the best non-negative norms in a quadratic approximation of C, which costs a
microsecond a point.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from icflow.compiled import put, strict
from icflow.engines.embedded.algebra import solve
from icflow.engines.embedded.parameters import Model
from icflow.engines.embedded.shapes import (
    BACKGROUND,
    CURVE,
    FIRST,
    KIND,
    NORM,
    PLASMA,
    ROW,
    SECOND,
    TABLE,
    Shapes,
    factors,
    sources,
)
from icflow.engines.embedded.symmetry import exchangeable, is_first, orders
from icflow.engines.embedded.tables import Tables
from icflow.statistic import Data, net
from icflow.typing import Floats, Integers

ABUNDANCES = (0.15, 0.4, 0.8)  # at which the lattice looks
CURVE_PROBES = 5
MOST_POINTS = 100_000  # that it looks at


class _Points(NamedTuple):
    """The points of the lattice.

    Attributes
    ----------
    rows, weights : ndarray, shape (n_points, n_sources, 2)
        Which rows the shape of each source is made of, and how much of each.
    combinations : ndarray of int, shape (n_points, n_slots)
        Which value each slot has.
    values : ndarray, shape (n_points, n_slots)
        These.
    """

    rows: Integers
    weights: Floats
    combinations: Integers
    values: Floats


class Lattice:
    """Ranks combinations of shape parameters by the C that the best norms give them."""

    def __init__(self, model: Model, tables: Tables, every: int = 1) -> None:
        """Lay the lattice out; of the temperatures of the tables, it holds one of `every`."""
        self.model, self.tables = model, tables
        self.temperatures = temperatures = tables.temperatures[::every]
        self.sources = sources(tables.terms)
        self._norms_free = np.isin(self.sources[:, NORM], model.free)
        backgrounds = tables.terms[tables.terms[:, KIND] == BACKGROUND]
        self.background_rows, self.background_norms = backgrounds[:, TABLE], backgrounds[:, NORM]
        self.n_plasma = 2 * len(temperatures) * len(tables.plasma)
        # Slots: shape parameters that the lattice varies, each with its values.
        self.slots: dict[int, Floats] = {}
        for term in self.sources:
            if term[KIND] == PLASMA:
                self._add_slot(term[FIRST], temperatures)
                self._add_slot(term[SECOND], np.array(ABUNDANCES))
            elif term[KIND] == CURVE:
                _, n, first, step = tables.curves[term[TABLE]]
                self._add_slot(term[FIRST], first + step * np.linspace(1, n - 2, CURVE_PROBES))
        self._thin()
        self.images = orders(exchangeable(self.sources, model.box()), list(self.slots))
        # One row even where there is but one order.
        self._images = np.array(self.images, dtype=np.int64).reshape(-1, max(len(self.slots), 1))
        self._points: _Points | None = None

    def _add_slot(self, position: int, values: Floats) -> None:
        if position in self.slots:
            return
        model = self.model
        if position not in model.free:
            self.slots[position] = np.array([model.start[position]])
            return
        low, high = model.lower[position], model.upper[position]
        inside = values[(values >= low) & (values <= high)]
        self.slots[position] = inside if len(inside) else np.array([0.5 * (low + high)])

    def _thin(self) -> None:
        """Leave out every second value of the longest slots while there are too many points."""
        while math.prod(map(len, self.slots.values())) > MOST_POINTS:
            position = max(self.slots, key=lambda p: len(self.slots[p]))
            self.slots[position] = self.slots[position][::2]
            longest = len(self.slots[position])
            for other, values in self.slots.items():
                if len(values) > longest:
                    self.slots[other] = values[::2]

    def ranked(
        self, shapes: Shapes, data: Data, theta: Floats, number: int
    ) -> list[tuple[float, Floats]]:
        """Return (approximate C, starting point) pairs, best first."""
        return self.ranked_along(shapes, data, [theta], number)

    def ranked_along(
        self, shapes: Shapes, data: Data, thetas: Sequence[Floats], number: int
    ) -> list[tuple[float, Floats]]:
        """Return so many pairs for each of several redshifts, best first.

        Parameters
        ----------
        shapes : Shapes
            With as many redshifts; temperatures are those of the lattice.
        thetas : sequence of ndarray
            What is not searched, and the redshift, at each.
        """
        values = [
            v if not np.isnan(v[0]) else np.array([thetas[0][p]]) for p, v in self.slots.items()
        ]
        if self._points is None or any(np.isnan(v[0]) for v in self.slots.values()):
            self._points = self._combinations(values)
        points, every = self._points, np.array(thetas)
        normal = self._normal_equations(shapes, data, thetas[0])
        best = _best(*normal, self._held(every), points, self._images, number)
        node, chosen, scores, norms = best
        starts = self._starts(every[node], points.values[chosen], norms)
        order = np.argsort(scores, kind="stable")
        return list(zip(scores[order].tolist(), starts[order], strict=True))

    def _held(self, thetas: Floats) -> Floats:
        """Return the norms of the sources that are not free, NaN for those that are."""
        held = np.where(self._norms_free, np.nan, thetas[:, self.sources[:, NORM]])
        # In one order, for which alone what follows is compiled.
        return np.ascontiguousarray(held)

    def _normal_equations(self, shapes: Shapes, data: Data, theta: Floats) -> tuple[Floats, Floats]:
        """Return the quadratic approximation of C/2 in the norms of all source rows.

        Background factors are marginalised over their ranges.

        Returns
        -------
        gram : ndarray, shape (n_redshifts, n_rows, n_rows)
        pull : ndarray, shape (n_redshifts, n_rows)
        """
        n_z, (n_rows, n_bins) = len(shapes.plasma), shapes.rows.shape
        rows = np.empty((n_z, self.n_plasma + n_rows, n_bins))
        rows[:, : self.n_plasma] = shapes.plasma.reshape(n_z, self.n_plasma, n_bins)
        rows[:, self.n_plasma :] = shapes.rows
        b = self.n_plasma + self.background_rows
        if len(shapes.modules):
            own = rows[:, b]
            rows *= factors(shapes, theta)
            rows[:, b] = own
        window = np.ones(3) / 3
        counts, variance = net(data)
        weight = 1 / np.maximum(np.convolve(variance, window, mode="same"), 1 / 3)
        norms = self.background_norms
        low, high = self.model.lower[norms], self.model.upper[norms]
        spread = np.maximum((high - low) / np.sqrt(12), 1e-9)
        return _equations(rows, weight, counts, b, 0.5 * (low + high), spread)

    def _combinations(self, values: list[Floats]) -> _Points:
        """Return every lattice point."""
        sizes = [len(v) for v in values]
        # One point where there is nothing to vary.
        combinations = np.indices(sizes).reshape(len(sizes), math.prod(sizes)).T
        # One of all mirror images is enough.
        combinations = combinations[is_first(combinations, self.images)]
        slot = {position: i for i, position in enumerate(self.slots)}
        n, m = len(combinations), len(self.sources)
        rows, weights = np.zeros((n, m, 2), dtype=np.int64), np.zeros((n, m, 2))
        weights[..., 0] = 1.0
        temperatures = self.temperatures
        for s, term in enumerate(self.sources):
            kind, table = term[KIND], term[TABLE]
            if kind == ROW:
                rows[:, s, 0] = self.n_plasma + table
                continue
            i = slot[term[FIRST]]
            value = values[i][combinations[:, i]]
            if kind == CURVE:
                first_row, count, first, step = self.tables.curves[table]
                nearest = np.clip(np.rint((value - first) / step), 0, count - 1)
                rows[:, s, 0] = self.n_plasma + first_row + nearest
                continue
            node = np.abs(temperatures - value[:, None]).argmin(axis=1)
            rows[:, s, 0] = (table * len(temperatures) + node) * 2
            rows[:, s, 1] = rows[:, s, 0] + 1
            j = slot[term[SECOND]]
            weights[:, s, 1] = values[j][combinations[:, j]]
        if not sizes:
            return _Points(rows, weights, combinations, np.empty((1, 0)))
        chosen = [v[combinations[:, i]] for i, v in enumerate(values)]
        return _Points(rows, weights, combinations, np.column_stack(chosen))

    def _starts(self, starts: Floats, values: Floats, norms: Floats) -> Floats:
        """Return the parameters of some points, shape (n_points, n_parameters)."""
        model, free = self.model, np.array(self.model.free, dtype=np.int64)
        starts[:, list(self.slots)] = values
        starts[:, self.sources[:, NORM]] = norms
        given = model.start[free]
        starts[:, free] = np.where(np.isnan(given), starts[:, free], given)
        starts[:, free] = np.clip(starts[:, free], model.lower[free], model.upper[free])
        return starts


@strict
def _equations(
    rows: Floats, weight: Floats, counts: Floats, beside: Integers, middle: Floats, spread: Floats
) -> tuple[Floats, Floats]:
    """Return weighted products of rows with one another and with counts, for each redshift.

    Those beside, whose norms are known but for a spread, are marginalised over.
    """
    n_z, n_rows, n_bins = rows.shape
    grams, pulls = np.empty((n_z, n_rows, n_rows)), np.empty((n_z, n_rows))
    weighted, b = np.empty((n_rows, n_bins)), len(beside)
    precision, held, factor = np.empty((b, b)), np.empty((n_rows, b)), np.empty((b, b))
    right, every, project = np.empty(b), np.arange(b), np.empty(b)
    for z in range(n_z):
        pull = pulls[z]
        for r in range(n_rows):
            pull[r] = 0.0
            for k in range(n_bins):
                weighted[r, k] = rows[z, r, k] * weight[k]
                pull[r] += weighted[r, k] * counts[k]
        gram = np.dot(weighted, rows[z].T)
        for i in range(b):
            for r in range(n_rows):
                held[r, i] = gram[r, beside[i]]
            right[i] = pull[beside[i]]
            for j in range(b):
                precision[i, j] = gram[beside[i], beside[j]]
                right[i] -= precision[i, j] * middle[j]
            precision[i, i] += 1 / spread[i] ** 2
        for r in range(n_rows):
            # What the best norms of those beside take up of a row.
            solve(precision, held[r], every, factor, project)
            for i in range(b):
                pull[r] -= middle[i] * held[r, i] + project[i] * right[i]
                for q in range(n_rows):
                    gram[r, q] -= project[i] * held[q, i]
        for r in range(n_rows):
            put(grams[z, r], gram[r])
    return grams, pulls


@strict
def _best(
    grams: Floats,
    pulls: Floats,
    held: Floats,
    points: _Points,
    images: Integers,
    number: int,
) -> tuple[Integers, Integers, Floats, Floats]:
    """Return the best distinct points at each redshift: redshifts, points, scores and norms."""
    most = number * len(grams)
    node, chosen = np.empty(most, dtype=np.int64), np.empty(most, dtype=np.int64)
    best, amounts, n = np.empty(most), np.empty((most, held.shape[1])), 0
    for z in range(len(grams)):
        scores, norms = _screen(grams[z], pulls[z], points.rows, points.weights, held[z])
        for k in _distinct(scores, points.combinations, images, number):
            node[n], chosen[n], best[n] = z, k, scores[k]
            put(amounts[n], norms[k])
            n += 1
    return node[:n], chosen[:n], best[:n], amounts[:n]


@strict
def _distinct(scores: Floats, combinations: Integers, images: Integers, number: int) -> Integers:
    """Pick the best points that are not neighbours, nor mirror images, of better ones."""
    chosen, n, left = np.empty(number, dtype=np.int64), 0, np.ones(len(scores), dtype=np.bool_)
    while n < number:
        best = -1
        for k in range(len(scores)):
            if left[k] and (best < 0 or scores[k] < scores[best]):
                best = k
        if best < 0:
            break
        chosen[n] = best
        n += 1
        for k in range(len(scores)):
            if left[k]:
                left[k] = not _near(combinations[k], combinations[best], images)
    return chosen[:n]


@strict
def _near(point: Integers, other: Integers, images: Integers) -> bool:
    """Tell whether a point is a neighbour of another, or a mirror image of one."""
    for image in images:
        farthest = 0
        for i in range(len(image)):
            farthest = max(farthest, abs(point[image[i]] - other[i]))
        if farthest < 2:
            return True
    return False


@strict
def _screen(
    gram: Floats, pull: Floats, rows: Integers, weights: Floats, held: Floats
) -> tuple[Floats, Floats]:
    """Solve for the best non-negative norms of every lattice point.

    Parameters
    ----------
    rows, weights : ndarray, shape (n_points, n_sources, 2)
        Which rows the shape of each source is made of, and how much of each.
    held : ndarray, shape (n_sources,)
        Norms that are not free, NaN for those that are.

    Returns
    -------
    scores : ndarray, shape (n_points,)
        The quadratic approximation of C, up to a constant.
    norms : ndarray, shape (n_points, n_sources)
    """
    n, m = rows.shape[0], rows.shape[1]
    scores, norms = np.zeros(n), np.zeros((n, m))
    a, b = np.empty((m, m)), np.empty(m)
    for k in range(n):
        _mix(gram, pull, rows[k], weights[k], a, b)
        _best_norms(a, b, held, norms[k])
        for s in range(m):
            rest = -2 * b[s]
            for t in range(m):
                rest += a[s, t] * norms[k, t]
            scores[k] += norms[k, s] * rest
    return scores, norms


@strict
def _mix(gram: Floats, pull: Floats, rows: Integers, weights: Floats, a: Floats, b: Floats) -> None:
    """Compute the normal equations a · norms = b of sources that are mixes of rows."""
    for s in range(len(b)):
        b[s] = 0.0
        for p in range(2):
            if weights[s, p] != 0:
                b[s] += weights[s, p] * pull[rows[s, p]]
        for t in range(s + 1):
            total = 0.0
            for p in range(2):
                for q in range(2):
                    w = weights[s, p] * weights[t, q]
                    if w != 0:
                        total += w * gram[rows[s, p], rows[t, q]]
            a[s, t] = total
            a[t, s] = total


@strict
def _best_norms(a: Floats, b: Floats, held: Floats, norms: Floats) -> None:
    """Solve for non-negative norms by cyclic descent: few unknowns, a ranking is all we need."""
    for s in range(len(b)):
        norms[s] = 0.0 if np.isnan(held[s]) else held[s]
    for _ in range(15):
        for s in range(len(b)):
            if a[s, s] > 0 and np.isnan(held[s]):
                rest = b[s]
                for t in range(len(b)):
                    if t != s:
                        rest -= a[s, t] * norms[t]
                norms[s] = max(rest / a[s, s], 0.0)
