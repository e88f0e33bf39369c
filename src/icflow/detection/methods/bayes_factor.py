"""Detector: how probable a spectrum is under the priors of both classes."""

from __future__ import annotations

import math

import numpy as np

from icflow.config import Detector
from icflow.detection.base import INTEGRALS, PAIR, TEST, VALIDATION, Material, Method, Verdict
from icflow.tables import floats
from icflow.typing import Floats

# Fewer effective points than this make an evidence uncertain.
FEWEST = 50


def judge(detector: Detector, material: Material) -> Verdict:
    """Score by the logarithm of the odds of IC, for classes that are equally frequent.

    The evidence of a class is the likelihood of the spectrum averaged over the
    priors that the class is simulated with. If spectra come from these priors,
    the ratio of the evidences gives the probability of IC itself, and no other
    function of the spectrum tells the classes apart better (the lemma of Neyman
    and Pearson). The threshold is 0, even odds, and nothing is learnt. An
    evidence that rests on few points is used as it is, and counted.
    """
    test, validation = (
        log_evidence(material, part, detector.alternative)
        - log_evidence(material, part, detector.thermal)
        for part in (TEST, VALIDATION)
    )
    effective = [
        floats(material.result(INTEGRALS, TEST, name), "effective")
        for name in (detector.alternative, detector.thermal)
    ]
    uncertain = (np.min(effective, axis=0) < FEWEST) & np.isfinite(test)
    return Verdict(test, 0.0, validation, unconverged=int(uncertain.sum()), log_odds=True)


def log_evidence(material: Material, part: str, integral: str | None) -> Floats:
    """Return the logarithm of an evidence of each spectrum of a part, NaN where there is none."""
    values = floats(material.result(INTEGRALS, part, integral), "log_evidence")
    return np.where(np.isfinite(values), values, math.nan)


METHOD = Method(judge, needs=PAIR, sees="priors", reads=INTEGRALS)
