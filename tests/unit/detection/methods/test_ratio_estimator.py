"""Learnt likelihood ratios as scores."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table
from by_hand import SAMPLES, WITH_IC

from icflow.config import Detector
from icflow.detection import detectors
from icflow.detection.base import RATIOS, Material
from icflow.errors import IcflowError

RATIO = Detector(title="R", method="ratio_estimator", ratio="known")


def test_a_spectrum_unlike_all_of_the_training_has_no_score() -> None:
    table = Table({"log_ratio": [-1.0, 1.0, 0.0, 9.0], "unlike": [False, False, False, True]})
    parts = {part: {"known": table} for part in ("test", "validation")}
    verdict = detectors.detect("r", RATIO, Material(SAMPLES, WITH_IC, {}, {RATIOS: parts}))
    assert (verdict.threshold, verdict.log_odds, verdict.missing) == (0.0, True, 1)
    np.testing.assert_array_equal(verdict.score, [-1.0, 1.0, 0.0, np.nan])
    assert verdict.decision.tolist() == [False, True, False, False]


def test_refuses_a_ratio_that_was_not_estimated() -> None:
    with pytest.raises(IcflowError, match=r"r: there are no results of the likelihood ratio 'kn"):
        detectors.detect("r", RATIO, Material(SAMPLES, WITH_IC, {}, {}))


def test_refuses_a_detector_without_its_ratio() -> None:
    with pytest.raises(IcflowError, match=r"detection\.detectors\.r lacks ratio"):
        detectors.method_of("r", RATIO.model_copy(update={"ratio": None}))
