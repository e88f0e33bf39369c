"""Grouping and energy selection: against XSPEC, and on cases small enough to see."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from icflow.errors import IcflowError
from icflow.ogip.grouping import (
    group_counts,
    group_edges,
    group_min,
    grouped_selection,
    select_groups,
)
from icflow.ogip.noticed import noticed_channels
from icflow.ogip.response import read_rmf


def test_groups_of_xspec_spectra(rmf_path: Path, reference: Path) -> None:
    rmf = read_rmf(rmf_path)
    counts = np.load(reference / "spectra.npz")["counts"]
    fits = json.loads((reference / "fits.json").read_text())
    assert len(fits) == 14
    for fit in fits:
        spectrum = counts[fit["index"]]
        starts, stops = grouped_selection(spectrum, rmf.e_min, rmf.e_max, 3.0, 80.0, 100)
        assert starts.size == fit["n_bins"]
        # XSPEC counts all groups from 1, the ignored ones too.
        numbers = 1 + np.searchsorted(group_edges(group_min(spectrum, 100)[0], 4096)[0], starts)
        assert (numbers[0], numbers[-1]) == (fit["noticed_first"], fit["noticed_last"])
        assert group_counts(spectrum, starts, stops).min() >= 100


def test_selecting_nothing_is_refused() -> None:
    edges = np.linspace(1.0, 7.0, 7)
    with pytest.raises(IcflowError, match=r"90 to 95 keV select no channel .* 1 to 7 keV"):
        noticed_channels(edges[:-1], edges[1:], 90.0, 95.0)
    with pytest.raises(IcflowError, match="90 to 95 keV select no channel"):
        grouped_selection(np.ones(6, int), edges[:-1], edges[1:], 90.0, 95.0, minimum=5)


def test_counts_that_make_no_bin_are_named_as_the_cause() -> None:
    edges = np.linspace(1.0, 7.0, 7)
    with pytest.raises(IcflowError) as caught:
        grouped_selection(np.ones(6, int), edges[:-1], edges[1:], 2.0, 6.5, minimum=5)
    assert str(caught.value) == (
        "no bin of at least 5 counts lies between 2 and 6.5 keV, where the spectrum has 4; "
        "lower group_min"
    )


def test_group_min_marks_groups_and_the_rest() -> None:
    grouping, quality = group_min(np.array([3, 8, 12, 0, 9, 1, 4, 2]), 10)
    np.testing.assert_array_equal(grouping, [1, -1, 1, 1, -1, -1, 1, -1])
    np.testing.assert_array_equal(quality, [0, 0, 0, 0, 0, 0, 2, 2])


def test_group_min_ends_exactly() -> None:
    grouping, quality = group_min(np.array([5, 5, 10]), 10)
    np.testing.assert_array_equal(grouping, [1, -1, 1])
    assert not quality.any()


def test_group_min_zero_leaves_channels_alone() -> None:
    grouping, quality = group_min(np.array([0, 5, 0]), 0)
    np.testing.assert_array_equal(grouping, [1, 1, 1])
    assert not quality.any()


def test_group_min_of_an_empty_spectrum_is_one_bad_group() -> None:
    grouping, quality = group_min(np.zeros(4, int), 1)
    np.testing.assert_array_equal(grouping, [1, -1, -1, -1])
    np.testing.assert_array_equal(quality, [2, 2, 2, 2])


def test_group_min_equals_the_plain_loop() -> None:
    generator = np.random.default_rng(7)
    for _ in range(20):
        counts = generator.poisson(generator.uniform(0.1, 30), size=200)
        minimum = int(generator.integers(1, 120))
        expected, total = [], minimum
        for value in counts:
            expected.append(1 if total >= minimum else -1)
            total = (0 if total >= minimum else total) + value
        np.testing.assert_array_equal(group_min(counts, minimum)[0], expected)


def test_group_edges_follow_the_flags() -> None:
    starts, stops = group_edges(np.array([0, 1, -1, -1, 1, 0]), 6)
    np.testing.assert_array_equal(starts, [0, 1, 4, 5])
    np.testing.assert_array_equal(stops, [1, 4, 5, 6])
    starts, stops = group_edges(None, 3)
    np.testing.assert_array_equal(np.stack([starts, stops]), [[0, 1, 2], [1, 2, 3]])


def test_group_counts_sums_each_range_and_nothing_else() -> None:
    values = np.arange(20.0).reshape(2, 10)
    starts, stops = np.array([1, 3, 7]), np.array([3, 4, 10])
    expected = np.stack(
        [values[:, a:b].sum(axis=1) for a, b in zip(starts, stops, strict=True)], axis=1
    )
    np.testing.assert_array_equal(group_counts(values, starts, stops), expected)
    inner = slice(0, 2)  # the last range does not reach the last channel
    np.testing.assert_array_equal(
        group_counts(values, starts[inner], stops[inner]), expected[:, inner]
    )


def test_group_that_holds_a_limit_is_out() -> None:
    edges = np.linspace(0.0, 10.0, 11)
    starts, stops = np.array([0, 2, 5, 8]), np.array([2, 5, 8, 10])
    left, right = select_groups(starts, stops, edges[:-1], edges[1:], 3.0, 9.5)
    np.testing.assert_array_equal(left, [5])
    np.testing.assert_array_equal(right, [8])
