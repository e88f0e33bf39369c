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

from icflow.detection.metrics import METRICS, Confusion, times_drawn
from icflow.detection.roc import Curve
from icflow.typing import Booleans, Floats

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
        times = np.empty((1 + repeats, is_ic.size), dtype=np.uint16)
        for members in (is_ic, ~is_ic):
            times[:, members] = times_drawn(int(members.sum()), repeats, random)
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


# --- decisions --------------------------------------------------------------------


def of_decisions(decision: Booleans, is_ic: Booleans, weights: Floats) -> dict[str, Floats]:
    """Return precision, recall, balanced accuracy and false-alarm rate, (m,) each.

    Parameters
    ----------
    decision, is_ic : (n,) bool
    weights : (m, n) float
    """
    tp, fp = weights @ (decision & is_ic), weights @ (decision & ~is_ic)
    counts = Confusion(tp, fp, weights @ ~is_ic - fp, weights @ is_ic - tp)
    return {name: np.asarray(metric(counts)) for name, metric in METRICS.items()}


# --- scores -----------------------------------------------------------------------


def of_scores(
    score: Floats,
    is_ic: Booleans,
    recalls: Sequence[float],
    false_alarms: Sequence[float],
    weights: Floats,
) -> dict[str, Floats]:
    """Return areas under the curves, and what is reached at fixed rates, (m,) each."""
    curve = Curve.of(score, is_ic, weights)
    measures = {"auc": curve.area(), "average_precision": curve.average_precision()}
    measures |= {false_alarm_key(recall): curve.false_alarm_at(recall) for recall in recalls}
    return measures | {recall_key(rate): curve.recall_at(rate) for rate in false_alarms}


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
        for quantity, entry in (entries[0] if entries else {}).items()
        if isinstance(entry, dict) and set(entry) == {"value", "lo", "hi"}
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
