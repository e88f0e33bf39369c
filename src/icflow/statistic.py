"""The statistic: its terms, their derivatives, and bins. Numbers, no astronomy.

Every fit, search and integral takes the statistic from here. It is what XSPEC
calls ``cstat``: C where a spectrum stands alone, W where a background spectrum
comes with it. For expected counts m, minus half the derivative by m is the
`pull`, half the second derivative the `weight`.

W is C of both spectra, minimised over the background of every bin: with f
counts of background expected in the source's bin, and r f in that of the
background spectrum, whose exposure, area and region are r times as large,
W = min C(s, m + f) + C(b, r f). All of XSPEC's cases, zeros included, are this.

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

# The default of `Data`: no background spectrum.
NONE: Floats = np.empty(0)


class Data(NamedTuple):
    """Counts in bins, each a run of channels.

    Attributes
    ----------
    counts : ndarray, shape (n_bins,)
    starts, stops : ndarray of int, shape (n_bins,)
        First channel of each bin, and the one after its last.
    behind : ndarray, shape (n_bins,) or (0,)
        Counts of the background spectrum; empty if no bin has one.
    ratio : ndarray, shape (n_bins,) or (0,)
        How many times as much background the background spectrum holds: the
        ratio of exposure, AREASCAL and BACKSCAL. 0 in bins that have none.
    """

    counts: Floats
    starts: Integers
    stops: Integers
    behind: Floats = NONE
    ratio: Floats = NONE


@jit
def channels(counts: Floats) -> Data:
    """Return counts without background spectrum, every channel a bin."""
    bins = np.arange(len(counts))
    return Data(counts, bins, bins + 1, np.empty(0), np.empty(0))


# --- the terms ---------------------------------------------------------------------------


@jit
def statistic(data: Data, model: Floats) -> float:
    """Return C, or W where there is a background spectrum.

    Parameters
    ----------
    model : ndarray, shape (n_bins or more,)
        Expected counts of the source.
    """
    if len(data.behind) == 0:
        return cstat(data.counts, model)
    total = 0.0
    for b in range(len(data.counts)):
        s, m = data.counts[b], max(model[b], FLOOR)
        f = background(s, m, data.behind[b], data.ratio[b])
        total += term(s, m + f) + term(data.behind[b], data.ratio[b] * f)
    return 2.0 * total


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
        total += term(counts[i], max(model[i], FLOOR))
    return 2.0 * total


@jit
def term(s: float, m: float) -> float:
    """Return half the C of a bin; negative counts, which XSPEC takes, count as none."""
    value = m - max(s, 0.0)
    if s > 0:
        value += s * (math.log(s) - math.log(m))
    return value


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
def background(s: float, m: float, b: float, r: float) -> float:
    """Return the expected background counts of a source's bin that make W lowest.

    Parameters
    ----------
    s, m : float
        Counts and expected counts of the source.
    b, r : float
        Counts of the background spectrum, and the ratio.
    """
    if r == 0:
        return 0.0
    t, s = 1.0 + r, max(s, 0.0)
    h = t * m - s - b
    d = math.sqrt(h * h + 4 * t * b * m)
    return 2 * b * m / (h + d) if h > 0 else (d - h) / (2 * t)


@jit
def pull(s: float, m: float) -> float:
    """Return -1/2 of the derivative of C by the expected counts of a bin.

    That of W is the same with the background among the expected counts: at
    its best value W does not change with it.
    """
    return max(s, 0.0) / max(m, FLOOR) - 1.0


@jit
def weight(s: float, m: float) -> float:
    """Return 1/2 of the second derivative of C by the expected counts of a bin."""
    m = max(m, FLOOR)
    return max(s, 0.0) / (m * m)


@jit
def freedom(s: float, m: float, b: float, r: float) -> float:
    """Return by how much source and background of a bin change together, 0 to 1.

    1 + df/dm: the fraction of the weight that is left when the background is
    not known, but follows the source.
    """
    if r == 0:
        return 1.0
    t, s = 1.0 + r, max(s, 0.0)
    h = t * m - s - b
    d, g = math.sqrt(h * h + 4 * t * b * m), h + 2 * b
    if d == 0:
        return 0.5
    # d² = g² + 4 b s
    return 0.5 * (1 + g / d) if g > 0 else 2 * b * s / (d * (d - g))


@jit
def pulls(data: Data, model: Floats) -> Floats:
    """Return the `pull` of every bin."""
    counts = data.counts
    values = np.empty(len(counts))
    if len(data.behind) == 0:
        for b in range(len(counts)):
            values[b] = pull(counts[b], model[b])
        return values
    for b in range(len(counts)):
        s, m = counts[b], max(model[b], FLOOR)
        values[b] = pull(s, m + background(s, m, data.behind[b], data.ratio[b]))
    return values


@jit
def weights(data: Data, model: Floats, least: float) -> Floats:
    """Return the `weight` of every bin.

    Parameters
    ----------
    least : float
        Of the weight with a known background, this fraction is left at least.
        0 for the second derivative. A bin with no counts in the background
        spectrum, and a faint source, has none; with some, descents find out of there.
    """
    counts = data.counts
    values = np.empty(len(counts))
    if len(data.behind) == 0:
        for b in range(len(counts)):
            values[b] = weight(counts[b], model[b])
        return values
    for b in range(len(counts)):
        s, m, behind, ratio = counts[b], max(model[b], FLOOR), data.behind[b], data.ratio[b]
        left = max(freedom(s, m, behind, ratio), least)
        values[b] = left * weight(s, m + background(s, m, behind, ratio))
    return values


@jit
def metric(
    data: Data, model: Floats, slopes: Floats, least: float, info: Floats, push: Floats
) -> None:
    """Compute half the gradient of the statistic, and the observed information.

    info = sum weight dm/dp dm/dq, the exact second derivative of C/2 in
    parameters that the model is linear in; push = -gradient / 2.

    Parameters
    ----------
    model : ndarray, shape (n_bins or more,)
    slopes : ndarray, shape (n, n_bins or more)
        dm/dp.
    least : float
        As of `weights`.
    info, push : ndarray, shape (n, n) and (n,)
        Overwritten.
    """
    n, n_bins = len(push), len(data.counts)
    weight, pull = weights(data, model, least), pulls(data, model)
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


def net(data: Data) -> tuple[Floats, Floats]:
    """Return counts less the background that the background spectrum tells, and their variance."""
    if not len(data.behind):
        return data.counts, data.counts
    share = np.divide(1.0, data.ratio, out=np.zeros_like(data.ratio), where=data.ratio > 0)
    return data.counts - share * data.behind, data.counts + share**2 * data.behind


def only(data: Data, chosen: Integers) -> Data:
    """Return some of the bins, by their numbers."""
    alone = not len(data.behind)
    return Data(
        data.counts[chosen],
        data.starts[chosen],
        data.stops[chosen],
        data.behind if alone else data.behind[chosen],
        data.ratio if alone else data.ratio[chosen],
    )


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
