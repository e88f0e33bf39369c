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

from icflow.compiled import jit, put, strict
from icflow.engines.embedded.algebra import inverse
from icflow.engines.embedded.folded import add_mix
from icflow.engines.embedded.lines import Reach, Split
from icflow.engines.embedded.shapes import Box, Shapes, linearised
from icflow.engines.embedded.tables import View
from icflow.statistic import FLOOR, Data, pulls, statistic, weights
from icflow.typing import Booleans, Floats, Integers

# What is not a tracked line changes slowly: it is computed at redshifts this far apart, but closer
# as long as these are few, for a narrow survey tells steps apart that differ by little.
NODES, CLOSE_NODES, FEW, MOST_NODES = 0.0016, 0.0008, 4, 40
# Directions with less information than this fraction of the largest are left out of Newton steps.
FLAT = 1e-9
MOST_RELEASED = 4  # of the parameters at limits, may leave them


class Problem(NamedTuple):
    """What is fitted: a spectrum, exact shapes, and the free parameters but for the redshift."""

    view: View
    shapes: Shapes
    box: Box


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
    problem: Problem, theta: Floats, position: int, limits: tuple[float, float], most: int
) -> Survey:
    """Estimate the lowest C on every step between two redshifts.

    All other parameters stay where they are in `theta`, corrected by the
    Newton step that they would take.

    Parameters
    ----------
    position : int
        Of the redshift in `theta`.
    limits : tuple of float
        The redshifts.
    most : int
        Steps are told apart by the hops that move most counts, this many.
    """
    (view, shapes, box), (low, high) = problem, limits
    base, parts = view.tables.mixture(shapes, theta, position)
    nodes, models = _begun(base, low, high, _intervals(high - low))
    for table, amounts, first in parts:
        add_mix(table, amounts, nodes, first, models)
    slopes, info, _ = linearised(shapes, view.data, box, theta)
    newton = _newton(info, box, theta, shapes.temperatures)
    moving = _Moving(models, slopes, np.array([part.amounts for part in parts]))
    reach, split = view.tables.reach[position], view.split[position]
    return Survey(*_survey(reach, split, moving, newton, nodes, most))


def _intervals(width: float) -> int:
    """Return into how many a range of redshifts is divided."""
    few = min(max(1, math.ceil(width / CLOSE_NODES)), FEW)
    return min(max(few, math.ceil(width / NODES)), MOST_NODES)


@jit
def _begun(base: Floats, low: float, high: float, intervals: int) -> tuple[Floats, Floats]:
    """Return evenly spaced redshifts, and what the models at all of them have in common."""
    nodes, models = np.empty(intervals + 1), np.empty((intervals + 1, len(base)))
    for k in range(len(nodes)):
        nodes[k] = high if k == intervals else low + k * ((high - low) / intervals)
        put(models[k], base)
    return nodes, models


class _Newton(NamedTuple):
    """Newton steps of slopes.

    Attributes
    ----------
    inverses : ndarray, shape (n_steps, n_free, n_free)
        Inverse information of the parameters that move: of a first step all that are at a limit
        stay there, of each other one, some of them leave it.
    inward : ndarray, shape (n_free,)
        Which way leads inward from a limit, 1 or -1; 0 elsewhere.
    """

    inverses: Floats
    inward: Floats


@jit
def _newton(info: Floats, box: Box, theta: Floats, temperatures: Floats) -> _Newton:
    n = len(box.free)
    inward, held = np.zeros(n), np.zeros(n, dtype=np.bool_)
    for i in range(n):
        value = theta[box.free[i]]
        # A temperature on a node is held there: C has a kink.
        for node in temperatures:
            held[i] = held[i] or value == node
        if not held[i]:
            inward[i] = 1.0 * (value <= box.lower[i]) - 1.0 * (value >= box.upper[i])
    return _Newton(_inverses(info, inward, held), inward)


@jit
def _inverses(info: Floats, inward: Floats, held: Booleans) -> Floats:
    at_limit, n = np.flatnonzero(inward)[:MOST_RELEASED], len(info)
    inverses = np.empty((1 << len(at_limit), n, n))
    for released in range(len(inverses)):
        chosen = (inward == 0.0) & ~held
        for i in range(len(at_limit)):
            if released & (1 << i):
                chosen[at_limit[i]] = True
        whole = inverse(info, chosen, 0.0, FLAT)
        for a in range(n):
            put(inverses[released, a], whole[a])
    return inverses


class _Moving(NamedTuple):
    """What the model does along the redshift and with all else.

    Attributes
    ----------
    models : ndarray, shape (n_nodes, n_channels)
        Exact expected counts at some redshifts.
    slopes : ndarray, shape (n_free, n_bins)
        Their derivatives by the free parameters.
    amounts : ndarray, shape (n_tables, n_temperatures, 2)
        Norm times exposure of (A, B) at every temperature of each table with the redshift.
    """

    models: Floats
    slopes: Floats
    amounts: Floats


@jit
def _survey(
    reach: Reach, split: Split, moving: _Moving, newton: _Newton, nodes: Floats, most: int
) -> tuple[Floats, Floats, Floats]:
    """Return edges, middles and estimates of the steps between the first and the last node."""
    hops = _passed(reach, moving.amounts, nodes[0], nodes[-1])
    edges = _edges(hops, reach.rates, nodes[0], nodes[-1], most)
    middle = 0.5 * (edges[1:] + edges[:-1])
    near, far = _near(reach, split, moving), _far(split, moving)
    return edges, middle, _estimates(near, far, nodes, reach, hops, middle, newton)


class _Passed(NamedTuple):
    """Lines changing bins between two redshifts, in order.

    Attributes
    ----------
    redshift, photons : ndarray, shape (n_hops,)
        Photons/cm²/s in each, times the exposure.
    row : ndarray of int, shape (n_hops,)
        The row of `Reach.kernel` that each leaves, for the one before.
    """

    redshift: Floats
    photons: Floats
    row: Integers


@strict
def _passed(reach: Reach, amounts: Floats, low: float, high: float) -> _Passed:
    every = reach.hops
    first = np.searchsorted(every.redshift, low, side="right")
    last = np.searchsorted(every.redshift, high, side="right")
    photons = np.empty(last - first)
    for h in range(first, last):
        line, strength = every.line[h], 0.0
        mix, held = amounts[every.table[line]], every.photons[line]
        for i in range(len(mix)):
            if mix[i, 0] != 0 or mix[i, 1] != 0:
                strength += mix[i, 0] * held[i, 0]
                strength += mix[i, 1] * held[i, 1]
        photons[h - first] = strength / (1 + every.redshift[h])
    return _Passed(every.redshift[first:last], photons, every.row[first:last])


@jit
def _edges(hops: _Passed, rates: Floats, low: float, high: float, most: int) -> Floats:
    """Return the edges of steps, told apart by the hops that move most counts."""
    n, k = len(hops.redshift), 0
    size, edges = np.empty(n), np.empty(n + 2)
    for h in range(n):
        size[h] = hops.photons[h] * rates[hops.row[h]]
    least = _least_of(size, most) if n > most else -math.inf
    edges[0] = low
    for h in range(n):
        if size[h] >= least and edges[k] < hops.redshift[h] < high:
            k += 1
            edges[k] = hops.redshift[h]
    edges[k + 1] = high
    return edges[: k + 2]


@jit
def half_width(stairs: Survey, middle: float, fraction: float) -> float:
    """Return the distance from `middle` within which a fraction of the likelihood lies.

    Every step counts with its width and exp(-C/2). The rise of C by 1 means
    nothing here: the lowest of many narrow steps is lower by chance.
    """
    weight = np.exp(-0.5 * (stairs.cstat - stairs.cstat.min()))
    low, high = 0.0, np.abs(stairs.edges - middle).max()
    total = _within(stairs.edges, weight, middle, high)
    for _ in range(25):
        half = 0.5 * (low + high)
        if _within(stairs.edges, weight, middle, half) < fraction * total:
            low = half
        else:
            high = half
    return float(high)


def drawn(stairs: Survey, probability: float) -> tuple[float, float]:
    """Return the redshift that is as probable to be exceeded as said, and ln of its density.

    Probable is a step by its width and exp(-C/2).
    """
    logs = -0.5 * (stairs.cstat - stairs.cstat.min())
    share = np.exp(logs) * np.diff(stairs.edges)
    below = np.cumsum([0.0, *share])
    z = float(np.interp(probability * below[-1], below, stairs.edges))
    step = np.clip(np.searchsorted(stairs.edges, z, side="right") - 1, 0, len(logs) - 1)
    return z, float(logs[step] - np.log(below[-1]))


@jit
def _within(edges: Floats, weight: Floats, middle: float, half: float) -> float:
    """Return what lies within a distance of `middle`."""
    total = 0.0
    for i in range(len(weight)):
        inside = min(edges[i + 1], middle + half) - max(edges[i], middle - half)
        total += weight[i] * max(inside, 0.0)
    return total


@jit
def _least_of(values: Floats, most: int) -> float:
    """Return the least of so many largest values.

    By Hoare's selection: `np.partition` takes longer to compile than all of a survey.
    """
    rest, place, low, high = values.copy(), len(values) - most, 0, len(values) - 1
    while low < high:
        pivot, i, j = rest[place], low, high
        while i <= j:
            while rest[i] < pivot:
                i += 1
            while pivot < rest[j]:
                j -= 1
            if i <= j:
                rest[i], rest[j] = rest[j], rest[i]
                i, j = i + 1, j - 1
        if j < place:
            low = i
        if place < i:
            high = j
    return float(rest[place])


class _Near(NamedTuple):
    """Bins that lines reach: counts, models at the nodes and slopes, in these bins alone."""

    data: Data
    models: Floats
    slopes: Floats


class _Far(NamedTuple):
    """All other bins, taken together, at every node.

    Attributes
    ----------
    value : ndarray, shape (n_nodes,)
        Their C.
    push : ndarray, shape (n_nodes, n_free)
        Half its gradient, with the sign turned.
    bend : ndarray, shape (n_nodes,)
        Second difference of C from each node to the next, where the model
        changes linearly.
    """

    value: Floats
    push: Floats
    bend: Floats


@jit
def _columns(matrix: Floats, chosen: Integers) -> Floats:
    """Return ``matrix[:, chosen]``."""
    columns = np.empty((len(matrix), len(chosen)))
    for i in range(len(matrix)):
        for k in range(len(chosen)):
            columns[i, k] = matrix[i, chosen[k]]
    return columns


@jit
def _near(reach: Reach, split: Split, moving: _Moving) -> _Near:
    models, slopes = _columns(moving.models, reach.near), _columns(moving.slopes, split.inside)
    return _Near(split.within, models, slopes)


@jit
def _far(split: Split, moving: _Moving) -> _Far:
    data, models, slopes = split.beyond, moving.models, _columns(moving.slopes, split.outside)
    n_nodes, n = len(models), len(slopes)
    value, push, bend = np.empty(n_nodes), np.empty((n_nodes, n)), np.zeros(n_nodes)
    binned, before = np.ones(len(data.counts)), np.ones(len(data.counts))
    for k in range(n_nodes):
        put(before, binned)
        _fill(data, models[k], binned)
        value[k] = _judge(data, binned, slopes, push[k])
        if k > 0:
            weight = weights(data, binned, 0.0)
            for b in range(len(binned)):
                bend[k - 1] += weight[b] * (binned[b] - before[b]) ** 2
    return _Far(value, push, bend)


@jit
def _estimates(
    near: _Near,
    far: _Far,
    nodes: Floats,
    reach: Reach,
    hops: _Passed,
    points: Floats,
    newton: _Newton,
) -> Floats:
    """Return C at each of `points`, less what the best Newton step would gain.

    The model is given at `nodes`. In between, hops act when they are passed,
    and what they do not explain changes linearly. Bins that no line reaches
    are taken together, and interpolated.

    Parameters
    ----------
    nodes, points : ndarray
        Redshifts, increasing; the first and last node enclose the points.
    """
    n, width = len(newton.inward), len(reach.near)
    estimates, push, binned = np.empty(len(points)), np.empty(n), np.ones(len(near.data.counts))
    drift, moved, model = np.empty(width), np.empty(width), np.empty(width)
    node, next_hop = -1, 0
    for i in range(len(points)):
        z = points[i]
        while node < 0 or (node + 2 < len(nodes) and nodes[node + 1] <= z):
            node += 1
            next_hop = _start_interval(near.models, nodes, node, reach, hops, drift)
            moved[:] = 0.0
        while next_hop < len(hops.redshift) and hops.redshift[next_hop] <= z:
            _hop(reach, hops, next_hop, 1.0, moved)
            next_hop += 1
        share = (z - nodes[node]) / (nodes[node + 1] - nodes[node])
        for c in range(width):
            model[c] = near.models[node, c] + share * drift[c] + moved[c]
        _fill(near.data, model, binned)
        value = _judge(near.data, binned, near.slopes, push)
        value += (1 - share) * far.value[node] + share * far.value[node + 1]
        value -= share * (1 - share) * far.bend[node]
        for a in range(n):
            push[a] += (1 - share) * far.push[node, a] + share * far.push[node + 1, a]
        estimates[i] = value - _gain(push, newton)
    return estimates


@jit
def _gain(push: Floats, newton: _Newton) -> float:
    """Return by how much the best step lowers C, of those that leave no limit outward."""
    best = 0.0
    for s in range(len(newton.inverses)):
        gain, allowed = 0.0, True
        for a in range(len(push)):
            step = 0.0
            for b in range(len(push)):
                step += newton.inverses[s, a, b] * push[b]
            gain += push[a] * step
            allowed = allowed and step * newton.inward[a] >= 0.0
        if allowed:
            best = max(best, gain)
    return best


@jit
def _start_interval(
    models: Floats, nodes: Floats, node: int, reach: Reach, hops: _Passed, drift: Floats
) -> int:
    """Compute what hops do not explain from a node to the next, and return the first hop."""
    start = np.searchsorted(hops.redshift, nodes[node], side="right")
    for c in range(len(drift)):
        drift[c] = models[node + 1, c] - models[node, c]
    for h in range(start, np.searchsorted(hops.redshift, nodes[node + 1], side="right")):
        _hop(reach, hops, h, -1.0, drift)
    return int(start)


@jit
def _hop(reach: Reach, hops: _Passed, h: int, sign: float, model: Floats) -> None:
    """Add what a hop adds to the counts of the channels that lines reach, or take it away."""
    photons, row = sign * hops.photons[h], hops.row[h]
    above, below = reach.kernel[row], reach.kernel[row - 1]
    for c in range(reach.band[row, 0], reach.band[row, 1]):
        model[c] += photons * (below[c] - above[c])


@jit
def _fill(data: Data, model: Floats, binned: Floats) -> None:
    """Sum channels into bins."""
    if len(binned) == len(model):
        for c in range(len(model)):
            binned[c] = max(model[c], FLOOR)
        return
    for b in range(len(binned)):
        total = 0.0
        for c in range(data.starts[b], data.stops[b]):
            total += model[c]
        binned[b] = max(total, FLOOR)


@jit
def _judge(data: Data, binned: Floats, slopes: Floats, push: Floats) -> float:
    """Return C over some bins; half its gradient, with the sign turned, goes into `push`."""
    pull = pulls(data, binned)
    for a in range(len(push)):
        total = 0.0
        for b in range(len(pull)):
            total += slopes[a, b] * pull[b]
        push[a] = total
    return statistic(data, binned)
