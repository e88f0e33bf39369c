"""Random numbers that are the same on every machine and in every process.

A seed is a SHA-256 of everything that names its purpose, not Python's `hash`,
which differs between processes: whoever draws first, or how much, changes
nothing for the others.
"""

from __future__ import annotations

import hashlib

import numpy as np

from icflow.files import canonical_json


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


def generator(seed: int, purpose: str) -> np.random.Generator:
    """Return the random generator of one purpose."""
    key = int.from_bytes(_digest(f"{seed}:{purpose}"), "big")
    return np.random.Generator(np.random.PCG64(key))


def number(seed: int, *purpose: str | int) -> int:
    """Return a seed of 63 bits for one purpose, for generators other than those of numpy."""
    return int.from_bytes(_digest(canonical_json([seed, *purpose]), 8), "big") >> 1
