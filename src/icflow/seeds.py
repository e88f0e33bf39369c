"""Random numbers that are the same on every machine and in every process.

A seed is a SHA-256 of everything that names its purpose, not Python's `hash`,
which differs between processes: whoever draws first, or how much, changes
nothing for the others.
"""

from __future__ import annotations

import hashlib

import numpy as np

from icflow.errors import IcflowError
from icflow.files import canonical_json
from icflow.typing import Floats, Integers

# The largest expected number that is sure to be drawn within the four bytes that counts have.
MOST = 2.0e9


def _digest(text: str, size: int = 32) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:size]


def of_spectrum(seed: int, dataset: str, index: int, purpose: str) -> np.random.Generator:
    """Return the random generator of one spectrum for one purpose.

    Counter-based (Philox) and keyed by everything that names the spectrum, so
    spectrum 4711 is the same whatever the shard, the number of cores or the
    machine.
    """
    key = np.frombuffer(_digest(f"icflow/{purpose}/{seed}/{dataset}/{index}", 16), dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def poisson(generator: np.random.Generator, expected: Floats) -> Integers:
    """Draw Poisson counts, shape of `expected`; less than nothing is nothing.

    Matrices with slightly negative elements may lead to less than nothing.

    Raises
    ------
    IcflowError
        If more is expected than counts can hold, or what is no number.
    """
    if not np.all(expected <= MOST):
        raise IcflowError(
            f"{np.max(expected):.3g} counts are expected in a channel, and spectra hold {MOST:.0e} "
            "at most; lower the exposure or the norms"
        )
    return generator.poisson(np.maximum(expected, 0.0))


def generator(seed: int, purpose: str) -> np.random.Generator:
    """Return the random generator of one purpose."""
    key = int.from_bytes(_digest(f"{seed}:{purpose}"), "big")
    return np.random.Generator(np.random.PCG64(key))


def number(seed: int, *purpose: str | int) -> int:
    """Return a seed of 63 bits for one purpose, for generators other than those of numpy."""
    return int.from_bytes(_digest(canonical_json([seed, *purpose]), 8), "big") >> 1
