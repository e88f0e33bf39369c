"""Seeds: every purpose has its own, and it stays the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from icflow import seeds
from icflow.errors import IcflowError

PINNED = 0.7405399520374271


def test_seeds_depend_on_every_key() -> None:
    keys: list[tuple[Any, ...]] = [(1,), (2,), (1, "cae"), (1, "ae"), (1, "cae", 0), (1, "cae", 1)]
    found = {seeds.number(*key) for key in keys}
    assert len(found) == len(keys)
    assert all(0 <= seed < 2**63 for seed in found)
    # Fixed for ever: other numbers would be another run with the same configuration.
    assert seeds.number(1, "cae", 0) == 3364756963664124470


def test_generators_of_two_detectors_differ() -> None:
    first, second = seeds.generator(1, "cae"), seeds.generator(1, "ae")
    assert first.integers(0, 2**60) != second.integers(0, 2**60)


def test_the_generator_depends_on_every_part_of_its_key() -> None:
    keys = [
        (1, "a", 0, "x"),
        (2, "a", 0, "x"),
        (1, "b", 0, "x"),
        (1, "a", 1, "x"),
        (1, "a", 0, "y"),
    ]
    assert len({seeds.of_spectrum(*key).random() for key in keys}) == len(keys)
    # Pinned: a change here changes every simulated spectrum.
    assert seeds.of_spectrum(1, "a", 0, "x").random() == pytest.approx(PINNED, abs=1e-15)


def test_more_counts_than_spectra_hold_are_refused():
    generator = seeds.of_spectrum(1, "test", 0, "counts")
    with pytest.raises(IcflowError, match=r"3e\+09 counts are expected in a channel"):
        seeds.poisson(generator, np.array([1.0, 3e9]))
    with pytest.raises(IcflowError, match="nan counts"):
        seeds.poisson(generator, np.array([1.0, np.nan]))
    assert seeds.poisson(generator, np.array([-1.0, 0.0])).tolist() == [0, 0]
