"""The density of the parameters of thermal fits."""

from __future__ import annotations

import numpy as np
from made_up import (
    DENSITY,
    WITH_IC,
    accuracy,
    make,
)

from icflow.detection import detectors
from icflow.detection.base import FITS, Material


def test_unusual_parameters_stand_out_though_no_ic_was_learnt() -> None:
    material = make()
    fits = material.results[FITS]
    learnt = {name: table[:0] for name, table in fits["training_ic"].items()}
    blind = Material(material.samples, WITH_IC, {}, {FITS: {**fits, "training_ic": learnt}})
    verdict = detectors.detect("d", DENSITY, blind)
    assert accuracy(verdict, material) > 0.85
    # The background is the same for all: it says nothing.
    for part in ("training", "validation", "test"):
        fits[part]["2T"]["background.lines"] *= 1e3
    np.testing.assert_array_equal(detectors.detect("d", DENSITY, material).score, verdict.score)


def test_a_norm_of_zero_is_a_number_like_others() -> None:
    material = make(60)
    material.results[FITS]["test"]["2T"]["apec.norm"][5] = 0.0
    assert np.isfinite(detectors.detect("d", DENSITY, material).score).all()
