"""What lines reach, and which bins of a spectrum these are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from icflow.engines.embedded.lines import FOLLOWED, bands, reach_of, split
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


def table(width: int, *lines: float) -> Any:
    """What matters of a table: lines, three model bins, some channels, redshifts up to 0.1."""
    kernel = np.random.default_rng(width).uniform(1, 2, (3, width))
    return SimpleNamespace(
        energies=np.array([1.0, 1.1, 1.2, 1.3]),
        line_energy=np.array(lines),
        line_photons=np.array(lines)[:, None, None] * np.ones((1, 2, 2)),
        smooth=np.zeros((3, 2, 2, width)),
        smooth_grid=(0.0, 0.05),
        kernel=kernel,
    )


def test_lines_of_all_plasmas_and_modules_hop_in_one_staircase() -> None:
    # Of two plasmas the tables of two modules, whose channels begin at 0 and 10.
    one, other = [table(4, 1.15), table(2, 1.15)], [table(3, 1.25, 1.28), table(3, 1.25, 1.28)]
    reach = reach_of([one, other], np.array([0, 10]))
    assert reach.near.tolist() == [0, 1, 2, 3, 10, 11, 12]
    wanted = np.zeros((12, 7))
    wanted[:3, :4], wanted[3:6, 4:6] = one[0].kernel, one[1].kernel
    wanted[6:9, :3], wanted[9:, 4:] = other[0].kernel, other[1].kernel
    np.testing.assert_array_equal(reach.kernel, wanted)
    # The second line of the other plasma goes last; none is within reach of a second edge.
    hops = reach.hops
    at = [1.25 / 1.2, 1.15 / 1.1, 1.28 / 1.2]
    np.testing.assert_allclose(hops.redshift, np.repeat(at, 2) - 1, rtol=1e-12)
    assert hops.row.tolist() == [8, 11, 1, 4, 8, 11]
    assert hops.line.tolist() == [2, 4, 0, 1, 3, 5]
    assert hops.table[hops.line].tolist() == [2, 3, 0, 1, 2, 3]
    assert hops.photons[hops.line, 0, 0].tolist() == [1.25, 1.25, 1.15, 1.15, 1.28, 1.28]
