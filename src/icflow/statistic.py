"""C-stat and its minimum: numbers, no astronomy.

A model is a sum of terms, each a norm times a shape. A shape is a fixed row
of expected counts, a row interpolated along one parameter, or a plasma table
(linear between temperatures, linear in abundance, cubic in redshift). All
parameters of a problem, free or not, form one vector `theta`; terms name
their parameters by position in it.

The minimum is found by Levenberg-Marquardt steps with the observed Poisson
information as metric, inside a box: parameters at a bound (or at a kink of
the interpolation) that the gradient pushes outward are held there.

Every function is compiled by numba; `function.py_func` is its plain Python
twin.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from icflow.typing import Booleans, Floats, Integers

# Kinds of terms.
ROW, CURVE, PLASMA = 0, 1, 2
# Columns of `Shapes.terms`: kind, position of the table, parameter positions.
KIND, TABLE, NORM, FIRST, SECOND, THIRD = 0, 1, 2, 3, 4, 5

# A pivot smaller than this fraction of its diagonal is rounding: the matrix is singular.
SINGULAR = 1e-11

# XSPEC replaces expected counts below this when it takes their logarithm.
FLOOR = 1e-5

# Numbers are close if they differ by less than this fraction of their sum.
CLOSE = 0.2

jit = njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"}, error_model="numpy")


class Shapes(NamedTuple):
    """The tables that a model is made of, in expected counts per channel for norm 1.

    Attributes
    ----------
    terms : ndarray of int, shape (n_terms, 6)
        Kind, table, norm parameter and up to three shape parameters: for
        PLASMA kT, abundance and redshift, for CURVE the one it varies with.
    rows : ndarray, shape (n_rows, n_channels)
        The rows of ROW terms, then the nodes of CURVE terms.
    curves : ndarray, shape (n_curves, 4)
        First row, number of nodes, first node and spacing of each CURVE table.
    plasma : ndarray, shape (n_tables, n_redshifts, n_temperatures, 2, n_channels)
        Without metals, and what a solar abundance adds.
    temperatures : ndarray, shape (n_temperatures,)
    redshifts : ndarray, shape (2,)
        First node and spacing; not used where there is one node only.
    """

    terms: Integers
    rows: Floats
    curves: Floats
    plasma: Floats
    temperatures: Floats
    redshifts: Floats


class Data(NamedTuple):
    """Counts in bins, each a run of channels.

    Attributes
    ----------
    counts : ndarray, shape (n_bins,)
    starts, stops : ndarray of int, shape (n_bins,)
        First channel of each bin, and the one after its last.
    """

    counts: Floats
    starts: Integers
    stops: Integers


class Box(NamedTuple):
    """Which parameters vary, and their hard limits."""

    free: Integers
    lower: Floats
    upper: Floats


@jit
def cstat(counts: Floats, model: Floats) -> float:
    """Return C = 2 sum(m - s + s (ln s - ln m)), XSPEC's ``cstat``; m alone where s = 0."""
    far = 0
    for i in range(len(counts)):
        m = max(model[i], FLOOR)
        far += 1 if abs(m - counts[i]) > CLOSE * (m + counts[i]) else 0
    total = 0.0
    if far == 0:
        for i in range(len(counts)):
            m = max(model[i], FLOOR)
            total += m - counts[i] - counts[i] * log_ratio(m, counts[i])
        return 2.0 * total
    for i in range(len(counts)):
        m = max(model[i], FLOOR)
        s = counts[i]
        total += m - s
        if s > 0:
            total += s * (math.log(s) - math.log(m))
    return 2.0 * total


@jit
def log_ratio(m: float, s: float) -> float:
    """Return ln(m/s) = 2 artanh((m - s)/(m + s)) to 1e-12 for numbers that are `CLOSE`.

    A polynomial, because the compiler can do several at a time.
    """
    t = (m - s) / (m + s)
    q = t * t
    series = 1 / 11 + q * (1 / 13 + q * (1 / 15))
    return 2 * t * (1 + q * (1 / 3 + q * (1 / 5 + q * (1 / 7 + q * (1 / 9 + q * series)))))


@jit
def cubic(position: float, n: int) -> tuple[int, Floats, Floats]:
    """Return first node, weights and their slopes of 4-point Lagrange interpolation."""
    first = min(max(math.floor(position) - 1, 0), n - 4)
    t = position - first - 1.0
    weights = np.empty(4)
    slopes = np.empty(4)
    weights[0] = -t * (t - 1) * (t - 2) / 6
    weights[1] = (t + 1) * (t - 1) * (t - 2) / 2
    weights[2] = -(t + 1) * t * (t - 2) / 2
    weights[3] = (t + 1) * t * (t - 1) / 6
    slopes[0] = -(3 * t * t - 6 * t + 2) / 6
    slopes[1] = (3 * t * t - 4 * t - 1) / 2
    slopes[2] = -(3 * t * t - 2 * t - 2) / 2
    slopes[3] = (3 * t * t - 1) / 6
    return first, weights, slopes


@jit
def _add(target: Floats, factor: float, row: Floats) -> None:
    for c in range(len(target)):
        target[c] += factor * row[c]


@jit
def _add_plasma(
    shapes: Shapes,
    term: Integers,
    theta: Floats,
    cell: int,
    slot: Integers,
    scratch: Floats,
    model: Floats,
    slopes: Floats,
) -> None:
    """Add one PLASMA term to the model, and its derivatives to the rows of `slopes`.

    `slot` maps a parameter to its row of `slopes`, -1 where it is not free.
    """
    norm, kT, Z, z = theta[term[NORM]], theta[term[FIRST]], theta[term[SECOND]], theta[term[THIRD]]
    table = shapes.plasma[term[TABLE]]
    n_z = table.shape[0]
    low, high = shapes.temperatures[cell], shapes.temperatures[cell + 1]
    share = (kT - low) / (high - low)
    shape, by_z = scratch[4], scratch[5]
    vary_z = n_z > 1 and slot[term[THIRD]] >= 0
    if n_z > 1:
        node, weight, slope = cubic((z - shapes.redshifts[0]) / shapes.redshifts[1], n_z)
    for i in range(2):
        for part in range(2):
            # scratch[0..3]: A and B at the lower temperature, A and B at the upper one.
            target = scratch[2 * i + part]
            if n_z == 1:
                target[:] = table[0, cell + i, part]
            else:
                a, b = table[node, cell + i, part], table[node + 1, cell + i, part]
                c, d = table[node + 2, cell + i, part], table[node + 3, cell + i, part]
                for k in range(len(target)):
                    target[k] = (
                        weight[0] * a[k] + weight[1] * b[k] + weight[2] * c[k] + weight[3] * d[k]
                    )
    for k in range(len(model)):
        cool = scratch[0, k] + Z * scratch[1, k]
        hot = scratch[2, k] + Z * scratch[3, k]
        shape[k] = (1 - share) * cool + share * hot
        model[k] += norm * shape[k]
    if slot[term[NORM]] >= 0:
        _add(slopes[slot[term[NORM]]], 1.0, shape)
    if slot[term[FIRST]] >= 0:
        row, factor = slopes[slot[term[FIRST]]], norm / (high - low)
        for k in range(len(model)):
            row[k] += factor * (scratch[2, k] - scratch[0, k] + Z * (scratch[3, k] - scratch[1, k]))
    if slot[term[SECOND]] >= 0:
        row = slopes[slot[term[SECOND]]]
        for k in range(len(model)):
            row[k] += norm * ((1 - share) * scratch[1, k] + share * scratch[3, k])
    if vary_z:
        by_z[:] = 0.0
        for i in range(2):
            part_share = share if i == 1 else 1 - share
            for q in range(4):
                factor = part_share * slope[q] / shapes.redshifts[1]
                _add(by_z, factor, table[node + q, cell + i, 0])
                _add(by_z, factor * Z, table[node + q, cell + i, 1])
        _add(slopes[slot[term[THIRD]]], norm, by_z)


@jit
def expected(
    shapes: Shapes,
    theta: Floats,
    cells: Integers,
    slot: Integers,
    scratch: Floats,
    model: Floats,
    slopes: Floats,
) -> None:
    """Compute expected counts per channel and their derivatives.

    Parameters
    ----------
    cells : ndarray of int, shape (n_parameters,)
        For a temperature, the lower node of the cell it is in.
    slot : ndarray of int, shape (n_parameters,)
        Row of `slopes` that takes the derivative, -1 for none.
    scratch : ndarray, shape (6, n_channels)
    model : ndarray, shape (n_channels,)
        Overwritten.
    slopes : ndarray, shape (n_free, n_channels)
        Overwritten.
    """
    model[:] = 0.0
    slopes[:] = 0.0
    for t in range(len(shapes.terms)):
        term = shapes.terms[t]
        norm = theta[term[NORM]]
        if term[KIND] == ROW:
            row = shapes.rows[term[TABLE]]
            _add(model, norm, row)
            if slot[term[NORM]] >= 0:
                _add(slopes[slot[term[NORM]]], 1.0, row)
        elif term[KIND] == CURVE:
            curve = shapes.curves[term[TABLE]]
            node, weight, slope = cubic((theta[term[FIRST]] - curve[2]) / curve[3], int(curve[1]))
            for q in range(4):
                row = shapes.rows[int(curve[0]) + node + q]
                _add(model, norm * weight[q], row)
                if slot[term[NORM]] >= 0:
                    _add(slopes[slot[term[NORM]]], weight[q], row)
                if slot[term[FIRST]] >= 0:
                    _add(slopes[slot[term[FIRST]]], norm * slope[q] / curve[3], row)
        else:
            _add_plasma(shapes, term, theta, cells[term[FIRST]], slot, scratch, model, slopes)


@jit
def _bin(data: Data, values: Floats) -> None:
    """Sum channels into bins, in place at the head of `values`."""
    if len(data.starts) == len(values):
        return
    for b in range(len(data.starts)):
        total = 0.0
        for c in range(data.starts[b], data.stops[b]):
            total += values[c]
        values[b] = total


def binned(data: Data, values: Floats) -> Floats:
    """Sum channels, the last axis of `values`, into bins."""
    if len(data.starts) == values.shape[-1]:
        return values
    total = np.zeros((*values.shape[:-1], values.shape[-1] + 1))
    np.cumsum(values, axis=-1, out=total[..., 1:])
    return np.asarray(total[..., data.stops] - total[..., data.starts])


@jit
def find_cells(shapes: Shapes, theta: Floats) -> Integers:
    """Return the temperature cell of every parameter that is a temperature."""
    cells = np.zeros(len(theta), dtype=np.int64)
    last = len(shapes.temperatures) - 2
    for t in range(len(shapes.terms)):
        if shapes.terms[t, KIND] == PLASMA:
            p = shapes.terms[t, FIRST]
            cell = np.searchsorted(shapes.temperatures, theta[p], side="right") - 1
            cells[p] = min(max(cell, 0), last)
    return cells


@jit
def _cholesky_solve(matrix: Floats, vector: Floats, held: Booleans, n: int, step: Floats) -> bool:
    """Solve matrix · step = vector for the parameters not held; False if singular."""
    index = np.empty(n, dtype=np.int64)
    m = 0
    for i in range(n):
        if not held[i]:
            index[m] = i
            m += 1
    factor = np.empty((m, m))
    for i in range(m):
        for j in range(i + 1):
            total = matrix[index[i], index[j]]
            for k in range(j):
                total -= factor[i, k] * factor[j, k]
            if i == j:
                if not total > SINGULAR * matrix[index[i], index[i]]:
                    return False
                factor[i, i] = math.sqrt(total)
            else:
                factor[i, j] = total / factor[j, j]
    for i in range(m):
        total = vector[index[i]]
        for k in range(i):
            total -= factor[i, k] * step[index[k]]
        step[index[i]] = total / factor[i, i]
    for i in range(m - 1, -1, -1):
        total = step[index[i]]
        for k in range(i + 1, m):
            total -= factor[k, i] * step[index[k]]
        step[index[i]] = total / factor[i, i]
    return True


@jit
def _metric(
    counts: Floats, model: Floats, slopes: Floats, n_bins: int, info: Floats, push: Floats
) -> None:
    """Compute half the gradient of C, and the observed information.

    info = sum (s / m²) dm/dp dm/dq, the exact second derivative of C/2 in
    parameters that the model is linear in; push = -gradient / 2.
    """
    n = len(push)
    weight = np.empty(n_bins)
    pull = np.empty(n_bins)
    for b in range(n_bins):
        m = max(model[b], FLOOR)
        weight[b] = counts[b] / (m * m)
        pull[b] = counts[b] / m - 1.0
    weighted = np.empty(n_bins)
    for i in range(n):
        total = 0.0
        for b in range(n_bins):
            total += slopes[i, b] * pull[b]
            weighted[b] = slopes[i, b] * weight[b]
        push[i] = total
        for j in range(i + 1):
            total = 0.0
            for b in range(n_bins):
                total += weighted[b] * slopes[j, b]
            info[i, j] = total
            info[j, i] = total


class Minimum(NamedTuple):
    """Where a descent ended."""

    theta: Floats
    cstat: float
    iterations: int
    decrement: float
    converged: bool


# A minimum counts as reached when a full Newton step would lower C by less than this.
ENOUGH = 1e-5
# Relative addition to the diagonal of a singular information matrix.
RIDGE = 1e-8


@jit
def descend(shapes: Shapes, data: Data, box: Box, start: Floats, max_iterations: int) -> Minimum:
    """Go down to the minimum of C next to `start`.

    Returns
    -------
    Minimum
        `decrement` is the reduction of C that a further Newton step promises.
    """
    n, n_bins = len(box.free), len(data.counts)
    n_channels = shapes.rows.shape[1]
    slot = np.full(len(start), -1, dtype=np.int64)
    theta = start.copy()
    is_kT = np.zeros(len(start), dtype=np.bool_)
    for t in range(len(shapes.terms)):
        if shapes.terms[t, KIND] == PLASMA:
            is_kT[shapes.terms[t, FIRST]] = True
    for i in range(n):
        p = box.free[i]
        slot[p] = i
        theta[p] = min(max(theta[p], box.lower[i]), box.upper[i])
    scratch = np.empty((6, n_channels))
    model, trial_model = np.empty(n_channels), np.empty(n_channels)
    slopes = np.empty((n, n_channels))
    no_slot = np.full(len(start), -1, dtype=np.int64)
    no_slopes = np.empty((0, n_channels))
    info, damped, push = np.empty((n, n)), np.empty((n, n)), np.empty(n)
    step, rest = np.zeros(n), np.zeros(n)
    low, high = np.empty(n), np.empty(n)
    held, blocked = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)

    cells = find_cells(shapes, theta)
    expected(shapes, theta, cells, slot, scratch, model, slopes)
    _bin(data, model)
    for i in range(n):
        _bin(data, slopes[i])
    value = cstat(data.counts, model[:n_bins])
    damping, decrement, converged, iteration = 1e-3, math.inf, False, 0
    while iteration < max_iterations:
        iteration += 1
        _metric(data.counts, model, slopes, n_bins, info, push)
        # Temperatures that sit on a node of the table and want to leave their cell: look at the
        # other side. If that side pushes back, the node is a kink that holds them.
        flipped = False
        blocked[:] = False
        for i in range(n):
            p = box.free[i]
            if not is_kT[p]:
                continue
            node = shapes.temperatures
            c = cells[p]
            if theta[p] <= node[c] and push[i] < 0 and c > 0 and theta[p] > box.lower[i]:
                cells[p] = c - 1
                blocked[i] = flipped = True
            elif (
                theta[p] >= node[c + 1]
                and push[i] > 0
                and c + 2 < len(node)
                and theta[p] < box.upper[i]
            ):
                cells[p] = c + 1
                blocked[i] = flipped = True
        if flipped:
            for i in range(n):
                rest[i] = push[i]
            expected(shapes, theta, cells, slot, scratch, model, slopes)
            _bin(data, model)
            for i in range(n):
                _bin(data, slopes[i])
            _metric(data.counts, model, slopes, n_bins, info, push)
            for i in range(n):
                # Still pushed the same way: free to go on in the new cell.
                if blocked[i] and push[i] * rest[i] > 0:
                    blocked[i] = False
        for i in range(n):
            p = box.free[i]
            low[i], high[i] = box.lower[i], box.upper[i]
            if is_kT[p]:
                low[i] = max(low[i], shapes.temperatures[cells[p]])
                high[i] = min(high[i], shapes.temperatures[cells[p] + 1])
            held[i] = (
                blocked[i]
                or info[i, i] <= 0
                or (theta[p] <= low[i] and push[i] <= 0)
                or (theta[p] >= high[i] and push[i] >= 0)
            )
        step[:] = 0.0
        solved = _cholesky_solve(info, push, held, n, step)
        if not solved:
            # Two plasmas in one cell are one plasma too many: any way of sharing is as good.
            for i in range(n):
                for j in range(n):
                    damped[i, j] = info[i, j]
                damped[i, i] *= 1 + RIDGE
            step[:] = 0.0
            solved = _cholesky_solve(damped, push, held, n, step)
        if solved:
            decrement = 0.0
            for i in range(n):
                if not held[i]:
                    decrement += step[i] * push[i]
            if decrement < ENOUGH:
                converged = True
                break
        improved = False
        for _ in range(12):
            if not boxed_step(info, push, damping, held, theta, box.free, low, high, damped, step):
                damping = max(damping * 10, 1e-6)
                continue
            trial = theta.copy()
            for i in range(n):
                p = box.free[i]
                trial[p] = min(max(theta[p] + step[i], low[i]), high[i])
            expected(shapes, trial, cells, no_slot, scratch, trial_model, no_slopes)
            _bin(data, trial_model)
            trial_value = cstat(data.counts, trial_model[:n_bins])
            if trial_value < value:
                improved = True
                break
            damping = max(damping * 8, 1e-6)
        if not improved:
            # No step lowers C by more than rounding: as far down as numbers go.
            converged = decrement < 1e-2
            break
        theta = trial
        value = trial_value
        damping = max(damping / 10, 1e-12)
        expected(shapes, theta, cells, slot, scratch, model, slopes)
        _bin(data, model)
        for i in range(n):
            _bin(data, slopes[i])
    return Minimum(theta, value, iteration, decrement, converged)


@jit
def boxed_step(
    info: Floats,
    push: Floats,
    damping: float,
    held: Booleans,
    theta: Floats,
    free: Integers,
    low: Floats,
    high: Floats,
    damped: Floats,
    step: Floats,
) -> bool:
    """Solve for a damped step inside the box.

    Parameters that would cross a bound are put on it, and the others are
    solved for again, given that.
    """
    n = len(push)
    fixed = held.copy()
    right = push.copy()
    step[:] = 0.0
    for i in range(n):
        for j in range(n):
            damped[i, j] = info[i, j]
        damped[i, i] = info[i, i] * (1 + damping)
    for _ in range(n + 1):
        if not _cholesky_solve(damped, right, fixed, n, step):
            return False
        crossed = False
        for i in range(n):
            if fixed[i]:
                continue
            p = free[i]
            goal = theta[p] + step[i]
            if goal < low[i] or goal > high[i]:
                step[i] = (low[i] if goal < low[i] else high[i]) - theta[p]
                fixed[i] = True
                crossed = True
                for j in range(n):
                    right[j] -= damped[j, i] * step[i]
        if not crossed:
            return True
    return True


@jit
def information(shapes: Shapes, data: Data, box: Box, theta: Floats) -> tuple[Floats, Floats]:
    """Return the observed information and half the gradient of C at `theta`."""
    n, n_bins, n_channels = len(box.free), len(data.counts), shapes.rows.shape[1]
    slot = np.full(len(theta), -1, dtype=np.int64)
    for i in range(n):
        slot[box.free[i]] = i
    model, slopes = np.empty(n_channels), np.empty((n, n_channels))
    expected(
        shapes, theta, find_cells(shapes, theta), slot, np.empty((6, n_channels)), model, slopes
    )
    _bin(data, model)
    for i in range(n):
        _bin(data, slopes[i])
    info, push = np.empty((n, n)), np.empty(n)
    _metric(data.counts, model, slopes, n_bins, info, push)
    return info, -push


@jit
def derivatives(shapes: Shapes, data: Data, box: Box, theta: Floats) -> Floats:
    """Return the derivatives of the binned counts, shape (n_free, n_bins)."""
    n, n_channels = len(box.free), shapes.rows.shape[1]
    slot = np.full(len(theta), -1, dtype=np.int64)
    for i in range(n):
        slot[box.free[i]] = i
    model, slopes = np.empty(n_channels), np.empty((n, n_channels))
    expected(
        shapes, theta, find_cells(shapes, theta), slot, np.empty((6, n_channels)), model, slopes
    )
    for i in range(n):
        _bin(data, slopes[i])
    return slopes[:, : len(data.counts)].copy()


@jit
def model_counts(shapes: Shapes, theta: Floats) -> Floats:
    """Return expected counts per channel."""
    n_channels = shapes.rows.shape[1]
    model = np.empty(n_channels)
    slot = np.full(len(theta), -1, dtype=np.int64)
    cells = find_cells(shapes, theta)
    nothing = np.empty((0, n_channels))
    expected(shapes, theta, cells, slot, np.empty((6, n_channels)), model, nothing)
    return model


@jit
def newton_estimate(data: Data, model: Floats, slopes: Floats, inverse: Floats) -> float:
    """Return C of `model` (per channel, overwritten) less what a Newton step would gain."""
    _bin(data, model)
    n_bins = len(data.counts)
    n = len(inverse)
    push = np.zeros(n)
    for b in range(n_bins):
        pull = data.counts[b] / max(model[b], FLOOR) - 1.0
        model[b] = max(model[b], FLOOR)
        for i in range(n):
            push[i] += slopes[i, b] * pull
    gain = 0.0
    for i in range(n):
        for j in range(n):
            gain += push[i] * inverse[i, j] * push[j]
    return cstat(data.counts, model[:n_bins]) - gain
