"""The statistic, its derivatives and bins."""

from __future__ import annotations

import numpy as np
import pytest

from icflow import statistic
from icflow.statistic import Data

COUNTS, MODEL = np.array([0.0, 3.0, 10.0, 4.0]), np.array([0.5, 2.5, 12.0, 4.1])


def test_cstat_is_the_formula() -> None:
    counts, model = np.array([0.0, 3.0, 10.0]), np.array([0.5, 2.5, 12.0])
    terms = [0.5, 2.5 - 3 + 3 * np.log(3 / 2.5), 2 + 10 * np.log(10 / 12)]
    assert statistic.cstat(counts, model) == pytest.approx(2 * sum(terms), rel=1e-14)


def test_numbers_that_are_close_give_the_same_by_the_series() -> None:
    counts = np.array([1e4, 3e4, 1e5])
    model = counts * np.array([1.1, 0.8, 1.0001])
    terms = model - counts + counts * np.log(counts / model)
    assert statistic.cstat(counts, model) == pytest.approx(2 * terms.sum(), rel=1e-9)


@pytest.mark.parametrize("m", [1e-7, 0.3, 4.0, 900.0])
@pytest.mark.parametrize("s", [0.0, 1.0, 40.0])
def test_pull_and_weight_are_the_derivatives(s: float, m: float) -> None:
    m, step = max(m, 2 * statistic.FLOOR), 1e-3 * max(m, 2 * statistic.FLOOR)

    def half(model: float) -> float:
        return model - s * float(np.log(model))

    slope = (half(m + step) - half(m - step)) / (2 * step)
    bend = (half(m + step) - 2 * half(m) + half(m - step)) / step**2
    assert statistic.pull(s, m) == pytest.approx(-slope, rel=1e-5, abs=1e-9)
    assert statistic.weight(s, m) == pytest.approx(bend, rel=1e-5, abs=1e-6)


def test_where_nothing_is_expected_the_floor_stands() -> None:
    floor = statistic.FLOOR
    assert statistic.pull(2.0, 0.0) == pytest.approx(2 / floor - 1)
    assert statistic.weight(2.0, -1.0) == pytest.approx(2 / floor**2)


def test_the_metric_sums_over_bins() -> None:
    slopes = np.array([[1.0, 2.0, 3.0, 4.0], [0.5, 0.1, 0.0, 1.0]])
    info, push = np.empty((2, 2)), np.empty(2)
    statistic.metric(COUNTS, MODEL, slopes, info, push)
    np.testing.assert_allclose(push, slopes @ statistic.pulls(COUNTS, MODEL), rtol=1e-13)
    weighted = slopes * statistic.weights(COUNTS, MODEL)
    np.testing.assert_allclose(info, weighted @ slopes.T, rtol=1e-13)
    plain = np.empty((2, 2)), np.empty(2)
    statistic.metric.py_func(COUNTS, MODEL, slopes, *plain)
    np.testing.assert_allclose(plain[0], info, rtol=1e-13)


def test_channels_are_summed_into_bins() -> None:
    data = Data(np.zeros(2), np.array([0, 3]), np.array([2, 4]))
    values = np.arange(10.0).reshape(2, 5)
    np.testing.assert_array_equal(statistic.binned(data, values), [[1, 3], [11, 8]])
    row = values[0].copy()
    statistic.fill_bins(data, row)
    np.testing.assert_array_equal(row[:2], [1, 3])
