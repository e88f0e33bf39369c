"""What detectors learn from fits, whichever of them."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import (
    CLASSIFIER,
    DENSITY,
    DISCRIMINANT,
    NAMES,
    make,
)

from icflow.config import Detector
from icflow.detection import detectors
from icflow.detection.base import FITS
from icflow.detection.fits import fitted
from icflow.errors import IcflowError


def test_the_order_of_like_components_does_not_matter() -> None:
    material = make(40)
    table = material.results[FITS]["test"]["2T"]
    swapped = table.copy()
    for parameter in ("kT", "norm"):
        one, other = f"apec.{parameter}", f"apec_3.{parameter}"
        swapped[one], swapped[other] = table[other], table[one]
    np.testing.assert_array_equal(fitted(swapped, "").values, fitted(table, "").values)
    found = fitted(table, "")
    cool, hot = (found.values[:, found.names.index(f"{n}.kT")] for n in ("apec", "apec_3"))
    assert (cool <= hot).all()


@pytest.mark.parametrize("detector", [CLASSIFIER, DISCRIMINANT])
def test_what_learns_is_the_same_each_time(detector: Detector) -> None:
    one, other = (detectors.detect("c", detector, make()) for _ in range(2))
    np.testing.assert_array_equal(one.score, other.score)
    assert one.importances == other.importances


def test_spectra_without_both_fits_have_no_score() -> None:
    material = make(60)
    for part in ("training", "test"):
        material.results[FITS][part]["2T"]["cstat"][3] = np.nan
        for name in NAMES:
            material.results[FITS][part]["2T"][name][3] = np.nan
    for detector in (CLASSIFIER, DISCRIMINANT, DENSITY):
        verdict = detectors.detect("x", detector, material)
        assert np.flatnonzero(np.isnan(verdict.score)).tolist() == [3]
        assert (verdict.missing, verdict.unconverged) == (1, 0)


@pytest.mark.parametrize("detector", [CLASSIFIER, DISCRIMINANT, DENSITY])
def test_too_few_spectra_to_learn_from(detector: Detector) -> None:
    with pytest.raises(IcflowError, match=r"x: there are fits of 10 training spectra.*fitted"):
        detectors.detect("x", detector, make(10))


@pytest.mark.parametrize("detector", [CLASSIFIER, DISCRIMINANT])
def test_fits_of_other_parameters_are_refused(detector: Detector) -> None:
    material = make(40)
    material.results[FITS]["test"]["2T"].meta["free"] = list(NAMES[:2])
    with pytest.raises(IcflowError, match="the fits of the test spectra have other parameters"):
        detectors.detect("x", detector, material)
    del material.results[FITS]["test"]["2T"].meta["free"]
    with pytest.raises(IcflowError, match="do not say what was free"):
        detectors.detect("x", detector, material)
