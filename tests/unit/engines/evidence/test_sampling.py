"""Integrals by sampling that can be had in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from icflow.engines.evidence.mixtures import Mixture
from icflow.engines.evidence.sampling import integrate


def gaussian(mean: np.ndarray, covariance: np.ndarray):
    inverse = np.linalg.inv(covariance)
    constant = -0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]
    return lambda x: constant - 0.5 * np.einsum("ni,ij,nj->n", x - mean, inverse, x - mean)


def kernel(mean: np.ndarray, covariance: np.ndarray) -> Mixture:
    return Mixture(np.ones(1), mean[None], covariance[None])


COVARIANCE = np.array([[0.02, 0.012, 0.0], [0.012, 0.01, 0.0], [0.0, 0.0, 1e-4]])


@pytest.mark.parametrize(
    "mean",
    [
        (0.5, 0.5, 0.5),  # inside
        (0.05, 0.5, 0.5),  # at a bound
        (-0.2, -0.1, 0.99),  # beyond two, near a third
    ],
)
@pytest.mark.parametrize("off", [0.0, 0.1])
def test_a_gaussian_in_a_box(mean: tuple[float, float, float], off: float) -> None:
    middle = np.array(mean)
    start = kernel(np.clip(middle + off, 0, 1), COVARIANCE)
    found = integrate(gaussian(middle, COVARIANCE), start, np.random.default_rng(1))
    box = multivariate_normal(middle, COVARIANCE)
    exact = math.log(box.cdf(np.ones(3), lower_limit=np.zeros(3), rng=np.random.default_rng(2)))
    assert found.effective >= 300
    assert found.log == pytest.approx(exact, abs=4 * found.error + 0.01)
    assert 0.0 < found.error < 0.06


def test_a_symmetric_pair_of_modes_counts_twice() -> None:
    mean, covariance = np.array([0.3, 0.7, 0.5]), np.diag([1e-4, 4e-4, 1e-3])
    mirror = np.array([1, 0, 2])
    one = gaussian(mean, covariance)

    def both(x: np.ndarray) -> np.ndarray:
        return np.logaddexp(one(x), one(x[:, mirror]))

    # The start knows one of the two.
    found = integrate(
        both, kernel(mean, covariance), np.random.default_rng(3), [np.arange(3), mirror]
    )
    assert found.log == pytest.approx(math.log(2), abs=4 * found.error)
    blind = integrate(both, kernel(mean, covariance), np.random.default_rng(3))
    assert blind.log == pytest.approx(0.0, abs=0.2)


def test_a_narrow_peak_is_found_from_a_wide_start() -> None:
    mean, covariance = np.array([0.31, 0.64]), np.array([[4e-6, 3e-6], [3e-6, 4e-6]])
    start = kernel(np.array([0.5, 0.5]), np.eye(2) / 12)
    found = integrate(gaussian(mean, covariance), start, np.random.default_rng(4))
    assert found.log == pytest.approx(0.0, abs=4 * found.error)


def test_errors_are_those_of_repeated_integrals() -> None:
    mean = np.array([0.1, 0.5, 0.5])
    function = gaussian(mean, COVARIANCE)
    start = kernel(mean, 4 * COVARIANCE)
    found = [integrate(function, start, np.random.default_rng(seed)) for seed in range(60)]
    scatter = np.std([one.log for one in found])
    assert scatter == pytest.approx(np.mean([one.error for one in found]), rel=0.35)


def test_a_function_that_is_zero_everywhere_has_no_logarithm() -> None:
    start = kernel(np.array([0.5]), np.array([[0.1]]))
    found = integrate(lambda x: np.full(len(x), -np.inf), start, np.random.default_rng(0))
    assert found.log == -math.inf
    assert found.effective == 0
