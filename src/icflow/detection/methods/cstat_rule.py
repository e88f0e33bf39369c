"""Detector: the published rule for pairs of fits."""

from __future__ import annotations

import numpy as np

from icflow.config import Detector
from icflow.detection.base import PAIR, TEST, VALIDATION, Material, Method, Verdict
from icflow.detection.fits import pair, reduced_cstat, unconverged


def judge(detector: Detector, material: Material) -> Verdict:
    """Call IC where the fit with IC has C/dof closer to 1 (Lin et al. 2024).

    The score is ``|C/dof - 1|`` of the thermal fit minus that of the fit with
    IC, the threshold 0. Fits that did not converge are used as they ended, as
    published, and counted; without a finite C or degrees of freedom there is no
    score.
    """
    test, validation = (
        np.abs(thermal - 1) - np.abs(alternative - 1)
        for thermal, alternative in (
            [reduced_cstat(table) for table in pair(detector, material, part)]
            for part in (TEST, VALIDATION)
        )
    )
    return Verdict(test, 0.0, validation, unconverged=unconverged(detector, material, test))


METHOD = Method(judge, needs=PAIR, sees="never")
