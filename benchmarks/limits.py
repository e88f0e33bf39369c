"""What a machine would allow: the arithmetic and the memory traffic that a task cannot do without.

    python benchmarks/limits.py  # the rates of one core of this machine

A limit is the longer of two times: that of the multiply-adds, at the rate of a product of matrices
that stay in the caches, and that of the bytes, at the rate of reading as many over and over, from
whichever cache holds them. Searches are not in it: of a fit it is one look at its minimum.
"""

from __future__ import annotations

import os
import timeit
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

# One thread: read by the linear algebra libraries when numpy loads them.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np

from icflow.engines.embedded.engine import Task
from icflow.engines.embedded.shapes import KIND, PLASMA
from icflow.engines.embedded.tables import Tables

DOUBLE = 8  # bytes
LOGARITHM = 20  # multiply-adds that one is worth
ROUNDS = 20


class Work(NamedTuple):
    """What has to be done.

    Attributes
    ----------
    multiply_adds : float
        In double precision.
    read : float
        Bytes that are read, once each.
    """

    multiply_adds: float
    read: float

    def seconds(self) -> float:
        """Return how long one core is busy with it, at least."""
        return max(self.multiply_adds / multiply_adds_per_second(), _reading(self.read))

    def limit(self, spent: float, number: int = 1) -> str:
        """Say it for a number of times the work, and how far off are `spent` CPU seconds."""
        least = number * self.seconds()
        times = f"{number:,} times " if number > 1 else ""
        return (
            f"{_short(1e3 * least)} ms for {times}{_short(self.multiply_adds / 1e6)} million "
            f"multiply-adds and {_short(self.read / 1e6)} MB, {spent / least:,.0f} × less"
        )


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def fit(task: Task) -> Work:
    """Return what one look at a minimum takes, at full resolution.

    That is expected counts, their derivatives, C with its gradient, and the information. Read are
    the counts, the rows of backgrounds and other terms, and of a plasma those at the temperatures
    to both sides, without metals and with them.
    """
    tables, free = task.fitter.tables, len(task.model.free)
    n_bins = len(tables.runs)
    each = _rows(tables) + 2 * free + LOGARITHM + free * (free + 1) / 2
    return Work(n_bins * each, DOUBLE * n_bins * _rows(tables))


def likelihoods(task: Task, number: float) -> Work:
    """Return what so many likelihoods of one spectrum take in coarse bins.

    The rows are read once, and stay in the caches for all.
    """
    tables = task.fitter.tables
    n_bins = len(tables.in_coarse_bins.runs)
    return Work(number * n_bins * (_rows(tables) + LOGARITHM), DOUBLE * n_bins * _rows(tables))


def _rows(tables: Tables) -> int:
    """Return how many rows of counts are read: those of a spectrum, and of what is expected."""
    plasmas = int((tables.terms[:, KIND] == PLASMA).sum())
    return 1 + 4 * plasmas + len(tables.terms) - plasmas


@cache
def multiply_adds_per_second() -> float:
    """Return how many multiply-adds in double precision one core does a second."""
    n = 256
    a, b, c = np.ones((n, n)), np.ones((n, n)), np.empty((n, n))
    return n**3 / _least(lambda: np.matmul(a, b, out=c))


@cache
def read_per_second(mebibytes: float) -> float:
    """Return how many bytes a second one core reads of an array of some size, over and over."""
    array = np.ones(int(mebibytes * 2**20) // DOUBLE)
    return array.nbytes / _least(lambda: np.dot(array, array))


def _reading(read: float) -> float:
    """Return how long so many bytes take, as far as they stay in caches, from there."""
    mebibytes = min(max(2.0 ** round(np.log2(read / 2**20)), 0.125), 32.0)
    return read / read_per_second(mebibytes)


def _least(work: Callable[[], object]) -> float:
    return min(timeit.repeat(work, number=1, repeat=ROUNDS))


def main() -> None:
    """Print the rates."""
    print(f"{multiply_adds_per_second() / 1e9:.1f} billion multiply-adds a second")
    for size in (0.25, 32.0):
        print(f"{read_per_second(size) / 1e9:.0f} GB a second read of {size:g} MiB")


if __name__ == "__main__":
    main()
