"""What a scan compares: rates of the detectors at several points, and fluxes that they need.

Resamplings are keyed by the sources that a class of spectra is made of. So
points that show the same sources under other conditions share them, and the
change between two such points is that of the same sources: its scatter leaves
out what both have in common. Points with other sources are independent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from icflow.detection.metrics import SIGMA_QUANTILES, Estimate, times_drawn
from icflow.detection.roc import lowest_for_nan
from icflow.seeds import generator
from icflow.typing import Floats, Strings

# What is measured at each point, and how it changes from the first one.
RATES = ("false_alarm", "recall", "bacc")
# Fractions of the spectra that are to be called IC, of which the flux is wanted.
LEVELS = (0.5, 0.9)
WIDTH = 0.1  # of the kernel along the logarithm of the flux, dex
FINE = 121  # fluxes at which the efficiency is computed


# --- resampling ---------------------------------------------------------------------


@dataclass(frozen=True)
class ScoredSpectra:
    """Spectra of one class with their scores.

    Attributes
    ----------
    sources : (n,) str
        Dataset and index that name the source of each.
    scores : mapping of str to (n,) float
        For each detector; NaN where there is none.
    flux : (n,) float
        IC flux, erg/cm²/s; NaN if it is not known.
    """

    sources: Strings
    scores: Mapping[str, Floats]
    flux: Floats

    @property
    def size(self) -> int:
        """Number of spectra."""
        return int(self.sources.size)


class Weights:
    """How often each spectrum is drawn, the same for the same sources."""

    def __init__(self, seed: int, repeats: int) -> None:
        self.seed, self.repeats = seed, repeats
        self._drawn: dict[str, Floats] = {}

    def of(self, spectra: ScoredSpectra) -> Floats:
        """Return weights, (1 + repeats, n): once each in the first row, as drawn in the others."""
        key = "\n".join(spectra.sources.tolist())
        if key not in self._drawn:
            random = generator(self.seed, f"scan\n{key}")
            self._drawn[key] = times_drawn(spectra.size, self.repeats, random).astype(np.float64)
        return self._drawn[key]


def thresholds(score: Floats, rate: float, weights: Floats) -> Floats:
    """Return the lowest thresholds that keep the false-alarm rate at or below `rate`.

    Parameters
    ----------
    score : (n,) float
        Of spectra without IC.
    rate : float
    weights : (m, n) float

    Returns
    -------
    (m,) float
        A spectrum is called IC when its score is above.
    """
    score = lowest_for_nan(score)
    order = np.argsort(-score, kind="stable")
    above = np.cumsum(weights[:, order], axis=1)
    # A whole number of spectra; a fraction that is one on paper can be a little less.
    allowed = np.floor(rate * above[:, -1:] + 1e-9)
    position = np.minimum(np.sum(above <= allowed, axis=1), score.size - 1)
    return np.asarray(score[order][position])


def fraction(score: Floats, threshold: Floats, weights: Floats) -> Floats:
    """Return the fraction of spectra called IC, (m,), each with its threshold; NaN without any."""
    if score.size == 0:
        return np.full(len(weights), math.nan)
    called = lowest_for_nan(score) > threshold[:, None]
    return np.asarray((weights * called).sum(axis=1) / weights.sum(axis=1))


# --- a point ------------------------------------------------------------------------


@dataclass(frozen=True)
class Point:
    """The spectra of one evaluation.

    Attributes
    ----------
    thermal, ic : ScoredSpectra
        Test spectra without and with IC.
    calibration : ScoredSpectra
        Validation spectra without IC.
    thresholds : mapping of str to float
        Those of the highest balanced accuracy on the validation spectra.
    """

    thermal: ScoredSpectra
    ic: ScoredSpectra
    calibration: ScoredSpectra
    thresholds: Mapping[str, float]


@dataclass(frozen=True)
class Measured:
    """What a detector does at a point with one way to choose its threshold.

    Attributes
    ----------
    thresholds : (1 + repeats,) float
    draws : mapping of str to (1 + repeats,) float
        For each of `RATES`, the number on the spectra as they are, and on every
        resampling of them.
    """

    thresholds: Floats
    draws: Mapping[str, Floats]


def measure(point: Point, detector: str, false_alarm: float | None, weights: Weights) -> Measured:
    """Measure a detector at a point.

    Parameters
    ----------
    false_alarm : float or None
        The false-alarm rate that the validation spectra without IC set the
        threshold for, which is chosen anew in every resampling of them; None
        for the threshold of the highest balanced accuracy, as it was chosen.
    """
    if false_alarm is None:
        chosen = np.full(1 + weights.repeats, point.thresholds[detector])
    else:
        chosen = thresholds(
            point.calibration.scores[detector], false_alarm, weights.of(point.calibration)
        )
    alarms, recall = (
        fraction(spectra.scores[detector], chosen, weights.of(spectra))
        for spectra in (point.thermal, point.ic)
    )
    draws = {"false_alarm": alarms, "recall": recall, "bacc": 0.5 * (recall + 1 - alarms)}
    return Measured(chosen, draws)


def changes(here: Measured, first: Measured) -> dict[str, Estimate]:
    """Return how the rates differ from those at the first point."""
    return {name: Estimate.of(here.draws[name] - first.draws[name]) for name in RATES}


# --- fluxes -------------------------------------------------------------------------


def efficiency(
    spectra: ScoredSpectra, detector: str, threshold: Floats, weights: Floats
) -> tuple[Floats, Floats]:
    """Return fluxes, (k,), and the fraction of spectra around each that is called IC, (m, k).

    A Gaussian kernel of `WIDTH` in the logarithm of the flux, over the range of
    the spectra.
    """
    logs = np.log10(spectra.flux)
    grid = np.linspace(logs.min(), logs.max(), FINE)
    kernel = np.exp(-0.5 * ((logs[:, None] - grid) / WIDTH) ** 2)
    called = lowest_for_nan(spectra.scores[detector]) > threshold[:, None]
    return 10**grid, (weights * called) @ kernel / (weights @ kernel)


def needed(fluxes: Floats, called: Floats, level: float) -> Floats:
    """Return the flux from which on the efficiency is at least `level`, (m,).

    Interpolated in the logarithm; infinite where the level is not reached.

    Parameters
    ----------
    fluxes : (k,) float
    called : (m, k) float
        The efficiency: the fraction that is called IC.
    """
    least = np.minimum.accumulate(called[:, ::-1], axis=1)[:, ::-1]
    position = np.sum(least < level, axis=1)
    right = np.clip(position, 1, fluxes.size - 1)
    rows, logs = np.arange(len(least)), np.log10(fluxes)
    low, high = least[rows, right - 1], least[rows, right]
    part = np.divide(level - low, high - low, out=np.ones_like(low), where=high > low)
    inside = 10 ** (logs[right - 1] + np.clip(part, 0, 1) * (logs[right] - logs[right - 1]))
    return np.where(position == fluxes.size, np.inf, np.where(position == 0, fluxes[0], inside))


def flux_estimate(draws: Floats) -> Estimate:
    """Return a flux with its 68.3 % interval, an end of which may be infinite."""
    ends = np.quantile(draws[1:], SIGMA_QUANTILES, method="nearest")
    return Estimate(float(draws[0]), float(ends[0]), float(ends[1]))


def band(draws: Floats) -> tuple[Floats, Floats]:
    """Return the ends of the 68.3 % interval of each column of resampled numbers."""
    low, high = np.quantile(draws[1:], SIGMA_QUANTILES, axis=0)
    return low, high
