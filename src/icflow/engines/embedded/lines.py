"""What lines reach, and where they hop from bin to bin as the redshift grows.

All of this depends on tables alone, or on the bins of a spectrum. It is made once, for the
staircase (`icflow.engines.embedded.staircase`) is looked at many times in a fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from icflow.engines.embedded.folded import PlasmaTable
from icflow.statistic import Data, only
from icflow.typing import Floats, Integers

# Of the counts that move when a line changes its row, those outside of the band of channels, each
# less than this fraction of the largest, are not followed.
FOLLOWED = 3e-3


class Reach(NamedTuple):
    """What the lines of the tables of one redshift reach, table after table, module after module.

    Attributes
    ----------
    near : ndarray of int, shape (n_near,)
        Channels.
    kernel : ndarray, shape (n_rows, n_near)
        Counts/s in these per photon/cm²/s in each model bin.
    rates : ndarray, shape (n_rows,)
        Their sums.
    band : ndarray of int, shape (n_rows, 2)
        The places among `near` between which it matters whether a line is in a row or in the
        one before.
    hops : Hops
    """

    near: Integers
    kernel: Floats
    rates: Floats
    band: Integers
    hops: Hops


class Hops(NamedTuple):
    """Every hop of a line within the redshifts of the tables, in order.

    Attributes
    ----------
    redshift : ndarray, shape (n_hops,)
        Increasing.
    row : ndarray of int, shape (n_hops,)
        The row of `Reach.kernel` that each leaves, for the one before.
    line : ndarray of int, shape (n_hops,)
        Which of all lines, table after table.
    table : ndarray of int, shape (n_lines,)
        To which of the tables each line belongs, as they come in `Tables.mixture`.
    photons : ndarray, shape (n_lines, n_temperatures, 2)
        Photons/cm²/s in each, as `PlasmaTable.line_photons`.
    """

    redshift: Floats
    row: Integers
    line: Integers
    table: Integers
    photons: Floats


class Split(NamedTuple):
    """The bins of a spectrum: those that lines reach, and all others.

    Attributes
    ----------
    within : Data
        The bins that lie among `Reach.near`, by places there.
    inside : ndarray of int
        Their numbers.
    beyond : Data
        The others.
    outside : ndarray of int
        Their numbers.
    """

    within: Data
    inside: Integers
    beyond: Data
    outside: Integers


def reach_of(modules: Sequence[Sequence[PlasmaTable]], offsets: Integers) -> Reach:
    """Return what the lines of some plasmas reach.

    Parameters
    ----------
    modules : sequence of sequence of PlasmaTable
        Of each plasma, the table of each module.
    offsets : ndarray of int, shape (n_modules,)
        The first channel of each.
    """
    widths = [max(table.kernel.shape[1] for table in own) for own in zip(*modules, strict=True)]
    starts, kernels = np.cumsum([0, *widths]), []
    for tables in modules:
        for table, start in zip(tables, starts, strict=False):
            n_rows, width = table.kernel.shape
            kernels.append(np.zeros((n_rows, starts[-1])))
            kernels[-1][:, start : start + width] = table.kernel
    near = [first + np.arange(n) for first, n in zip(offsets, widths, strict=True)]
    kernel = np.concatenate(kernels)
    hops = _hops([table for tables in modules for table in tables])
    return Reach(np.concatenate(near), kernel, kernel.sum(axis=1), bands(kernel), hops)


def _hops(tables: Sequence[PlasmaTable]) -> Hops:
    every, rows, lines = [], 0, 0
    for table in tables:
        edges, energies = table.energies, table.line_energy
        low, step = table.smooth_grid
        high = low + step * (len(table.smooth) - 1)
        # From the bin above each edge that has one below it.
        redshift = energies / edges[1:-1, None] - 1
        edge, line = np.nonzero((redshift > low) & (redshift <= high))
        every.append((redshift[edge, line], edge + 1 + rows, line + lines))
        rows, lines = rows + len(edges) - 1, lines + len(energies)
    redshift, row, line = (np.concatenate(part) for part in zip(*every, strict=True))
    order = np.argsort(redshift, kind="stable")
    table_of = np.repeat(np.arange(len(tables)), [len(table.line_energy) for table in tables])
    photons = np.concatenate([table.line_photons for table in tables])
    return Hops(redshift[order], row[order], line[order], table_of, photons)


def bands(kernel: Floats) -> Integers:
    """Return `Reach.band`."""
    moved = np.abs(np.diff(kernel, axis=0, prepend=kernel[:1]))
    matters = moved > FOLLOWED * moved.max(axis=1, keepdims=True)
    first, behind = matters.argmax(axis=1), matters[:, ::-1].argmax(axis=1)
    return np.column_stack([first, np.where(matters.any(axis=1), kernel.shape[1] - behind, 0)])


def split(data: Data, near: Integers, n_channels: int) -> Split:
    """Tell the bins that lines reach, in channels that are `near`, from the others."""
    place = np.full(n_channels, -1, dtype=np.int64)
    place[near] = np.arange(len(near))
    reached = (place[data.starts] >= 0) & (place[data.stops - 1] >= 0)
    inside, outside = np.flatnonzero(reached), np.flatnonzero(~reached)
    within = only(data, inside)
    within = within._replace(starts=place[within.starts], stops=place[within.stops - 1] + 1)
    return Split(within, inside, only(data, outside), outside)
