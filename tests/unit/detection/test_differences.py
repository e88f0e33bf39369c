"""Differences between detectors on the same spectra."""

from __future__ import annotations

import math

import numpy as np
import pytest

from icflow.detection import differences, quality
from icflow.detection.quality import Resampling
from icflow.seeds import generator


def two_detectors(seed: int, repeats: int = 300) -> tuple[dict, dict]:
    """Return draws of two detectors that share most of their noise, and of one of their own."""
    random = np.random.default_rng(seed)
    is_ic = np.arange(400) < 200
    common = random.normal(size=400) + 1.2 * is_ic
    scores = {
        "first": common + 0.15 * random.normal(size=400) + 0.25 * is_ic,
        "second": common + 0.15 * random.normal(size=400),
    }
    resampling = Resampling.draw(is_ic, repeats, generator(1, "test"))
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
