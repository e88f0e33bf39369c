"""The difference of C of two fits."""

from __future__ import annotations

import numpy as np
import pytest
from by_hand import (
    DELTA,
    fit_table,
    material,
)

from icflow.detection import detectors
from icflow.errors import IcflowError


def test_delta_cstat_takes_its_threshold_from_the_validation_spectra() -> None:
    fits = {
        "2T": fit_table([110.0, 104.0, 95.0, np.nan], [100] * 4),
        "IC": fit_table([105.0, 106.0, 80.0, 100.0], [98] * 4),
    }
    validation = {
        "2T": fit_table([100.0, 103.0, 107.0, 109.0], [100] * 4),
        "IC": fit_table([100.0] * 4, [98] * 4),
    }
    verdict = detectors.detect("delta", DELTA, material(fits=fits, validation=validation))
    np.testing.assert_array_equal(verdict.score, [5.0, -2.0, 15.0, np.nan])
    np.testing.assert_array_equal(verdict.validation, [0.0, 3.0, 7.0, 9.0])
    assert verdict.threshold == 5.0
    assert verdict.decision.tolist() == [False, False, True, False]
    assert (verdict.missing, verdict.unconverged) == (1, 0)


def test_delta_cstat_needs_fits_of_the_validation_spectra() -> None:
    fits = {name: fit_table([100.0] * 4, [100] * 4) for name in ("2T", "IC")}
    with pytest.raises(IcflowError, match=r"no results of the fit '2T'; fit the validation"):
        detectors.detect("delta", DELTA, material(fits=fits, validation={}))
