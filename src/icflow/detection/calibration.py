"""From a score to a probability of inverse Compton emission.

The probability is fitted to the validation spectra by isotonic regression: the
non-decreasing function of the score that comes closest to their classes. It
assumes nothing about the shape of a score's distribution, which differs from
detector to detector, and never ranks spectra against their score; a logistic
function of the score would suit a logarithm of odds and nothing else. One
spectrum more of either class, IC at the lowest score and thermal at the
highest, keeps the probabilities off 0 and 1, which no finite number of spectra
can show.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from icflow.detection.metrics import of_both_classes
from icflow.typing import Booleans, Floats

UNKNOWN = 0.5  # without a score, at even odds


def probability_of(log_odds: Floats) -> Floats:
    """Return the probabilities that logarithms of odds mean, `UNKNOWN` where there are none."""
    from scipy.special import expit

    return np.asarray(np.where(np.isnan(log_odds), UNKNOWN, expit(log_odds)))


@dataclass(frozen=True)
class Calibration:
    """A probability that does not fall as the score rises; between the points it is linear.

    Attributes
    ----------
    score, probability : (k,) float
    """

    score: Floats
    probability: Floats

    @classmethod
    def fit(cls, score: Floats, is_ic: Booleans) -> Calibration:
        """Fit the probability at even odds to spectra of known class.

        Either class counts one half, whatever its size, so the probabilities
        are those of a source that is as likely to have IC as not.

        Parameters
        ----------
        score : (n,) float
            Scores, higher for IC; those that are not finite are left out.
        is_ic : (n,) bool
            The true class.

        Raises
        ------
        IcflowError
            If the finite scores are not of both classes.
        """
        from sklearn.isotonic import IsotonicRegression

        score, is_ic = of_both_classes(
            score,
            is_ic,
            "a probability needs finite validation scores",
            "; name datasets of both classes under detection.validation",
        )
        share = np.array([0.5 / np.sum(~is_ic), 0.5 / np.sum(is_ic)])
        classes = np.append(is_ic, [True, False])
        fitted = IsotonicRegression().fit(
            np.append(score, [score.min(), score.max()]), classes, share[classes.astype(int)]
        )
        return cls(fitted.X_thresholds_, fitted.y_thresholds_)

    def apply(self, score: Floats) -> Floats:
        """Return the probability of each score; one half where it is NaN."""
        probability = np.interp(score, self.score, self.probability)
        return np.where(np.isnan(score), UNKNOWN, probability)
