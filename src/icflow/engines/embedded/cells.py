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

from icflow.compiled import inner, jit, put
from icflow.engines.embedded.algebra import SINGULAR, inverse, solve
from icflow.engines.embedded.shapes import (
    FIRST,
    KIND,
    NORM,
    PLASMA,
    SECOND,
    TABLE,
    Box,
    Shapes,
    scale_modules,
    with_slopes,
)
from icflow.engines.embedded.symmetry import exchangeable
from icflow.statistic import Data, fill_bins, pulls, weights
from icflow.typing import Booleans, Floats, Integers

SAME = 1e-4  # in C: combinations that share their minimum, on a node between them
MOST_COMBINATIONS = 20_000  # more are not looked at


class Cells(NamedTuple):
    """The temperature cells of the plasmas of a model, and their combinations.

    The ends of the cells of all plasmas stand one after another. Like plasmas have the
    same spectra there, which are wanted only once.

    Attributes
    ----------
    terms : ndarray of int, shape (n_plasmas, 6)
    first : ndarray of int, shape (n_plasmas + 1,)
        The first end of each plasma, and the number of all.
    kT : ndarray, shape (n_ends,)
        Temperatures between which a plasma is linear, keV.
    row : ndarray of int, shape (n_ends,)
        The spectrum at each end, numbered as they come.
    norms : ndarray of int, shape (n_plasmas,)
        Places of their norms among the free parameters.
    others : ndarray of bool, shape (n_free,)
        The free parameters that are neither norm nor temperature of a plasma.
    lower : ndarray of int, shape (n_combinations, n_plasmas)
        The end below the cell of each plasma, counted from its own first.
    places : ndarray of int, shape (n_combinations, 2 n_plasmas)
        The spectra around the cell of each.
    """

    terms: Integers
    first: Integers
    kT: Floats
    row: Integers
    norms: Integers
    others: Booleans
    lower: Integers
    places: Integers


class _Expansion(NamedTuple):
    """C/2 in the amounts x of all spectra: x·gram·x/2 - pull·x, up to a constant.

    Attributes
    ----------
    gram, pull : ndarray, shape (n_rows, n_rows) and (n_rows,)
    moving : ndarray of int
        Places in the box of the other parameters, which move by
        ``-(follow @ (x, 1))``.
    follow : ndarray, shape (n_moving, n_rows + 1)
    """

    gram: Floats
    pull: Floats
    moving: Integers
    follow: Floats


def combine(terms: Integers, temperatures: Floats, box: Box) -> Cells | None:
    """Return the combinations of temperature cells of a model.

    Parameters
    ----------
    terms, temperatures : ndarray
        As of `Shapes`.

    Returns
    -------
    Cells or None
        None where the plasmas do not have free norms and temperatures of
        their own, or are too many.
    """
    plasmas = _plasmas(terms, box)
    if not plasmas:
        return None
    kT = [_ends(term, temperatures, box) for term in plasmas]
    sizes, groups = np.array([len(ends) for ends in kT]), _groups(plasmas, box)
    images = math.prod(math.factorial(len(group)) for group in groups)
    if np.prod(sizes - 1) > MOST_COMBINATIONS * images:
        return None
    own = [term[column] for term in plasmas for column in (NORM, FIRST)]
    lower = _combinations(sizes, groups)
    first = np.cumsum([0, *sizes])
    places = np.repeat(lower + first[:-1], 2, axis=1) + np.tile([0, 1], len(plasmas))
    kinds = [(int(term[TABLE]), int(term[SECOND])) for term in plasmas]
    spectra = [(*kind, t) for kind, ends in zip(kinds, kT, strict=True) for t in ends.tolist()]
    number = {spectrum: i for i, spectrum in enumerate(dict.fromkeys(spectra))}
    row = np.array([number[spectrum] for spectrum in spectra])
    place = {int(p): i for i, p in enumerate(box.free)}
    norms = np.array([place[int(term[NORM])] for term in plasmas])
    others = ~np.isin(box.free, own)
    ends = np.concatenate(kT)
    return Cells(np.array(plasmas), first, ends, row, norms, others, lower, row[places])


@jit
def promising(
    shapes: Shapes, data: Data, box: Box, cells: Cells, theta: Floats, within: float, most: int
) -> Floats:
    """Return starting points in the most promising of all other combinations of cells.

    Parameters
    ----------
    theta : ndarray
        A minimum, whatever its cells. What shares it is left out.
    within : float
        How far above the lowest C a combination may end.
    most : int
        The largest number of starting points.

    Returns
    -------
    ndarray, shape (n_starts, n_parameters)
        Best first.
    """
    around = _expand(shapes, data, box, cells, theta)
    here = _value(around, cells, theta)
    value, amounts = _all_cells(around.gram, around.pull, cells.places, here + 0.5 * within)
    order = np.argsort(value, kind="mergesort")
    starts, n = np.empty((most, len(theta))), 0
    last, lowest = -np.inf, min(here, value[order[0]])
    for k in order:
        if 2 * (value[k] - lowest) > within or n == most:
            break
        if 2 * (value[k] - last) >= SAME and 2 * abs(value[k] - here) >= SAME:
            put(starts[n], theta)
            _start(starts[n], box, cells, around, cells.lower[k], amounts[k])
            last, n = value[k], n + 1
    return starts[:n]


@inner
def _value(around: _Expansion, cells: Cells, theta: Floats) -> float:
    """Return C/2 of an expansion where the plasmas are those of `theta`."""
    amounts = np.zeros(len(around.pull))
    for p in range(len(cells.terms)):
        kT, norm = theta[cells.terms[p, FIRST]], theta[cells.terms[p, NORM]]
        first, last = cells.first[p], cells.first[p + 1] - 2
        e = first + np.searchsorted(cells.kT[first : last + 2], kT, side="right") - 1
        e = min(max(e, first), last)
        share = (kT - cells.kT[e]) / (cells.kT[e + 1] - cells.kT[e])
        amounts[cells.row[e]] += (1 - share) * norm
        amounts[cells.row[e + 1]] += share * norm
    return float(0.5 * (amounts @ around.gram @ amounts) - around.pull @ amounts)


@inner
def _rows(shapes: Shapes, data: Data, cells: Cells, theta: Floats) -> Floats:
    """Return the binned counts of every spectrum for norm 1, shape (n_rows, n_bins)."""
    nodes, n_channels = shapes.temperatures, shapes.rows.shape[1]
    rows, nothing = np.empty((cells.row.max() + 1, n_channels)), np.empty((0, n_channels))
    slot, done = np.full(len(theta), -1, dtype=np.int64), 0
    for p in range(len(cells.terms)):
        table, Z = shapes.plasma[0, cells.terms[p, TABLE]], theta[cells.terms[p, SECOND]]
        for e in range(cells.first[p], cells.first[p + 1]):
            if cells.row[e] < done:
                continue
            c = np.searchsorted(nodes, cells.kT[e], side="right") - 1
            c = min(max(c, 0), len(nodes) - 2)
            share, row = (cells.kT[e] - nodes[c]) / (nodes[c + 1] - nodes[c]), rows[done]
            for k in range(n_channels):
                low = table[c, 0, k] + Z * table[c, 1, k]
                high = table[c + 1, 0, k] + Z * table[c + 1, 1, k]
                row[k] = (1 - share) * low + share * high
            scale_modules(shapes, theta, slot, row, nothing)
            fill_bins(data, row)
            done += 1
    return np.ascontiguousarray(rows[:, : len(data.counts)])


@inner
def _expand(shapes: Shapes, data: Data, box: Box, cells: Cells, theta: Floats) -> _Expansion:
    """Expand C/2 around `theta`: gradient · change + weight/2 · change², summed over bins.

    The change of the counts is linear in the amounts of plasma and in all other
    parameters; these are put where they are best for given amounts.
    """
    n_bins = len(data.counts)
    model, slopes = with_slopes(shapes, data, box, theta)
    weight, gradient = weights(data, model, 0.0), pulls(data, model)
    for b in range(n_bins):
        gradient[b] = -gradient[b]
        for p in range(len(cells.terms)):
            # The amounts count from none.
            gradient[b] -= weight[b] * theta[cells.terms[p, NORM]] * slopes[cells.norms[p], b]
    moving = _moving(box, cells, theta)
    rows = _rows(shapes, data, cells, theta)
    other = np.empty((len(moving), n_bins))
    for i in range(len(moving)):
        put(other[i], slopes[moving[i], :n_bins])
    weighted = other * weight
    right = np.empty((len(moving), len(rows) + 1))
    by_amounts, by_none = weighted @ rows.T, other @ gradient
    for i in range(len(moving)):
        put(right[i, :-1], by_amounts[i])
        right[i, -1] = by_none[i]
    # Those that change nothing stay. Called as elsewhere, it is not compiled twice.
    chosen = np.ones(len(moving), dtype=np.bool_)
    follow = inverse(weighted @ other.T, chosen, 0.0, SINGULAR) @ right
    cross = np.ascontiguousarray(by_amounts.T)
    gram = (rows * weight) @ rows.T - cross @ np.ascontiguousarray(follow[:, :-1])
    pull = cross @ np.ascontiguousarray(follow[:, -1]) - rows @ gradient
    return _Expansion(gram, pull, moving, follow)


@inner
def _moving(box: Box, cells: Cells, theta: Floats) -> Integers:
    """Return the places in `box` of the other parameters that are off their limits."""
    moving, n = np.empty(len(box.free), dtype=np.int64), 0
    for i in range(len(box.free)):
        if cells.others[i] and box.lower[i] < theta[box.free[i]] < box.upper[i]:
            moving[n] = i
            n += 1
    return moving[:n]


@inner
def _start(
    start: Floats, box: Box, cells: Cells, around: _Expansion, lower: Integers, amounts: Floats
) -> None:
    """Set the parameters that belong to some amounts at the ends of some cells."""
    change = around.follow[:, -1].copy()
    for p in range(len(cells.terms)):
        e, total = cells.first[p] + lower[p], amounts[2 * p] + amounts[2 * p + 1]
        share = amounts[2 * p + 1] / total if total > 0 else 0.5
        start[cells.terms[p, NORM]] = total
        start[cells.terms[p, FIRST]] = (1 - share) * cells.kT[e] + share * cells.kT[e + 1]
        for i in range(len(change)):
            change[i] += around.follow[i, cells.row[e]] * amounts[2 * p]
            change[i] += around.follow[i, cells.row[e + 1]] * amounts[2 * p + 1]
    for i in range(len(change)):
        start[box.free[around.moving[i]]] -= change[i]
    for i in range(len(box.free)):
        q = box.free[i]
        start[q] = min(max(start[q], box.lower[i]), box.upper[i])


def _plasmas(terms: Integers, box: Box) -> list[Integers]:
    """Return the PLASMA terms if this module can treat them, nothing otherwise."""
    plasmas = [term for term in terms if term[KIND] == PLASMA]
    own = [int(term[column]) for term in plasmas for column in (NORM, FIRST)]
    free = set(box.free.tolist())
    uses = [int(term[NORM]) for term in terms]
    if len(set(own)) < len(own) or not free.issuperset(own):
        return []
    if any(uses.count(int(term[NORM])) > 1 for term in plasmas):
        return []
    return plasmas


def _ends(term: Integers, nodes: Floats, box: Box) -> Floats:
    """Return the temperatures between which a plasma is linear."""
    slot = int(np.flatnonzero(box.free == term[FIRST])[0])
    low, high = box.lower[slot], box.upper[slot]
    return np.unique([low, *nodes[(nodes > low) & (nodes < high)], high])


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


@inner
def _all_cells(gram: Floats, pull: Floats, places: Integers, most: float) -> tuple[Floats, Floats]:
    """Solve for the amounts in every combination of cells.

    Parameters
    ----------
    gram : ndarray, shape (n_rows, n_rows)
    pull : ndarray, shape (n_rows,)
        The minimum of x·gram·x/2 - pull·x over x >= 0 is looked for.
    places : ndarray of int, shape (n_combinations, 2 n_plasmas)
        The rows that may be used in each.
    most : float
        Values above are of no interest.

    Returns
    -------
    value : ndarray, shape (n_combinations,)
        The minimum; where it is above `most`, something between the two.
    amounts : ndarray, shape (n_combinations, 2 n_plasmas)
    """
    n, m = places.shape
    value, amounts = np.zeros(n), np.zeros((n, m))
    for k in range(n):
        value[k] = _non_negative(gram, pull, places[k], most, amounts[k])
    return value, amounts


@jit
def _non_negative(gram: Floats, pull: Floats, index: Integers, most: float, best: Floats) -> float:
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
        if size == m and value > most:
            # No amount that must not be negative brings it lower.
            return value
        if feasible and value < lowest:
            lowest = value
            best[:] = 0.0
            for a in range(size):
                best[chosen[a]] = x[a]
            if size == m:
                break
    return lowest
