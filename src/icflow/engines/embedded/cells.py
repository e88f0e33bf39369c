"""Every combination of temperature cells at once.

Between two temperatures of its table, a plasma is a mix of the two spectra
there, linear in how much of each. In terms of these amounts C has one minimum
per combination of cells, but as many minima as combinations. Around a good
fit C is quadratic in everything, so that the minima of all combinations can
be had from one matrix, each by non-negative least squares in a few unknowns.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from icflow.compiled import jit
from icflow.engines.embedded.algebra import solve
from icflow.engines.embedded.shapes import (
    FIRST,
    KIND,
    NORM,
    PLASMA,
    SECOND,
    TABLE,
    Box,
    Shapes,
    derivatives,
    factors,
    model_counts,
)
from icflow.engines.embedded.symmetry import exchangeable
from icflow.statistic import FLOOR, Data, binned, pulls, weights
from icflow.typing import Floats, Integers

SAME = 1e-4  # in C: combinations that share their minimum, on a node between them
MOST_COMBINATIONS = 20_000  # more are not looked at


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
        Best first. Empty where the plasmas do not have free norms and
        temperatures of their own, or are too many.
    """
    plasmas = _plasmas(shapes, box)
    if not plasmas:
        return []
    ends = [_ends(shapes, term, box, theta) for term in plasmas]
    sizes, groups = np.array([len(end.kT) for end in ends]), _groups(plasmas, box)
    images = math.prod(math.factorial(len(group)) for group in groups)
    if np.prod(sizes - 1) > MOST_COMBINATIONS * images:
        return []
    cell = _combinations(sizes, groups)
    around = _expand(shapes, data, box, theta, ends)
    value, amounts = _all_cells(around.gram, around.pull, _places(cell, ends))
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
    without[[end.term[NORM] for end in ends]] = 0.0
    model = np.maximum(binned(data, model_counts(shapes, theta)), FLOOR)
    offset = binned(data, model_counts(shapes, without)) - model
    weight = weights(data, model, 0.0)
    gradient = weight * offset - pulls(data, model)
    rows = binned(data, np.concatenate([end.counts for end in ends]))
    moving = _moving([end.term for end in ends], box, theta)
    other = derivatives(shapes, data, box, theta)[moving]
    weighted = other * weight
    cross = weighted @ rows.T
    # Those that change nothing stay.
    solved: Floats = np.asarray(
        np.linalg.lstsq(
            weighted @ other.T, np.column_stack([cross, other @ gradient]), rcond=1e-12
        )[0],
        dtype=np.float64,
    )
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
        start[end.term[NORM]] = total
        start[end.term[FIRST]] = (1 - share) * end.kT[low] + share * end.kT[low + 1]
        every[first + low : first + low + 2] = pair
        first += len(end.kT)
    start[box.free[around.moving]] += around.follow @ every + around.shift
    start[box.free] = np.clip(start[box.free], box.lower, box.upper)
    return start


def _plasmas(shapes: Shapes, box: Box) -> list[Integers]:
    """Return the PLASMA terms if this module can treat them, nothing otherwise."""
    plasmas = [term for term in shapes.terms if term[KIND] == PLASMA]
    own = [int(term[column]) for term in plasmas for column in (NORM, FIRST)]
    free = set(box.free.tolist())
    uses = [int(term[NORM]) for term in shapes.terms]
    if len(set(own)) < len(own) or not free.issuperset(own):
        return []
    if any(uses.count(int(term[NORM])) > 1 for term in plasmas):
        return []
    return plasmas


def _ends(shapes: Shapes, term: Integers, box: Box, theta: Floats) -> _Ends:
    """Return the temperatures between which a plasma is linear, and its counts there."""
    slot = int(np.flatnonzero(box.free == term[FIRST])[0])
    low, high = box.lower[slot], box.upper[slot]
    nodes = shapes.temperatures
    kT = np.unique([low, *nodes[(nodes > low) & (nodes < high)], high])
    table = shapes.plasma[term[TABLE], 0]
    by_node = table[:, 0] + theta[term[SECOND]] * table[:, 1]
    cell = np.clip(np.searchsorted(nodes, kT, side="right") - 1, 0, len(nodes) - 2)
    share = ((kT - nodes[cell]) / (nodes[cell + 1] - nodes[cell]))[:, None]
    counts = (1 - share) * by_node[cell] + share * by_node[cell + 1]
    return _Ends(term, kT, counts * factors(shapes, theta))


def _moving(plasmas: list[Integers], box: Box, theta: Floats) -> Integers:
    """Return the places in `box` of the other parameters that are off their limits."""
    own = [term[column] for term in plasmas for column in (NORM, FIRST)]
    values = theta[box.free]
    inside = (values > box.lower) & (values < box.upper)
    return np.flatnonzero(inside & ~np.isin(box.free, own))


def _groups(plasmas: list[Integers], box: Box) -> list[list[int]]:
    """Return the plasmas that may be exchanged at the abundances that they have."""
    place = {int(term[FIRST]): i for i, term in enumerate(plasmas)}
    groups = exchangeable(np.array(plasmas), box)
    same = [group for group in groups if len(set(group[:, SECOND].tolist())) == 1]
    return [[place[int(term[FIRST])] for term in group] for group in same]


def _combinations(sizes: Integers, groups: list[list[int]]) -> Integers:
    """Return every combination of cells once, each as the lower ends of all plasmas.

    Parameters
    ----------
    sizes : ndarray of int, shape (n_plasmas,)
        Number of ends of each plasma.
    groups : list of list of int
        Plasmas that may be exchanged: mirror images are left out.

    Returns
    -------
    ndarray of int, shape (n_combinations, n_plasmas)
    """
    every = np.indices((sizes - 1).tolist()).reshape(len(sizes), -1).T
    for group in groups:
        every = every[np.all(np.diff(every[:, group], axis=1) >= 0, axis=1)]
    return np.ascontiguousarray(every)


def _places(cell: Integers, ends: list[_Ends]) -> Integers:
    """Return the rows at the ends of some cells, shape (n_combinations, 2 n_plasmas)."""
    first = np.cumsum([0, *(len(end.kT) for end in ends[:-1])])
    return np.asarray(np.repeat(cell + first, 2, axis=1) + np.tile([0, 1], len(ends)))


@jit
def _all_cells(gram: Floats, pull: Floats, places: Integers) -> tuple[Floats, Floats]:
    """Solve for the amounts in every combination of cells.

    Parameters
    ----------
    gram : ndarray, shape (n_rows, n_rows)
    pull : ndarray, shape (n_rows,)
        The minimum of x·gram·x/2 - pull·x over x >= 0 is looked for.
    places : ndarray of int, shape (n_combinations, 2 n_plasmas)
        The rows that may be used in each.

    Returns
    -------
    value : ndarray, shape (n_combinations,)
    amounts : ndarray, shape (n_combinations, 2 n_plasmas)
    """
    n, m = places.shape
    value, amounts = np.zeros(n), np.zeros((n, m))
    for k in range(n):
        value[k] = _non_negative(gram, pull, places[k], amounts[k])
    return value, amounts


@jit
def _non_negative(gram: Floats, pull: Floats, index: Integers, best: Floats) -> float:
    """Find the lowest point with no negative amount, by trying every set of positive ones."""
    m = len(index)
    lowest = 0.0
    best[:] = 0.0
    chosen, rows = np.empty(m, dtype=np.int64), np.empty(m, dtype=np.int64)
    factor, x = np.empty((m, m)), np.empty(m)
    for mask in range((1 << m) - 1, 0, -1):
        size = 0
        for a in range(m):
            if mask & (1 << a):
                chosen[size], rows[size] = a, index[a]
                size += 1
        if not solve(gram, pull, rows[:size], factor, x):
            continue
        value, feasible = 0.0, True
        for a in range(size):
            feasible = feasible and x[a] >= 0
            value -= 0.5 * pull[rows[a]] * x[a]
        if feasible and value < lowest:
            lowest = value
            best[:] = 0.0
            for a in range(size):
                best[chosen[a]] = x[a]
            if size == m:
                break
    return lowest
