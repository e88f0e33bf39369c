"""What a set of decisions is worth, with its uncertainty.

Inverse Compton (IC) emission is the positive class. A score is a number that
is higher for spectra that look more like IC; a spectrum is called IC when its
score lies *above* the threshold. A score that could not be computed is NaN: it
claims no detection (decision False) and takes no part in choosing thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from icflow.errors import IcflowError
from icflow.typing import Booleans, Floats

# The central interval that holds as much as one standard deviation each side.
SIGMA_QUANTILES = (0.15865525393145707, 0.8413447460685429)


@dataclass(frozen=True)
class Confusion:
    """Counts of right and wrong decisions; IC is the positive class.

    They are those of one set of decisions or, as arrays, of many. A ratio
    without cases to count is NaN: `precision` when nothing is called IC,
    `recall` without IC spectra, `specificity` without thermal ones, and
    `balanced_accuracy` when either class is absent.
    """

    tp: Any
    fp: Any
    tn: Any
    fn: Any

    @property
    def precision(self) -> Any:
        """Fraction of the spectra called IC that are IC."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> Any:
        """Fraction of the IC spectra that are called IC."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def false_alarm(self) -> Any:
        """Fraction of the thermal spectra that are called IC."""
        return _ratio(self.fp, self.tn + self.fp)

    @property
    def specificity(self) -> Any:
        """Fraction of the thermal spectra that are called thermal."""
        return 1 - self.false_alarm

    @property
    def balanced_accuracy(self) -> Any:
        """Mean of recall and specificity; 0.5 is a coin toss."""
        return 0.5 * (self.recall + 1 - self.false_alarm)

    def precision_at(self, prevalence: float) -> Any:
        """Precision if the fraction `prevalence` of all spectra were IC.

        Precision depends on how common IC is among the spectra looked at; this
        takes recall and false-alarm rate from the counts and nothing else. NaN
        where either class is absent or nothing is called IC.
        """
        true, false = prevalence * self.recall, (1 - prevalence) * self.false_alarm
        return _ratio(true, true + false)


def _ratio(part: Any, whole: Any) -> Any:
    with np.errstate(invalid="ignore"):
        return np.divide(part, whole)


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


Metric = Callable[[Confusion], Any]

METRICS: dict[str, Metric] = {
    "precision": lambda counts: counts.precision,
    "recall": lambda counts: counts.recall,
    "bacc": lambda counts: counts.balanced_accuracy,
    "false_alarm": lambda counts: counts.false_alarm,
}


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


# --- uncertainty --------------------------------------------------------------


# The numbers of an estimate, and what they add to its name in tables.
ENDS = {"value": "", "lo": "_lo", "hi": "_hi"}


@dataclass(frozen=True)
class Estimate:
    """A number with its 68.3 % interval."""

    value: float
    lo: float
    hi: float

    @classmethod
    def of(cls, draws: Floats) -> Estimate:
        """Return the first of some numbers, with the interval of the others, its resamplings."""
        return cls(float(draws[0]), *interval(draws[1:]))


def numbers(estimate: Mapping[str, float | None]) -> list[float]:
    """Return value and ends of an estimate in ``metrics.json``, NaN where undefined."""
    given = (estimate[end] for end in ENDS)
    return [math.nan if number is None else number for number in given]


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


def times_drawn(size: int, repeats: int, random: np.random.Generator) -> NDArray[np.uint16]:
    """Return how often each of some spectra counts, (1 + repeats, size).

    Once in the first row; in the others as often as it is drawn, with
    replacement, among as many draws as there are spectra.
    """
    times = np.ones((1 + repeats, size), dtype=np.uint16)
    if size:
        times[1:] = random.multinomial(size, np.full(size, 1 / size), repeats)
    return times


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
        Numbers to take from a `Confusion`; by default `METRICS`.
    """
    counts = confusion(decision, is_ic)
    positives, negatives = counts.tp + counts.fn, counts.fp + counts.tn
    tp = random.binomial(positives, counts.tp / max(positives, 1), repeats)
    fp = random.binomial(negatives, counts.fp / max(negatives, 1), repeats)
    drawn = Confusion(tp, fp, negatives - fp, positives - tp)
    return {
        name: Estimate(float(metric(counts)), *interval(np.asarray(metric(drawn))))
        for name, metric in metrics.items()
    }
