"""Probabilities from scores: right on average, never against the score, never 0 or 1."""

from __future__ import annotations

import numpy as np
import pytest

from icflow.detection.calibration import Calibration
from icflow.errors import IcflowError


def test_probabilities_of_known_distributions_are_found() -> None:
    """Two Gaussians one apart: the logarithm of the odds is the score minus a half."""
    random = np.random.default_rng(0)
    is_ic = np.arange(20000) < 5000  # the classes' sizes do not matter
    score = random.normal(size=is_ic.size) + is_ic
    for stretch in (lambda x: x, np.exp, lambda x: x**3):
        found = Calibration.fit(stretch(score), is_ic).apply(stretch(np.array([-1.0, 0.5, 2.0])))
        expected = 1 / (1 + np.exp(0.5 - np.array([-1.0, 0.5, 2.0])))
        np.testing.assert_allclose(found, expected, atol=0.04)


def test_probabilities_never_fall_and_are_never_certain() -> None:
    random = np.random.default_rng(1)
    is_ic = np.arange(200) < 100
    score = random.normal(size=200) + 8 * is_ic  # separated
    calibration = Calibration.fit(score, is_ic)
    found = calibration.apply(np.array([-np.inf, *np.linspace(-5, 12, 200), np.inf]))
    assert (np.diff(found) >= 0).all()
    # The outermost blocks hold all of one class and one spectrum of the other.
    assert found[0] == pytest.approx(1 / 101)
    assert found[-1] == pytest.approx(100 / 101)


def test_equal_scores_get_equal_probabilities() -> None:
    score = np.array([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    is_ic = np.array([False, False, True, True, True, False])
    found = Calibration.fit(score, is_ic).apply(score)
    # With the one more of each class: two of four.
    np.testing.assert_allclose(found, [0.5] * 3 + [0.5] * 3)
    constant = Calibration.fit(np.zeros(6), is_ic)
    np.testing.assert_allclose(constant.apply(np.array([-1.0, 0.0, 3.0])), 0.5)


def test_no_score_is_even_odds_and_is_not_learnt_from() -> None:
    score = np.array([np.nan, 1.0, 2.0, 3.0, 4.0])
    is_ic = np.array([True, False, False, True, True])
    calibration = Calibration.fit(score, is_ic)
    assert calibration.apply(np.array([np.nan]))[0] == 0.5
    assert np.isfinite(calibration.probability).all()


@pytest.mark.parametrize("is_ic", [[True, True], [False, False]])
def test_one_class_is_refused(is_ic: list[bool]) -> None:
    with pytest.raises(
        IcflowError, match=r"finite validation scores of both classes, found \d with"
    ):
        Calibration.fit(np.array([1.0, 2.0]), np.array(is_ic))
