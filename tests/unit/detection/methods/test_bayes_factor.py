"""The ratio of evidences."""

from __future__ import annotations

import numpy as np
import pytest
from by_hand import (
    BAYES,
    SAMPLES,
    WITH_IC,
    integral_table,
)

from icflow.detection import detectors
from icflow.detection.base import INTEGRALS, Material
from icflow.errors import IcflowError


def test_bayes_factor_is_the_ratio_of_evidences() -> None:
    integrals = {
        "2T": integral_table([-10.0, -20.0, -30.0, np.nan]),
        "IC": integral_table([-11.0, -19.0, -30.0, -5.0], [300.0, 20.0, 300.0, 300.0]),
    }
    parts = {"test": integrals, "validation": integrals}
    found = Material(SAMPLES, WITH_IC, {}, {INTEGRALS: parts})
    verdict = detectors.detect("b", BAYES, found)
    assert verdict.threshold == 0.0
    assert verdict.log_odds
    assert verdict.score[:3].tolist() == [-1.0, 1.0, 0.0]
    # Even odds are no detection, and neither is what could not be computed.
    assert verdict.decision.tolist() == [False, True, False, False]
    assert (verdict.missing, verdict.unconverged) == (1, 1)
    with pytest.raises(IcflowError, match=r"b: there are no results of the integral 'IC'"):
        detectors.detect("b", BAYES, Material(SAMPLES, WITH_IC, {}, {}))
