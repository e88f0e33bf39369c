"""The statistic, its derivatives and bins."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from icflow import statistic
from icflow.statistic import Data, channels

COUNTS, MODEL = np.array([0.0, 3.0, 10.0, 4.0]), np.array([0.5, 2.5, 12.0, 4.1])
BEHIND = channels(COUNTS)._replace(
    behind=np.array([2.0, 0.0, 5.0, 0.0]), ratio=np.array([3.0, 3.0, 0.5, 0.0])
)
REFERENCE = Path(__file__).parents[1] / "data/xspec_reference/wstat.npz"
# Counts, expected counts, background counts and ratios: every kind of bin.
BINS = [
    (float(s), m, float(b), r)
    for s, m, b, r in product((0, 1, 40), (1e-3, 0.3, 4.1, 900.0), (0, 1, 30), (0.0, 0.1, 1.0, 9.0))
    if r > 0 or b == 0
]


def one(s: float, b: float, r: float) -> Data:
    """Return a bin with a background spectrum."""
    return channels(np.array([s]))._replace(behind=np.array([b]), ratio=np.array([r]))


def half_w(s: float, m: float, b: float, r: float) -> float:
    return 0.5 * float(statistic.statistic(one(s, b, r), np.array([m])))


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


@pytest.mark.parametrize("with_background", [False, True])
def test_the_metric_sums_over_bins(with_background: bool) -> None:
    slopes = np.array([[1.0, 2.0, 3.0, 4.0], [0.5, 0.1, 0.0, 1.0]])
    info, push = np.empty((2, 2)), np.empty(2)
    data = BEHIND if with_background else channels(COUNTS)
    statistic.metric(data, MODEL, slopes, 0.0, info, push)
    np.testing.assert_allclose(push, slopes @ statistic.pulls(data, MODEL), rtol=1e-13)
    weighted = slopes * statistic.weights(data, MODEL, 0.0)
    np.testing.assert_allclose(info, weighted @ slopes.T, rtol=1e-13)
    plain = np.empty((2, 2)), np.empty(2)
    statistic.metric.py_func(data, MODEL, slopes, 0.0, *plain)
    np.testing.assert_allclose(plain[0], info, rtol=1e-13)


@pytest.mark.parametrize(
    "name", [name for name in np.load(REFERENCE).files if not name.endswith("/statistic")]
)
def test_the_statistic_is_that_of_xspec(name: str) -> None:
    cases = np.load(REFERENCE)
    counts, model, behind, ratio = cases[name]
    data = channels(counts)._replace(behind=behind, ratio=ratio)
    value = float(cases[f"{name}/statistic"])
    assert statistic.statistic(data, model) == pytest.approx(value, rel=1e-12)
    assert statistic.statistic.py_func(data, model) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(("s", "m", "b", "r"), BINS)
def test_the_background_of_a_bin_is_where_w_is_lowest(
    s: float, m: float, b: float, r: float
) -> None:
    f = statistic.background(s, m, b, r)
    lowest = half_w(s, m, b, r)
    for other in (0.9 * f, f + 1e-3, 1.1 * f):
        if r > 0 and (b == 0 or other > 0):
            higher = statistic.term(s, m + other) + statistic.term(b, max(r * other, 1e-300))
            assert higher >= lowest - 1e-9


@pytest.mark.parametrize(("s", "m", "b", "r"), BINS)
def test_pull_and_weight_of_w_are_the_derivatives(s: float, m: float, b: float, r: float) -> None:
    step = 1e-3 * m
    values = [half_w(s, m + k * step, b, r) for k in (-1, 0, 1)]
    data, model = one(s, b, r), np.array([m])
    (pull,), (weight,) = statistic.pulls(data, model), statistic.weights(data, model, 0.0)
    noise = 1e-13 * max(abs(values[1]), 1.0)
    assert pull == pytest.approx((values[0] - values[2]) / (2 * step), rel=1e-4, abs=noise / step)
    bend = (values[0] - 2 * values[1] + values[2]) / step**2
    assert weight == pytest.approx(bend, rel=1e-3, abs=10 * noise / step**2)
    assert 0 <= weight <= statistic.weights(data, model, 1.0)[0]


def test_a_flat_w_keeps_a_part_of_the_weight_of_c() -> None:
    data, model = one(1.0, 0.0, 3.0), np.array([0.1])
    assert statistic.pulls(data, model)[0] == pytest.approx(3.0)
    assert statistic.weights(data, model, 0.0)[0] == 0.0
    assert statistic.weights(data, model, 0.05)[0] == pytest.approx(0.05 * 16)


def test_negative_counts_add_the_model_alone() -> None:
    assert statistic.cstat(np.array([-3.0]), np.array([2.5])) == pytest.approx(5.0)
    assert half_w(-3.0, 2.5, 4.0, 2.0) == pytest.approx(half_w(0.0, 2.5, 4.0, 2.0))
    assert statistic.pulls(channels(np.array([-3.0])), np.array([2.5]))[0] == -1.0


def test_the_background_is_taken_from_counts_that_start_a_search() -> None:
    counts, variance = statistic.net(BEHIND)
    np.testing.assert_allclose(counts, [-2 / 3, 3.0, 0.0, 4.0])
    np.testing.assert_allclose(variance, [2 / 9, 3.0, 30.0, 4.0])
    np.testing.assert_array_equal(statistic.net(channels(COUNTS)), [COUNTS, COUNTS])


def test_bins_can_be_chosen() -> None:
    chosen = statistic.only(BEHIND, np.array([0, 2]))
    np.testing.assert_array_equal(chosen.counts, [0, 10])
    np.testing.assert_array_equal(chosen.ratio, [3.0, 0.5])
    assert len(statistic.only(channels(COUNTS), np.flatnonzero(COUNTS > 3)).behind) == 0


def test_channels_are_summed_into_bins() -> None:
    data = Data(np.zeros(2), np.array([0, 3]), np.array([2, 4]))
    values = np.arange(10.0).reshape(2, 5)
    np.testing.assert_array_equal(statistic.binned(data, values), [[1, 3], [11, 8]])
    row = values[0].copy()
    statistic.fill_bins(data, row)
    np.testing.assert_array_equal(row[:2], [1, 3])
