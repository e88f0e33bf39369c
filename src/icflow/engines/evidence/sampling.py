"""Integrals over a unit cube by adaptive importance sampling: numbers, no astronomy.

Points are drawn from a mixture of Student's t distributions, first from one
that is given, then again and again from one that is fitted to all points so
far. Every point counts with its function value divided by the density of all
mixtures together (deterministic mixture weights), so that no choice of
mixtures biases the integral; a bad one only makes it uncertain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import gammaln, logsumexp

from icflow.engines.embedded.symmetry import first_image
from icflow.typing import Floats, Integers

FREEDOM = 5.0  # degrees of freedom of the t distributions: tails heavier than a Gaussian's
POINTS, ROUNDS = 200, 15  # points of a round, most rounds
LEAST_ROUNDS, EFFECTIVE = 2, 300.0  # rounds at least, and effective points that are enough
KERNELS, STEPS = 5, 8  # of a fitted mixture, and of the fit
# A mixture is fitted to the function to a power at which so many points count.
TEMPERED = 60.0
WIDER = 1.3  # covariances are enlarged by this factor
KEPT = 0.2  # share of the first mixture in all later ones


@dataclass(frozen=True)
class Kernel:
    """A Student's t distribution with a weight in a mixture.

    Attributes
    ----------
    mean : ndarray, shape (n,)
    covariance : ndarray, shape (n, n)
        Its scale matrix.
    weight : float
    """

    mean: Floats
    covariance: Floats
    weight: float = 1.0

    def draw(self, number: int, random: np.random.Generator) -> Floats:
        """Return random points, shape (number, n)."""
        normal = random.standard_normal((number, len(self.mean)))
        stretch = np.sqrt(random.chisquare(FREEDOM, number) / FREEDOM)
        return self.mean + normal @ np.linalg.cholesky(self.covariance).T / stretch[:, None]

    def log_density(self, points: Floats) -> Floats:
        """Return ln of the density at points, without the weight."""
        n, factor = len(self.mean), np.linalg.cholesky(self.covariance)
        deviate = np.linalg.solve(factor, (points - self.mean).T)
        constant = gammaln((FREEDOM + n) / 2) - gammaln(FREEDOM / 2)
        constant -= 0.5 * n * math.log(FREEDOM * math.pi) + np.log(np.diag(factor)).sum()
        distance = (deviate**2).sum(axis=0)
        return np.asarray(constant - 0.5 * (FREEDOM + n) * np.log1p(distance / FREEDOM))


@dataclass(frozen=True)
class Integral:
    """An integral by sampling.

    Attributes
    ----------
    log : float
        Its logarithm.
    error : float
        Standard error of that.
    effective : float
        Number of equally weighted points that would be as good.
    evaluations : int
        Points at which the function was evaluated.
    """

    log: float
    error: float
    effective: float
    evaluations: int


def integrate(
    function: Callable[[Floats], Floats],
    kernels: Sequence[Kernel],
    random: np.random.Generator,
    images: Sequence[Integers] = (),
) -> Integral:
    """Integrate a function over the unit cube.

    Parameters
    ----------
    function : callable
        From points, shape (n_points, n), to the logarithms of its values.
    kernels : sequence of Kernel
        Where the function is large, as far as is known.
    images : sequence of ndarray of int, shape (n,)
        Orders of the coordinates in which the function has the same value, the usual one first.
    """
    first = mixture = _normalised(kernels)
    points, values = np.empty((0, len(first[0].mean))), np.empty(0)
    used: list[Kernel] = []
    evaluations = 0
    for number in range(1, ROUNDS + 1):
        drawn = _draw(mixture, random)
        drawn = first_image(drawn, images)
        used += mixture
        drawn = drawn[((drawn >= 0) & (drawn <= 1)).all(axis=1)]
        evaluations += len(drawn)
        points, values = np.concatenate([points, drawn]), np.append(values, function(drawn))
        density = _log_mixture(used, points, images) - math.log(number)
        found = replace(_summary(values - density, number * POINTS), evaluations=evaluations)
        if number >= LEAST_ROUNDS and found.effective >= EFFECTIVE:
            break
        weights = _tempered(values, density)
        if weights is not None:
            later = fit_mixture(points, weights, random)
            mixture = _normalised(
                [replace(kernel, weight=kernel.weight * (1 - KEPT)) for kernel in later]
                + [replace(kernel, weight=kernel.weight * KEPT) for kernel in first]
            )
    return found


def _normalised(kernels: Sequence[Kernel]) -> list[Kernel]:
    """Return kernels with weights that are whole numbers of points, those with none left out."""
    weights = np.array([kernel.weight for kernel in kernels])
    numbers = np.floor(POINTS * weights / weights.sum())
    numbers[np.argmax(numbers)] += POINTS - numbers.sum()
    return [
        replace(kernel, weight=float(n / POINTS))
        for kernel, n in zip(kernels, numbers, strict=True)
        if n > 0
    ]


def _draw(mixture: Sequence[Kernel], random: np.random.Generator) -> Floats:
    return np.concatenate([k.draw(round(k.weight * POINTS), random) for k in mixture])


def _log_mixture(kernels: Sequence[Kernel], points: Floats, images: Sequence[Integers]) -> Floats:
    every = [points, *(points[:, order] for order in images[1:])]
    terms = [math.log(kernel.weight) + kernel.log_density(p) for p in every for kernel in kernels]
    return np.asarray(logsumexp(terms, axis=0)) - math.log(len(every))


def _summary(logs: Floats, drawn: int) -> Integral:
    """Return the mean of exp(logs) over all points drawn; those left out count as 0."""
    highest = logs.max(initial=-math.inf)
    if highest == -math.inf:
        return Integral(-math.inf, math.inf, 0.0, 0)
    weights = np.exp(logs - highest)
    mean, square = weights.sum() / drawn, (weights**2).sum() / drawn
    error = math.sqrt(max(square - mean**2, 0.0) / drawn) / mean
    return Integral(
        highest + math.log(mean), error, float(weights.sum() ** 2 / (weights**2).sum()), 0
    )


def _tempered(values: Floats, density: Floats) -> Floats | None:
    """Return weights for the function to the highest power up to 1 at which enough points count.

    None if no point has a value.
    """
    if not np.isfinite(values).any():
        return None
    enough = min(TEMPERED, 0.1 * len(values))

    def weights(power: float) -> Floats:
        logs = power * values - density
        return np.asarray(np.exp(logs - logs.max()))

    low, high = 0.0, 1.0
    if _effective(weights(1.0)) < enough:
        for _ in range(20):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if _effective(weights(middle)) >= enough else (low, middle)
        high = low
    return weights(high)


def _effective(weights: Floats) -> float:
    return float(weights.sum() ** 2 / (weights**2).sum())


def fit_mixture(points: Floats, weights: Floats, random: np.random.Generator) -> list[Kernel]:
    """Fit a mixture to weighted points by expectation and maximisation."""
    weights = weights / weights.sum()
    n = points.shape[1]
    spread = _covariance(points, weights) + 1e-14 * np.eye(n)
    narrow = spread / KERNELS ** (2 / n)
    chosen = random.choice(len(points), KERNELS, p=weights)
    kernels = [Kernel(points[i], narrow, 1 / KERNELS) for i in chosen]
    for _ in range(STEPS):
        logs = np.array([math.log(k.weight) + k.log_density(points) for k in kernels])
        shares = np.exp(logs - logsumexp(logs, axis=0)) * weights
        better = []
        for share in shares:
            total = float(share.sum())
            effective = _effective(share) if total > 0 else 0.0
            # Too few points to tell a covariance.
            if effective < 2 * n:
                continue
            relative = share / total
            softened = 0.02 * min(1.0, 10 / effective) * narrow
            covariance = _covariance(points, relative) + softened
            better.append(Kernel(relative @ points, covariance, total))
        if not better:
            return [Kernel(weights @ points, WIDER * spread)]
        kernels = better
    return [replace(kernel, covariance=WIDER * kernel.covariance) for kernel in kernels]


def _covariance(points: Floats, weights: Floats) -> Floats:
    away = points - weights @ points
    return np.asarray((weights[:, None] * away).T @ away)
