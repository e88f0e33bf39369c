"""The receiver operating characteristic, and the threshold that is best on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from icflow.detection.metrics import of_both_classes
from icflow.typing import Booleans, Floats, Indices


def lowest_for_nan(score: Floats) -> Floats:
    """Return scores of which NaN is the lowest: the last to be called IC."""
    return np.where(np.isnan(score), -np.inf, score)


@dataclass(frozen=True)
class Curve:
    """What happens as the threshold falls, from nothing called IC to everything.

    Attributes
    ----------
    scores : (k - 1,) float
        The distinct scores, falling.
    false_alarm, recall, precision : (m, k) float
        Rates at each distinct score, for each set of weights; equal scores are
        never told apart. The first column is that of no detection, where the
        precision is that of the highest score. NaN where a class is absent.
    """

    scores: Floats
    false_alarm: Floats
    recall: Floats
    precision: Floats

    @classmethod
    def of(cls, score: Floats, is_ic: Booleans, weights: Floats | None = None) -> Curve:
        """Return the curve of a score; NaN is the lowest of all.

        Parameters
        ----------
        score : (n,) float
        is_ic : (n,) bool
            The true class.
        weights : (m, n) float, optional
            How often each spectrum counts; by default once.
        """
        if weights is None:
            weights = np.ones((1, score.size))
        score = lowest_for_nan(score)
        order = np.argsort(-score, kind="stable")
        falling = score[order]
        ends = np.flatnonzero(np.append(falling[1:] != falling[:-1], True)[: score.size])
        sorted_weights = weights[:, order]
        tp = np.cumsum(sorted_weights * is_ic[order], axis=1)[:, ends]
        fp = np.cumsum(sorted_weights * ~is_ic[order], axis=1)[:, ends]
        zero = np.zeros((len(weights), 1))
        with np.errstate(invalid="ignore"):
            precision = tp / (tp + fp)
            return cls(
                falling[ends],
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


def auc(score: Floats, is_ic: Booleans) -> float:
    """Return the area under the receiver operating characteristic.

    It is the probability that an IC spectrum scores higher than a thermal one,
    ties counting half; NaN when a class is absent.
    """
    return float(Curve.of(score, is_ic).area()[0])


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
    curve = Curve.of(score, is_ic)
    quality = curve.recall[0] - curve.false_alarm[0]
    # Sums of fractions that are equal on paper can differ in the last digit. To call everything
    # IC is as good as to call nothing IC, and never the highest candidate.
    best = int(np.flatnonzero(quality >= quality.max() - 1e-12)[0])
    if best == 0:
        return float(curve.scores[0])
    high, low = float(curve.scores[best - 1]), float(curve.scores[best])
    middle = low + 0.5 * (high - low)
    # Between neighbouring floating-point numbers the middle rounds to one of them.
    return middle if middle < high else low
