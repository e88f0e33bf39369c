"""Metrics: hand-counted cases, ties, absent classes, and honest intervals."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import numpy as np
import pytest

from icflow.detection import metrics, quality
from icflow.seeds import generator


def test_confusion_counts_ic_as_positive() -> None:
    decision = np.array([True, True, False, False, True])
    is_ic = np.array([True, False, False, True, True])
    counts = metrics.confusion(decision, is_ic)
    assert (counts.tp, counts.fp, counts.tn, counts.fn) == (2, 1, 1, 1)
    assert counts.precision == pytest.approx(2 / 3)
    assert counts.recall == pytest.approx(2 / 3)
    assert counts.balanced_accuracy == pytest.approx((2 / 3 + 1 / 2) / 2)


@pytest.mark.parametrize(
    ("counts", "undefined"),
    [
        (metrics.Confusion(0, 0, 5, 5), {"precision"}),
        (metrics.Confusion(0, 1, 4, 0), {"recall", "balanced_accuracy"}),
        (metrics.Confusion(3, 0, 0, 1), {"specificity", "balanced_accuracy"}),
        (
            metrics.Confusion(0, 0, 0, 0),
            {"precision", "recall", "specificity", "balanced_accuracy"},
        ),
    ],
)
def test_ratios_without_cases_are_nan(counts: metrics.Confusion, undefined: set[str]) -> None:
    names = ("precision", "recall", "specificity", "balanced_accuracy")
    assert {name for name in names if math.isnan(getattr(counts, name))} == undefined


def test_precision_at_a_prevalence() -> None:
    counts = metrics.Confusion(tp=6, fp=2, tn=2, fn=6)
    assert counts.precision_at(0.75) == pytest.approx(counts.precision)
    assert counts.precision_at(0.5) == pytest.approx(0.5)
    assert counts.precision_at(0.0) == 0.0
    assert math.isnan(metrics.Confusion(0, 0, 5, 5).precision_at(0.5))
    assert math.isnan(metrics.Confusion(5, 0, 0, 5).precision_at(0.5))


def test_nan_is_never_called_ic() -> None:
    assert metrics.decide(np.array([np.nan, 1.0]), -10.0).tolist() == [False, True]


def test_intervals_are_the_same_in_another_process() -> None:
    code = (
        "import numpy as np; from icflow import seeds;"
        "from icflow.detection import metrics as m;"
        "r = seeds.generator(3, 'cae');"
        "print(m.estimates(np.arange(50) % 3 == 0, np.arange(50) % 2 == 0, 100, r))"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1


def test_quick_intervals_equal_those_of_resampled_spectra() -> None:
    random = np.random.default_rng(0)
    is_ic = np.arange(300) < 120
    decision = random.random(300) < np.where(is_ic, 0.6, 0.3)
    quick = metrics.estimates(decision, is_ic, 4000, generator(1, "quick"))
    slow = quality.Resampling.draw(is_ic, 4000, generator(1, "slow")).apply(
        lambda weights: quality.of_decisions(decision, is_ic, weights)
    )
    for name in metrics.METRICS:
        assert slow[name][0] == pytest.approx(quick[name].value)
        low, high = metrics.interval(slow[name][1:])
        # One IC spectrum more or less moves the recall by 1/120.
        assert quick[name].lo == pytest.approx(low, abs=0.01)
        assert quick[name].hi == pytest.approx(high, abs=0.01)


def test_interval_of_recall_is_that_of_a_binomial() -> None:
    is_ic = np.ones(400, dtype=bool)
    decision = np.arange(400) < 100
    recall = metrics.estimates(decision, is_ic, 5000, generator(1, "x"))["recall"]
    sigma = math.sqrt(0.25 * 0.75 / 400)
    assert recall.value == 0.25
    assert (recall.hi - recall.lo) / 2 == pytest.approx(sigma, rel=0.06)


def test_binomial_intervals_cover_and_have_a_width_at_the_ends() -> None:
    """Under the prior that they suppose, the coverage is that of the name, whatever the number."""
    random = np.random.default_rng(0)
    true = random.beta(0.5, 0.5, 10_000)
    low, high = metrics.binomial(random.binomial(40, true) / 40, 40)
    assert np.mean((low <= true) & (high >= true)) == pytest.approx(0.683, abs=0.015)
    low, high = metrics.binomial([0.0, 1.0], 10)
    assert 0 < low[0] < high[0] < 0.2
    assert 0.8 < low[1] < high[1] < 1


def test_undefined_estimates_are_nan() -> None:
    nothing = np.zeros(10, dtype=bool)
    found = metrics.estimates(nothing, np.arange(10) < 5, 100, generator(1, "x"))
    assert math.isnan(found["precision"].value)
    assert math.isnan(found["precision"].lo)
    assert found["bacc"].value == 0.5
    empty = metrics.estimates(nothing[:0], nothing[:0], 100, generator(1, "x"))
    assert all(math.isnan(e.value) and math.isnan(e.hi) for e in empty.values())
