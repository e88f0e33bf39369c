"""Detector: the likelihood ratio of both classes, as a network estimates it."""

from __future__ import annotations

import math

import numpy as np

from icflow.config import Detector
from icflow.detection.base import RATIOS, TEST, VALIDATION, Material, Method, Verdict
from icflow.tables import floats
from icflow.typing import Floats


def judge(detector: Detector, material: Material) -> Verdict:
    """Score by ln of the ratio of the likelihoods with and without IC.

    Each is averaged over the priors of its class and over what is wrong, from spectrum to spectrum,
    with calibration and background. The network has learnt the ratio from simulated spectra of
    both (`icflow.networks.ratio`); the threshold is 0, even odds. A spectrum unlike all of these
    has no score.
    """
    test, validation = (_log_ratio(material, part, detector.ratio) for part in (TEST, VALIDATION))
    return Verdict(test, 0.0, validation, log_odds=True)


def _log_ratio(material: Material, part: str, ratio: str | None) -> Floats:
    """Return ln of the likelihood ratio of each spectrum of a part, NaN for those unlike."""
    table = material.result(RATIOS, part, ratio)
    unlike = np.asarray(table["unlike"], dtype=bool)
    return np.where(unlike, math.nan, floats(table, "log_ratio"))


METHOD = Method(judge, needs=("ratio",), sees="priors", reads=RATIOS)
