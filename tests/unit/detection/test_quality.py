"""Metrics under a shared resampling: against scikit-learn, by hand, and paired."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from icflow.detection import differences, quality
from icflow.detection.metrics import Estimate
from icflow.detection.quality import Resampling
from icflow.detection.roc import Curve
from icflow.seeds import generator

Arrays = tuple[np.ndarray, np.ndarray]


def sample(size: int = 400, shift: float = 1.0, seed: int = 0, digits: int = 1) -> Arrays:
    """Return scores, rounded so that many are equal, and classes."""
    random = np.random.default_rng(seed)
    is_ic = np.arange(size) % 4 == 0
    return np.round(random.normal(size=size) + shift * is_ic, digits), is_ic


def draw(is_ic: np.ndarray, repeats: int = 50) -> Resampling:
    return Resampling.draw(is_ic, repeats, generator(1, "test"))


def test_resampling_keeps_the_classes_and_counts_spectra_once_at_first() -> None:
    is_ic = np.arange(30) < 10
    times = draw(is_ic).times
    assert (times[0] == 1).all()
    assert (times[1:, is_ic].sum(axis=1) == 10).all()
    assert (times[1:, ~is_ic].sum(axis=1) == 20).all()
    assert times[1:].max() > 1


@pytest.mark.parametrize("seed", range(3))
def test_curves_agree_with_scikit_learn_for_every_resampling(seed: int) -> None:
    score, is_ic = sample(seed=seed)
    resampling = draw(is_ic, 20)
    found = resampling.apply(lambda weights: quality.of_scores(score, is_ic, [], [], weights))
    for row, times in enumerate(resampling.times):
        drawn = np.repeat(np.arange(is_ic.size), times)
        assert found["auc"][row] == pytest.approx(roc_auc_score(is_ic[drawn], score[drawn]))
        expected = average_precision_score(is_ic[drawn], score[drawn])
        assert found["average_precision"][row] == pytest.approx(expected)


def test_numbers_do_not_depend_on_the_size_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    score, is_ic = sample()
    whole = draw(is_ic).apply(lambda w: quality.of_scores(score, is_ic, [0.8], [0.05], w))
    monkeypatch.setattr(quality, "BLOCK", 3 * is_ic.size)
    parts = draw(is_ic).apply(lambda w: quality.of_scores(score, is_ic, [0.8], [0.05], w))
    for name, values in whole.items():
        np.testing.assert_array_equal(values, parts[name])


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


@pytest.mark.parametrize("both", [True, False])
def test_one_class_leaves_everything_undefined_that_needs_two(both: bool) -> None:
    is_ic = np.full(6, both)
    score = np.arange(6.0)
    resampling = draw(is_ic, 3)
    found = resampling.apply(
        lambda w: (
            quality.of_decisions(score > 2, is_ic, w)
            | quality.of_scores(score, is_ic, [0.5], [0.05], w)
            | quality.of_probabilities(score / 10, is_ic, w)
        )
    )
    undefined = {name for name, values in found.items() if np.isnan(values).all()}
    assert undefined >= {"bacc", "auc", "brier", "log_loss", "ece"}
    assert ("recall" in undefined) != both
    assert math.isnan(Estimate.of(found["auc"]).lo)


def test_probabilities_are_judged_at_even_odds() -> None:
    random = np.random.default_rng(0)
    is_ic = np.arange(300) < 60
    probability = np.clip(0.2 + 0.5 * is_ic + 0.1 * random.normal(size=300), 0.01, 0.99)
    share = np.where(is_ic, 1 / 60, 1 / 240)
    found = quality.of_probabilities(probability, is_ic, np.ones((1, 300)))
    expected = brier_score_loss(is_ic, probability, sample_weight=share)
    assert found["brier"][0] == pytest.approx(expected)
    expected = log_loss(is_ic, probability, sample_weight=share)
    assert found["log_loss"][0] == pytest.approx(expected)


def test_log_loss_of_a_detector_that_was_sure_and_wrong_is_finite() -> None:
    is_ic = np.array([True, False])
    found = quality.of_probabilities(np.array([0.0, 0.0]), is_ic, np.ones((1, 2)))
    assert found["log_loss"][0] == pytest.approx(-0.5 * math.log(1e-12))
    assert found["brier"][0] == pytest.approx(0.5)


@pytest.mark.parametrize(("truth", "low", "high"), [(1.0, 0.0, 0.014), (0.5, 0.065, 0.085)])
def test_calibration_error_is_nearly_free_of_the_noise_of_small_samples(
    truth: float, low: float, high: float
) -> None:
    found, inside = [], []
    for seed in range(40):
        random = np.random.default_rng(seed)
        probability = random.uniform(0.2, 0.8, 1000)
        is_ic = random.random(1000) < 0.5 + truth * (probability - 0.5)
        draws = draw(is_ic, 100).apply(
            lambda w, p=probability, c=is_ic: quality.of_probabilities(p, c, w)
        )
        estimate = Estimate.of(draws["ece"])
        found.append(estimate.value)
        inside.append(estimate.lo <= estimate.value <= estimate.hi)
    assert low <= np.mean(found) <= high
    assert np.mean(inside) > 0.6


@pytest.mark.parametrize(
    ("quantity", "title"),
    [
        ("bacc", "Balanced accuracy"),
        (quality.false_alarm_key(0.9), "False alarms at recall 0.9"),
        (quality.recall_key(0.01), "Recall at 1 % false alarms"),
        (quality.recall_key(0.005), "Recall at 0.5 % false alarms"),
    ],
)
def test_quantities_have_titles(quantity: str, title: str) -> None:
    assert quality.title(quantity) == title


# --- differences --------------------------------------------------------------------


def two_detectors(seed: int, repeats: int = 300) -> tuple[dict, dict]:
    """Return draws of two detectors that share most of their noise, and of one of their own."""
    random = np.random.default_rng(seed)
    is_ic = np.arange(400) < 200
    common = random.normal(size=400) + 1.2 * is_ic
    scores = {
        "first": common + 0.15 * random.normal(size=400) + 0.25 * is_ic,
        "second": common + 0.15 * random.normal(size=400),
    }
    resampling = draw(is_ic, repeats)
    return scores, {
        name: resampling.apply(
            lambda w, s=score: (
                quality.of_decisions(s > 0.6, is_ic, w) | quality.of_scores(s, is_ic, [], [], w)
            )
        )
        for name, score in scores.items()
    }


def test_paired_intervals_are_narrower_than_those_of_unpaired_numbers() -> None:
    _, draws = two_detectors(0)
    paired = differences.compare(draws)["first"]["second"]["auc"]
    spread = [np.std(draws[name]["auc"][1:]) for name in draws]
    assert (paired.hi - paired.lo) / 2 < 0.6 * math.hypot(*spread)
    assert paired.value == pytest.approx(draws["first"]["auc"][0] - draws["second"]["auc"][0])


def test_paired_intervals_cover_the_true_difference() -> None:
    """Two thirds of the intervals hold the mean over many test sets."""
    found = [
        differences.compare(two_detectors(seed, 200)[1])["first"]["second"]["auc"]
        for seed in range(120)
    ]
    mean = np.mean([difference.value for difference in found])
    inside = np.mean([d.lo <= mean <= d.hi for d in found])
    assert 0.57 < inside < 0.8


@pytest.mark.parametrize(
    ("quantity", "low", "high", "said"),
    [
        ("bacc", 0.01, 0.02, "better"),
        ("bacc", -0.02, -0.01, "worse"),
        ("bacc", -0.01, 0.02, "not told apart"),
        ("bacc", 0.0, 0.02, "not told apart"),
        ("bacc", None, None, "not told apart"),
        ("brier", 0.01, 0.02, "worse"),
        ("log_loss", -0.02, -0.01, "better"),
        ("false_alarm_at_recall_0.9", -0.02, -0.01, "better"),
        ("recall_at_false_alarm_0.01", -0.02, -0.01, "worse"),
    ],
)
def test_better_is_said_only_where_the_interval_leaves_out_zero(
    quantity: str, low: float | None, high: float | None, said: str
) -> None:
    assert differences.verdict(quantity, {"value": low, "lo": low, "hi": high}) == said


def test_a_difference_turned_round_changes_sign() -> None:
    found = {"value": 0.2, "lo": 0.1, "hi": 0.4}
    metrics_json = {"differences": {"a": {"b": {"auc": found}}, "b": {}}}
    assert differences.between(metrics_json, "a", "b", "auc") == found
    turned = differences.between(metrics_json, "b", "a", "auc")
    assert turned == {"value": -0.2, "lo": -0.4, "hi": -0.1}
