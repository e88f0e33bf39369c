"""Models as tables: expected counts and their derivatives.

A model is a sum of terms, each a norm times a shape. A shape is a fixed row of
expected counts, a row interpolated along one parameter, a row with a slope, or
a plasma table (linear between temperatures, linear in abundance, cubic in
redshift). All parameters of a problem, free or not, form one vector `theta`;
terms name their parameters by position in it.

The channels of several modules stand one after another. What comes from the
source is multiplied by the factor of the module; backgrounds are not.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from icflow.compiled import inner, jit
from icflow.statistic import Data, fill_bins, metric
from icflow.typing import Floats, Integers

# Kinds of terms. A TANGENT is what another term changes by along one parameter.
ROW, CURVE, PLASMA, TANGENT, BACKGROUND = 0, 1, 2, 3, 4
# Columns of `Shapes.terms`: kind, position of the table, parameter positions.
KIND, TABLE, NORM, FIRST, SECOND, THIRD = 0, 1, 2, 3, 4, 5


class Shapes(NamedTuple):
    """The tables that a model is made of, in expected counts per channel for norm 1.

    Attributes
    ----------
    terms : ndarray of int, shape (n_terms, 6)
        Kind, table, norm parameter and up to three shape parameters: for
        PLASMA kT, abundance and redshift, for CURVE and TANGENT the one it
        varies with.
    rows : ndarray, shape (n_rows, n_channels)
        The rows of ROW, TANGENT and BACKGROUND terms, then the nodes of CURVE terms.
    curves : ndarray, shape (n_curves, 4)
        First row, number of nodes, first node and spacing of each CURVE table.
    plasma : ndarray, shape (n_redshifts, n_tables, n_temperatures, 2, n_channels)
        Without metals, and what a solar abundance adds.
    temperatures : ndarray, shape (n_temperatures,)
    redshifts : ndarray, shape (2,)
        First node and spacing; not used where there is one node only.
    modules : ndarray of int, shape (n_modules, 2)
        End of the channels of each module, and the position of its factor, -1
        for none; empty for a single module.
    touching : ndarray, shape (n_parameters,)
        The parameters at which TANGENT terms touch what they stand for.
    """

    terms: Integers
    rows: Floats
    curves: Floats
    plasma: Floats
    temperatures: Floats
    redshifts: Floats
    modules: Integers = np.empty((0, 2), dtype=np.int64)
    touching: Floats = np.empty(0)


class Box(NamedTuple):
    """Which parameters vary, and their hard limits."""

    free: Integers
    lower: Floats
    upper: Floats


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
def _add_rows(
    shapes: Shapes, term: Integers, theta: Floats, slot: Integers, model: Floats, slopes: Floats
) -> None:
    """Add a term of one row, or of the four around a place on a curve, and its derivatives."""
    norm, first, own, along = theta[term[NORM]], term[FIRST], slot[term[NORM]], -1
    start, stop, share, change, spacing = term[TABLE], term[TABLE] + 1, 1.0, 0.0, 1.0
    if term[KIND] == TANGENT:
        share, change, along = theta[first] - shapes.touching[first], 1.0, slot[first]
    if term[KIND] == CURVE:
        curve, along = shapes.curves[term[TABLE]], slot[first]
        spacing = curve[3]
        node, weight, slope = cubic((theta[first] - curve[2]) / spacing, int(curve[1]))
        start = int(curve[0]) + node
        stop = start + len(weight)
    for r in range(start, stop):
        if term[KIND] == CURVE:
            share, change = weight[r - start], slope[r - start]
        _add(model, norm * share, shapes.rows[r])
        if own >= 0:
            _add(slopes[own], share, shapes.rows[r])
        if along >= 0:
            _add(slopes[along], norm * change / spacing, shapes.rows[r])


@jit
def _ends_of_cell(plasma: Floats, table: int, cell: int, place: float, scratch: Floats) -> None:
    """Interpolate a plasma table in redshift at both ends of a temperature cell.

    Parameters
    ----------
    plasma : ndarray, shape (n_redshifts, n_tables, n_temperatures, 2, n_channels)
    place : float
        Where the redshift lies among the nodes.
    scratch : ndarray, shape (6, n_channels)
        0 to 3 are filled: A and B at the lower temperature, A and B at the upper one.
    """
    node, weight, _ = cubic(place, len(plasma))
    for i in range(2):
        for part in range(2):
            target = scratch[2 * i + part]
            a, b = plasma[node, table, cell + i, part], plasma[node + 1, table, cell + i, part]
            c, d = plasma[node + 2, table, cell + i, part], plasma[node + 3, table, cell + i, part]
            for k in range(len(target)):
                target[k] = (
                    weight[0] * a[k] + weight[1] * b[k] + weight[2] * c[k] + weight[3] * d[k]
                )


@jit
def _slope_in_redshift(
    plasma: Floats, table: int, cell: int, place: float, share: float, Z: float, by_place: Floats
) -> None:
    """Compute the derivative of a plasma of norm 1 by the place of the redshift."""
    node, _, slope = cubic(place, len(plasma))
    by_place[:] = 0.0
    for i in range(2):
        for q in range(4):
            factor = (share if i == 1 else 1 - share) * slope[q]
            for part in range(2):
                row = plasma[node + q, table, cell + i, part]
                _add(by_place, factor * Z if part == 1 else factor, row)


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
    """Add a PLASMA term to the model, and its derivatives to the rows of `slopes`."""
    norm, kT, Z, z = theta[term[NORM]], theta[term[FIRST]], theta[term[SECOND]], theta[term[THIRD]]
    table, (first, spacing) = term[TABLE], shapes.redshifts
    low, high = shapes.temperatures[cell], shapes.temperatures[cell + 1]
    share, place = (kT - low) / (high - low), (z - first) / spacing
    if len(shapes.plasma) == 1:
        cool, cool_metals = shapes.plasma[0, table, cell, 0], shapes.plasma[0, table, cell, 1]
        hot, hot_metals = shapes.plasma[0, table, cell + 1, 0], shapes.plasma[0, table, cell + 1, 1]
    else:
        _ends_of_cell(shapes.plasma, table, cell, place, scratch)
        cool, cool_metals, hot, hot_metals = scratch[0], scratch[1], scratch[2], scratch[3]
    shape = scratch[4]
    for k in range(len(model)):
        below = cool[k] + Z * cool_metals[k]
        above = hot[k] + Z * hot_metals[k]
        shape[k] = (1 - share) * below + share * above
        model[k] += norm * shape[k]
    if slot[term[NORM]] >= 0:
        _add(slopes[slot[term[NORM]]], 1.0, shape)
    if slot[term[FIRST]] >= 0:
        row, factor = slopes[slot[term[FIRST]]], norm / (high - low)
        for k in range(len(model)):
            row[k] += factor * (hot[k] - cool[k] + Z * (hot_metals[k] - cool_metals[k]))
    if slot[term[SECOND]] >= 0:
        row = slopes[slot[term[SECOND]]]
        for k in range(len(model)):
            row[k] += norm * ((1 - share) * cool_metals[k] + share * hot_metals[k])
    if len(shapes.plasma) > 1 and slot[term[THIRD]] >= 0:
        _slope_in_redshift(shapes.plasma, table, cell, place, share, Z, scratch[5])
        _add(slopes[slot[term[THIRD]]], norm / spacing, scratch[5])


@jit
def scale_modules(
    shapes: Shapes, theta: Floats, slot: Integers, model: Floats, slopes: Floats
) -> None:
    """Multiply what comes from the source by the factors of the modules."""
    start = 0
    for m in range(len(shapes.modules)):
        stop, position = shapes.modules[m]
        if position >= 0:
            factor = theta[position]
            for i in range(len(slopes)):
                for c in range(start, stop):
                    slopes[i, c] *= factor
            if slot[position] >= 0:
                for c in range(start, stop):
                    slopes[slot[position], c] = model[c]
            for c in range(start, stop):
                model[c] *= factor
        start = stop


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

    Backgrounds come last, which no factor of a module holds for.

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
    for behind in (False, True):
        for term in shapes.terms:
            if (term[KIND] == BACKGROUND) != behind:
                continue
            if term[KIND] == PLASMA:
                cell = cells[term[FIRST]]
                _add_plasma(shapes, term, theta, cell, slot, scratch, model, slopes)
            else:
                _add_rows(shapes, term, theta, slot, model, slopes)
        if not behind:
            scale_modules(shapes, theta, slot, model, slopes)


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
def slots_of(free: Integers, n_parameters: int) -> Integers:
    """Return the place of every parameter among those that are free, -1 for the others."""
    slot = np.full(n_parameters, -1, dtype=np.int64)
    for i in range(len(free)):
        slot[free[i]] = i
    return slot


@inner
def with_slopes(shapes: Shapes, data: Data, box: Box, theta: Floats) -> tuple[Floats, Floats]:
    """Return binned counts and their derivatives, at the heads of their arrays."""
    n, n_channels = len(box.free), shapes.rows.shape[1]
    model, slopes = np.empty(n_channels), np.empty((n, n_channels))
    slot, scratch = slots_of(box.free, len(theta)), np.empty((6, n_channels))
    expected(shapes, theta, find_cells(shapes, theta), slot, scratch, model, slopes)
    fill_bins(data, model)
    for i in range(n):
        fill_bins(data, slopes[i])
    return model, slopes


@jit
def linearised(
    shapes: Shapes, data: Data, box: Box, theta: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return the derivatives of the binned counts, the information and half the slope of C.

    Returns
    -------
    slopes : ndarray, shape (n_free, n_bins)
    info : ndarray, shape (n_free, n_free)
        The observed information.
    slope : ndarray, shape (n_free,)
        Half the gradient of C.
    """
    n, n_bins = len(box.free), len(data.counts)
    model, slopes = with_slopes(shapes, data, box, theta)
    info, push = np.empty((n, n)), np.empty(n)
    metric(data, model, slopes, 0.0, info, push)
    return slopes[:, :n_bins].copy(), info, -push


def derivatives(shapes: Shapes, data: Data, box: Box, theta: Floats) -> Floats:
    """Return the derivatives of the binned counts, shape (n_free, n_bins)."""
    return linearised(shapes, data, box, theta)[0]


def information(shapes: Shapes, data: Data, box: Box, theta: Floats) -> tuple[Floats, Floats]:
    """Return the observed information and half the gradient of C at `theta`."""
    _, info, slope = linearised(shapes, data, box, theta)
    return info, slope


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
def amounts_of(shapes: Shapes, theta: Floats, table: int) -> Floats:
    """Return how much of (A, B) of a plasma table a model holds, shape (n_temperatures, 2)."""
    amounts, cells = np.zeros((len(shapes.temperatures), 2)), find_cells(shapes, theta)
    for t in range(len(shapes.terms)):
        if shapes.terms[t, KIND] != PLASMA or shapes.terms[t, TABLE] != table:
            continue
        norm, kT = theta[shapes.terms[t, NORM]], theta[shapes.terms[t, FIRST]]
        Z, cell = theta[shapes.terms[t, SECOND]], cells[shapes.terms[t, FIRST]]
        low, high = shapes.temperatures[cell], shapes.temperatures[cell + 1]
        share = (kT - low) / (high - low)
        for end, held in ((cell, 1 - share), (cell + 1, share)):
            amounts[end, 0] += norm * held
            amounts[end, 1] += norm * held * Z
    return amounts


@jit
def sums_of(plasma: Floats, starts: Integers) -> Floats:
    """Sum channels, the last axis of `Shapes.plasma`, from each start to the next."""
    n, n_channels = len(starts), plasma.shape[4]
    sums = np.empty((*plasma.shape[:4], n))
    fine, merged = plasma.reshape(-1, n_channels), sums.reshape(-1, n)
    for i in range(len(fine)):
        for b in range(n):
            stop, total = starts[b + 1] if b + 1 < n else n_channels, 0.0
            for c in range(starts[b], stop):
                total += fine[i, c]
            merged[i, b] = total
    return sums


def factors(shapes: Shapes, theta: Floats) -> Floats:
    """Return what the source is multiplied by in every channel, shape (n_channels,)."""
    every = np.ones(shapes.rows.shape[1])
    start = 0
    for stop, position in shapes.modules:
        if position >= 0:
            every[start:stop] = theta[position]
        start = stop
    return every


def sources(terms: Integers) -> Integers:
    """Return the terms of the source that can be told apart: no backgrounds, no tangents."""
    return np.asarray(terms[(terms[:, KIND] != BACKGROUND) & (terms[:, KIND] != TANGENT)])
