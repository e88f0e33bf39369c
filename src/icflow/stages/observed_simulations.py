"""Spectra like an observed one, of models that its fits allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icflow.config import FitModel, Prior
from icflow.engines.base import FitResult
from icflow.engines.observed import ObservedEngine, draw_counts
from icflow.models.scenario import generator

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Replicas:
    """Spectra drawn from a best fit, and fits of the same model to them.

    Attributes
    ----------
    counts : ndarray of int, shape (n, n_channels)
    fits : list of FitResult
    """

    counts: NDArray[np.int32]
    fits: list[FitResult]

    def goodness(self, fit: FitResult) -> float:
        """Return the fraction of replicas that fit no better than the observed spectrum.

        The observed spectrum counts as one of them, so it is never 0.
        """
        worse = sum(not replica.cstat < fit.cstat for replica in self.fits)
        return (1 + worse) / (1 + len(self.fits))


@dataclass(frozen=True)
class Population:
    """Simulated spectra of one model.

    Attributes
    ----------
    truth : list of dict
        True value of every parameter of each spectrum.
    fits : dict of list of FitResult
        Fits of each model to each spectrum.
    """

    truth: list[dict[str, float]]
    fits: dict[str, list[FitResult]]


def replicas(
    engine: ObservedEngine, model: FitModel, fit: FitResult, number: int, seed: int, name: str
) -> Replicas:
    """Draw spectra from the best fit and fit the model to them: the parametric bootstrap."""
    counts = draw_counts(engine.expected(model, fit.values), seed, name, range(number))
    return Replicas(counts, engine.fit(model, counts))


def population(
    engine: ObservedEngine,
    model: FitModel,
    sample: Replicas,
    priors: Mapping[str, Prior],
    models: Mapping[str, FitModel],
    seed: int,
    name: str,
) -> Population:
    """Simulate spectra with parameters that the observed spectrum allows, and fit them.

    The parameters are those fitted to the replicas: they scatter about the
    best fit as the noise of the observation makes them, with all their
    correlations, limits and rival minima. Those with a prior are drawn from
    it, and the others fitted to the replica given them.

    Parameters
    ----------
    sample : Replicas
        Of `model`.
    models : mapping of str to FitModel
        What is fitted to the simulated spectra.
    """
    number = len(sample.fits)
    drawn = {
        parameter: np.array(
            [prior.quantile(generator(seed, name, i, parameter).random()) for i in range(number)]
        )
        for parameter, prior in priors.items()
    }
    fits = engine.fit(model, sample.counts, drawn) if drawn else sample.fits
    usable = [fit.values for fit in fits if fit.status == "ok"]
    expected = [engine.expected(model, values) for values in usable]
    counts = draw_counts(expected, seed, name, range(len(usable)))
    return Population(usable, {role: engine.fit(m, counts) for role, m in models.items()})


def cstat_of(fits: Sequence[FitResult]) -> Floats:
    """Return C of each fit, NaN where there is none."""
    return np.array([fit.cstat for fit in fits])
