"""Gaussians between limits: drawn from, and their density. Numbers, no astronomy.

One parameter after the other is drawn between its limits, at given values of those before. That
is no Gaussian cut at the limits, but close to it, and its density is known, so that points can be
weighted (Geweke, Hajivassiliou and Keane; Genz 1992, J. Comput. Graph. Statist. 1, 141).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from icflow.typing import Floats, Integers

LOG_2PI = math.log(2 * math.pi)


class Gaussian(NamedTuple):
    """A Gaussian between limits.

    Attributes
    ----------
    mean, lower, upper : ndarray, shape (n,)
        In the order in which parameters are drawn. The mean may lie anywhere.
    factor : ndarray, shape (n, n)
        In that order too: a lower triangle, times its transpose the covariance.
    order : ndarray of int, shape (n,)
        The usual place of each.
    """

    mean: Floats
    lower: Floats
    upper: Floats
    factor: Floats
    order: Integers

    def wider(self, scale: float) -> Gaussian:
        """Return one that is so many times as wide."""
        return self._replace(factor=scale * self.factor)

    def draw(self, uniform: Floats) -> Floats:
        """Return a point for each point of the unit cube, both of shape (n_points, n)."""
        from scipy.special import ndtri_exp  # slow to import

        normal, points = np.zeros_like(uniform), np.zeros_like(uniform)
        for i in range(len(self.mean)):
            low, high, sigma = self._room(normal, i)
            # From the end that is nearer to the mean, where numbers have their digits.
            mirrored = low > 0
            below, whole = log_interval(low, high)
            place = ndtri_exp(np.logaddexp(below, np.log(uniform[:, i]) + whole))
            normal[:, i] = np.clip(np.where(mirrored, -place, place), low, high)
            points[:, self.order[i]] = self.lower[i] + (normal[:, i] - low) * sigma
        return np.clip(points, self._usual(self.lower), self._usual(self.upper))

    def log_density(self, points: Floats) -> Floats:
        """Return ln of the density that `draw` draws points with."""
        normal, total = np.zeros_like(points), np.zeros(len(points))
        for i in range(len(self.mean)):
            low, high, sigma = self._room(normal, i)
            normal[:, i] = low + (points[:, self.order[i]] - self.lower[i]) / sigma
            total -= 0.5 * (normal[:, i] ** 2 + LOG_2PI) + math.log(sigma)
            total -= log_interval(low, high)[1]
        return total

    def _room(self, normal: Floats, i: int) -> tuple[Floats, Floats, float]:
        """Return the limits of a parameter, given those before, and sigma, which they are in."""
        sigma = float(self.factor[i, i])
        middle = self.mean[i] + normal[:, :i] @ self.factor[i, :i]
        return (self.lower[i] - middle) / sigma, (self.upper[i] - middle) / sigma, sigma

    def _usual(self, values: Floats) -> Floats:
        return values[np.argsort(self.order)]


def gaussian(mean: Floats, covariance: Floats, lower: Floats, upper: Floats) -> Gaussian:
    """Return a Gaussian between limits; those parameters come first that the limits cut most."""
    sigma = np.sqrt(np.diag(covariance))
    _, inside = log_interval((lower - mean) / sigma, (upper - mean) / sigma)
    order = np.argsort(inside, kind="stable")
    factor = np.asarray(np.linalg.cholesky(covariance[np.ix_(order, order)]), dtype=np.float64)
    return Gaussian(mean[order], lower[order], upper[order], factor, order)


def log_interval(low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Return ln of the probabilities that a normal deviate is below and between limits.

    The first is that of the mirror image where both limits are above 0.
    """
    from scipy.special import log_ndtr  # slow to import

    mirrored = low > 0
    below = log_ndtr(np.where(mirrored, -high, low))
    through = log_ndtr(np.where(mirrored, -low, high))
    with np.errstate(divide="ignore"):
        return below, through + np.log(-np.expm1(below - through))
