"""Metrics under a shared resampling: against scikit-learn, by hand, and paired."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

from icflow.detection import quality
from icflow.detection.metrics import Estimate
from icflow.detection.quality import Resampling
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
