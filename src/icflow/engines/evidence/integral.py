"""The evidence of a scenario: the likelihood of a spectrum averaged over its priors.

The norms are integrated over at given shapes (`icflow.engines.evidence.norms`), the
shapes by sampling (`icflow.engines.evidence.sampling`). Sampling starts from the minima
of C inside the priors, each with the curvature there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from icflow.engines import base
from icflow.engines.embedded.descent import Minimum
from icflow.engines.embedded.fitting import Fitter
from icflow.engines.embedded.parameters import Model
from icflow.engines.embedded.shapes import BACKGROUND, KIND, NORM, Shapes, information, sources
from icflow.engines.embedded.symmetry import exchangeable, orders
from icflow.engines.evidence.mixtures import Mixture, joined
from icflow.engines.evidence.norms import MOST, Norms, log_integrals
from icflow.engines.evidence.sampling import Integral, integrate
from icflow.models.priors import Prior, Uniform
from icflow.models.scenario import Setting
from icflow.statistic import Data, channels
from icflow.typing import Floats, Integers

WITHIN, MOST_MINIMA = 10.0, 6  # minima to start from: how much higher in C, how many
SCALES = (1.0, 9.0)  # of the covariances of the kernels at each
UNIFORM = 12.0  # one over the variance of a uniform prior of width 1
# How far the fits to the minima let background norms move: in units of their scatter, at most.
REACH, MOST_REACH = 3.0, 0.9


def background_reach(scatter: float) -> float:
    """Return how far from 1 background norms may lie at the minima that sampling starts from."""
    return min(REACH * scatter, MOST_REACH)


class Integrator:
    """Evidences of one scenario, any number of spectra.

    Parameters
    ----------
    fitter : Fitter
        Of the scenario as a model: the free parameters are those with priors,
        their limits the bounds of these, and background norms that scatter.
    settings : mapping
        The scenario's parameters.
    scatters : mapping
        Standard deviation around 1 of each background norm, by name.
    channels : ndarray of int
        The channels that the fitter reads, among all of the instrument.
    """

    def __init__(
        self,
        fitter: Fitter,
        settings: Mapping[str, Setting],
        scatters: Mapping[str, float],
        channels: Integers,
    ) -> None:
        self.channels = channels
        self.fitter, model = fitter, fitter.model
        self.free = np.array(model.free, dtype=np.int64)
        terms = fitter.tables.terms
        # Once each: focused backgrounds of several modules have one norm.
        backgrounds = dict.fromkeys(terms[terms[:, KIND] == BACKGROUND, NORM].tolist())
        scattered = [p for p in backgrounds if scatters[model.names[p]] > 0]
        self.priors = {p: _prior(model, settings, p) for p in model.free}
        bounded = _bounded(self.priors, sources(terms)[:, NORM].tolist())
        self.norms = Norms(
            np.array(bounded, dtype=np.int64),
            model.lower[bounded],
            model.upper[bounded],
            np.array(scattered, dtype=np.int64),
            np.array([scatters[model.names[p]] for p in scattered]),
        )
        self.sampled = np.array(
            [p for p in model.free if p not in bounded and p not in self.norms.scattered],
            dtype=np.int64,
        )
        alike = exchangeable(terms, model.box(), self.priors)
        self.images = orders(alike, self.sampled.tolist())

    def integrate(
        self, channel_counts: Floats, fixed: Mapping[int, float], random: np.random.Generator
    ) -> Integral:
        """Return the evidence, in units in which the likelihood is exp(-C/2).

        C is that of coarse bins, half as wide as the resolution, which is as
        good as that of single channels.

        Parameters
        ----------
        channel_counts : ndarray, shape (n_channels,)
        fixed : mapping of int to float
            True values of parameters that are known, by position.
        """
        theta = self.fitter.model.start.copy()
        for position, value in fixed.items():
            theta[position] = value
        shapes, data, minima = self.fitter.minima(
            channels(channel_counts), theta, WITHIN, MOST_MINIMA
        )

        def function(points: Floats) -> Floats:
            thetas = np.repeat(minima[0].theta[None], len(points), axis=0)
            thetas[:, self.sampled] = self._values(points)
            return np.asarray(log_integrals(shapes, data.counts, self.norms, thetas))

        if len(self.sampled) == 0:
            return Integral(float(function(np.empty((1, 0)))[0]), 0.0, math.inf, 1)
        start = joined(*(self._kernels(shapes, data, one, minima[0]) for one in minima))
        return integrate(function, start, random, self.images)

    def _values(self, points: Floats) -> Floats:
        """Return the sampled parameters at points of the unit cube."""
        values = np.empty_like(points)
        for column, position in enumerate(self.sampled.tolist()):
            values[:, column] = self.priors[position].quantile(points[:, column])
        return values

    def _kernels(self, shapes: Shapes, data: Data, minimum: Minimum, lowest: Minimum) -> Mixture:
        """Return kernels at a minimum: a Gaussian of the curvature there, as wide as the priors.

        At a limit the likelihood falls as an exponential, in which the slope
        stands for a curvature.
        """
        model, values = self.fitter.model, minimum.theta[self.free]
        info, slope = information(shapes, data, self.fitter.box, minimum.theta)
        priors = list(zip(self.priors.values(), values.tolist(), strict=True))
        width: Floats = np.array([prior.slope(value) for prior, value in priors])
        places: Floats = np.array([prior.probability(value) for prior, value in priors])
        at_limit = (values <= model.lower[self.free]) | (values >= model.upper[self.free])
        precision = info * np.outer(width, width) + np.diag(self._priors(width))
        precision += np.diag(np.where(at_limit, slope * width, 0.0) ** 2)
        covariance: Floats = np.asarray(
            np.linalg.inv(0.5 * (precision + precision.T)), dtype=np.float64
        )
        chosen = np.flatnonzero(np.isin(self.free, self.sampled))
        height = math.exp(-0.25 * (minimum.cstat - lowest.cstat))
        covariance = covariance[np.ix_(chosen, chosen)]
        scales = np.array(SCALES)
        return Mixture(
            height / np.sqrt(scales),
            np.repeat(places[None, chosen], len(scales), axis=0),
            scales[:, None, None] * covariance,
        )

    def _priors(self, width: Floats) -> Floats:
        """Return one over the variances of the priors of the free parameters, in their widths."""
        precision = np.full(len(width), UNIFORM)
        for position, scatter in zip(self.norms.scattered, self.norms.scatters, strict=True):
            place = self.free == position
            precision[place] = (width[place] / scatter) ** 2
        return precision


def _prior(model: Model, settings: Mapping[str, Setting], position: int) -> Prior:
    """Return the prior of a free parameter; that of a background norm is in `Norms`."""
    name = model.names[position]
    if name.startswith(base.BACKGROUND):
        return Uniform(uniform=[float(model.lower[position]), float(model.upper[position])])
    prior = settings[name]
    assert isinstance(prior, Prior)
    return prior


def _bounded(priors: Mapping[int, Prior], norms: Sequence[int]) -> list[int]:
    """Return the norms to integrate over: free, uniform, and of one term alone."""
    return [p for p, prior in priors.items() if norms.count(p) == 1 and prior.flat][:MOST]
