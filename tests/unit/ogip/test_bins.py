"""Bins of a spectrum: XSPEC's rules for GROUPING and QUALITY, scales of bins, least counts.

The rules were found by loading files into XSPEC 12.9.1; the numbers here follow them by hand.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from icflow.ogip.bins import Binned, bin_scale, binned, bins_of_counts, bins_of_flags
from icflow.ogip.spectrum import Spectrum


def bins(grouping: list[int] | None, quality: list[int] | None) -> list[tuple[int, int, int]]:
    n_channels = len(grouping or quality or [])
    flags = [None if f is None else np.array(f) for f in (grouping, quality)]
    parts = bins_of_flags(flags[0], flags[1], n_channels)
    return [tuple(map(int, part)) for part in zip(*parts, strict=True)]


@pytest.mark.parametrize(
    ("grouping", "quality", "expected"),
    [
        ([1, -1, 0, 0, 1, -1], None, [(0, 2, 0), (2, 3, 0), (3, 4, 0), (4, 6, 0)]),
        (None, [0, 1, 5, 0], [(0, 1, 0), (2, 3, 5), (3, 4, 0)]),
        # QUALITY 1 inside a group: the group goes on behind it.
        ([1, -1, -1, -1], [0, 1, 1, 0], [(0, 4, 0)]),
        # QUALITY 1 at the start of a group: the rest is joined to the group before.
        ([1, -1, 1, -1, 1], [0, 0, 1, 0, 0], [(0, 4, 0), (4, 5, 0)]),
        # Only at the beginning of the file does the first good channel start a bin.
        ([1, -1, -1, 1], [1, 0, 0, 0], [(1, 3, 0), (3, 4, 0)]),
        # Other bad quality cuts a group into what is before, itself, and what is after.
        ([1, -1, -1, -1, -1], [0, 5, 5, 0, 0], [(0, 1, 0), (1, 3, 5), (3, 5, 0)]),
        ([1, -1, -1, -1, -1], [0, 5, 1, 5, 2], [(0, 1, 0), (1, 4, 5), (4, 5, 2)]),
        ([1, -1, 1, -1], [5, 5, 5, 0], [(0, 2, 5), (2, 3, 5), (3, 4, 0)]),
        ([1, 1], [1, 1], []),
    ],
)
def test_grouping_and_quality_as_xspec_reads_them(
    grouping: list[int] | None, quality: list[int] | None, expected: list[tuple[int, int, int]]
) -> None:
    assert bins(grouping, quality) == expected


def test_least_counts_end_at_bad_channels_and_lose_none() -> None:
    counts = np.array([0, 3, 9, 2, 0, 1, 0])
    used = np.array([True, True, False, True, True, True, True])
    for minimum, expected in (
        (3, [[0, 3, 6], [2, 6, 7]]),
        (4, [[0, 3], [2, 7]]),
        (0, [[0, 1, 3, 4, 5, 6], [1, 2, 4, 5, 6, 7]]),
    ):
        np.testing.assert_array_equal(bins_of_counts(counts, used, minimum), expected)
    used[:] = False
    assert bins_of_counts(counts, used, 1)[0].size == 0


def test_scale_of_a_bin_is_weighted_by_its_counts() -> None:
    counts = np.array([1, 3, 0, 0, 5])
    scale = np.array([0.5, 1.0, 0.5, 1.0, 0.25])
    used = np.array([True, True, True, True, True])
    starts, stops = np.array([0, 2, 4]), np.array([2, 4, 5])
    # 4 / (1 / 0.5 + 3 / 1); without counts 2 / (1 / 0.5 + 1 / 1).
    np.testing.assert_allclose(
        bin_scale(scale, counts, used, starts, stops), [0.8, 2 / 3, 0.25], rtol=1e-15
    )
    used[0] = False
    assert bin_scale(scale, np.where(used, counts, 0), used, starts, stops)[0] == 1.0
    np.testing.assert_array_equal(bin_scale(0.7, counts, used, starts, stops), [0.7] * 3)


SOURCE = Spectrum(np.arange(1, 5), np.array([4, 4, 7, 2]), 100.0, backscal=2.0)
WHOLE = np.arange(4), np.arange(1, 5), np.ones(4, bool)


def test_nothing_is_scaled_where_nothing_says_so() -> None:
    plain: Binned = binned(SOURCE, *WHOLE)
    assert plain.scale is None
    assert plain.background is None
    np.testing.assert_array_equal(plain.counts, SOURCE.counts)


def test_area_and_dropped_channels_scale_the_response() -> None:
    used = np.array([True, False, True, True])
    area = np.array([0.5, 9.0, 1.0, 0.25])
    part = binned(replace(SOURCE, areascal=area), np.array([0, 3]), np.array([3, 4]), used)
    # (4 + 7) / (4 / 0.5 + 7 / 1) in the first bin, nothing in the channel that does not count.
    assert part.scale is not None
    np.testing.assert_allclose(part.scale, [11 / 15, 0.0, 11 / 15, 0.25])
    np.testing.assert_array_equal(part.counts, [4, 0, 7, 2])


def test_background_is_scaled_by_exposure_area_and_region() -> None:
    background = Spectrum(
        np.arange(1, 5),
        np.array([1, 0, 2, 3]),
        300.0,
        areascal=0.5,
        backscal=np.array([1.0, 2.0, 4.0, 8.0]),
        quality=np.array([5, 5, 5, 5]),
    )
    part = binned(replace(SOURCE, areascal=0.8), *WHOLE, background)
    assert part.ratio is not None
    # T_b A_b K_b / (T A K); the background's own QUALITY is not looked at.
    np.testing.assert_allclose(
        part.ratio, 300 * 0.5 * np.array([1, 2, 4, 8]) / (100 * 0.8 * 2), rtol=1e-15
    )
    np.testing.assert_array_equal(part.background, [1, 0, 2, 3])
