"""What a machine would allow: the arithmetic and the memory traffic that a task cannot do without.

    python benchmarks/limits.py  # the rates of one core of this machine

A limit is the longer of two times: that of the multiply-adds, at the rate of a product of matrices
that stay in the caches, and that of the bytes, at the rate of reading arrays that do not. Searches
are not in it: of a fit it is one look at its minimum.
"""

from __future__ import annotations

import os
import time
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
        return max(self.multiply_adds / multiply_adds_per_second(), self.read / read_per_second())

    def limit(self, spent: float) -> str:
        """Say it, and how far from it is what takes `spent` CPU seconds."""
        least = self.seconds()
        return (
            f"{_short(1e3 * least)} ms for {_short(self.multiply_adds / 1e6)} million "
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
def read_per_second() -> float:
    """Return how many bytes one core reads a second that are in none of its own caches."""
    a = np.ones(4_000_000)
    return a.nbytes / _least(lambda: a.sum())


def _least(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> None:
    """Print the rates."""
    print(f"{multiply_adds_per_second() / 1e9:.1f} billion multiply-adds a second")
    print(f"{read_per_second() / 1e9:.1f} GB read a second")


if __name__ == "__main__":
    main()
