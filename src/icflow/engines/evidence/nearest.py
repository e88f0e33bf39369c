"""The nearest spectra of a scenario: rough fits in coarse bins, thousands in a second.

A fit is only as good as it must be to say how far a spectrum is from a scenario, and where in its
priors: tables are smooth in redshift, in bins half as wide as the resolution, and descents start
from the likeliest of spectra drawn beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from icflow.compiled import jit, put
from icflow.engines.embedded.descent import ENOUGH, descend
from icflow.engines.embedded.population import Population, at_redshift
from icflow.engines.embedded.shapes import (
    NORM,
    Box,
    Shapes,
    model_counts,
    sources,
    with_slopes,
)
from icflow.engines.embedded.symmetry import exchangeable, orders, precedes
from icflow.engines.evidence.norms import MOST as MOST_NORMS
from icflow.engines.evidence.norms import Norms
from icflow.engines.evidence.rounds import NOWHERE, Centres, Cube, deviates, log_means
from icflow.engines.evidence.systematics import SCATTER, Wrong, WrongInstrument, put_wrong
from icflow.models.priors import Prior
from icflow.statistic import FLOOR, channels, metric
from icflow.typing import Floats, Integers

DRAWN = 1000  # spectra to start from
# Which of them descents start from, the likeliest first; of one plasma there is one minimum.
RANKS, SINGLE = np.array([0, 1, 2, 3, 5, 9, 20, 50]), np.array([0, 4])
ROUNDS, SINGLE_ROUNDS = 4, 2  # of points about a minimum, likewise
MOST = 20  # iterations of each
# Descents with what is wrong linear about where the last ended, until C settles.
MOST_PASSES, SETTLED = 8, 0.05
PIECE = 250  # spectra that are fitted together
POINTS = 2000  # of the tables of priors
UNIFORM = 12.0  # one over the variance of a uniform prior of width 1
REACH = 4.0  # standard deviates that may be wrong, at most


class Nearest(NamedTuple):
    """What the fits of a scenario return.

    Attributes
    ----------
    cstat : ndarray, shape (n,)
    gaussian : ndarray, shape (n,)
        ln of the evidence of a Gaussian about the minimum, as wide as the priors at most.
    log_evidence, effective : ndarray, shape (n,)
        The same by sampling, and ln of the fraction of points that count.
    places : ndarray, shape (n, n_free)
        Where the parameters lie in their priors, as probabilities of lower values.
    widths : ndarray, shape (n, n_free)
        Logarithms of their standard deviations, each with the others fixed, in widths of the
        priors.
    slopes : ndarray, shape (n, n_free)
        Half the derivatives of C, by places.
    residuals : ndarray, shape (n, n_bins)
        Counts less what is expected, in units of the square root of that.
    """

    cstat: Floats
    gaussian: Floats
    log_evidence: Floats
    effective: Floats
    places: Floats
    widths: Floats
    slopes: Floats
    residuals: Floats


class _Ends(NamedTuple):
    """Where C of spectra is lowest: as `_fits` and `Wrong`."""

    theta: Floats
    cstat: Floats
    info: Floats
    slope: Floats
    model: Floats
    ratio: Floats
    rows: Floats


class Neighbourhood:
    """Rough fits of one scenario, any number of spectra.

    Parameters
    ----------
    population : Population
        Its parameters are fitted inside their priors, but for those known exactly. What is wrong
        with its instrument is fitted too.
    random : numpy.random.Generator
        Draws the spectra that descents start from.
    """

    def __init__(self, population: Population, random: np.random.Generator) -> None:
        model, priors = population.model, population.priors
        self._population, self._wrong = population, WrongInstrument(population)
        wrong = self._wrong.positions
        self._known, self._redshift = population.exact, population.redshift
        fitted = [p for p in priors if p not in self._known]
        self._box = _box({p: priors[p] for p in fitted}, wrong)
        shapes, self._redshifts = population.shapes()
        self._shapes = self._wrong.among(shapes)
        self._together = 1 if len(self._redshifts) else len(shapes.plasma)
        places = [_places(priors[p]) for p in fitted]
        self._places = np.array([*places, *[_held_places()] * len(wrong)])
        uniform = [p for p in fitted if priors[p].flat and p in norms_of(self._shapes.terms)]
        self._norms = _norms(uniform[:MOST_NORMS], priors, wrong)
        self._sampled = np.array([p for p in fitted if p not in uniform[:MOST_NORMS]], dtype=int)
        alike = exchangeable(self._shapes.terms, self._box, {p: priors[p] for p in fitted})
        self._images = orders(alike, self._box.free.tolist())
        single = len(self._images) == 1
        self._cube = Cube(
            self._places[np.isin(self._box.free, self._sampled)],
            np.array(orders(alike, self._sampled.tolist())),
            deviates(SINGLE_ROUNDS if single else ROUNDS, len(self._sampled), random),
        )
        self._starts = self._wrong.started(np.repeat(model.start[None], DRAWN, axis=0))
        for position, prior in priors.items():
            self._starts[:, position] = prior.quantile(random.random(DRAWN))
        if len(self._redshifts) and self._redshift is not None:
            self._starts[:, self._redshift] = random.choice(self._redshifts, DRAWN)
        _, nodes = self._at(self._starts)
        drawn = [
            model_counts(at_redshift(self._shapes, node, self._together), start)
            for node, start in zip(nodes, self._starts, strict=True)
        ]
        self._expected = np.array(drawn)[:, : population.n_bins]

    def fit(self, counts: Integers, known: Floats) -> Nearest:
        """Fit spectra.

        Parameters
        ----------
        counts : ndarray of int, shape (n, n_bins)
        known : ndarray, shape (n, n_known)
            The parameters that are known exactly are set to them.
        """
        pieces = range(0, len(counts), PIECE)
        parts = [self._fit(counts[i : i + PIECE], known[i : i + PIECE]) for i in pieces]
        return Nearest(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def _fit(self, counts: Integers, known: Floats) -> Nearest:
        starts = self._starts[self._likeliest(counts)]
        for position, column in self._known.items():
            starts[:, :, position] = known[:, [column]]
        shapes, nodes = self._at(starts[:, 0])
        data = counts.astype(np.float64)
        ends = self._minima(shapes, nodes, self._wrong.held(data), starts)
        theta, model = ends.theta, ends.model[:, : counts.shape[1]]
        residuals = (counts - model) / np.sqrt(np.maximum(model, 1.0))
        nearest, places, precision = self._nearest(ends, residuals)
        chosen = np.flatnonzero(np.isin(self._box.free, self._sampled))
        covariances = np.asarray(np.linalg.inv(precision), dtype=np.float64)
        covariances = covariances[:, chosen[:, None], chosen]
        sampled, effective = log_means(
            self._wrong.free(shapes),
            nodes,
            self._together,
            self._norms,
            data,
            Wrong(ends.ratio, ends.rows),
            Centres(self._sampled, theta, places[:, chosen], covariances),
            self._cube,
        )
        log_evidence = np.where(sampled > NOWHERE, sampled, nearest.gaussian)
        return nearest._replace(log_evidence=log_evidence, effective=effective)

    def _minima(self, shapes: Shapes, nodes: Integers, counts: Floats, starts: Floats) -> _Ends:
        """Return the lowest minima; where something is wrong, those about which it is linear.

        What is wrong at the likeliest start says little of it at the minimum, but enough to go to
        where all starts can be compared.
        """
        if not len(self._wrong.positions):
            return self._descended(shapes, nodes, counts, starts)
        first = self._descended(shapes, nodes, counts, starts[:, :1]).theta[:, None]
        every = np.concatenate([first, starts], axis=1)
        ends, left = self._descended(shapes, nodes, counts, every), np.arange(len(counts))
        for _ in range(MOST_PASSES):
            before = ends.cstat[left]
            again = self._descended(shapes, nodes[left], counts[left], ends.theta[left, None])
            for values, new in zip(ends, again, strict=True):
                values[left] = new
            left = left[np.abs(again.cstat - before) > SETTLED]
            if not len(left):
                break
        return ends

    def _descended(self, shapes: Shapes, nodes: Integers, counts: Floats, starts: Floats) -> _Ends:
        """Return the lowest minima from some starts, what is wrong linear about the first."""
        starts, wrong = self._wrong.about(starts)
        fits = _fits(shapes, nodes, self._together, self._box, counts, starts, wrong)
        return _Ends(*fits, *wrong)

    def _at(self, thetas: Floats) -> tuple[Shapes, Integers]:
        """Return shapes, and which of the redshifts that they are for spectra have.

        A line is in one bin of the model or the next, so a redshift nearby is not good enough.
        """
        if self._redshift is None or not len(self._redshifts):
            return self._shapes, np.zeros(len(thetas), dtype=np.int64)
        redshifts = thetas[:, self._redshift]
        nodes = np.searchsorted(self._redshifts, redshifts)
        nodes = np.minimum(nodes, len(self._redshifts) - 1)
        if np.array_equal(self._redshifts[nodes], redshifts):
            return self._shapes, nodes
        shapes = self._wrong.among(self._population.shapes_at(redshifts))
        return shapes, np.arange(len(thetas))

    def _likeliest(self, counts: Integers) -> Integers:
        """Return which drawn spectra to start from, shape (n, n_starts)."""
        expected = np.maximum(self._expected, FLOOR)  # none where no channel counts
        heights = counts.astype(np.float32) @ np.log(expected).T.astype(np.float32)
        heights -= self._expected.sum(axis=1).astype(np.float32)
        ranks = RANKS if len(self._images) > 1 else SINGLE
        most = ranks[-1] + 1
        near = np.argpartition(-heights, most, axis=1)[:, :most]
        order = np.argsort(-np.take_along_axis(heights, near, axis=1), axis=1, kind="stable")
        return np.take_along_axis(near, order, axis=1)[:, ranks]

    def _nearest(self, ends: _Ends, residuals: Floats) -> tuple[Nearest, Floats, Floats]:
        """Return what is known without sampling; places as fitted, and precisions of them."""
        theta, cstat, info, slope = ends.theta, ends.cstat, ends.info, ends.slope
        values = theta[:, self._box.free]
        pairs = [_place(own, values[:, i]) for i, own in enumerate(self._places)]
        places, width = (np.stack(part, axis=1) for part in zip(*pairs, strict=True))
        slopes = slope * width
        at_limit = (values <= self._box.lower) | (values >= self._box.upper)
        precision = info * width[:, :, None] * width[:, None, :]
        diagonal = np.arange(len(self._places))
        precision[:, diagonal, diagonal] += UNIFORM
        widths = -0.5 * np.log(precision[:, diagonal, diagonal])
        # At a limit the likelihood falls as an exponential.
        precision[:, diagonal, diagonal] += np.where(at_limit, slopes, 0.0) ** 2
        _, log_det = np.linalg.slogdet(precision)
        constant = 0.5 * len(diagonal) * np.log(2 * np.pi)
        gaussian = constant - 0.5 * (cstat + log_det)
        # As fitted, for what is sampled about them.
        centres = places
        places, widths, slopes = _ordered(self._images, places, widths, slopes)
        none = np.zeros(len(cstat))
        nearest = Nearest(cstat, gaussian, none, none, places, widths, slopes, residuals)
        return nearest, centres, precision


def _places(prior: Prior) -> Floats:
    """Return values of a prior and the probabilities of lower ones, (2, POINTS)."""
    probabilities = np.linspace(0, 1, POINTS)
    return np.array([prior.quantile(probabilities), probabilities])


def _held_places() -> Floats:
    """Return those of a norm that scatters, as of a uniform prior with the same scatter."""
    offsets = np.linspace(-2, 2, POINTS)
    return np.array([1 + SCATTER * math.sqrt(UNIFORM) * offsets, 0.5 + offsets])


def _place(own: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Return the places of values, and how fast values rise there with their place."""
    places = np.interp(values, *own)
    return places, np.interp(places, own[1], np.gradient(*own))


def _box(priors: Mapping[int, Prior], wrong: Integers) -> Box:
    limits = {position: prior.bounds for position, prior in priors.items()}
    limits |= dict.fromkeys(wrong.tolist(), (1 - REACH * SCATTER, 1 + REACH * SCATTER))
    low, high = np.array(list(limits.values())).reshape(-1, 2).T
    return Box(np.array(list(limits), dtype=np.int64), low.copy(), high.copy())


def norms_of(terms: Integers) -> list[int]:
    """Return the norms of the source, each of one term alone."""
    norms = sources(terms)[:, NORM].tolist()
    return [p for p in norms if norms.count(p) == 1]


def _norms(bounded: Sequence[int], priors: Mapping[int, Prior], wrong: Integers) -> Norms:
    low, high = np.array([priors[p].bounds for p in bounded]).reshape(-1, 2).T
    scatters = np.full(len(wrong), SCATTER)
    return Norms(np.array(bounded, dtype=np.int64), low.copy(), high.copy(), wrong, scatters)


def _ordered(images: Sequence[Integers], *columns: Floats) -> list[Floats]:
    """Return columns of parameters with like plasmas in order, by the places that come first."""
    best = list(columns)
    for order in images[1:]:
        other = [part[:, order] for part in columns]
        lower = precedes(other[0], best[0])[:, None]
        best = [np.where(lower, a, b) for a, b in zip(other, best, strict=True)]
    return best


@jit
def _fits(
    shapes: Shapes,
    nodes: Integers,
    together: int,
    box: Box,
    counts: Floats,
    starts: Floats,
    wrong: Wrong,
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Descend from all starts of each spectrum; return what is where C is lowest.

    Parameters
    ----------
    nodes : ndarray of int, shape (n,)
        The redshifts that shapes are for.
    together : int
        1, or how many redshifts smooth shapes are for.
    counts : ndarray, shape (n, n_bins)
    starts : ndarray, shape (n, n_starts, n_parameters)
    wrong : Wrong

    Returns
    -------
    theta : ndarray, shape (n, n_parameters)
    cstat : ndarray, shape (n,)
    info : ndarray, shape (n, n_free, n_free)
    slope : ndarray, shape (n, n_free)
        Half the derivatives of C.
    model : ndarray, shape (n, n_bins)
    """
    n, free = len(counts), len(box.free)
    theta, cstat = np.empty((n, starts.shape[2])), np.full(n, math.inf)
    info, slope = np.empty((n, free, free)), np.empty((n, free))
    model = np.empty(counts.shape)
    for i in range(n):
        data = channels(counts[i])
        here = put_wrong(at_redshift(shapes, nodes[i], together), wrong, i)
        put(theta[i], starts[i, 0])
        for k in range(starts.shape[1]):
            end = descend(here, data, box, starts[i, k], MOST, ENOUGH, math.inf)
            if end.cstat < cstat[i]:
                put(theta[i], end.theta)
                cstat[i] = end.cstat
        expectation, slopes = with_slopes(here, data, box, theta[i])
        put(model[i], expectation)
        metric(data, expectation, slopes, 0.0, info[i], slope[i])
        for p in range(free):
            slope[i, p] = -slope[i, p]
    return theta, cstat, info, slope, model
