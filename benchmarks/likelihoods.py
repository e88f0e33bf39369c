"""Likelihoods of one class with all that is wrong, compiled.

They stand in a module of their own, under whose name what is compiled is found again: numba would
compile functions of a class that a script defines anew in every run.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from icflow.compiled import jit
from icflow.engines.embedded.descent import boxed_step
from icflow.engines.embedded.shapes import Shapes, expected, find_cells, slots_of
from icflow.engines.evidence.norms import Norms, expand, log_density, step_in_box
from icflow.statistic import Data, metric, statistic

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

STEPS, HALVINGS, ENOUGH = 60, 10, 1e-3
FREEDOM = 20.0  # degrees of freedom of what is sampled at given shapes
NOWHERE = -1e9  # ln of the likelihood where no draw lies in the priors
# Shapes whose likeliest place is less likely than that of others by so much, in ln, count for
# nothing, and need no average: what is wrong with the instrument ends far from all sense there,
# where curvatures are not those of a maximum.
HOPELESS = 100.0


class Seen(NamedTuple):
    """Expected counts of one class in bins, by its parameters and by what is wrong.

    Attributes
    ----------
    optics, rest : Shapes
        What comes through the optics, and what does not. All vary with the offset of the energy
        scale, as plasma tables usually do with redshift.
    area, tilt : ndarray, shape (n_nodes, n_bins)
        Logarithm of the factor of the area for a standard deviate of each node, and by how much
        that changes with the offset of the energy scale.
    sampled, bounded, scattered : ndarray of int
        Positions of the shape parameters, of the norms and of the background norms.
    spreads : ndarray
        Of the logarithms of the background norms.
    gain : float
        Standard deviation of the offset, keV; it is the last parameter.
    """

    optics: Shapes
    rest: Shapes
    area: Floats
    tilt: Floats
    sampled: Integers
    bounded: Integers
    scattered: Integers
    spreads: Floats
    gain: float


@jit
def fill(seen: Seen, theta: Floats, x: Floats, model: Floats, rows: Floats) -> None:
    """Compute expected counts and their derivatives by shapes and `x`.

    Parameters
    ----------
    x : ndarray, shape (n_bounded + n_scattered + 1 + n_nodes,)
        Norms, then standard deviates of backgrounds, energy scale and area, each plus 1.
    rows : ndarray, shape (n_sampled + len(x), n_bins)
    """
    k, m, b = len(seen.sampled), len(seen.bounded), len(seen.scattered)
    last, scale, n_bins = len(theta) - 1, k + m + b, len(model)
    here = theta.copy()
    here[seen.bounded] = x[:m]
    for i in range(b):
        spread = seen.spreads[i]
        here[seen.scattered[i]] = math.exp(spread * (x[m + i] - 1.0) - spread**2 / 2)
    here[last] = seen.gain * (x[m + b] - 1.0)
    every = np.concatenate(
        (seen.sampled, seen.bounded, seen.scattered, np.array([last], dtype=np.int64))
    )
    slot, scratch = slots_of(every, len(theta)), np.empty((6, n_bins))
    cells = find_cells(seen.optics, here)
    others, through = np.empty((scale + 1, n_bins)), np.empty(n_bins)
    expected(seen.optics, here, cells, slot, scratch, through, rows[: scale + 1])
    expected(seen.rest, here, cells, slot, scratch, model, others)
    for c in range(n_bins):
        wrong, slope = 0.0, 0.0
        for a in range(len(seen.area)):
            deviate = x[m + b + 1 + a] - 1.0
            wrong += deviate * (seen.area[a, c] + here[last] * seen.tilt[a, c])
            slope += deviate * seen.tilt[a, c]
        factor = math.exp(wrong)
        through[c] *= factor
        for i in range(scale + 1):
            rows[i, c] = factor * rows[i, c] + others[i, c]
        rows[scale, c] += slope * through[c]
        model[c] += through[c]
        for a in range(len(seen.area)):
            rows[scale + 1 + a, c] = through[c] * (seen.area[a, c] + here[last] * seen.tilt[a, c])
    for i in range(b):
        factor = seen.spreads[i] * here[seen.scattered[i]]
        for c in range(n_bins):
            rows[k + m + i, c] *= factor
    for c in range(n_bins):
        rows[scale, c] *= seen.gain


@jit
def climb(
    seen: Seen, data: Data, norms: Norms, theta: Floats, x: Floats, info: Floats, push: Floats
) -> float:
    """Go to the likeliest `x` at given shapes; `x`, `info` and `push` follow."""
    k, n, n_bins = len(seen.sampled), len(x), len(data.counts)
    model, rows = np.empty(n_bins), np.empty((k + n, n_bins))
    fill(seen, theta, x, model, rows)
    value = log_density(data, model, norms, x)
    expand(data, norms, model, rows[k:], x, info, push)
    for _ in range(STEPS):
        step = step_in_box(norms, x, info, push)
        if not push @ step - 0.5 * step @ info @ step > ENOUGH:
            break
        before, part, trial = x.copy(), 1.0, -math.inf
        for _ in range(HALVINGS):
            x[:] = before + part * step
            fill(seen, theta, x, model, rows)
            trial = log_density(data, model, norms, x)
            if trial > value:
                break
            part *= 0.5
        if not trial > value:
            x[:] = before
            fill(seen, theta, x, model, rows)
            break
        value = trial
        expand(data, norms, model, rows[k:], x, info, push)
    return value


@jit
def log_likelihoods(
    seen: Seen,
    data: Data,
    norms: Norms,
    thetas: Floats,
    start: Floats,
    best: float,
    deviates: Floats,
) -> Floats:
    """Return ln of the likelihood averaged over all but shapes, at many shapes.

    Parameters
    ----------
    best : float
        The highest of `log_density`.
    deviates : ndarray, shape (n_points, n_draws, len(start))
        Of a t distribution.
    """
    k, n, m, n_bins = len(seen.sampled), len(start), len(norms.bounded), len(data.counts)
    info, push, x = np.empty((n, n)), np.empty(n), start.copy()
    model, rows = np.empty(n_bins), np.empty((k + n, n_bins))
    found = np.empty(len(thetas))
    width = 0.0
    for i in range(m):
        width += math.log(norms.upper[i] - norms.lower[i])
    # Of the Gaussian priors, and of the t distribution.
    priors = 0.5 * (n - m) * math.log(2 * math.pi) + width
    power = 0.5 * (FREEDOM + n)
    constant = math.lgamma(power) - math.lgamma(0.5 * FREEDOM)
    constant -= 0.5 * n * math.log(FREEDOM * math.pi)
    for t in range(len(thetas)):
        x[:] = start
        found[t] = climb(seen, data, norms, thetas[t], x, info, push)
        if found[t] < best - HOPELESS:
            continue
        # As wide as the priors at most; at a limit the likelihood falls as an exponential.
        precision = info.copy()
        for i in range(m):
            precision[i, i] += 12.0 / (norms.upper[i] - norms.lower[i]) ** 2
            if x[i] <= norms.lower[i] or x[i] >= norms.upper[i]:
                precision[i, i] += push[i] ** 2
        factor = np.linalg.cholesky(np.linalg.inv(precision))
        height = constant
        for i in range(n):
            height -= math.log(factor[i, i])
        total, highest = 0.0, -math.inf
        logs = np.full(deviates.shape[1], -math.inf)
        for d in range(deviates.shape[1]):
            own = x + factor @ deviates[t, d]
            inside = True
            for i in range(m):
                inside = inside and norms.lower[i] <= own[i] <= norms.upper[i]
            if not inside:
                continue
            fill(seen, thetas[t], own, model, rows)
            square = deviates[t, d] @ deviates[t, d]
            density = height - power * math.log1p(square / FREEDOM)
            logs[d] = log_density(data, model, norms, own) - priors - density
            highest = max(highest, logs[d])
        for d in range(len(logs)):
            total += math.exp(logs[d] - highest) if logs[d] > -math.inf else 0.0
        found[t] = highest + math.log(total / len(logs)) if total > 0 else NOWHERE
    return found


@jit
def descend(
    seen: Seen, data: Data, low: Floats, high: Floats, theta: Floats, y: Floats
) -> tuple[float, Floats, Floats, Floats, Floats, Floats]:
    """Climb from shapes and all else, `y`, to the likeliest beside it.

    Returns
    -------
    tuple
        What an `End` holds; likelihoods and curvatures with the Gaussian priors.
    """
    k, n, n_bins = len(seen.sampled), len(y), len(data.counts)
    free = k + len(seen.bounded)
    model, rows = np.empty(n_bins), np.empty((n, n_bins))
    info, push, step = np.empty((n, n)), np.empty(n), np.zeros(n)
    damping, value, trial = 1e-3, -math.inf, y.copy()
    for _ in range(2 * STEPS):
        here = theta.copy()
        here[seen.sampled] = trial[:k]
        fill(seen, here, trial[k:].copy(), model, rows)
        now = -0.5 * statistic(data, model) - 0.5 * np.sum((trial[free:] - 1.0) ** 2)
        if now > value:
            rise = now - value
            y[:], value = trial, now
            damping = max(0.1 * damping, 1e-9)
            metric(data, model, rows, 0.0, info, push)
            for i in range(free, n):
                info[i, i] += 1.0
                push[i] -= y[i] - 1.0
            if rise < ENOUGH:
                break
        else:
            damping *= 8.0
            if damping > 1e6:
                break
        held = ((y <= low) & (push < 0)) | ((y >= high) & (push > 0))
        if not boxed_step(info, push, damping, held, y, low, high, step):
            damping *= 10.0
            trial[:] = y
            continue
        trial[:] = np.minimum(np.maximum(y + step, low), high)
    return value, y, info, push, low, high


@jit
def heights(seen: Seen, data: Data, thetas: Floats, xs: Floats) -> Floats:
    """Return ln of the likelihoods at many points."""
    n_bins = len(data.counts)
    model = np.empty(n_bins)
    rows = np.empty((len(seen.sampled) + xs.shape[1], n_bins))
    found = np.empty(len(thetas))
    for i in range(len(thetas)):
        fill(seen, thetas[i], xs[i], model, rows)
        found[i] = -0.5 * statistic(data, model)
    return found
