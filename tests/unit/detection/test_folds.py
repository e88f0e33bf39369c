"""Judging by the networks of several folds."""

from __future__ import annotations

import numpy as np
import pytest
from by_hand import (
    CAE,
    DELTA,
    SAMPLES,
    WITH_IC,
    fit_table,
    material,
    score_table,
)

from icflow.detection import detectors
from icflow.detection.base import FITS, Material, Sample
from icflow.errors import IcflowError


def test_reconstruction_error_takes_medians_over_folds_of_one_threshold() -> None:
    folds = [
        score_table([1.0, 2.0], [4.0, 6.0], [1.0, 9.0, 3.0, 8.0]),  # threshold 3
        score_table([1.0, 2.0], [6.0, 7.0], [2.0, 9.0, 5.0, 9.0]),  # threshold 4
        score_table([1.0, 8.0], [10.0, 11.0], [2.5, 1.0, 6.0, 7.0]),  # threshold 9
    ]
    verdict = detectors.detect("cae", CAE, material({"cae": folds}))
    assert verdict.fold_thresholds == (3.0, 4.0, 9.0)
    assert verdict.threshold == 4.0
    # Scaled by 4/3, 1 and 4/9.
    np.testing.assert_allclose(verdict.score, [4 / 3, 9.0, 4.0, 9.0])
    np.testing.assert_allclose(verdict.fold_accuracies, [0.5, 0.75, 0.5])
    assert verdict.decision.tolist() == [False, True, False, True]  # as most folds say
    assert verdict.missing == 0


def test_reconstruction_error_without_a_number_claims_nothing() -> None:
    table = score_table([1.0, np.nan], [4.0, 6.0], [np.nan, 9.0, np.nan, 8.0])
    verdict = detectors.detect("cae", CAE, material({"cae": [table]}))
    assert verdict.threshold == 2.5
    assert verdict.decision.tolist() == [False, True, False, True]
    assert verdict.missing == 2


def test_reconstruction_error_needs_scores_of_its_network() -> None:
    with pytest.raises(IcflowError, match=r"detectors\.cae: .*no scores of the network 'cae'"):
        detectors.detect("cae", CAE, material({"ae": []}))


def test_reconstruction_error_needs_every_test_spectrum() -> None:
    table = score_table([1.0, 2.0], [4.0, 6.0], [1.0, 2.0, 3.0, 4.0])
    with pytest.raises(IcflowError, match="dataset ic: no row for spectrum 1"):
        detectors.detect("cae", CAE, material({"cae": [table[table["R_a"] != 4.0]]}))


def test_validation_of_one_class_is_refused() -> None:
    table = score_table([1.0, 2.0], [np.nan, np.nan], [1.0, 2.0, 3.0, 4.0])
    with pytest.raises(IcflowError, match=r"detectors\.cae: .*both classes.*detection\.validation"):
        detectors.detect("cae", CAE, material({"cae": [table]}))
    fits = {name: fit_table([100.0] * 4, [100] * 4) for name in ("2T", "IC")}
    one = Sample.of({"cold": 4}, WITH_IC)
    parts = {FITS: {"test": fits, "validation": fits}}
    found = Material(SAMPLES | {"validation": one}, WITH_IC, {}, parts)
    with pytest.raises(IcflowError, match=r"x: .*0 with and 4 without IC.*detection\.validation"):
        detectors.detect("x", DELTA, found)
