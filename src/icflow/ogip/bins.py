"""The bins of a spectrum, as XSPEC makes them of GROUPING and QUALITY, or by least counts.

Bins are half-open ranges of channels. A channel inside a range that does not
count (of bad quality, say) holds no counts, and the response leads nothing
there: its `scale` is 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from icflow.ogip.binary_table import ranges
from icflow.ogip.grouping import group_counts, group_min
from icflow.ogip.keywords import Scale
from icflow.ogip.spectrum import Spectrum
from icflow.typing import AnyArray, Booleans, Floats, Integers

# OGIP's QUALITY: of good channels; of those that XSPEC drops as it reads a file; and what grppha
# gives to the channels of the last group of ``group min``, which are as good as any.
GOOD, DROPPED, FEW = 0, 1, 2


@dataclass(frozen=True)
class Binned:
    """A spectrum in bins: what the statistic needs of it.

    Attributes
    ----------
    starts, stops : ndarray of int64, (n_bins,)
        Half-open ranges of channels.
    counts : ndarray of int64, (n_channels,)
        Counts; 0 in channels that do not count.
    scale : ndarray of float64, (n_channels,), or None
        What the response of every channel is multiplied by: AREASCAL, that of its bin where it
        differs between channels, and 0 where a channel does not count; None where it is 1 in all.
    background : ndarray of int64, (n_channels,), or None
        Counts of the background spectrum; 0 in channels that do not count.
    ratio : ndarray of float64, (n_bins,), or None
        Of the background's exposure to the source's in each bin, region and area included:
        T_b A_b K_b / (T A K), with exposures T, AREASCAL A and BACKSCAL K.
    """

    starts: Integers
    stops: Integers
    counts: Integers
    scale: Floats | None = None
    background: Integers | None = None
    ratio: Floats | None = None


def bins_of_flags(
    grouping: Integers | None, quality: Integers | None, n_channels: int
) -> tuple[Integers, Integers, Integers]:
    """Return the bins that XSPEC makes as it reads a file, and the quality of each.

    Channels of QUALITY 1 are dropped, wherever they are; so what follows one
    that would have started a group is joined to the group before. Other bad
    quality cuts groups: a run of the same quality is a bin of its own, and what
    follows it a new one. GROUPING 0 is the same as 1.

    Returns
    -------
    starts, stops, quality : ndarray of int64, (n_bins,)
    """
    flags = np.zeros(n_channels, np.int64) if quality is None else quality
    left = np.flatnonzero(flags != DROPPED)
    begins = np.ones(left.size, bool)
    if grouping is not None:
        begins = grouping[left] != -1
        begins[1:] |= np.diff(flags[left]) != 0
        begins[:1] = True
    first = np.flatnonzero(begins)
    last = np.append(first[1:], left.size) - 1
    if left.size == 0:
        return left, left, left
    return left[first], left[last] + 1, flags[left[first]]


def bins_of_counts(counts: AnyArray, used: Booleans, minimum: int) -> tuple[Integers, Integers]:
    """Return bins of at least `minimum` counts each of the channels that are used.

    Channels are joined in turn; one that is not used ends a bin. What remains
    at the end of a run with fewer counts is a bin of its own: none is lost, so
    the sum of all counts is as the channels say. 0 leaves channels alone.
    """
    begins = used & ~np.append(False, used[:-1])
    ends = used & ~np.append(used[1:], False)
    for first, last in zip(np.flatnonzero(begins), np.flatnonzero(ends), strict=True):
        run = slice(first, last + 1)
        begins[run] = group_min(counts[run], minimum)[0] != -1
    starts = np.flatnonzero(begins)
    stops = np.minimum(np.append(starts[1:], used.size), _next(ends, starts) + 1)
    return starts, stops


def _next(ends: Booleans, starts: Integers) -> Integers:
    """Return the first of some ends at or after each start."""
    places = np.flatnonzero(ends)
    return places[np.searchsorted(places, starts)]


def used_channels(spectrum: Spectrum, regroup: bool = False) -> Booleans:
    """Tell which channels have a quality that bins are made of, shape (n_channels,).

    Parameters
    ----------
    regroup : bool
        Whether the GROUPING of the file, to which QUALITY 2 may be due, is not used.
    """
    if spectrum.quality is None:
        return np.ones(spectrum.counts.size, bool)
    return np.isin(spectrum.quality, (GOOD, FEW) if regroup else (GOOD,))


def binned(
    spectrum: Spectrum,
    starts: Integers,
    stops: Integers,
    used: Booleans,
    background: Spectrum | None = None,
) -> Binned:
    """Return what the statistic needs of a spectrum in some bins.

    A background is binned as the source; its own GROUPING and QUALITY are not
    looked at. Scales that differ between the channels of a bin are averaged as
    XSPEC averages them (`bin_scale`), each weighted by the counts of its spectrum.

    Parameters
    ----------
    used : ndarray of bool, (n_channels,)
        Channels that count.
    background : Spectrum, optional
        With as many channels, and BACKSCAL in both.
    """
    counts = np.where(used, spectrum.counts, 0)
    area = bin_scale(spectrum.areascal, counts, used, starts, stops)
    scale: Floats | None = None
    if not used.all() or np.any(area != 1):
        scale = np.where(used, spectrum.areascal, 0.0)
        sizes = stops - starts
        inside = ranges(starts, sizes)
        scale[inside] = np.where(used[inside], np.repeat(area, sizes), 0.0)
    if background is None:
        return Binned(starts, stops, counts, scale)
    behind = np.where(used, background.counts, 0)
    own = spectrum.exposure * area * _region(spectrum, counts, used, starts, stops)
    other = background.exposure * bin_scale(background.areascal, behind, used, starts, stops)
    other = other * _region(background, behind, used, starts, stops)
    return Binned(starts, stops, counts, scale, behind, other / own)


def _region(
    spectrum: Spectrum, counts: Integers, used: Booleans, starts: Integers, stops: Integers
) -> Floats:
    assert spectrum.backscal is not None
    return bin_scale(spectrum.backscal, counts, used, starts, stops)


def bin_scale(
    scale: Scale, counts: Integers, used: Booleans, starts: Integers, stops: Integers
) -> Floats:
    """Return AREASCAL or BACKSCAL of bins, shape (n_bins,): sum c / sum(c / scale).

    Weighted by the counts c, or equally where a bin has none, as in XSPEC 12.9.1.
    """
    if not isinstance(scale, np.ndarray):
        return np.full(starts.size, scale)
    inverse = 1.0 / scale
    total, weighted, number, plain = (
        group_counts(values, starts, stops)
        for values in (counts.astype(float), counts * inverse, used.astype(float), used * inverse)
    )
    filled = total > 0
    return np.where(filled, total, number) / np.where(filled, weighted, plain)
