"""What a set of decisions or scores is worth, with its uncertainty.

Inverse Compton (IC) emission is the positive class. A score is a number that
is higher for spectra that look more like IC; a spectrum is called IC when its
score lies *above* the threshold. A score that could not be computed is NaN: it
claims no detection (decision False) and takes no part in choosing thresholds.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from icflow.errors import IcflowError
from icflow.typing import Booleans, Floats

# The central interval that holds as much as one standard deviation each side.
SIGMA_QUANTILES = (0.15865525393145707, 0.8413447460685429)


@dataclass(frozen=True)
class Confusion:
    """Counts of right and wrong decisions; IC is the positive class.

    A ratio without cases to count is NaN: `precision` when nothing is called
    IC, `recall` without IC spectra, `specificity` without thermal ones, and
    `balanced_accuracy` when either class is absent.
    """

    tp: int
    fp: int
    tn: int
    fn: int

    @property
    def total(self) -> int:
        """Number of decisions."""
        return self.tp + self.fp + self.tn + self.fn

    @property
    def precision(self) -> float:
        """Fraction of the spectra called IC that are IC."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Fraction of the IC spectra that are called IC."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> float:
        """Fraction of the thermal spectra that are called thermal."""
        return _ratio(self.tn, self.tn + self.fp)

    def precision_at(self, prevalence: float) -> float:
        """Precision if the fraction `prevalence` of all spectra were IC.

        Precision depends on how common IC is among the spectra looked at; this
        takes recall and false-alarm rate from the counts and nothing else. NaN
        where either class is absent or nothing is called IC.
        """
        true, false = prevalence * self.recall, (1 - prevalence) * (1 - self.specificity)
        return true / (true + false) if true + false != 0 else math.nan

    @property
    def balanced_accuracy(self) -> float:
        """Mean of recall and specificity; 0.5 is a coin toss."""
        return 0.5 * (self.recall + self.specificity)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def confusion(decision: Booleans, is_ic: Booleans) -> Confusion:
    """Count the outcomes of decisions.

    Parameters
    ----------
    decision, is_ic : (n,) bool
        Whether each spectrum is called IC, and whether it is.
    """
    return Confusion(
        tp=int(np.sum(decision & is_ic)),
        fp=int(np.sum(decision & ~is_ic)),
        tn=int(np.sum(~decision & ~is_ic)),
        fn=int(np.sum(~decision & is_ic)),
    )


def decide(score: Floats, threshold: float) -> Booleans:
    """Call IC every score above the threshold; NaN is not above anything."""
    decision: Booleans = score > threshold
    return decision


def of_both_classes(
    score: Floats, is_ic: Booleans, needed: str, advice: str = ""
) -> tuple[Floats, Booleans]:
    """Return the finite scores, with their classes.

    Parameters
    ----------
    score : (n,) float
    is_ic : (n,) bool
        The true class.
    needed, advice : str
        How the sentence of an error begins and ends: what needs such scores, and what to do.

    Raises
    ------
    IcflowError
        If they are not of both classes.
    """
    finite = np.isfinite(score)
    score, is_ic = score[finite], is_ic[finite]
    if not is_ic.any() or is_ic.all():
        raise IcflowError(
            f"{needed} of both classes, found {int(is_ic.sum())} with and "
            f"{int((~is_ic).sum())} without IC{advice}"
        )
    return score, is_ic


def best_threshold(score: Floats, is_ic: Booleans) -> float:
    """Return the threshold of the highest balanced accuracy.

    The candidates lie half way between neighbouring distinct scores, so equal
    scores are never told apart; one more candidate is the largest score, above
    which nothing is called IC. Of equally good candidates the highest is taken:
    the one with the fewest false alarms.

    Parameters
    ----------
    score : (n,) float
        Scores, higher for IC; NaN scores are left out.
    is_ic : (n,) bool
        The true class.

    Raises
    ------
    IcflowError
        If the finite scores are not of both classes.
    """
    score, is_ic = of_both_classes(score, is_ic, "a threshold needs finite scores")
    values, position = np.unique(score, return_inverse=True)
    positives = np.bincount(position, weights=is_ic, minlength=values.size)
    negatives = np.bincount(position, weights=~is_ic, minlength=values.size)
    # Entry i counts what lies above values[i], that is above candidate i.
    recall = 1 - np.cumsum(positives) / positives.sum()
    specificity = np.cumsum(negatives) / negatives.sum()
    quality = recall + specificity
    # Sums of fractions that are equal on paper can differ in the last digit.
    best = int(np.flatnonzero(quality >= quality.max() - 1e-12)[-1])
    if best == values.size - 1:
        return float(values[best])
    low, high = float(values[best]), float(values[best + 1])
    middle = low + 0.5 * (high - low)
    # Between neighbouring floating-point numbers the middle rounds to one of them.
    return middle if middle < high else low


def roc_curve(score: Floats, is_ic: Booleans) -> tuple[Floats, Floats, Floats]:
    """Return the receiver operating characteristic.

    NaN scores count as the lowest of all: they are the last to be called IC.

    Parameters
    ----------
    score : (n,) float
    is_ic : (n,) bool

    Returns
    -------
    false_alarm, recall, threshold : (m,) float
        False-alarm rate and recall when every score at or above `threshold` is
        called IC, from none (threshold inf) to all; NaN where a class is absent.
    """
    score = _lowest_for_nan(score)
    values, position = np.unique(score, return_inverse=True)
    positives = np.bincount(position, weights=is_ic, minlength=values.size)[::-1]
    negatives = np.bincount(position, weights=~is_ic, minlength=values.size)[::-1]
    with np.errstate(invalid="ignore"):
        recall = np.concatenate([[0.0], np.cumsum(positives)]) / positives.sum()
        false_alarm = np.concatenate([[0.0], np.cumsum(negatives)]) / negatives.sum()
    return false_alarm, recall, np.concatenate([[np.inf], values[::-1]])


def auc(score: Floats, is_ic: Booleans) -> float:
    """Return the area under the receiver operating characteristic.

    It is the probability that an IC spectrum scores higher than a thermal one,
    ties counting half; NaN when a class is absent.
    """
    false_alarm, recall, _ = roc_curve(score, is_ic)
    return float(np.trapezoid(recall, false_alarm))


def _lowest_for_nan(score: Floats) -> Floats:
    return np.where(np.isnan(score), -np.inf, score)


# --- uncertainty --------------------------------------------------------------


def generator(seed: int, name: str) -> np.random.Generator:
    """Return the random generator that belongs to (seed, name).

    The key is a SHA-256, not Python's `hash`, which differs between processes.
    """
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))


def interval(values: Floats) -> tuple[float, float]:
    """Return the central 68.3 % interval of the values that are defined."""
    values = values[~np.isnan(values)]
    if values.size == 0:
        return math.nan, math.nan
    low, high = np.quantile(values, SIGMA_QUANTILES)
    return float(low), float(high)


def binomial(fraction: ArrayLike, total: ArrayLike) -> tuple[Floats, Floats]:
    """Return the central 68.3 % interval of fractions of `total` cases, with Jeffreys' prior.

    Unlike a resampling it is right where all cases are alike.
    """
    from scipy.special import betaincinv

    fraction, total = np.asarray(fraction, dtype=float), np.asarray(total, dtype=float)
    low, high = (
        betaincinv(total * fraction + 0.5, total * (1 - fraction) + 0.5, quantile)
        for quantile in SIGMA_QUANTILES
    )
    return low, high


@dataclass(frozen=True)
class Estimate:
    """A number with its 68.3 % interval."""

    value: float
    lo: float
    hi: float


Metric = Callable[[Confusion], float]

METRICS: dict[str, Metric] = {
    "precision": lambda counts: counts.precision,
    "recall": lambda counts: counts.recall,
    "bacc": lambda counts: counts.balanced_accuracy,
}


def estimates(
    decision: Booleans,
    is_ic: Booleans,
    repeats: int,
    random: np.random.Generator,
    metrics: Mapping[str, Metric] = METRICS,
) -> dict[str, Estimate]:
    """Return metrics with bootstrap intervals.

    Decisions are binary, so resampling within a class draws the number of
    spectra called IC from a binomial distribution; drawing that number gives
    exactly the distribution of the bootstrap without moving any spectra about.

    Parameters
    ----------
    decision, is_ic : (n,) bool
    repeats : int
        Number of bootstrap draws.
    random : numpy.random.Generator
    metrics : mapping of str to callable
        Numbers to take from a `Confusion`; by default precision, recall and
        balanced accuracy.
    """
    counts = confusion(decision, is_ic)
    positives, negatives = counts.tp + counts.fn, counts.fp + counts.tn
    tp = random.binomial(positives, counts.tp / max(positives, 1), repeats)
    fp = random.binomial(negatives, counts.fp / max(negatives, 1), repeats)
    draws = [
        Confusion(int(t), int(f), negatives - int(f), positives - int(t))
        for t, f in zip(tp, fp, strict=True)
    ]
    return {
        name: Estimate(metric(counts), *interval(np.array([metric(d) for d in draws])))
        for name, metric in metrics.items()
    }
