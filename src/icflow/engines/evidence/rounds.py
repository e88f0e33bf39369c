"""Rough integrals over shapes, thousands of spectra in a second.

Few points are drawn about the minimum, and again about where these have found the likelihood to
be; every point counts with the density of all rounds together, as in
`icflow.engines.evidence.sampling`. Norms are integrated over at each of them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from icflow.compiled import inner, jit, put
from icflow.engines.embedded.population import at_redshift
from icflow.engines.embedded.shapes import Shapes
from icflow.engines.evidence.mixtures import FREEDOM, Mixture, densities
from icflow.engines.evidence.norms import Norms, log_integrals
from icflow.engines.evidence.systematics import Wrong, put_wrong
from icflow.typing import Floats, Integers

POINTS = 32  # of a round
TRUSTED = 10.0  # points that the minimum counts as, when later rounds are moved and widened
NOWHERE = -1e6  # the logarithm where no point lies in the priors


class Centres(NamedTuple):
    """What is sampled about.

    Attributes
    ----------
    free : ndarray of int, shape (n_sampled,)
        Positions of the parameters.
    theta : ndarray, shape (n, n_parameters)
        The minima.
    places : ndarray, shape (n, n_sampled)
        Where they lie in their priors, as probabilities of lower values.
    covariances : ndarray, shape (n, n_sampled, n_sampled)
        Of places.
    """

    free: Integers
    theta: Floats
    places: Floats
    covariances: Floats


class Cube(NamedTuple):
    """What is integrated over: the unit cube of places.

    Attributes
    ----------
    values : ndarray, shape (n_sampled, 2, n_points)
        Values of each parameter and their places.
    images : ndarray of int, shape (n_images, n_sampled)
        Orders of the coordinates in which the likelihood is the same, the usual one first.
    deviates : ndarray, shape (n_rounds, POINTS, n_sampled)
        Points that fill a standard t distribution evenly.
    """

    values: Floats
    images: Integers
    deviates: Floats


def deviates(rounds: int, dimensions: int, random: np.random.Generator) -> Floats:
    """Return points that fill a standard t distribution evenly, in each round and in all.

    `rounds` is a power of two, as Sobol's points want it.
    """
    from scipy.stats import chi2, norm, qmc

    sobol = qmc.Sobol(dimensions + 1, seed=random).random(rounds * POINTS)
    stretch = np.sqrt(chi2.ppf(sobol[:, -1:], FREEDOM) / FREEDOM)
    return np.asarray((norm.ppf(sobol[:, :-1]) / stretch).reshape(rounds, POINTS, dimensions))


@jit
def log_means(
    shapes: Shapes,
    nodes: Integers,
    together: int,
    norms: Norms,
    counts: Floats,
    wrong: Wrong,
    centres: Centres,
    cube: Cube,
) -> tuple[Floats, Floats]:
    """Return the likelihoods of spectra, averaged over norms and cube.

    Parameters
    ----------
    nodes : ndarray of int, shape (n,)
        The redshifts that shapes are for.
    together : int
        1, or how many redshifts smooth shapes are for.
    counts : ndarray, shape (n, n_bins)
    wrong : Wrong

    Returns
    -------
    log_mean : ndarray, shape (n,)
        Logarithms of the likelihoods.
    effective : ndarray, shape (n,)
        ln of the fraction of points that count.
    """
    n = len(counts)
    log_mean, effective = np.empty(n), np.empty(n)
    for i in range(n):
        here = put_wrong(at_redshift(shapes, nodes[i], together), wrong, i)
        log_mean[i], effective[i] = _log_mean(here, norms, counts[i], centres, i, cube)
    return log_mean, effective


@inner
def _log_mean(
    shapes: Shapes, norms: Norms, counts: Floats, centres: Centres, i: int, cube: Cube
) -> tuple[float, float]:
    rounds, number, free = cube.deviates.shape
    spots, heights = np.empty((rounds * number, free)), np.empty(rounds * number)
    means, spreads = np.empty((rounds, free)), np.empty((rounds, free, free))
    put(means[0], centres.places[i])
    for a in range(free):
        put(spreads[0, a], centres.covariances[i, a])
    weights, highest, kept = np.empty(rounds * number), 0.0, 0
    for r in range(rounds):
        if r > 0:
            _move(spots[:kept], weights[:kept], r * number, means, spreads, r)
        new = _inside(means[r], np.linalg.cholesky(spreads[r]), cube.deviates[r])
        thetas = _thetas(new, centres.theta[i], centres.free, cube.values)
        last = kept + len(new)
        for k in range(len(new)):
            put(spots[kept + k], new[k])
        put(heights[kept:last], log_integrals(shapes, counts, norms, thetas))
        kept = last
        if kept == 0:
            continue
        kernels = Mixture(np.full(r + 1, 1 / (r + 1)), means[: r + 1], spreads[: r + 1])
        highest = heights[:kept].max()
        density = _density(kernels, spots[:kept], cube.images)
        for k in range(kept):
            weights[k] = math.exp(heights[k] - highest) / density[k]
    if kept == 0:
        return NOWHERE, -math.log(rounds * number)
    total = weights[:kept].sum()
    counted = total**2 / (weights[:kept] ** 2).sum()
    return highest + math.log(total / (rounds * number)), math.log(counted / (rounds * number))


@inner
def _inside(mean: Floats, factor: Floats, deviates: Floats) -> Floats:
    """Return the points about a mean that lie in the cube."""
    points, kept = np.empty_like(deviates), 0
    for k in range(len(deviates)):
        inside = True
        for a in range(len(mean)):
            place = mean[a]
            for b in range(a + 1):
                place += factor[a, b] * deviates[k, b]
            points[kept, a] = place
            inside = inside and 0.0 <= place <= 1.0
        kept += 1 if inside else 0
    return points[:kept]


@inner
def _thetas(points: Floats, theta: Floats, free: Integers, values: Floats) -> Floats:
    """Return parameters at points of the cube; those that are not sampled as they are."""
    thetas = np.empty((len(points), len(theta)))
    most = values.shape[2] - 1
    for k in range(len(points)):
        put(thetas[k], theta)
        for a in range(len(free)):
            spot = points[k, a] * most
            cell = min(int(spot), most - 1)
            low, high = values[a, 0, cell], values[a, 0, cell + 1]
            thetas[k, free[a]] = low + (spot - cell) * (high - low)
    return thetas


@inner
def _density(kernels: Mixture, points: Floats, images: Integers) -> Floats:
    """Return the density of kernels, the mean of that at all images of a point."""
    total, image = np.zeros(len(points)), np.empty_like(points)
    for order in images:
        for k in range(len(points)):
            for a in range(len(order)):
                image[k, a] = points[k, order[a]]
        values = densities(kernels, image)
        for k in range(len(points)):
            for kernel in range(len(values)):
                total[k] += values[kernel, k] / len(images)
    return total


@inner
def _move(
    points: Floats, weights: Floats, drawn: int, means: Floats, spreads: Floats, r: int
) -> None:
    """Set mean and covariance of a round by those of the points so far, and of the minimum.

    The more of those drawn lie outside of the cube, the narrower is what the minimum says.
    """
    narrower = (max(len(points), 1) / drawn) ** (2 / means.shape[1])
    total = weights.sum()
    trusted = total**2 / (weights**2).sum() if len(points) else 0.0
    own = TRUSTED / (TRUSTED + trusted)
    mean, spread = means[r], spreads[r]
    for a in range(len(mean)):
        mean[a] = own * means[0, a]
        for k in range(len(points)):
            mean[a] += (1 - own) * weights[k] / total * points[k, a]
    for a in range(len(mean)):
        for b in range(len(mean)):
            away = (means[0, a] - mean[a]) * (means[0, b] - mean[b])
            spread[a, b] = own * (narrower * spreads[0, a, b] + away)
            for k in range(len(points)):
                away = (points[k, a] - mean[a]) * (points[k, b] - mean[b])
                spread[a, b] += (1 - own) * weights[k] / total * away
