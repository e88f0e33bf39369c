"""Points that fill a cube evenly: against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import qmc

from icflow.engines.embedded.sobol import points


@pytest.mark.parametrize("dimensions", range(1, 13))
def test_points_are_those_of_scipy(dimensions: int) -> None:
    expected = qmc.Sobol(dimensions, scramble=False).random(64)
    np.testing.assert_array_equal(points(64, dimensions), expected)
    np.testing.assert_array_equal(points(32, dimensions), expected[:32])
