"""From a start down to the minimum of the statistic beside it; below, C is W as well.

The steps are those of Levenberg and Marquardt with the observed Poisson
information as metric, inside a box: parameters at a bound (or at a kink of the
interpolation) that the gradient pushes outward are held there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from icflow.compiled import inner, jit, put
from icflow.engines.embedded.algebra import solve_without
from icflow.engines.embedded.shapes import (
    FIRST,
    KIND,
    PLASMA,
    Box,
    Shapes,
    expected,
    find_cells,
    slots_of,
)
from icflow.statistic import Data, fill_bins, metric, statistic
from icflow.typing import Booleans, Floats, Integers

# A minimum counts as reached when a full Newton step would lower C by less than this.
ENOUGH = 1e-5
# The same where only the lowest of several minima is looked for. One that lies higher by more than
# so many times what a step promises is given up after a few.
ROUGH, HOPELESS, FEW = 1e-3, 20.0, 2
# Where no step lowers C any more, it is one if a Newton step promises less than this.
BOTTOM = 1e-2
# Relative addition to the diagonal of a singular information matrix.
RIDGE = 1e-8
# Where W is flat, steps go by this fraction of the weight that C would have.
STIFF = 0.05
# Of the damping: at first, least, least after a step that failed; factors after steps that
# succeed, that fail, that cannot be solved for; steps that are tried.
DAMPING, LEAST, AGAIN = 1e-3, 1e-12, 1e-6
RELAX, TIGHTEN, REGULARISE, TRIALS = 0.1, 8.0, 10.0, 12


class Minimum(NamedTuple):
    """Where a descent ended.

    Attributes
    ----------
    decrement : float
        The reduction of C that a further Newton step promises.
    """

    theta: Floats
    cstat: float
    iterations: int
    decrement: float
    converged: bool


class _State(NamedTuple):
    """Where a descent is, and room to work in.

    Attributes
    ----------
    theta, cells, trial : ndarray, shape (n_parameters,)
        Parameters, cells of temperatures, and parameters that are tried.
    slot : ndarray of int, shape (n_parameters,)
    is_kT : ndarray of bool, shape (n_free,)
    model, slopes, scratch, trial_model : ndarray
        As of `expected`; binned, at the head.
    info, push, step, low, high, held, blocked : ndarray
        Of the free parameters.
    """

    theta: Floats
    cells: Integers
    trial: Floats
    slot: Integers
    is_kT: Booleans
    model: Floats
    slopes: Floats
    scratch: Floats
    trial_model: Floats
    info: Floats
    push: Floats
    step: Floats
    low: Floats
    high: Floats
    held: Booleans
    blocked: Booleans


@inner
def _state(shapes: Shapes, box: Box, start: Floats) -> _State:
    n, n_channels = len(box.free), shapes.rows.shape[1]
    theta = start.copy()
    for i in range(n):
        theta[box.free[i]] = min(max(start[box.free[i]], box.lower[i]), box.upper[i])
    slot, is_kT = slots_of(box.free, len(start)), np.zeros(n, dtype=np.bool_)
    for t in range(len(shapes.terms)):
        if shapes.terms[t, KIND] == PLASMA and slot[shapes.terms[t, FIRST]] >= 0:
            is_kT[slot[shapes.terms[t, FIRST]]] = True
    return _State(
        theta,
        find_cells(shapes, theta),
        theta.copy(),
        slot,
        is_kT,
        np.empty(n_channels),
        np.empty((n, n_channels)),
        np.empty((6, n_channels)),
        np.empty(n_channels),
        np.empty((n, n)),
        np.empty(n),
        np.zeros(n),
        np.empty(n),
        np.empty(n),
        np.zeros(n, dtype=np.bool_),
        np.zeros(n, dtype=np.bool_),
    )


@inner
def descend(
    shapes: Shapes,
    data: Data,
    box: Box,
    start: Floats,
    max_iterations: int,
    enough: float,
    lowest: float,
) -> Minimum:
    """Go down to the minimum of C next to `start`, unless it will not be as low as `lowest`."""
    now = _state(shapes, box, start)
    value, damping, decrement, converged, iteration = math.inf, DAMPING, math.inf, False, 0
    while iteration < max_iterations:
        _evaluate(shapes, data, box, now)
        if iteration == 0:
            value = statistic(data, now.model[: len(data.counts)])
        iteration += 1
        _hold(shapes, box, now)
        decrement = _newton(now, decrement)
        if decrement < enough:
            converged = True
            break
        if iteration > FEW and value - lowest > max(HOPELESS * decrement, 1.0):
            break
        before = value
        value, damping = _lower(shapes, data, box, now, before, damping)
        if not value < before:
            # No step lowers C by more than rounding: as far down as numbers go.
            converged = decrement < BOTTOM
            break
        put(now.theta, now.trial)
        damping = max(damping * RELAX, LEAST)
    return Minimum(now.theta, value, iteration, decrement, converged)


def descents(
    shapes: Shapes,
    data: Data,
    box: Box,
    starts: Sequence[Floats],
    max_iterations: int,
    rough: bool = False,
) -> list[Minimum]:
    """Go down from each of several starts.

    Parameters
    ----------
    rough : bool
        Whether the lowest minimum is looked for, and roughly: others are given up on the way.
    """
    if not len(starts):
        return []
    enough = ROUGH if rough else ENOUGH
    ends = _descents(shapes, data, box, np.array(starts), max_iterations, enough, not rough)
    return [
        Minimum(theta, cstat, int(iterations), decrement, bool(converged))
        for theta, (cstat, iterations, decrement, converged) in zip(
            ends[0], ends[1].tolist(), strict=True
        )
    ]


@jit
def _descents(
    shapes: Shapes,
    data: Data,
    box: Box,
    starts: Floats,
    max_iterations: int,
    enough: float,
    every: bool,
) -> tuple[Floats, Floats]:
    """Return where descents end, and all else about these `Minimum`, in their order."""
    n, lowest = len(starts), math.inf
    thetas, others = np.empty_like(starts), np.empty((n, 4))
    for i in range(n):
        end = descend(shapes, data, box, starts[i], max_iterations, enough, lowest)
        if not every:
            lowest = min(lowest, end.cstat)
        put(thetas[i], end.theta)
        others[i, 0], others[i, 1] = end.cstat, end.iterations
        others[i, 2], others[i, 3] = end.decrement, end.converged
    return thetas, others


@inner
def _evaluate(shapes: Shapes, data: Data, box: Box, now: _State) -> None:
    """Compute binned counts, their derivatives, and where these push.

    Temperatures on a node of the table that want to leave their cell look over it. If the other
    side pushes back, the node is a kink that blocks them.
    """
    now.blocked[:] = False
    before = np.empty(len(now.push))
    for over in (False, True):
        expected(shapes, now.theta, now.cells, now.slot, now.scratch, now.model, now.slopes)
        fill_bins(data, now.model)
        for i in range(len(now.slopes)):
            fill_bins(data, now.slopes[i])
        metric(data, now.model, now.slopes, STIFF, now.info, now.push)
        if over:
            for i in range(len(before)):
                # Still pushed the same way: free to go on in the new cell.
                if now.blocked[i] and now.push[i] * before[i] > 0:
                    now.blocked[i] = False
        elif _leave_cells(shapes, box, now):
            put(before, now.push)
        else:
            break


@inner
def _leave_cells(shapes: Shapes, box: Box, now: _State) -> bool:
    """Move temperatures that are pushed over a node to the next cell, blocked; True if any."""
    node, crossed = shapes.temperatures, False
    for i in range(len(now.is_kT)):
        if not now.is_kT[i]:
            continue
        p = box.free[i]
        c, kT = now.cells[p], now.theta[p]
        if kT <= node[c] and now.push[i] < 0 and c > 0 and kT > box.lower[i]:
            now.cells[p] = c - 1
            now.blocked[i] = crossed = True
        elif kT >= node[c + 1] and now.push[i] > 0 and c + 2 < len(node) and kT < box.upper[i]:
            now.cells[p] = c + 1
            now.blocked[i] = crossed = True
    return crossed


@inner
def _hold(shapes: Shapes, box: Box, now: _State) -> None:
    """Set the limits of a step, which ends in its cells, and hold what is pushed out of them."""
    for i in range(len(now.push)):
        p = box.free[i]
        now.low[i], now.high[i] = box.lower[i], box.upper[i]
        if now.is_kT[i]:
            now.low[i] = max(now.low[i], shapes.temperatures[now.cells[p]])
            now.high[i] = min(now.high[i], shapes.temperatures[now.cells[p] + 1])
        now.held[i] = (
            now.blocked[i]
            or now.info[i, i] <= 0
            or (now.theta[p] <= now.low[i] and now.push[i] <= 0)
            or (now.theta[p] >= now.high[i] and now.push[i] >= 0)
        )


@inner
def _newton(now: _State, otherwise: float) -> float:
    """Return by how much a Newton step would lower C, or `otherwise` if there is none."""
    now.step[:] = 0.0
    solved = solve_without(now.info, now.push, now.held, now.step)
    if not solved:
        # Two plasmas in one cell are one plasma too many: any way of sharing is as good.
        solved = solve_without(_damped(now.info, RIDGE), now.push, now.held, now.step)
    if not solved:
        return otherwise
    decrement = 0.0
    for i in range(len(now.step)):
        if not now.held[i]:
            decrement += now.step[i] * now.push[i]
    return decrement


@inner
def _lower(
    shapes: Shapes, data: Data, box: Box, now: _State, value: float, damping: float
) -> tuple[float, float]:
    """Look for a step that lowers C; it leads to `trial`.

    Returns
    -------
    value : float
        C there, or as before if there is no such step.
    damping : float
    """
    nowhere, no_slopes = np.full(len(now.slot), -1, dtype=np.int64), now.slopes[:0]
    for _ in range(TRIALS):
        theta = now.theta[box.free]
        if not boxed_step(
            now.info, now.push, damping, now.held, theta, now.low, now.high, now.step
        ):
            damping = max(damping * REGULARISE, AGAIN)
            continue
        put(now.trial, now.theta)
        for i in range(len(theta)):
            goal = theta[i] + now.step[i]
            now.trial[box.free[i]] = min(max(goal, now.low[i]), now.high[i])
        expected(shapes, now.trial, now.cells, nowhere, now.scratch, now.trial_model, no_slopes)
        fill_bins(data, now.trial_model)
        trial_value = statistic(data, now.trial_model[: len(data.counts)])
        if trial_value < value:
            return trial_value, damping
        damping = max(damping * TIGHTEN, AGAIN)
    return value, damping


@jit
def _damped(info: Floats, damping: float) -> Floats:
    damped = info.copy()
    for i in range(len(info)):
        damped[i, i] = info[i, i] * (1 + damping)
    return damped


@jit
def boxed_step(
    info: Floats,
    push: Floats,
    damping: float,
    held: Booleans,
    theta: Floats,
    low: Floats,
    high: Floats,
    step: Floats,
) -> bool:
    """Solve for a damped step inside the box.

    Parameters that would cross a bound are put on it, and the others are
    solved for again, given that.

    Parameters
    ----------
    theta, low, high, step : ndarray, shape (n_free,)

    Returns
    -------
    bool
        False if the equations are singular.
    """
    damped, fixed, right = _damped(info, damping), held.copy(), push.copy()
    step[:] = 0.0
    for _ in range(len(push) + 1):
        if not solve_without(damped, right, fixed, step):
            return False
        crossed = False
        for i in range(len(push)):
            goal = theta[i] + step[i]
            if fixed[i] or not (goal < low[i] or goal > high[i]):
                continue
            step[i] = (low[i] if goal < low[i] else high[i]) - theta[i]
            fixed[i] = crossed = True
            for j in range(len(push)):
                right[j] -= damped[j, i] * step[i]
        if not crossed:
            return True
    return True
