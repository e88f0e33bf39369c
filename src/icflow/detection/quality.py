"""How good a detector is, under one resampling of the spectra that all detectors share.

Every number is computed for the test spectra as they are and for each
resampling of them. Since the resamplings are the same for all detectors, the
difference of two detectors in each of them is the difference on the same
spectra: its scatter leaves out what both have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icflow.detection.metrics import Estimate, interval
from icflow.typing import Booleans, Floats, Indices

# Spectra times resamplings that are worked on at once, so that memory stays small.
BLOCK = 1_000_000
TITLES = {
    "precision": "Precision",
    "recall": "Recall",
    "bacc": "Balanced accuracy",
    "false_alarm": "False-alarm rate",
    "auc": "Area under ROC",
    "average_precision": "Average precision",
    "brier": "Brier score",
    "log_loss": "Log loss",
    "ece": "Calibration error",
}
_AT_RECALL, _AT_FALSE_ALARM = "false_alarm_at_recall_", "recall_at_false_alarm_"
SMALLEST = 1e-12  # probability of what happened, for a detector that was sure of the contrary
BINS = 10  # of probability, for the calibration error


@dataclass(frozen=True)
class Resampling:
    """The test spectra, and how often each of them is drawn.

    Attributes
    ----------
    is_ic : (n,) bool
        The true class.
    times : (1 + repeats, n) int
        How often each spectrum counts: once in the first row, as often as it
        was drawn in the others.
    """

    is_ic: Booleans
    times: NDArray[np.uint16]

    @classmethod
    def draw(cls, is_ic: Booleans, repeats: int, random: np.random.Generator) -> Resampling:
        """Draw with replacement as many spectra of each class as there are.

        Resampling within the classes keeps their sizes, which the simulation chose.
        """
        times = np.ones((1 + repeats, is_ic.size), dtype=np.uint16)
        for members in (is_ic, ~is_ic):
            size = int(members.sum())
            if size:
                times[1:, members] = random.multinomial(size, np.full(size, 1 / size), repeats)
        return cls(is_ic, times)

    def apply(self, measure: Callable[[Floats], Mapping[str, Floats]]) -> dict[str, Floats]:
        """Return numbers for the spectra as they are (first) and for every resampling.

        Parameters
        ----------
        measure : callable
            From weights of the spectra, (m, n), to named numbers, (m,) each.
        """
        rows = max(1, BLOCK // max(self.is_ic.size, 1))
        blocks = [
            measure(self.times[first : first + rows].astype(np.float64))
            for first in range(0, len(self.times), rows)
        ]
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def estimate(draws: Floats) -> Estimate:
    """Return the number on the spectra as they are, with its 68.3 % interval."""
    return Estimate(float(draws[0]), *interval(draws[1:]))


# --- decisions --------------------------------------------------------------------


def of_decisions(decision: Booleans, is_ic: Booleans, weights: Floats) -> dict[str, Floats]:
    """Return precision, recall, balanced accuracy and false-alarm rate, (m,) each.

    Parameters
    ----------
    decision, is_ic : (n,) bool
    weights : (m, n) float
    """
    tp, fp = weights @ (decision & is_ic), weights @ (decision & ~is_ic)
    with np.errstate(invalid="ignore"):
        recall, false_alarm = tp / (weights @ is_ic), fp / (weights @ ~is_ic)
        return {
            "precision": tp / (tp + fp),
            "recall": recall,
            "bacc": 0.5 * (recall + 1 - false_alarm),
            "false_alarm": false_alarm,
        }


# --- scores -----------------------------------------------------------------------


@dataclass(frozen=True)
class Curve:
    """What happens as the threshold falls, from nothing called IC to everything.

    Attributes
    ----------
    false_alarm, recall, precision : (m, k) float
        Rates at each distinct score, for each set of weights; equal scores are
        never told apart. The first column is that of no detection, where the
        precision is that of the highest score.
    """

    false_alarm: Floats
    recall: Floats
    precision: Floats

    @classmethod
    def of(cls, score: Floats, is_ic: Booleans, weights: Floats) -> Curve:
        """Return the curve of a score; NaN is the lowest of all."""
        known = np.where(np.isnan(score), -np.inf, score)
        order = np.argsort(-known, kind="stable")
        ends = np.flatnonzero(np.append(known[order][1:] != known[order][:-1], True))
        sorted_weights = weights[:, order]
        tp = np.cumsum(sorted_weights * is_ic[order], axis=1)[:, ends]
        fp = np.cumsum(sorted_weights * ~is_ic[order], axis=1)[:, ends]
        zero = np.zeros((len(weights), 1))
        with np.errstate(invalid="ignore"):
            precision = tp / (tp + fp)
            return cls(
                np.concatenate([zero, fp / fp[:, -1:]], axis=1),
                np.concatenate([zero, tp / tp[:, -1:]], axis=1),
                np.concatenate([precision[:, :1], precision], axis=1),
            )

    def area(self) -> Floats:
        """Return the area under recall against false-alarm rate; ties count half."""
        return np.asarray(np.trapezoid(self.recall, self.false_alarm, axis=1))

    def average_precision(self) -> Floats:
        """Return the mean precision over the steps in recall."""
        steps = np.diff(self.recall, axis=1)
        # Before the first spectrum is called IC there is no precision, nor a step.
        gains = np.where(steps > 0, steps * self.precision[:, 1:], steps * 0)
        return np.asarray(gains.sum(axis=1))

    def false_alarm_at(self, recall: float) -> Floats:
        """Return the lowest false-alarm rate at which a recall is reached.

        Between two scores it is interpolated, as if ties were broken by chance.
        """
        return _crossing(
            self.recall, self.false_alarm, np.sum(self.recall < recall, axis=1), recall
        )

    def recall_at(self, false_alarm: float) -> Floats:
        """Return the highest recall that a false-alarm rate allows, interpolated likewise."""
        above = np.sum(self.false_alarm <= false_alarm, axis=1)
        return _crossing(self.false_alarm, self.recall, above, false_alarm)


def _crossing(x: Floats, y: Floats, after: Indices, wanted: float) -> Floats:
    """Return y where x, increasing along each row, reaches `wanted` just before column `after`."""
    rows = np.arange(len(x))
    right = np.minimum(after, x.shape[1] - 1)
    left = np.maximum(after - 1, 0)
    x0, x1, y0, y1 = x[rows, left], x[rows, right], y[rows, left], y[rows, right]
    part = np.divide(wanted - x0, x1 - x0, out=np.zeros_like(x0), where=x1 > x0)
    return np.asarray(np.where(np.isnan(x[:, -1]), np.nan, y0 + part * (y1 - y0)))


def of_scores(
    score: Floats,
    is_ic: Booleans,
    recalls: Sequence[float],
    false_alarms: Sequence[float],
    weights: Floats,
) -> dict[str, Floats]:
    """Return areas under the curves, and what is reached at fixed rates, (m,) each."""
    curve = Curve.of(score, is_ic, weights)
    found = {"auc": curve.area(), "average_precision": curve.average_precision()}
    found |= {false_alarm_key(recall): curve.false_alarm_at(recall) for recall in recalls}
    return found | {recall_key(rate): curve.recall_at(rate) for rate in false_alarms}


def false_alarm_key(recall: float) -> str:
    """Return the name of the false-alarm rate at a recall."""
    return f"{_AT_RECALL}{recall:g}"


def recall_key(false_alarm: float) -> str:
    """Return the name of the recall at a false-alarm rate."""
    return f"{_AT_FALSE_ALARM}{false_alarm:g}"


def title(quantity: str) -> str:
    """Return what a quantity is called in tables."""
    if quantity.startswith(_AT_RECALL):
        return f"False alarms at recall {quantity.removeprefix(_AT_RECALL)}"
    if quantity.startswith(_AT_FALSE_ALARM):
        rate = float(quantity.removeprefix(_AT_FALSE_ALARM))
        return f"Recall at {100 * rate:g} % false alarms"
    return TITLES[quantity]


def measured(metrics: Mapping[str, Any]) -> list[str]:
    """Return the names of the numbers with intervals in ``metrics.json``."""
    entries = list(metrics["detectors"].values())
    return [
        quantity
        for quantity, found in (entries[0] if entries else {}).items()
        if isinstance(found, dict) and set(found) == {"value", "lo", "hi"}
    ]


# --- probabilities ------------------------------------------------------------------


def of_probabilities(probability: Floats, is_ic: Booleans, weights: Floats) -> dict[str, Floats]:
    """Return Brier score, log loss and expected calibration error, (m,) each.

    Either class counts one half, whatever its size: the probabilities are those
    at even odds. The calibration error is the mean distance of the fraction of
    IC from the mean probability in `BINS` equal bins of probability; what chance
    adds to it in a sample of this size is taken off in each bin, in quadrature.
    """
    if is_ic.all() or not is_ic.any():
        return dict.fromkeys(("brier", "log_loss", "ece"), np.full(len(weights), np.nan))
    share = np.array([0.5 / np.sum(~is_ic), 0.5 / np.sum(is_ic)])
    weights = weights * share[is_ic.astype(int)]
    excess, right = is_ic - probability, np.where(is_ic, probability, 1 - probability)
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    noise = probability * (1 - probability)
    error = np.zeros(len(weights))
    for number in range(BINS):
        here = bins == number
        # A spectrum that was drawn twice counts four times: so resamplings, which add noise of
        # their own, lose as much more.
        variance = weights[:, here] ** 2 @ noise[here]
        error += np.sqrt(np.maximum((weights[:, here] @ excess[here]) ** 2 - variance, 0))
    return {
        "brier": weights @ excess**2,
        "log_loss": weights @ -np.log(np.maximum(right, SMALLEST)),
        "ece": error,
    }
