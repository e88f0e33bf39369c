"""Gaussians between limits, against closed forms and quadrature."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import multivariate_normal, truncnorm

from icflow.engines.embedded import sobol
from icflow.engines.embedded.truncated import gaussian, log_interval

COVARIANCE = np.array([[1.0, 0.6], [0.6, 0.5]])


def uniform(number: int, n: int) -> np.ndarray:
    return sobol.points(number, n) + 0.5 / number


@pytest.mark.parametrize(("mean", "low", "high"), [(0.0, -1.0, 2.0), (-40.0, 0.0, 1.0), (9, -2, 3)])
def test_one_parameter_is_drawn_from_a_truncated_normal(
    mean: float, low: float, high: float
) -> None:
    ends = np.array([low]), np.array([high])
    kernel = gaussian(np.array([mean]), np.eye(1), *ends)
    drawn = np.sort(kernel.draw(uniform(256, 1))[:, 0])
    exact = truncnorm(low - mean, high - mean, loc=mean)
    # Those of a Sobol sequence in one dimension are evenly spaced.
    assert drawn == pytest.approx(exact.ppf((np.arange(256) + 0.5) / 256), abs=1e-6)
    assert kernel.log_density(drawn[:, None]) == pytest.approx(exact.logpdf(drawn), abs=1e-6)


def test_without_limits_it_is_the_gaussian() -> None:
    mean, far = np.array([1.0, -2.0]), np.full(2, 50.0)
    kernel = gaussian(mean, COVARIANCE, mean - far, mean + far)
    points = kernel.draw(uniform(4096, 2))
    assert points.mean(axis=0) == pytest.approx(mean, abs=5e-3)
    assert np.cov(points.T) == pytest.approx(COVARIANCE, abs=1e-2)
    exact = multivariate_normal(mean, COVARIANCE).logpdf(points)
    assert kernel.log_density(points) == pytest.approx(exact, abs=1e-9)


def test_weighted_points_average_over_a_gaussian_cut_at_its_limits() -> None:
    # The mean lies outside, and what is cut most comes last in the usual order.
    mean, low, high = np.array([0.3, -1.0]), np.array([-2.0, 0.0]), np.array([2.0, 0.4])
    kernel = gaussian(mean, COVARIANCE, low, high)
    assert kernel.order.tolist() == [1, 0]
    points = kernel.draw(uniform(4096, 2))
    assert (points >= low).all() and (points <= high).all()
    exact = multivariate_normal(mean, COVARIANCE)
    weights = np.exp(exact.logpdf(points) - kernel.log_density(points))
    x, y = (np.linspace(a, b, 401) for a, b in zip(low, high, strict=True))
    every = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1)
    density = exact.pdf(every)
    area = np.trapezoid(np.trapezoid(density, y), x)
    assert weights.mean() == pytest.approx(area, rel=2e-3)
    for i in range(2):
        middle = np.trapezoid(np.trapezoid(density * every[..., i], y), x) / area
        assert np.average(points[:, i], weights=weights) == pytest.approx(middle, abs=2e-3)


def test_one_that_is_wider_has_a_density_that_integrates_to_one() -> None:
    mean, low, high = np.zeros(2), np.array([-1.0, -0.2]), np.array([0.5, 3.0])
    kernel = gaussian(mean, COVARIANCE, low, high)
    wide = kernel.wider(1.5)
    points = kernel.draw(uniform(4096, 2))
    ratio = np.exp(wide.log_density(points) - kernel.log_density(points))
    assert ratio.mean() == pytest.approx(1.0, abs=5e-3)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 2.0), (3.0, 4.0), (-300.0, -299.0), (50.0, 60.0)])
def test_probabilities_keep_their_digits_far_out(low: float, high: float) -> None:
    below, between = log_interval(np.array([low]), np.array([high]))
    a, b = (low, high) if low <= 0 else (-high, -low)
    tail = _log_tail(a)
    assert below[0] == pytest.approx(tail, abs=1e-8, rel=1e-8)
    whole = _log_tail(b)
    assert between[0] == pytest.approx(whole + math.log1p(-math.exp(tail - whole)), rel=1e-8)


def _log_tail(x: float) -> float:
    """Return ln of the probability of a normal deviate below `x`, by a continued fraction."""
    if x > -2:
        return math.log(0.5 * math.erfc(-x / math.sqrt(2)))
    fraction = 0.0
    for k in range(200, 0, -1):
        fraction = k / (-x + fraction)
    return -0.5 * x * x - 0.5 * math.log(2 * math.pi) - math.log(-x + fraction)
