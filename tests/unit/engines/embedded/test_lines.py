"""What lines reach, and which bins of a spectrum these are."""

from __future__ import annotations

import numpy as np

from icflow.engines.embedded.lines import FOLLOWED, bands, split
from icflow.statistic import Data


def test_a_band_holds_all_channels_that_a_hop_moves_counts_in() -> None:
    kernel = np.exp(-0.5 * (np.arange(40) - 3 * np.arange(1, 11)[:, None]) ** 2 / 4)
    kernel *= np.linspace(1, 2, 10)[:, None]
    kernel[7] = kernel[6]  # a hop that moves nothing
    band = bands(kernel)
    for row in range(1, 10):
        moved = np.abs(kernel[row] - kernel[row - 1])
        inside = np.zeros(40, dtype=bool)
        inside[slice(*band[row])] = True
        assert np.all(moved[~inside] <= FOLLOWED * moved.max())
        assert row == 7 or inside.sum() < 40
    assert band[7].tolist() == [0, 0]


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
