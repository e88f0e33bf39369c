"""C-stat: its terms, their derivatives, and bins. Numbers, no astronomy.

Every fit, search and integral takes the statistic from here. For counts s and
expected counts m, -dC/dm is twice the `pull`, d²C/dm² twice the `weight`.

Every function that loops is compiled (`icflow.compiled`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from icflow.compiled import jit
from icflow.typing import Floats, Integers

# XSPEC replaces expected counts below this when it takes their logarithm.
FLOOR = 1e-5

# Numbers are close if they differ by less than this fraction of their sum.
CLOSE = 0.2


class Data(NamedTuple):
    """Counts in bins, each a run of channels.

    Attributes
    ----------
    counts : ndarray, shape (n_bins,)
    starts, stops : ndarray of int, shape (n_bins,)
        First channel of each bin, and the one after its last.
    """

    counts: Floats
    starts: Integers
    stops: Integers


# --- the terms ---------------------------------------------------------------------------


@jit
def cstat(counts: Floats, model: Floats) -> float:
    """Return C = 2 sum(m - s + s (ln s - ln m)), XSPEC's ``cstat``; m alone where s = 0."""
    far = 0
    for i in range(len(counts)):
        m = max(model[i], FLOOR)
        far += 1 if abs(m - counts[i]) > CLOSE * (m + counts[i]) else 0
    total = 0.0
    if far == 0:
        for i in range(len(counts)):
            m = max(model[i], FLOOR)
            total += m - counts[i] - counts[i] * log_ratio(m, counts[i])
        return 2.0 * total
    for i in range(len(counts)):
        m = max(model[i], FLOOR)
        s = counts[i]
        total += m - s
        if s > 0:
            total += s * (math.log(s) - math.log(m))
    return 2.0 * total


@jit
def log_ratio(m: float, s: float) -> float:
    """Return ln(m/s) = 2 artanh((m - s)/(m + s)) to 1e-12 for numbers that are `CLOSE`.

    A polynomial, because the compiler can do several at a time.
    """
    t = (m - s) / (m + s)
    q = t * t
    series = 1 / 11 + q * (1 / 13 + q * (1 / 15))
    return 2 * t * (1 + q * (1 / 3 + q * (1 / 5 + q * (1 / 7 + q * (1 / 9 + q * series)))))


@jit
def pull(s: float, m: float) -> float:
    """Return -1/2 of the derivative of C by the expected counts of a bin."""
    return s / max(m, FLOOR) - 1.0


@jit
def weight(s: float, m: float) -> float:
    """Return 1/2 of the second derivative of C by the expected counts of a bin."""
    m = max(m, FLOOR)
    return s / (m * m)


@jit
def pulls(counts: Floats, model: Floats) -> Floats:
    """Return the `pull` of every bin."""
    values = np.empty(len(counts))
    for b in range(len(counts)):
        values[b] = pull(counts[b], model[b])
    return values


@jit
def weights(counts: Floats, model: Floats) -> Floats:
    """Return the `weight` of every bin."""
    values = np.empty(len(counts))
    for b in range(len(counts)):
        values[b] = weight(counts[b], model[b])
    return values


@jit
def metric(counts: Floats, model: Floats, slopes: Floats, info: Floats, push: Floats) -> None:
    """Compute half the gradient of C, and the observed information.

    info = sum weight dm/dp dm/dq, the exact second derivative of C/2 in
    parameters that the model is linear in; push = -gradient / 2.

    Parameters
    ----------
    counts : ndarray, shape (n_bins,)
    model : ndarray, shape (n_bins or more,)
    slopes : ndarray, shape (n, n_bins or more)
        dm/dp.
    info, push : ndarray, shape (n, n) and (n,)
        Overwritten.
    """
    n, n_bins = len(push), len(counts)
    weight, pull = weights(counts, model), pulls(counts, model)
    weighted = np.empty(n_bins)
    for i in range(n):
        total = 0.0
        for b in range(n_bins):
            total += slopes[i, b] * pull[b]
            weighted[b] = slopes[i, b] * weight[b]
        push[i] = total
        for j in range(i + 1):
            total = 0.0
            for b in range(n_bins):
                total += weighted[b] * slopes[j, b]
            info[i, j] = total
            info[j, i] = total


# --- bins --------------------------------------------------------------------------------


@jit
def fill_bins(data: Data, values: Floats) -> None:
    """Sum channels into bins, in place at the head of `values`."""
    if len(data.starts) == len(values):
        return
    for b in range(len(data.starts)):
        total = 0.0
        for c in range(data.starts[b], data.stops[b]):
            total += values[c]
        values[b] = total


def binned(data: Data, values: Floats) -> Floats:
    """Sum channels, the last axis of `values`, into bins."""
    if len(data.starts) == values.shape[-1]:
        return values
    total = np.zeros((*values.shape[:-1], values.shape[-1] + 1))
    np.cumsum(values, axis=-1, out=total[..., 1:])
    return np.asarray(total[..., data.stops] - total[..., data.starts])
