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

from icflow.engines.embedded.symmetry import first_image
from icflow.engines.evidence.mixtures import Mixture, densities, fit_mixture, joined
from icflow.typing import Floats, Integers

POINTS, ROUNDS = 200, 15  # points of a round, most rounds
LEAST_ROUNDS, EFFECTIVE = 2, 300.0  # rounds at least, and effective points that are enough
# A mixture is fitted to the function to a power at which so many points count.
TEMPERED = 60.0
KEPT = 0.2  # share of the first mixture in all later ones


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
    start: Mixture,
    random: np.random.Generator,
    images: Sequence[Integers] = (),
) -> Integral:
    """Integrate a function over the unit cube.

    Parameters
    ----------
    function : callable
        From points, shape (n_points, n), to the logarithms of its values.
    start : Mixture
        Where the function is large, as far as is known.
    images : sequence of ndarray of int, shape (n,)
        Orders of the coordinates in which the function has the same value, the usual one first.
    """
    first = mixture = _whole(start)
    points, values = np.empty((0, first.means.shape[1])), np.empty(0)
    used, density, evaluations = first._replace(weights=first.weights[:0]), np.empty(0), 0
    for number in range(1, ROUNDS + 1):
        drawn = first_image(mixture.draw(np.rint(mixture.weights * POINTS), random), images)
        drawn = drawn[((drawn >= 0) & (drawn <= 1)).all(axis=1)]
        evaluations += len(drawn)
        used = mixture if number == 1 else joined(used, mixture)
        # That of all mixtures together: of the new one at old points, of every one at new ones.
        density = np.append(
            density + _density(mixture, points, images), _density(used, drawn, images)
        )
        points, values = np.concatenate([points, drawn]), np.append(values, function(drawn))
        logs = np.log(density / number)
        found = replace(_summary(values - logs, number * POINTS), evaluations=evaluations)
        if number >= LEAST_ROUNDS and found.effective >= EFFECTIVE:
            break
        weights = _tempered(values, logs)
        if weights is not None:
            later = fit_mixture(points, weights, random)
            mixture = _whole(
                joined(
                    later._replace(weights=(1 - KEPT) * later.weights),
                    first._replace(weights=KEPT * first.weights),
                )
            )
    return found


def _whole(mixture: Mixture) -> Mixture:
    """Return kernels with weights that are whole numbers of points, those with none left out."""
    numbers = np.floor(POINTS * mixture.weights / mixture.weights.sum())
    numbers[np.argmax(mixture.weights)] += POINTS - numbers.sum()
    some = numbers > 0
    return Mixture(numbers[some] / POINTS, mixture.means[some], mixture.covariances[some])


def _density(mixture: Mixture, points: Floats, images: Sequence[Integers]) -> Floats:
    """Return the density of a mixture, the mean of that at all images of a point."""
    every = [points, *(np.ascontiguousarray(points[:, order]) for order in images[1:])]
    total = sum((densities(mixture, image).sum(axis=0) for image in every), np.zeros(len(points)))
    return np.asarray(total / len(every))


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
