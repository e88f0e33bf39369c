"""The channels between two energies: against XSPEC, and on cases small enough to see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from icflow.errors import IcflowError
from icflow.ogip.noticed import noticed_channels
from icflow.ogip.response import read_rmf


def test_nustar_grid_leaves_xspecs_channels(rmf_path: Path) -> None:
    rmf = read_rmf(rmf_path)
    noticed = np.flatnonzero(noticed_channels(rmf.e_min, rmf.e_max, 3.0, 80.0))
    np.testing.assert_array_equal(noticed, np.arange(35, 1959))
    assert noticed.size == 1924


@pytest.mark.parametrize("rounding", [-1, 0, 1])
def test_edges_on_a_limit_do_not_depend_on_rounding(rounding: int) -> None:
    edges = np.linspace(1.0, 7.0, 7, dtype=np.float32)
    if rounding:
        edges = np.nextafter(edges, np.float32(rounding * 100))
    edges = edges.astype(np.float64)
    noticed = noticed_channels(edges[:-1], edges[1:], 2.0, 6.0)
    # Channel 2-3 starts at the lower limit: in. Channel 5-6 ends at the upper one: out.
    np.testing.assert_array_equal(np.flatnonzero(noticed), [1, 2, 3])


def test_channel_that_holds_a_limit_is_out() -> None:
    edges = np.linspace(1.0, 7.0, 7)
    noticed = noticed_channels(edges[:-1], edges[1:], 2.5, 5.5)
    np.testing.assert_array_equal(np.flatnonzero(noticed), [2, 3])


def test_energies_without_channels_are_refused() -> None:
    edges = np.linspace(1.0, 7.0, 7)
    with pytest.raises(IcflowError, match=r"90 to 95 keV select no channel .* 1 to 7 keV"):
        noticed_channels(edges[:-1], edges[1:], 90.0, 95.0)
