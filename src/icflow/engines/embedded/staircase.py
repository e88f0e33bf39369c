"""C as a function of redshift: a staircase, and where its lowest steps are.

As the redshift grows, lines hop from one model bin to the next, as they do in
XSPEC. Between two hops C is nearly constant. This module follows the hops of
all tracked lines through a range of redshifts and estimates, on every step,
the C that a fit of all other parameters would reach.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

from icflow.compiled import jit, put, strict
from icflow.engines.embedded.algebra import inverse
from icflow.engines.embedded.folded import PlasmaTable, add_mix
from icflow.engines.embedded.shapes import Box, Shapes, linearised
from icflow.engines.embedded.tables import Part, Reach, Tables
from icflow.statistic import FLOOR, Data, only, pulls, statistic, weights
from icflow.typing import Booleans, Floats, Integers

# What is not a tracked line changes slowly: it is computed at redshifts this far apart.
NODES, MOST_NODES = 0.0008, 40
# Directions with less information than this fraction of the largest are left out of Newton steps.
FLAT = 1e-9
MOST_RELEASED = 4  # of the parameters at limits, may leave them


class Problem(NamedTuple):
    """What is fitted: exact shapes, counts, and the free parameters but for the redshift."""

    shapes: Shapes
    data: Data
    box: Box


class Hops(NamedTuple):
    """Lines changing bins, in order of redshift.

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
    tables: Tables,
    problem: Problem,
    theta: Floats,
    position: int,
    limits: tuple[float, float],
    most: int,
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
    shapes, data, box = problem
    low, high = limits
    values = theta[box.free]
    # A temperature on a node is held there: C has a kink.
    on_node = (values[:, None] == tables.temperatures).any(axis=1)
    base, parts = tables.mixture(shapes, theta, position)
    reach = tables.reach[position]
    hops = _in_order(parts, reach, low, high)
    size = hops.photons * reach.rates[hops.row]
    telling = hops.redshift
    if len(size) > most:
        telling = telling[np.argsort(size, kind="stable")[::-1][:most]]
    edges = np.unique(np.concatenate([[low, high], telling]))
    middle = 0.5 * (edges[1:] + edges[:-1])
    intervals = min(max(1, math.ceil((high - low) / NODES)), MOST_NODES)
    nodes = np.linspace(low, high, 1 + intervals)
    slopes, info, _ = linearised(shapes, data, box, theta)
    models = _models(base, parts, nodes)
    inward = np.where(on_node, 0.0, 1.0 * (values <= box.lower) - (values >= box.upper))
    steps = _steps(info, inward, on_node), inward
    lowest = estimates((data, slopes), nodes, models, (reach, hops), middle, steps)
    return Survey(edges, middle, lowest)


def _steps(info: Floats, inward: Floats, held: Booleans) -> Floats:
    """Return what makes Newton steps of slopes, shape (n_steps, n_free, n_free).

    Of a first step all that are at a limit stay there; of each other one, some of them leave it.
    """
    at_limit = np.flatnonzero(inward)[:MOST_RELEASED].tolist()
    moving = (inward == 0.0) & ~held
    sets = [c for n in range(len(at_limit) + 1) for c in itertools.combinations(at_limit, n)]
    steps = np.empty((len(sets), *info.shape))
    for step, released in zip(steps, sets, strict=True):
        chosen = moving.copy()
        chosen[list(released)] = True
        step[:] = inverse(info, chosen, 0.0, FLAT)
    return steps


def _models(base: Floats, parts: list[Part], nodes: Floats) -> Floats:
    """Return exact expected counts at some redshifts, shape (n_nodes, n_channels)."""
    models = np.repeat(base[None], len(nodes), axis=0)
    for table, amounts, first in parts:
        add_mix(table, amounts, nodes, first, models)
    return models


def _in_order(parts: list[Part], reach: Reach, low: float, high: float) -> Hops:
    """Return the hops of several tables in order."""
    every = [_hops(part.table, part.amounts, low, high) for part in parts]
    for hops, first in zip(every, reach.first.tolist(), strict=True):
        hops.row[:] += first
    together = every[0]
    if len(every) > 1:
        together = Hops(*(np.concatenate(part) for part in zip(*every, strict=True)))
    redshift, photons, row = together
    order = np.argsort(redshift, kind="stable")
    return Hops(redshift[order], photons[order], row[order])


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


@strict
def _hops(table: PlasmaTable, amounts: Floats, low: float, high: float) -> Hops:
    """Return every hop of a tracked line between two redshifts.

    Parameters
    ----------
    amounts : ndarray, shape (n_temperatures, 2)
        Norm times exposure of (A, B) at every temperature.
    """
    edges, lines, photons_of = table.energies, table.line_energy, table.line_photons
    first, last = np.zeros(len(edges), dtype=np.int64), np.zeros(len(edges), dtype=np.int64)
    n, below, above = 0, 0, 0
    for edge in range(1, len(edges) - 1):
        while below < len(lines) and lines[below] <= edges[edge] * (1 + low):
            below += 1
        while above < len(lines) and lines[above] <= edges[edge] * (1 + high):
            above += 1
        first[edge], last[edge] = below, above
        n += above - below
    redshift, photons, row = np.empty(n), np.empty(n), np.empty(n, dtype=np.int64)
    k = 0
    for edge in range(1, len(edges) - 1):
        for line in range(first[edge], last[edge]):
            # From the bin above the edge to the one below it.
            z, strength = lines[line] / edges[edge] - 1, 0.0
            for i in range(len(amounts)):
                for part in range(2):
                    if amounts[i, part] != 0:
                        strength += amounts[i, part] * photons_of[line, i, part]
            redshift[k], photons[k], row[k] = z, strength / (1 + z), edge
            k += 1
    return Hops(redshift, photons, row)


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


def estimates(
    problem: tuple[Data, Floats],
    nodes: Floats,
    models: Floats,
    hops: tuple[Reach, Hops],
    points: Floats,
    steps: tuple[Floats, Floats],
) -> Floats:
    """Return C at each of `points`, less what a Newton step would gain.

    The model is given at `nodes`. In between, hops act when they are passed,
    and what they do not explain changes linearly. Bins that no line reaches
    are taken together, and interpolated.

    Parameters
    ----------
    problem : tuple
        Data, and derivatives by the free parameters, shape (n_free, n_bins).
    nodes, points : ndarray
        Redshifts, increasing; the first and last node enclose the points.
    models : ndarray, shape (n_nodes, n_channels)
    hops : tuple
        What lines reach, and how they hop.
    steps : tuple of ndarray
        Inverse information of the parameters that move, shape (n_steps, n_free, n_free), those at
        limits held but for some; and which way leads inward from a limit, 1 or -1, 0 elsewhere.
        The best of the steps that leave no limit outward counts.
    """
    (data, slopes), (reach, every), (inverses, inward) = problem, hops, steps
    near = reach.near
    place = np.full(models.shape[1], -1, dtype=np.int64)
    place[near] = np.arange(len(near))
    reached = (place[data.starts] >= 0) & (place[data.stops - 1] >= 0)
    inside, outside = np.flatnonzero(reached), np.flatnonzero(~reached)
    within = only(data, inside)
    within = within._replace(starts=place[within.starts], stops=place[within.stops - 1] + 1)
    close = _Near(within, models.take(near, axis=1), slopes.take(inside, axis=1))
    far = _far(only(data, outside), models, slopes.take(outside, axis=1))
    return _estimates(close, far, nodes, reach, every, points, inverses, inward)


@jit
def _far(data: Data, models: Floats, slopes: Floats) -> _Far:
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
    hops: Hops,
    points: Floats,
    inverses: Floats,
    inward: Floats,
) -> Floats:
    n, width = len(inward), len(reach.near)
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
        estimates[i] = value - _gain(push, inverses, inward)
    return estimates


@jit
def _gain(push: Floats, inverses: Floats, inward: Floats) -> float:
    """Return by how much the best step lowers C, of those that leave no limit outward."""
    best = 0.0
    for s in range(len(inverses)):
        gain, allowed = 0.0, True
        for a in range(len(push)):
            step = 0.0
            for b in range(len(push)):
                step += inverses[s, a, b] * push[b]
            gain += push[a] * step
            allowed = allowed and step * inward[a] >= 0.0
        if allowed:
            best = max(best, gain)
    return best


@jit
def _start_interval(
    models: Floats, nodes: Floats, node: int, reach: Reach, hops: Hops, drift: Floats
) -> int:
    """Compute what hops do not explain from a node to the next, and return the first hop."""
    start = np.searchsorted(hops.redshift, nodes[node], side="right")
    for c in range(len(drift)):
        drift[c] = models[node + 1, c] - models[node, c]
    for h in range(start, np.searchsorted(hops.redshift, nodes[node + 1], side="right")):
        _hop(reach, hops, h, -1.0, drift)
    return int(start)


@jit
def _hop(reach: Reach, hops: Hops, h: int, sign: float, model: Floats) -> None:
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
