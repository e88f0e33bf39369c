"""The likelihood integrated over norms, which expected counts are linear in.

At given shapes, the likelihood of many counts is close to a Gaussian in the
norms, and has one maximum. So its integral over a box in one or two norms with
uniform priors, and over any number of background norms with Gaussian priors,
costs a few Newton steps to the highest point of the box and an integral of the
Gaussian that has the curvature there.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from icflow.compiled import inner, jit, put, strict
from icflow.engines.embedded.shapes import Shapes, expected, find_cells, slots_of
from icflow.statistic import Data, channels, metric, statistic
from icflow.typing import Floats, Integers

MOST = 2  # norms with uniform priors that are integrated over
LOG_2PI = math.log(2 * math.pi)
# The Newton steps end when the next promises less than this in ln L.
ENOUGH, MOST_STEPS, MOST_HALVINGS = 1e-4, 40, 8
# An integral covers what lies less than this below the highest point, in ln L.
DEPTH = 25.0
NODES, WEIGHTS = np.polynomial.legendre.leggauss(24)
# Relative addition to the diagonal, for two plasmas alike that only their sum determines.
RIDGE = 1e-9
# Less curvature than this, over the width of a prior squared, is none.
FLAT = 1e-6


class Norms(NamedTuple):
    """Norms to integrate over.

    Attributes
    ----------
    bounded : ndarray of int, shape (0 to `MOST`,)
        Positions of those with a uniform prior.
    lower, upper : ndarray
        Their bounds.
    scattered : ndarray of int
        Positions of those with a Gaussian prior around 1.
    scatters : ndarray
        Their standard deviations.
    """

    bounded: Integers
    lower: Floats
    upper: Floats
    scattered: Integers
    scatters: Floats


@inner
def log_integrals(shapes: Shapes, counts: Floats, norms: Norms, thetas: Floats) -> Floats:
    """Return ln of the likelihood averaged over the priors of norms, for many shapes.

    The likelihood is exp(-C/2).

    Parameters
    ----------
    counts : ndarray, shape (n_channels,)
        In the channels of `shapes`.
    thetas : ndarray, shape (n_points, n_parameters)
        The values of the norms in it are where the search starts.
    """
    m, n_channels, data = len(norms.bounded), shapes.rows.shape[1], channels(counts)
    every = np.concatenate((norms.bounded, norms.scattered))
    slot = slots_of(every, thetas.shape[1])
    n = len(every)
    model, rows = np.empty(n_channels), np.empty((n, n_channels))
    scratch = np.empty((6, n_channels))
    x, info, push = np.empty(n), np.empty((n, n)), np.empty(n)
    found = np.empty(len(thetas))
    width = 1.0
    for i in range(m):
        width *= norms.upper[i] - norms.lower[i]
    for t in range(len(thetas)):
        theta = thetas[t]
        expected(shapes, theta, find_cells(shapes, theta), slot, scratch, model, rows)
        put(x, theta[every])
        value = _climb(data, norms, model, rows, x, info, push)
        found[t] = value + log_gaussian(norms, x, info, push) - math.log(width)
    return found


@jit
def log_density(data: Data, model: Floats, norms: Norms, x: Floats) -> float:
    """Return ln of the likelihood times the Gaussian priors, up to their normalisation."""
    value = -0.5 * statistic(data, model)
    for i in range(len(norms.bounded), len(x)):
        value -= 0.5 * ((x[i] - 1.0) / norms.scatters[i - len(norms.bounded)]) ** 2
    return value


@inner
def expand(
    data: Data, norms: Norms, model: Floats, rows: Floats, x: Floats, info: Floats, push: Floats
) -> None:
    """Compute the gradient of `log_density` and its curvature."""
    metric(data, model, rows, 0.0, info, push)
    for i in range(len(x)):
        info[i, i] *= 1 + RIDGE
        if i < len(norms.bounded):
            # Without counts the likelihood is an exponential.
            info[i, i] = max(info[i, i], FLAT / (norms.upper[i] - norms.lower[i]) ** 2)
        else:
            scatter = norms.scatters[i - len(norms.bounded)]
            push[i] -= (x[i] - 1.0) / scatter**2
            info[i, i] += 1 / scatter**2


@inner
def _climb(
    data: Data, norms: Norms, model: Floats, rows: Floats, x: Floats, info: Floats, push: Floats
) -> float:
    """Go to the highest point of the box; `model`, `x`, `info` and `push` follow."""
    n = len(x)
    before = np.empty(n)
    value = log_density(data, model, norms, x)
    for steps in range(MOST_STEPS + 1):
        expand(data, norms, model, rows, x, info, push)
        if steps == MOST_STEPS:
            break
        step = step_in_box(norms, x, info, push)
        gain = 0.0
        for i in range(n):
            gain += push[i] * step[i]
            for j in range(n):
                gain -= 0.5 * step[i] * info[i, j] * step[j]
        if not gain > ENOUGH:
            break
        put(before, x)
        part = 1.0
        for _ in range(MOST_HALVINGS):
            for c in range(len(model)):
                for i in range(n):
                    model[c] += (before[i] + part * step[i] - x[i]) * rows[i, c]
            for i in range(n):
                x[i] = before[i] + part * step[i]
            trial = log_density(data, model, norms, x)
            if trial > value:
                break
            part *= 0.5
        if not trial > value:
            break
        value = trial
    return value


@jit
def _eliminate(m: int, info: Floats, push: Floats) -> tuple[Floats, Floats]:
    """Put the norms beyond the first `m` where they are best for those before, from the last on.

    Returns
    -------
    info, push : ndarray
        Of the first `m` what is left; row k > m gives the best step of norm k by those before.
    """
    info, push = info.copy(), push.copy()
    for k in range(len(push) - 1, m - 1, -1):
        for i in range(k):
            factor = info[i, k] / info[k, k]
            push[i] -= factor * push[k]
            for j in range(k):
                info[i, j] -= factor * info[k, j]
    return info, push


@inner
def step_in_box(norms: Norms, x: Floats, info: Floats, push: Floats) -> Floats:
    """Return the step to the highest point of the quadratic expansion inside the box."""
    m, step = len(norms.bounded), np.zeros(len(x))
    reduced, pull = _eliminate(m, info, push)
    if m > 0:
        low, high = _room(norms, x)
        put(step[:m], _corner(reduced, pull[:m], low, high))
    for k in range(m, len(x)):
        rest = pull[k]
        for j in range(k):
            rest -= reduced[k, j] * step[j]
        step[k] = rest / reduced[k, k]
    return step


@jit
def _room(norms: Norms, x: Floats) -> tuple[Floats, Floats]:
    """Return how far down and up the bounded norms may go."""
    m = len(norms.bounded)
    low, high = np.empty(m), np.empty(m)
    for i in range(m):
        low[i], high[i] = norms.lower[i] - x[i], norms.upper[i] - x[i]
    return low, high


@jit
def _corner(info: Floats, push: Floats, low: Floats, high: Floats) -> Floats:
    """Return the highest point of push·d - d·info·d/2 in a box in one or two dimensions."""
    m = len(push)
    best = np.zeros(m)
    if m == 1:
        best[0] = min(max(push[0] / info[0, 0], low[0]), high[0])
        return best
    determinant = info[0, 0] * info[1, 1] - info[0, 1] ** 2
    if determinant > 0:
        best[0] = (info[1, 1] * push[0] - info[0, 1] * push[1]) / determinant
        best[1] = (info[0, 0] * push[1] - info[0, 1] * push[0]) / determinant
        if low[0] <= best[0] <= high[0] and low[1] <= best[1] <= high[1]:
            return best
    # Otherwise it lies on one of the four edges.
    highest = -math.inf
    for edge in range(4):
        i, j = edge // 2, 1 - edge // 2
        a = low[i] if edge % 2 == 0 else high[i]
        b = min(max((push[j] - info[0, 1] * a) / info[j, j], low[j]), high[j])
        value = push[i] * a + push[j] * b
        value -= 0.5 * (info[i, i] * a * a + 2 * info[0, 1] * a * b + info[j, j] * b * b)
        if value > highest:
            highest = value
            best[i], best[j] = a, b
    return best


@inner
def log_gaussian(norms: Norms, x: Floats, info: Floats, push: Floats) -> float:
    """Return ln of the integral of exp(push·d - d·info·d/2) over the box and the rest.

    The Gaussian priors are normalised, the uniform ones are not.
    """
    m, total = len(norms.bounded), 0.0
    reduced, pull = _eliminate(m, info, push)
    for k in range(m, len(x)):
        # In units of the priors.
        pivot = reduced[k, k] * norms.scatters[k - m] ** 2
        total += 0.5 * (pull[k] ** 2 / reduced[k, k] - math.log(pivot))
    if m == 0:
        return total
    low, high = _room(norms, x)
    if m == 1:
        return total + _line(reduced[0, 0], pull[0], low[0], high[0])
    return total + _rectangle(reduced, pull[:m], low, high)


@jit
def _line(info: float, push: float, low: float, high: float) -> float:
    """Return ln of the integral of exp(push d - info d²/2) from `low` to `high`."""
    root = math.sqrt(info)
    middle = push / info
    inside = log_interval((low - middle) * root, (high - middle) * root)
    return 0.5 * push * middle + inside + 0.5 * LOG_2PI - math.log(root)


@jit
def _along(info: Floats, push: Floats, low: Floats, high: Floats, a: float) -> float:
    """Return the highest value of the expansion where the first norm is at `a`."""
    b = min(max((push[1] - info[0, 1] * a) / info[1, 1], low[1]), high[1])
    value = push[0] * a + push[1] * b
    value -= 0.5 * (info[0, 0] * a * a + 2 * info[0, 1] * a * b + info[1, 1] * b * b)
    return float(value)


@inner
def _rectangle(info: Floats, push: Floats, low: Floats, high: Floats) -> float:
    """Return ln of the integral of exp(push·d - d·info·d/2) over a rectangle.

    One dimension in closed form, the other by quadrature over the range that
    matters, whose ends are found by bisection.
    """
    top = _corner(info, push, low, high)
    lowest = _along(info, push, low, high, top[0]) - DEPTH
    ends = np.empty(2)
    for side in range(2):
        inside, outside = top[0], low[0] if side == 0 else high[0]
        if _along(info, push, low, high, outside) >= lowest:
            inside = outside
        else:
            for _ in range(20):
                middle = 0.5 * (inside + outside)
                if _along(info, push, low, high, middle) >= lowest:
                    inside = middle
                else:
                    outside = middle
        ends[side] = inside
    half = 0.5 * (ends[1] - ends[0])
    logs = np.empty(len(NODES))
    highest = -math.inf
    for q in range(len(NODES)):
        a = 0.5 * (ends[0] + ends[1]) + half * NODES[q]
        logs[q] = push[0] * a - 0.5 * info[0, 0] * a * a
        logs[q] += _line(info[1, 1], push[1] - info[0, 1] * a, low[1], high[1])
        highest = max(highest, logs[q])
    total = 0.0
    for q in range(len(NODES)):
        total += WEIGHTS[q] * math.exp(logs[q] - highest)
    return highest + math.log(max(total * half, 1e-300))


@strict
def log_interval(a: float, b: float) -> float:
    """Return ln of the probability that a normal deviate lies between `a` and `b`."""
    if a > 0:
        a, b = -b, -a
    if b > -6.0:
        root = math.sqrt(0.5)
        return math.log(max(0.5 * (math.erfc(-b * root) - math.erfc(-a * root)), 1e-300))
    whole = _log_tail(b)
    return whole + math.log(-math.expm1(_log_tail(a) - whole))


@strict
def _log_tail(x: float) -> float:
    """Return ln of the probability of a normal deviate below `x`, which is far below 0."""
    q = 1 / (x * x)
    return -0.5 * x * x - 0.5 * LOG_2PI - math.log(-x) + math.log1p(-q * (1 - 3 * q * (1 - 5 * q)))
