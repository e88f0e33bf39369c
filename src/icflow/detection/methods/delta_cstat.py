"""Detector: the likelihoods of a pair of fits."""

from __future__ import annotations

import numpy as np

from icflow.config import Detector
from icflow.detection.base import PAIR, TEST, VALIDATION, Material, Method, Verdict
from icflow.detection.fits import pair, statistic, unconverged


def judge(detector: Detector, material: Material) -> Verdict:
    """Score by how much lower C is with IC than without: C(thermal) − C(with IC).

    Both fits are of the same bins, so this is twice the logarithm of the ratio
    of their likelihoods. The threshold is that of the highest balanced accuracy
    on the validation spectra.
    """
    test, validation = (
        np.subtract(*(statistic(table) for table in pair(detector, material, part)))
        for part in (TEST, VALIDATION)
    )
    return material.verdict(test, validation, unconverged=unconverged(detector, material, test))


METHOD = Method(judge, needs=PAIR, sees="threshold")
