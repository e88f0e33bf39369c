"""What the replies of XSPEC say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from icflow.engines.xspec import fitting


@pytest.mark.parametrize(
    ("status", "interval"),
    [
        ("FFFFFFFFF", (2.0, 4.0)),
        ("TFFFFFFFF", (math.nan, math.nan)),  # a new minimum
        ("FTFFFFFFF", (math.nan, math.nan)),  # C does not rise all the way
        ("FFTFFFFFF", (math.nan, math.nan)),  # some problem
        ("FFFTFFTFF", (0.5, 4.0)),  # the lower limit, which XSPEC calls a failure as well
        ("FFFFTFFTF", (2.0, 15.0)),  # the upper one
        ("FFFFFTFFF", (math.nan, math.nan)),  # frozen
        ("FFFFFFTFF", (math.nan, 4.0)),  # not ends downwards
        ("FFFFFFFTF", (2.0, math.nan)),  # not ends upwards
        ("FFFFFFFFT", (math.nan, math.nan)),  # the fit is too bad
        ("FFFTTFTTF", (0.5, 15.0)),
        ("Error executing command: error", (math.nan, math.nan)),
    ],
)
def test_what_the_nine_letters_of_an_error_say(status: str, interval: tuple[float, float]) -> None:
    ends = fitting.interval((0.5, 15.0), 2.0, 4.0, status)
    np.testing.assert_array_equal(ends, interval)


def test_a_covariance_in_another_order_is_not_used() -> None:
    right = [0.04, 0.0, 0.09]
    np.testing.assert_allclose(fitting.covariance(right, [0.2, 0.3]), [[0.04, 0], [0, 0.09]])
    assert np.isnan(fitting.covariance(right, [0.3, 0.2])).all()
    assert np.isnan(fitting.covariance(right, [0.2, 0.3, 0.4])).all()
