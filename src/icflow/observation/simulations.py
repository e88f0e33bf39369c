"""Spectra like an observed one, of models that its fits allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from icflow.config import FitModel, Observe
from icflow.engines.base import FitResult
from icflow.models.priors import Prior
from icflow.models.systematics import Deviates
from icflow.observation.engine import ObservedEngine, draw_counts
from icflow.seeds import of_spectrum
from icflow.settings import SourceSettings
from icflow.typing import Counts, DrawnCounts, Floats

# No model describes a spectrum that fits worse than all but this fraction of the replicas.
UNFIT = 0.005

# Fits by the name of the model, one for each spectrum.
Fits = Mapping[str, Sequence[FitResult]]


@dataclass(frozen=True)
class Draws:
    """The random numbers of one kind of simulated spectra.

    Attributes
    ----------
    seed : int
    key : str
        Tells them from those of other kinds.
    """

    seed: int
    key: str

    @classmethod
    def for_source(cls, settings: SourceSettings, what: str) -> Draws:
        """Return those of a kind of spectra simulated for an observation."""
        return cls(settings.seed, f"observations/{settings.name}/{what}")

    def of(self, expected: Floats | Sequence[Floats], number: int) -> DrawnCounts:
        """Draw spectra; each depends on seed, key and its index alone.

        Parameters
        ----------
        expected : (n_channels,) float, or one for each spectrum
            Counts.
        """
        return draw_counts(expected, self.seed, self.key, range(number))


@dataclass(frozen=True)
class FittedSpectra:
    """Spectra, simulated or observed, with what is fitted to them.

    Attributes
    ----------
    counts : ndarray of int, shape (n, n_channels)
    fits : mapping of str to sequence of FitResult
    added : ndarray, shape (n,)
        By how much C falls when IC is added to the model without it; see `ModelFitter`.
    truth : list of dict
        True value of every parameter of each spectrum; empty for observed ones.
    """

    counts: Counts
    fits: Fits
    added: Floats
    truth: Sequence[Mapping[str, float]] = ()

    def __len__(self) -> int:
        return len(self.counts)


@dataclass(frozen=True)
class ModelFitter:
    """Fits the models that detectors compare to spectra of one observation.

    Where no IC at all fits best, C cannot fall. How little such a spectrum looks
    like IC is then told by how much C rises when a little IC is added, and that
    counts as a negative fall. Otherwise half of all spectra without IC would
    share the lowest score, and none could be told from another.

    Attributes
    ----------
    models : mapping of str to FitModel
    norm : str
        The norm of the component that is the IC emission.
    faint : float
        A little IC: its norm, which should be about its error.
    """

    engine: ObservedEngine
    observe: Observe
    models: Mapping[str, FitModel]
    norm: str
    faint: float

    def fit(self, counts: Counts, truth: Sequence[Mapping[str, float]] = ()) -> FittedSpectra:
        """Fit models without IC, with IC and with both to spectra."""
        observe = self.observe
        names = (observe.thermal, observe.with_ic, observe.both)
        fits = {name: self.engine.fit(self.models[name], counts) for name in names}
        return FittedSpectra(counts, fits, self._added(counts, fits), truth)

    def _added(self, counts: Counts, fits: Fits) -> Floats:
        both = self.models[self.observe.both]
        without = cstat_of(fits[self.observe.thermal])
        added = without - cstat_of(fits[self.observe.both])
        lowest, _ = self.engine.range_of(both, self.norm)
        norms = np.array([fit.values[self.norm] for fit in fits[self.observe.both]])
        none = np.flatnonzero((norms <= lowest) | (added <= 0))
        if len(none):
            faint = {self.norm: np.full(len(none), self.faint)}
            with_faint = cstat_of(self.engine.fit(both, counts[none], faint))
            added[none] = -np.maximum(with_faint - without[none], 0.0)
        return np.asarray(added)


def replicas(
    engine: ObservedEngine, model: FitModel, fit: FitResult, number: int, draws: Draws
) -> DrawnCounts:
    """Draw spectra from a best fit: the parametric bootstrap."""
    if engine.systematics is not None:
        return draw_each(engine, model, [fit.values] * number, draws)
    return draws.of(engine.expected(model, fit.values), number)


def goodness(fit: FitResult, fits: Sequence[FitResult]) -> float:
    """Return the fraction of replicas that fit no better than the observed spectrum.

    The observed spectrum counts as one of them, so it is never 0. Where all
    replicas fit better by far, that says too little if they are few: then it is
    the chance of such a spectrum as C of the replicas scatters, normally about
    a mean and with a variance that they tell (Student's t).

    Parameters
    ----------
    fit, fits : FitResult and sequence of FitResult
        Of the observed spectrum and of the replicas.
    """
    worse = sum(not replica.cstat < fit.cstat for replica in fits)
    cstat = cstat_of(fits)
    if not worse and cstat.std() > 0:
        from scipy.special import stdtr

        excess = (fit.cstat - cstat.mean()) / cstat.std(ddof=1)
        chance = float(stdtr(len(fits) - 1, -excess / np.sqrt(1 + 1 / len(fits))))
        if chance < UNFIT:
            return min(chance, 1 / (1 + len(fits)))
    return (1 + worse) / (1 + len(fits))


def allowed(
    engine: ObservedEngine,
    model: FitModel,
    counts: DrawnCounts,
    fits: Sequence[FitResult],
    priors: Mapping[str, Prior],
    draws: Draws,
) -> list[dict[str, float]]:
    """Return sets of parameters that the observed spectrum allows, one for each replica.

    They are those fitted to the replicas: they scatter about the best fit as
    the noise of the observation makes them, with all their correlations, limits
    and rival minima. Parameters with a prior are drawn from it, and the others
    fitted to the replica given them.

    Parameters
    ----------
    counts, fits : ndarray of int, shape (n, n_channels), and sequence of FitResult
        Replicas and fits of `model` to them.
    """

    def drawn(name: str, prior: Prior) -> Floats:
        generators = [of_spectrum(draws.seed, draws.key, row, name) for row in range(len(counts))]
        return np.array([float(prior.quantile(random.random())) for random in generators])

    frozen = {name: drawn(name, prior) for name, prior in priors.items()}
    fits = engine.fit(model, counts, frozen) if frozen else fits
    return [own.values for own in fits if own.status == "ok"]


def draw_each(
    engine: ObservedEngine, model: FitModel, truth: Sequence[Mapping[str, float]], draws: Draws
) -> DrawnCounts:
    """Draw one spectrum for each set of parameters.

    What is wrong with it is among these where fits have settled it, and drawn as given elsewhere.
    """
    deviates: list[Deviates | dict[str, float]] = [
        engine.wrong(own) if engine.settles else Deviates(draws.seed, draws.key, row)
        for row, own in enumerate(truth)
    ]
    return draws.of(list(engine.expected_each(model, truth, deviates)), len(truth))


def cstat_of(fits: Sequence[FitResult]) -> Floats:
    """Return C of each fit, NaN where there is none."""
    return np.array([fit.cstat for fit in fits])
