"""Every combination of temperature cells at once.

Between two temperatures of its table, a plasma is a mix of the two spectra
there, linear in how much of each. In terms of these amounts C has one minimum
per combination of cells, but as many minima as combinations. Around a good
fit C is quadratic in everything, so that the minima of all combinations can
be had from one matrix, each by non-negative least squares in a few unknowns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from icflow import statistic as cstat
from icflow.statistic import FLOOR, Box, Data, Shapes, jit
from icflow.typing import Floats, Integers

SAME = 1e-4  # in C: combinations that share their minimum, on a node between them
MOST_PLASMAS = 2


class _Ends(NamedTuple):
    """Ends of the cells of one plasma: temperatures (n,), counts (n, n_channels)."""

    term: Integers
    kT: Floats
    counts: Floats


class _Expansion(NamedTuple):
    """C/2 in the amounts x at all ends: x·gram·x/2 - pull·x, up to a constant.

    Attributes
    ----------
    gram, pull : ndarray, shape (n_ends, n_ends) and (n_ends,)
    moving : ndarray of int
        Places in the box of the other parameters, which move by
        ``follow @ x + shift``.
    follow, shift : ndarray, shape (n_moving, n_ends) and (n_moving,)
    """

    gram: Floats
    pull: Floats
    moving: Integers
    follow: Floats
    shift: Floats


def promising(
    shapes: Shapes, data: Data, box: Box, theta: Floats, within: float, most: int
) -> list[Floats]:
    """Return starting points in the most promising combinations of cells.

    Parameters
    ----------
    theta : ndarray
        A minimum, whatever its cells.
    within : float
        How far above the lowest C a combination may end.
    most : int
        The largest number of starting points.

    Returns
    -------
    list of ndarray
        Best first. Empty where the model is not made of one or two plasmas
        with free norms and temperatures of their own.
    """
    plasmas = _plasmas(shapes, box)
    if not plasmas:
        return []
    ends = [_ends(shapes, term, box, theta) for term in plasmas]
    around = _expand(shapes, data, box, theta, ends)
    value, amounts, cell = _all_cells(
        around.gram, around.pull, np.array([len(end.kT) for end in ends]), _alike(plasmas, ends)
    )
    order = np.argsort(value, kind="stable")
    starts: list[Floats] = []
    last = -np.inf
    for k in order:
        if 2 * (value[k] - value[order[0]]) > within or len(starts) == most:
            break
        if 2 * (value[k] - last) >= SAME:
            starts.append(_start(theta, box, ends, around, cell[k], amounts[k]))
            last = value[k]
    return starts


def _expand(shapes: Shapes, data: Data, box: Box, theta: Floats, ends: list[_Ends]) -> _Expansion:
    """Expand C/2 around `theta`: gradient · change + weight/2 · change², summed over bins.

    The change of the counts is linear in the amounts of plasma and in all other
    parameters; these are put where they are best for given amounts.
    """
    without = theta.copy()
    without[[end.term[cstat.NORM] for end in ends]] = 0.0
    model = np.maximum(cstat.binned(data, cstat.model_counts(shapes, theta)), FLOOR)
    offset = cstat.binned(data, cstat.model_counts(shapes, without)) - model
    weight = data.counts / model**2
    gradient = 1 - data.counts / model + weight * offset
    rows = cstat.binned(data, np.concatenate([end.counts for end in ends]))
    moving = _moving([end.term for end in ends], box, theta)
    other = cstat.derivatives(shapes, data, box, theta)[moving]
    weighted = other * weight
    cross = weighted @ rows.T
    # Those that change nothing stay.
    solved = np.linalg.lstsq(
        weighted @ other.T, np.column_stack([cross, other @ gradient]), rcond=1e-12
    )[0]
    return _Expansion(
        gram=(rows * weight) @ rows.T - cross.T @ solved[:, :-1],
        pull=-(rows @ gradient - cross.T @ solved[:, -1]),
        moving=moving,
        follow=-solved[:, :-1],
        shift=-solved[:, -1],
    )


def _start(
    theta: Floats, box: Box, ends: list[_Ends], around: _Expansion, cell: Integers, amounts: Floats
) -> Floats:
    """Return the parameters that belong to some amounts at the ends of some cells."""
    start, every, first = theta.copy(), np.zeros(len(around.pull)), 0
    for end, low, pair in zip(ends, cell, amounts.reshape(-1, 2), strict=True):
        total = float(pair.sum())
        share = pair[1] / total if total > 0 else 0.5
        start[end.term[cstat.NORM]] = total
        start[end.term[cstat.FIRST]] = (1 - share) * end.kT[low] + share * end.kT[low + 1]
        every[first + low : first + low + 2] = pair
        first += len(end.kT)
    start[box.free[around.moving]] += around.follow @ every + around.shift
    start[box.free] = np.clip(start[box.free], box.lower, box.upper)
    return start


def _plasmas(shapes: Shapes, box: Box) -> list[Integers]:
    """Return the PLASMA terms if this module can treat them, nothing otherwise."""
    plasmas = [term for term in shapes.terms if term[cstat.KIND] == cstat.PLASMA]
    own = [int(term[column]) for term in plasmas for column in (cstat.NORM, cstat.FIRST)]
    free = set(box.free.tolist())
    uses = [int(term[cstat.NORM]) for term in shapes.terms]
    if len(plasmas) > MOST_PLASMAS or len(set(own)) < len(own) or not free.issuperset(own):
        return []
    if any(uses.count(int(term[cstat.NORM])) > 1 for term in plasmas):
        return []
    return plasmas


def _ends(shapes: Shapes, term: Integers, box: Box, theta: Floats) -> _Ends:
    """Return the temperatures between which a plasma is linear, and its counts there."""
    slot = int(np.flatnonzero(box.free == term[cstat.FIRST])[0])
    low, high = box.lower[slot], box.upper[slot]
    nodes = shapes.temperatures
    kT = np.unique([low, *nodes[(nodes > low) & (nodes < high)], high])
    table = shapes.plasma[term[cstat.TABLE], 0]
    by_node = table[:, 0] + theta[term[cstat.SECOND]] * table[:, 1]
    cell = np.clip(np.searchsorted(nodes, kT, side="right") - 1, 0, len(nodes) - 2)
    share = ((kT - nodes[cell]) / (nodes[cell + 1] - nodes[cell]))[:, None]
    return _Ends(term, kT, (1 - share) * by_node[cell] + share * by_node[cell + 1])


def _moving(plasmas: list[Integers], box: Box, theta: Floats) -> Integers:
    """Return the places in `box` of the other parameters that are off their limits."""
    own = [term[column] for term in plasmas for column in (cstat.NORM, cstat.FIRST)]
    values = theta[box.free]
    inside = (values > box.lower) & (values < box.upper)
    return np.flatnonzero(inside & ~np.isin(box.free, own))


def _alike(plasmas: list[Integers], ends: list[_Ends]) -> bool:
    """Tell whether two plasmas may be exchanged."""
    if len(plasmas) != 2:
        return False
    one, other = plasmas
    same = (one[cstat.TABLE], one[cstat.SECOND]) == (other[cstat.TABLE], other[cstat.SECOND])
    return bool(same and np.array_equal(ends[0].kT, ends[1].kT))


@jit
def _all_cells(
    gram: Floats, pull: Floats, sizes: Integers, alike: bool
) -> tuple[Floats, Floats, Integers]:
    """Solve for the amounts in every combination of cells.

    Parameters
    ----------
    gram : ndarray, shape (n_rows, n_rows)
    pull : ndarray, shape (n_rows,)
        The minimum of x·gram·x/2 - pull·x over x >= 0 is looked for.
    sizes : ndarray of int, shape (n_plasmas,)
        Cell ends of each plasma; there are one or two.
    alike : bool
        Leave mirror images out.

    Returns
    -------
    value : ndarray, shape (n_combinations,)
    amounts : ndarray, shape (n_combinations, 2 n_plasmas)
    ends : ndarray of int, shape (n_combinations, n_plasmas)
        The lower end of each plasma's cell.
    """
    two = len(sizes) == 2
    n_one, n_other = sizes[0] - 1, (sizes[1] - 1 if two else 1)
    n = n_one * (n_one + 1) // 2 if alike else n_one * n_other
    m = 2 * len(sizes)
    value, amounts = np.zeros(n), np.zeros((n, m))
    ends = np.zeros((n, len(sizes)), dtype=np.int64)
    index = np.empty(m, dtype=np.int64)
    k = 0
    for i in range(n_one):
        for j in range(i if alike else 0, n_other):
            index[0], index[1], ends[k, 0] = i, i + 1, i
            if two:
                index[2], index[3], ends[k, 1] = sizes[0] + j, sizes[0] + j + 1, j
            value[k] = _non_negative(gram, pull, index, amounts[k])
            k += 1
    return value, amounts, ends


@jit
def _non_negative(gram: Floats, pull: Floats, index: Integers, best: Floats) -> float:
    """Find the lowest point with no negative amount, by trying every set of positive ones."""
    m = len(index)
    lowest = 0.0
    best[:] = 0.0
    chosen = np.empty(m, dtype=np.int64)
    matrix, x = np.empty((m, m)), np.empty(m)
    for mask in range((1 << m) - 1, 0, -1):
        size = 0
        for a in range(m):
            if mask & (1 << a):
                chosen[size] = a
                size += 1
        if not _cholesky(gram, pull, index, chosen, size, matrix, x):
            continue
        value, feasible = 0.0, True
        for a in range(size):
            feasible = feasible and x[a] >= 0
            value -= 0.5 * pull[index[chosen[a]]] * x[a]
        if feasible and value < lowest:
            lowest = value
            best[:] = 0.0
            for a in range(size):
                best[chosen[a]] = x[a]
            if size == m:
                break
    return lowest


@jit
def _cholesky(
    gram: Floats, pull: Floats, index: Integers, chosen: Integers, size: int,
    factor: Floats, x: Floats,
) -> bool:  # fmt: skip
    """Solve gram · x = pull for some amounts; False if they are not independent."""
    for a in range(size):
        row = index[chosen[a]]
        for b in range(a + 1):
            total = gram[row, index[chosen[b]]]
            for c in range(b):
                total -= factor[a, c] * factor[b, c]
            if a == b:
                if not total > 1e-11 * gram[row, row]:
                    return False
                factor[a, a] = np.sqrt(total)
            else:
                factor[a, b] = total / factor[b, b]
        x[a] = pull[row]
        for c in range(a):
            x[a] -= factor[a, c] * x[c]
        x[a] /= factor[a, a]
    for a in range(size - 1, -1, -1):
        for c in range(a + 1, size):
            x[a] -= factor[c, a] * x[c]
        x[a] /= factor[a, a]
    return True
