"""The receiver operating characteristic and the best threshold: ties, absent classes, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import (
    balanced_accuracy_score,
    roc_auc_score,
)

from icflow.detection import metrics
from icflow.detection.roc import Curve, auc, best_threshold
from icflow.errors import IcflowError


def test_threshold_is_half_way_between_separated_classes() -> None:
    score = np.array([1.0, 2.0, 5.0, 7.0])
    assert best_threshold(score, np.array([False, False, True, True])) == 3.5


def test_threshold_does_not_tell_equal_scores_apart() -> None:
    score = np.array([1.0, 1.0, 1.0, 2.0, 2.0])
    is_ic = np.array([False, False, True, True, True])
    threshold = best_threshold(score, is_ic)
    assert threshold == 1.5
    assert metrics.decide(score, threshold).tolist() == [False, False, False, True, True]


def test_threshold_of_one_value_calls_nothing_ic() -> None:
    score = np.full(4, 3.0)
    threshold = best_threshold(score, np.array([True, False, True, False]))
    assert threshold == 3.0
    assert not metrics.decide(score, threshold).any()


def test_threshold_takes_the_highest_of_equally_good_ones() -> None:
    # Both 1.5 and 3.5 give balanced accuracy 0.75.
    score = np.array([1.0, 2.0, 3.0, 4.0])
    is_ic = np.array([False, True, False, True])
    assert best_threshold(score, is_ic) == 3.5


def test_threshold_separates_neighbouring_floats() -> None:
    low = 1.0
    high = np.nextafter(low, 2.0)
    threshold = best_threshold(np.array([low, high]), np.array([False, True]))
    assert not low > threshold
    assert high > threshold


@pytest.mark.parametrize("seed", range(20))
def test_threshold_is_as_good_as_exhaustive_search(seed: int) -> None:
    random = np.random.default_rng(seed)
    score = np.round(random.normal(size=60), 1)
    is_ic = random.random(60) < 0.4
    score[is_ic] += 0.7

    def quality(threshold: float) -> float:
        return float(balanced_accuracy_score(is_ic, score > threshold))

    best = max(quality(t) for t in np.arange(-6, 6, 0.05))
    assert quality(best_threshold(score, is_ic)) == pytest.approx(best)


def test_threshold_ignores_nan() -> None:
    score = np.array([1.0, np.nan, 5.0, np.nan])
    assert best_threshold(score, np.array([False, False, True, True])) == 3.0


@pytest.mark.parametrize("is_ic", [[True, True], [False, False]])
def test_threshold_needs_both_classes(is_ic: list[bool]) -> None:
    with pytest.raises(IcflowError, match="both classes"):
        best_threshold(np.array([1.0, 2.0]), np.array(is_ic))


@pytest.mark.parametrize("seed", range(5))
def test_auc_agrees_with_scikit_learn_also_with_ties(seed: int) -> None:
    random = np.random.default_rng(seed)
    score = np.round(random.normal(size=200), 1)
    is_ic = random.random(200) < 0.5
    score[is_ic] += 0.5
    assert auc(score, is_ic) == pytest.approx(roc_auc_score(is_ic, score))


def test_auc_counts_nan_as_lowest_and_needs_both_classes() -> None:
    score = np.array([np.nan, 1.0, 2.0])
    assert auc(score, np.array([False, True, True])) == 1.0
    assert math.isnan(auc(score, np.array([True, True, True])))


def test_rates_are_read_off_the_curve_by_hand() -> None:
    # From the highest: IC, IC, thermal, IC, thermal, IC, thermal, thermal.
    is_ic = np.array([1, 1, 0, 1, 0, 1, 0, 0], dtype=bool)
    curve = Curve.of(-np.arange(8.0), is_ic, np.ones((1, 8)))
    assert curve.false_alarm_at(0.5)[0] == 0
    assert curve.false_alarm_at(0.75)[0] == pytest.approx(0.25)
    assert curve.false_alarm_at(1.0)[0] == pytest.approx(0.5)
    assert curve.recall_at(0.01)[0] == pytest.approx(0.5)
    assert curve.recall_at(0.25)[0] == pytest.approx(0.75)
    assert curve.recall_at(0.9)[0] == pytest.approx(1.0)


def test_ties_are_broken_as_if_by_chance() -> None:
    is_ic = np.array([True, False] * 10)
    curve = Curve.of(np.zeros(20), is_ic, np.ones((1, 20)))
    assert curve.false_alarm_at(0.3)[0] == pytest.approx(0.3)
    assert curve.recall_at(0.05)[0] == pytest.approx(0.05)
    assert curve.area()[0] == pytest.approx(0.5)
    assert curve.average_precision()[0] == pytest.approx(0.5)


def test_nan_scores_are_the_last_to_be_called_ic() -> None:
    is_ic = np.array([False, True, True])
    curve = Curve.of(np.array([np.nan, 1.0, 2.0]), is_ic, np.ones((1, 3)))
    assert curve.area()[0] == 1.0
