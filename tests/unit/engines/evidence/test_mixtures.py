"""Mixtures of Student's t distributions, against those of SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_t

from icflow.engines.evidence import mixtures
from icflow.engines.evidence.mixtures import FREEDOM, Mixture, densities, fit_mixture, joined

TWO = Mixture(
    weights=np.array([0.25, 0.75]),
    means=np.array([[0.2, 0.4], [0.7, 0.5]]),
    covariances=np.array([[[0.01, 0.002], [0.002, 0.02]], [[1e-6, 0.0], [0.0, 1e-4]]]),
)


def test_densities_are_those_of_t_distributions() -> None:
    points = np.random.default_rng(1).random((50, 2))
    for row, weight, mean, covariance in zip(densities(TWO, points), *TWO, strict=True):
        wanted = weight * multivariate_t(mean, covariance, df=FREEDOM).pdf(points)
        np.testing.assert_allclose(row, wanted, rtol=1e-9)


def test_compiled_and_plain_code_agree() -> None:
    points = np.random.default_rng(2).random((30, 2))
    plain = densities.py_func(TWO, points)
    np.testing.assert_allclose(densities(TWO, points), plain, rtol=1e-9)
    weights, narrow = np.full(30, 1 / 30), 0.01 * np.eye(2)
    for fast, slow in zip(
        mixtures._better(points, weights, TWO, narrow),
        mixtures._better.py_func(points, weights, TWO, narrow),
        strict=True,
    ):
        np.testing.assert_allclose(fast, slow, rtol=1e-9)


def test_points_are_drawn_kernel_by_kernel() -> None:
    drawn = TWO.draw(np.array([3000.0, 2000.0]), np.random.default_rng(3))
    assert drawn.shape == (5000, 2)
    np.testing.assert_allclose(np.median(drawn[:3000], axis=0), TWO.means[0], atol=0.01)
    wanted = TWO.covariances[0] * FREEDOM / (FREEDOM - 2)
    np.testing.assert_allclose(np.cov(drawn[:3000].T), wanted, atol=0.004)
    assert np.abs(drawn[3000:] - TWO.means[1]).max() < 0.2


def test_mixtures_are_joined_in_order() -> None:
    both = joined(TWO, TWO)
    assert both.weights.tolist() == [0.25, 0.75, 0.25, 0.75]
    assert both.covariances.shape == (4, 2, 2)


def test_a_mixture_finds_two_groups() -> None:
    random = np.random.default_rng(5)
    points = np.concatenate(
        [random.normal(0.2, 0.01, (300, 2)), random.normal(0.8, 0.02, (100, 2))]
    )
    found = fit_mixture(points, np.ones(400), random)
    near = np.abs(found.means - 0.8).max(axis=1) < 0.05
    assert found.weights[near].sum() == pytest.approx(0.25, abs=0.02)
    assert found.weights.sum() == pytest.approx(1.0, abs=0.02)


def test_too_few_points_are_one_kernel() -> None:
    points, weights = np.array([[0.1, 0.1], [0.3, 0.3]]), np.ones(2)
    found = fit_mixture(points, weights, np.random.default_rng(0))
    assert found.weights.tolist() == [1.0]
    np.testing.assert_allclose(found.means, [[0.2, 0.2]])
