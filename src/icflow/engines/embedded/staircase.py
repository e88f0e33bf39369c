"""C as a function of redshift: a staircase, and where its lowest steps are.

As the redshift grows, lines hop from one model bin to the next, as they do in
XSPEC. Between two hops C is nearly constant. This module follows the hops of
all tracked lines through a range of redshifts and estimates, on every step,
the C that a fit of all other parameters would reach.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from icflow import statistic as cstat
from icflow.engines.embedded import folded
from icflow.engines.embedded.folded import PlasmaTable
from icflow.engines.embedded.tables import Tables
from icflow.statistic import FLOOR, Box, Data, Shapes, jit
from icflow.typing import Booleans, Floats

# What is not a tracked line changes slowly: it is computed at redshifts this far apart.
NODES, MOST_NODES = 0.0008, 40


class Hops(NamedTuple):
    """Lines changing bins, in order of redshift.

    Attributes
    ----------
    redshift : ndarray, shape (n_hops,)
    change : ndarray, shape (n_hops, n_reached)
        What each adds to the counts of the first channels.
    size : ndarray, shape (n_hops,)
        Counts that it moves.
    """

    redshift: Floats
    change: Floats
    size: Floats


class Survey(NamedTuple):
    """Steps of a staircase.

    Attributes
    ----------
    edges : ndarray, shape (n_steps + 1,)
        Redshifts between which the steps lie.
    middle : ndarray, shape (n_steps,)
        A redshift on each.
    cstat : ndarray, shape (n_steps,)
        The lowest C there, estimated.
    """

    edges: Floats
    middle: Floats
    cstat: Floats


def survey(
    tables: Tables, shapes: Shapes, data: Data, box: Box, theta: Floats, position: int,
    low: float, high: float, most: int,
) -> Survey:  # fmt: skip
    """Estimate the lowest C on every step between two redshifts.

    All other parameters stay where they are in `theta`, corrected by the
    Newton step that they would take.

    Parameters
    ----------
    shapes : Shapes
        The exact ones at `theta`.
    box : Box
        The other free parameters.
    position : int
        Of the redshift in `theta`.
    most : int
        Steps are told apart by the hops that move most counts, this many.
    """
    values = theta[box.free]
    # A temperature on a node is held there: C has a kink.
    moving = (values > box.lower) & (values < box.upper) & ~np.isin(values, tables.temperatures)
    inverse = _newton_inverse(cstat.information(shapes, data, box, theta)[0], moving)
    slopes = cstat.derivatives(shapes, data, box, theta)
    base, parts = tables.mixture(shapes, theta, position)
    every = _join([_hops(table, amounts, low, high) for table, amounts in parts])
    telling = every.redshift[np.argsort(every.size, kind="stable")[::-1][:most]]
    edges = np.unique(np.concatenate([[low, high], telling]))
    middle = 0.5 * (edges[1:] + edges[:-1])
    intervals = min(max(1, math.ceil((high - low) / NODES)), MOST_NODES)
    nodes = np.linspace(low, high, 1 + intervals)
    models = np.empty((len(nodes), len(base)))
    for i, z in enumerate(nodes):
        models[i] = base
        for table, amounts in parts:
            folded.add_smooth(table, amounts, z, models[i])
            folded.add_lines(table, amounts, z, models[i])
    return Survey(edges, middle, _estimates(data, nodes, models, every, middle, slopes, inverse))


def half_width(found: Survey, middle: float, fraction: float) -> float:
    """Return the distance from `middle` within which a fraction of the likelihood lies.

    Every step counts with its width and exp(-C/2). The rise of C by 1 means
    nothing here: the lowest of many narrow steps is lower by chance.
    """
    weight = np.exp(-0.5 * (found.cstat - found.cstat.min()))

    def within(half: float) -> float:
        inside = np.clip(np.clip(found.edges, middle - half, middle + half), *found.edges[[0, -1]])
        return float(weight @ np.diff(inside))

    total = within(math.inf)
    low, high = 0.0, float(np.abs(found.edges - middle).max())
    for _ in range(25):
        half = 0.5 * (low + high)
        low, high = (half, high) if within(half) < fraction * total else (low, half)
    return high


def _newton_inverse(info: Floats, moving: Booleans) -> Floats:
    """Invert the information of the parameters that move, 0 for the others.

    Directions in which nothing changes, as in two plasmas that share a cell,
    are left out.
    """
    diagonal = np.where(moving, np.diag(info), 0.0)
    scale = np.where(diagonal > 0, 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), 0.0)
    scaled = info * np.outer(scale, scale)
    return np.asarray(np.linalg.pinv(scaled, rcond=1e-9, hermitian=True) * np.outer(scale, scale))


def _join(parts: list[Hops]) -> Hops:
    """Put the hops of several tables in order; channels that one does not reach get nothing."""
    reach = max(part.change.shape[1] for part in parts)
    change = [np.pad(p.change, ((0, 0), (0, reach - p.change.shape[1]))) for p in parts]
    redshift = np.concatenate([part.redshift for part in parts])
    order = np.argsort(redshift, kind="stable")
    size = np.concatenate([part.size for part in parts])
    return Hops(redshift[order], np.concatenate(change)[order], size[order])


@njit(cache=True, nogil=True)
def _hops(table: PlasmaTable, amounts: Floats, low: float, high: float) -> Hops:
    """Return every hop of a tracked line between two redshifts.

    Parameters
    ----------
    amounts : ndarray, shape (n_temperatures, 2)
        Norm times exposure of (A, B) at every temperature.
    """
    edges, n_rows = table.energies, len(table.energies) - 1
    first = np.searchsorted(edges, table.line_energy / (1 + high))
    last = np.minimum(np.searchsorted(edges, table.line_energy / (1 + low)), n_rows)
    strength = folded.line_strength(table, amounts)
    n = 0
    for line in range(len(first)):
        n += max(last[line] - max(first[line], 1), 0)
    redshift, size = np.empty(n), np.empty(n)
    change = np.empty((n, table.kernel.shape[1]))
    k = 0
    for line in range(len(first)):
        for edge in range(max(first[line], 1), last[line]):
            z = table.line_energy[line] / edges[edge] - 1
            photons = strength[line] / (1 + z)
            # From the bin above the edge to the one below it.
            above, below = table.kernel[edge], table.kernel[edge - 1]
            total = 0.0
            for c in range(len(above)):
                change[k, c] = photons * (below[c] - above[c])
                total += photons * above[c]
            redshift[k], size[k] = z, total
            k += 1
    return Hops(redshift, change, size)


@jit
def _estimates(
    data: Data, nodes: Floats, models: Floats, hops: Hops, points: Floats,
    slopes: Floats, inverse: Floats,
) -> Floats:  # fmt: skip
    """Return C at each of `points`, less what a Newton step would gain.

    The model is known at `nodes`. In between, hops act when they are passed,
    and what they do not explain changes linearly. Bins that no line reaches
    are taken together, and interpolated.

    Parameters
    ----------
    nodes, points : ndarray
        Redshifts, increasing; the first and last node enclose the points.
    models : ndarray, shape (n_nodes, n_channels)
    slopes : ndarray, shape (n_free, n_bins)
    inverse : ndarray, shape (n_free, n_free)
    """
    n, reach = len(inverse), hops.change.shape[1]
    n_low = int(np.searchsorted(data.stops, reach, side="right"))
    n_bins = len(data.counts)
    far, far_push = np.empty(len(nodes)), np.empty((len(nodes), n))
    bend = np.zeros(len(nodes))
    binned, before = np.ones(n_bins), np.ones(n_bins)
    for k in range(len(nodes)):
        before[:] = binned
        _fill(data, models[k], 0, n_bins, binned)
        far[k] = _judge(data, binned, n_low, n_bins, slopes, far_push[k])
        if k > 0:
            # Second difference of C where the model changes linearly.
            for b in range(n_low, n_bins):
                bend[k - 1] += data.counts[b] * ((binned[b] - before[b]) / binned[b]) ** 2
    estimates, push = np.empty(len(points)), np.empty(n)
    drift, moved, model = np.empty(reach), np.empty(reach), np.empty(reach)
    node, next_hop = -1, 0
    for i in range(len(points)):
        z = points[i]
        while node < 0 or (node + 2 < len(nodes) and nodes[node + 1] <= z):
            node += 1
            start, stop = nodes[node], nodes[node + 1]
            next_hop = np.searchsorted(hops.redshift, start, side="right")
            for c in range(reach):
                drift[c] = models[node + 1, c] - models[node, c]
                moved[c] = 0.0
            for h in range(next_hop, np.searchsorted(hops.redshift, stop, side="right")):
                for c in range(reach):
                    drift[c] -= hops.change[h, c]
        while next_hop < len(hops.redshift) and hops.redshift[next_hop] <= z:
            for c in range(reach):
                moved[c] += hops.change[next_hop, c]
            next_hop += 1
        share = (z - nodes[node]) / (nodes[node + 1] - nodes[node])
        for c in range(reach):
            model[c] = models[node, c] + share * drift[c] + moved[c]
        _fill(data, model, 0, n_low, binned)
        value = _judge(data, binned, 0, n_low, slopes, push)
        value += (1 - share) * far[node] + share * far[node + 1]
        value -= share * (1 - share) * bend[node]
        for a in range(n):
            push[a] += (1 - share) * far_push[node, a] + share * far_push[node + 1, a]
        gain = 0.0
        for a in range(n):
            for b in range(n):
                gain += push[a] * inverse[a, b] * push[b]
        estimates[i] = value - gain
    return estimates


@jit
def _fill(data: Data, model: Floats, first: int, last: int, binned: Floats) -> None:
    """Sum channels into bins `first` to `last`."""
    for b in range(first, last):
        total = 0.0
        for c in range(data.starts[b], data.stops[b]):
            total += model[c]
        binned[b] = max(total, FLOOR)


@jit
def _judge(
    data: Data, binned: Floats, first: int, last: int, slopes: Floats, push: Floats
) -> float:
    """Return C over some bins; half its gradient, with the sign turned, goes into `push`."""
    pull = np.empty(last - first)
    for b in range(first, last):
        pull[b - first] = data.counts[b] / binned[b] - 1.0
    for a in range(len(push)):
        total = 0.0
        for b in range(first, last):
            total += slopes[a, b] * pull[b - first]
        push[a] = total
    return cstat.cstat(data.counts[first:last], binned[first:last])
