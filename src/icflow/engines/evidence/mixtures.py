"""Mixtures of Student's t distributions: drawn from, evaluated and fitted. Numbers, no astronomy.

Densities are summed as they are, not as logarithms: their tails are powers, which stay above the
smallest numbers at all distances within a unit cube.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from icflow.compiled import jit
from icflow.typing import Floats

FREEDOM = 5.0  # degrees of freedom of the t distributions: tails heavier than a Gaussian's
KERNELS, STEPS = 5, 8  # of a fitted mixture, and of the fit
WIDER = 1.3  # covariances are enlarged by this factor
SOFTENED = 0.02  # of the spread that a kernel starts with, added to one of few points
JITTER = 1e-14  # variance of points that all lie at one place


class Mixture(NamedTuple):
    """Student's t distributions.

    Attributes
    ----------
    weights : ndarray, shape (n_kernels,)
    means : ndarray, shape (n_kernels, n)
    covariances : ndarray, shape (n_kernels, n, n)
        Their scale matrices.
    """

    weights: Floats
    means: Floats
    covariances: Floats

    def draw(self, numbers: Floats, random: np.random.Generator) -> Floats:
        """Return random points, so many of each kernel, shape (n_points, n)."""
        drawn = []
        for mean, covariance, number in zip(
            self.means, self.covariances, numbers.astype(int).tolist(), strict=True
        ):
            normal = random.standard_normal((number, len(mean)))
            stretch = np.sqrt(random.chisquare(FREEDOM, number) / FREEDOM)
            drawn.append(mean + normal @ np.linalg.cholesky(covariance).T / stretch[:, None])
        return np.concatenate(drawn)


def joined(*mixtures: Mixture) -> Mixture:
    """Return the kernels of several mixtures as one."""
    return Mixture(*(np.concatenate(arrays) for arrays in zip(*mixtures, strict=True)))


@jit
def densities(mixture: Mixture, points: Floats) -> Floats:
    """Return weight times density of every kernel at points, shape (n_kernels, n_points)."""
    n_kernels, n = mixture.means.shape
    values, away = np.empty((n_kernels, len(points))), np.empty(n)
    power = 0.5 * (FREEDOM + n)
    for k in range(n_kernels):
        factor = np.linalg.cholesky(mixture.covariances[k])
        constant = math.lgamma(power) - math.lgamma(0.5 * FREEDOM)
        constant -= 0.5 * n * math.log(FREEDOM * math.pi)
        for a in range(n):
            constant -= math.log(factor[a, a])
        height = mixture.weights[k] * math.exp(constant)
        for i in range(len(points)):
            distance = 0.0
            for a in range(n):
                rest = points[i, a] - mixture.means[k, a]
                for b in range(a):
                    rest -= factor[a, b] * away[b]
                away[a] = rest / factor[a, a]
                distance += away[a] ** 2
            values[k, i] = height * (1 + distance / FREEDOM) ** -power
    return values


def fit_mixture(points: Floats, weights: Floats, random: np.random.Generator) -> Mixture:
    """Fit a mixture to weighted points by expectation and maximisation."""
    weights = weights / weights.sum()
    n = points.shape[1]
    mean, spread = _moments(points, weights)
    spread += JITTER * np.eye(n)
    narrow = spread / KERNELS ** (2 / n)
    chosen = random.choice(len(points), KERNELS, p=weights)
    mixture = Mixture(
        np.full(KERNELS, 1 / KERNELS), points[chosen], np.repeat(narrow[None], KERNELS, axis=0)
    )
    for _ in range(STEPS):
        mixture = _better(points, weights, mixture, narrow)
    if not len(mixture.weights):
        mixture = Mixture(np.ones(1), mean[None], spread[None])
    return mixture._replace(covariances=WIDER * mixture.covariances)


@jit
def _better(points: Floats, weights: Floats, mixture: Mixture, narrow: Floats) -> Mixture:
    """Make one step of expectation and maximisation; kernels with too few points are left out."""
    n_kernels, n = mixture.means.shape
    shares = densities(mixture, points)
    for i in range(len(points)):
        total = 0.0
        for k in range(n_kernels):
            total += shares[k, i]
        for k in range(n_kernels):
            shares[k, i] *= weights[i] / total
    totals, means = np.empty(n_kernels), np.empty((n_kernels, n))
    covariances, kept = np.empty((n_kernels, n, n)), 0
    for k in range(n_kernels):
        total, square = 0.0, 0.0
        for i in range(len(points)):
            total += shares[k, i]
            square += shares[k, i] ** 2
        # Too few points to tell a covariance.
        if not total > 0 or total * total < 2 * n * square:
            continue
        totals[kept] = total
        means[kept], covariances[kept] = _moments(points, shares[k] / total)
        covariances[kept] += SOFTENED * min(1.0, 10 * square / total**2) * narrow
        kept += 1
    return Mixture(totals[:kept], means[:kept], covariances[:kept])


@jit
def _moments(points: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return mean and covariance of points whose weights sum to 1."""
    n = points.shape[1]
    mean, covariance = np.zeros(n), np.zeros((n, n))
    for i in range(len(points)):
        for a in range(n):
            mean[a] += weights[i] * points[i, a]
    for i in range(len(points)):
        for a in range(n):
            for b in range(a + 1):
                covariance[a, b] += weights[i] * (points[i, a] - mean[a]) * (points[i, b] - mean[b])
    for a in range(n):
        for b in range(a):
            covariance[b, a] = covariance[a, b]
    return mean, covariance
