"""What lines reach, and which bins of a spectrum these are."""

from __future__ import annotations

import numpy as np

from icflow.engines.embedded.lines import FOLLOWED, bands, split
from icflow.statistic import Data


def test_lines_are_followed_where_a_row_differs_from_the_one_before() -> None:
    x = np.arange(40)
    kernel = np.exp(-0.5 * ((x - np.array([[8.0], [9.0], [10.0], [10.0]])) / 2) ** 2)
    band = bands(kernel)
    # Nothing hops into the first row, and nothing moves where two rows are the same.
    assert band[0].tolist() == band[3].tolist() == [0, 0]
    for row in (1, 2):
        moved, (low, high) = np.abs(kernel[row] - kernel[row - 1]), band[row]
        outside = np.concatenate([moved[:low], moved[high:]])
        assert 0 < low < 8 and 11 < high < 40
        assert outside.max() <= FOLLOWED * moved.max() < min(moved[low], moved[high - 1])


def test_bins_that_lines_reach_are_those_that_begin_and_end_there() -> None:
    # Two modules of ten channels, of which lines reach the first four; bins of three.
    near, starts = np.array([0, 1, 2, 3, 10, 11, 12, 13]), np.array([0, 3, 6, 10, 13, 16])
    stops = np.array([3, 6, 10, 13, 16, 20])
    data = Data(np.arange(6.0), starts, stops, np.arange(6.0) + 10, np.full(6, 0.5))
    own = split(data, near, 20)
    assert own.inside.tolist() == [0, 3] and own.outside.tolist() == [1, 2, 4, 5]
    assert own.within.counts.tolist() == [0.0, 3.0] and own.within.behind.tolist() == [10.0, 13.0]
    # By places among those that are near.
    assert own.within.starts.tolist() == [0, 4] and own.within.stops.tolist() == [3, 7]
    assert own.beyond.starts.tolist() == [3, 6, 13, 16]
    assert own.beyond.stops.tolist() == [6, 10, 16, 20]
