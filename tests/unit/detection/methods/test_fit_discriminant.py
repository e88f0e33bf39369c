"""A linear discriminant on two fits."""

from __future__ import annotations

import numpy as np
from made_up import (
    DISCRIMINANT,
    accuracy,
    make,
)

from icflow.detection import detectors
from icflow.detection.base import FITS


def test_the_discriminant_learns_from_few_spectra() -> None:
    material = make(40)
    verdict = detectors.detect("d", DISCRIMINANT, material)
    assert accuracy(verdict, material) > 0.9
    assert len(set(verdict.score)) == 80, "no two spectra share a score"
    # Backgrounds are not the source: they say nothing.
    for tables in material.results[FITS].values():
        for table in tables.values():
            table["background.lines"] = np.arange(len(table)) ** 2.0
    np.testing.assert_array_equal(
        detectors.detect("d", DISCRIMINANT, material).score, verdict.score
    )
