"""Grouping of channels and selection of energies, as XSPEC and grppha do.

All channels are grouped first, from the first channel on; the energy range is
selected afterwards, by whole groups. That is what a user gets from
``grppha`` (``group min 100``) followed by ``ignore **-3.0 80.0-**`` in XSPEC.
"""

from __future__ import annotations

import numpy as np

from icflow.compiled import strict
from icflow.errors import IcflowError
from icflow.ogip.noticed import noticed_channels
from icflow.typing import AnyArray, Booleans, Floats, Integers


def group_min(counts: AnyArray, minimum: int) -> tuple[Integers, Integers]:
    """Group channels in turn until each group holds at least `minimum` counts.

    As grppha's ``group min``: from the first channel on; what remains at the end
    with fewer counts is a group of its own with quality 2 (XSPEC uses it unless
    told ``ignore bad``). A `minimum` of 0 leaves every channel alone; 1 joins
    empty channels to the next one that has counts.

    Parameters
    ----------
    counts : ndarray of integers, (n_channels,)
        Counts per channel.
    minimum : int
        Least number of counts per group; 0 for no grouping.

    Returns
    -------
    grouping : ndarray of int64, (n_channels,)
        OGIP flags: 1 starts a group, -1 continues it.
    quality : ndarray of int64, (n_channels,)
        OGIP flags: 0 good, 2 in a last group with too few counts.
    """
    grouping = np.full(counts.size, -1, np.int64)
    quality = np.zeros(counts.size, np.int64)
    if minimum <= 0:
        grouping[:] = 1
        return grouping, quality
    _fill_groups(np.ascontiguousarray(counts, dtype=np.int64), minimum, grouping, quality)
    return grouping, quality


@strict
def _fill_groups(counts: Integers, minimum: int, grouping: Integers, quality: Integers) -> None:
    start, total = 0, 0
    for channel in range(len(counts)):
        if channel == start:
            grouping[channel] = 1
        total += counts[channel]
        if total >= minimum:
            start, total = channel + 1, 0
    quality[start:] = 2


def group_edges(grouping: AnyArray | None, n_channels: int) -> tuple[Integers, Integers]:
    """Return the groups as half-open ranges of channel indices: (starts, stops).

    OGIP flags: -1 continues a group, anything else starts one (0 is a channel
    by itself); None means that every channel stands alone.
    """
    if grouping is None:
        starts = np.arange(n_channels, dtype=np.int64)
    else:
        begins = np.asarray(grouping) != -1
        if begins.size:
            begins[0] = True
        starts = np.flatnonzero(begins).astype(np.int64)
    return starts, np.append(starts[1:], n_channels).astype(np.int64)


def group_counts(values: AnyArray, starts: Integers, stops: Integers) -> AnyArray:
    """Sum `values` (…, n_channels) over the channels of each group.

    Parameters
    ----------
    values : ndarray, (…, n_channels)
        Counts, observed or expected; leading axes are kept.
    starts, stops : ndarray of int, (n_groups,)
        Half-open ranges of channels, increasing and disjoint.

    Returns
    -------
    ndarray, (…, n_groups)
    """
    # Each range and the channels between two ranges are summed; the latter are dropped.
    boundaries = np.stack([starts, stops], axis=1).reshape(-1)
    if boundaries.size and boundaries[-1] == values.shape[-1]:
        boundaries = boundaries[:-1]
    return np.ascontiguousarray(np.add.reduceat(values, boundaries, axis=-1)[..., ::2])


def select_groups(
    starts: Integers, stops: Integers, e_min: Floats, e_max: Floats, low: float, high: float
) -> tuple[Integers, Integers]:
    """Return the groups that XSPEC's ``ignore **-low high-**`` leaves of grouped data.

    Raises
    ------
    IcflowError
        If nothing is left.
    """
    noticed = noticed_groups(starts, stops, e_min, e_max, low, high)
    return starts[noticed], stops[noticed]


def noticed_groups(
    starts: Integers, stops: Integers, e_min: Floats, e_max: Floats, low: float, high: float
) -> Booleans:
    """Tell which groups XSPEC's ``ignore **-low high-**`` leaves of grouped data.

    A group that holds a limit is ignored as a whole, by the rule of
    `noticed_channels` applied to the energies that the group covers.

    Raises
    ------
    IcflowError
        If nothing is left.
    """
    last = stops - 1
    return noticed_channels(
        np.minimum(e_min[starts], e_min[last]), np.maximum(e_max[starts], e_max[last]), low, high
    )


def grouped_selection(
    counts: AnyArray, e_min: Floats, e_max: Floats, low: float, high: float, minimum: int
) -> tuple[Integers, Integers]:
    """Group all channels to at least `minimum` counts, then select energies.

    Parameters
    ----------
    counts : ndarray of integers, (n_channels,)
        Counts per channel.
    e_min, e_max : ndarray, (n_channels,)
        Energies of the channels, keV.
    low, high : float
        Limits, keV.
    minimum : int
        Least number of counts per group; 0 for no grouping.

    Returns
    -------
    starts, stops : ndarray of int64, (n_groups,)
        Half-open ranges of channel indices of the groups left.

    Raises
    ------
    IcflowError
        If nothing is left, by the energies or because there are too few counts.
    """
    grouping, _ = group_min(counts, minimum)
    starts, stops = group_edges(grouping, counts.size)
    try:
        return select_groups(starts, stops, e_min, e_max, low, high)
    except IcflowError:
        inside = noticed_channels(e_min, e_max, low, high)
        raise IcflowError(
            f"no bin of at least {minimum} counts lies between {low:g} and {high:g} keV, where "
            f"the spectrum has {int(counts[inside].sum())}; lower group_min"
        ) from None
