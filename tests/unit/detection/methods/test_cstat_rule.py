"""The published rule for pairs of fits."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table
from by_hand import (
    RULE,
    fit_table,
    material,
)

from icflow.detection import detectors
from icflow.errors import IcflowError


def test_cstat_rule_takes_the_fit_closer_to_one() -> None:
    thermal = fit_table([110.0, 104.0, 95.0, 100.0], [100] * 4)
    alternative = fit_table([105.0, 106.0, 104.0, 100.0], [100] * 4)
    verdict = detectors.detect("rule", RULE, material(fits={"2T": thermal, "IC": alternative}))
    np.testing.assert_allclose(verdict.score, [0.05, -0.02, 0.01, 0.0], atol=1e-12)
    # Equally close is no detection.
    assert verdict.decision.tolist() == [True, False, True, False]
    assert verdict.threshold == 0.0
    assert verdict.fold_thresholds == ()


def test_cstat_rule_survives_failed_fits_and_counts_them() -> None:
    thermal = fit_table([np.nan, 120.0, 120.0, np.inf], [100, 0, 100, 100], [False] * 4)
    alternative = fit_table([100.0] * 4, [100] * 4)
    verdict = detectors.detect("rule", RULE, material(fits={"2T": thermal, "IC": alternative}))
    assert verdict.decision.tolist() == [False, False, True, False]
    assert verdict.missing == 3
    assert verdict.unconverged == 1


def test_cstat_rule_treats_masked_numbers_as_missing() -> None:
    thermal = Table(fit_table([110.0] * 4, [100] * 4), masked=True)
    thermal["cstat"].mask = [True, False, False, False]
    verdict = detectors.detect(
        "rule", RULE, material(fits={"2T": thermal, "IC": fit_table([100.0] * 4, [100] * 4)})
    )
    assert verdict.missing == 1


def test_cstat_rule_needs_both_fits() -> None:
    with pytest.raises(IcflowError, match=r"detectors\.rule: there are no results of the fit 'IC'"):
        detectors.detect("rule", RULE, material(fits={"2T": fit_table([1.0] * 4, [1] * 4)}))
