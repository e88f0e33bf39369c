"""A redistribution matrix as it is applied: runs of channels, for several models at once.

What a matrix costs is the memory that it is read from. A sparse matrix of double precision moves
12 bytes for every element; files hold single precision, and elements that stand side by side need
no index. So a row is kept as runs of channels of 4 bytes each, gaps of a few channels closed with
zeros, and a run is read once for all models. Sums are those of the sparse matrix, bit by bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from icflow.cache import Arrays, cached
from icflow.compiled import strict
from icflow.typing import AnyArray, Floats, Integers

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from icflow.ogip.response import Rmf

# Gaps of at most so many channels are closed.
GAP = 8
# Elements from which on a matrix in runs is kept in the cache.
KEPT = 1 << 18


class Runs(NamedTuple):
    """A matrix in runs of channels.

    Attributes
    ----------
    values : ndarray of float32, or of float64 where single precision does not hold them
        Of all runs, one after another.
    first, length, row : ndarray of int, shape (n_runs,)
        First channel of each run, its length, and the energy bin that it belongs to.
    """

    values: AnyArray
    first: Integers
    length: Integers
    row: Integers


def runs_of(rmf: Rmf, digest: str) -> Runs:
    """Return a matrix in runs; a large one is not even put together where they are kept.

    Parameters
    ----------
    digest : str
        SHA-256 of the matrix, under which a large one is kept.
    """
    if rmf.n_elements < KEPT:
        return Runs(**_find_runs(rmf.matrix))
    key = {"table": "runs", "matrix": digest, "gap": GAP}
    return Runs(**cached(key, lambda: _find_runs(rmf.matrix)))


def _find_runs(matrix: csr_array) -> Arrays:
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    channels, filled = matrix.indices, np.flatnonzero(np.diff(matrix.indptr))
    begins = np.ones(len(channels), np.bool_)
    begins[1:] = np.diff(channels) > GAP + 1
    begins[matrix.indptr[filled]] = True
    start = np.flatnonzero(begins)
    first = channels[start].astype(np.int64)
    length = channels[np.append(start[1:], len(channels)) - 1] - first + 1
    row = np.searchsorted(matrix.indptr, start, side="right") - 1
    offset = np.append(0, np.cumsum(length))
    single = matrix.data.astype(np.float32)
    data = single if np.array_equal(single, matrix.data) else matrix.data
    values = np.zeros(offset[-1], data.dtype)
    run = np.cumsum(begins) - 1
    values[offset[run] + channels - first[run]] = data
    return {"values": values, "first": first, "length": length, "row": row.astype(np.int64)}


@strict
def redistribute(runs: Runs, photons: Floats, counts: Floats, low: int) -> None:
    """Add what photons lead to.

    Parameters
    ----------
    photons : ndarray, shape (n_models, n_energies)
    counts : ndarray, shape (n_models, n_channels)
        Added to.
    low : int
        The first of these channels; what leads below or beyond them is left out.
    """
    start, high = 0, low + counts.shape[1]
    for i in range(len(runs.row)):
        first, stop = runs.first[i], start + runs.length[i]
        begin, end = max(first, low), min(first + runs.length[i], high)
        if begin < end:
            run = runs.values[start + begin - first : start + end - first]
            for m in range(len(photons)):
                amount = photons[m, runs.row[i]]
                reached = counts[m, begin - low : end - low]
                for k in range(len(run)):
                    reached[k] += amount * run[k]
        start = stop
