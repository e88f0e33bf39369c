"""Combinations of detectors."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import (
    COMBINED,
    WITH_IC,
    accuracy,
    make,
    verdict_of,
)

from icflow.detection import detectors
from icflow.detection.base import Material, Verdict
from icflow.errors import IcflowError


def test_two_detectors_together_are_better_than_either() -> None:
    material, random = make(1000), np.random.default_rng(2)
    parts = {"one": verdict_of(random, 1.5, material), "other": verdict_of(random, 1.0, material)}
    known = Material(material.samples, WITH_IC, {}, {}, verdicts=parts)
    verdict = detectors.detect("x", COMBINED, known)
    single = max(
        accuracy(Verdict(p.score, material.threshold(p.validation), p.validation), material)
        for p in parts.values()
    )
    # Two normal deviates add up to one with the sum of the squared distances.
    assert single + 0.02 < accuracy(verdict, material) < 0.86
    assert verdict.unconverged == 15
    # The odds are calibrated: as many as are claimed.
    claimed = 1 / (1 + np.exp(-verdict.score))
    assert np.mean(claimed) == pytest.approx(0.5, abs=0.02)


def test_the_unit_of_a_score_does_not_matter() -> None:
    material, random = make(200), np.random.default_rng(2)
    one, other = verdict_of(random, 1.5, material), verdict_of(random, 1.0, material)
    other_unit = Verdict(np.log(other.score), 0.0, np.log(other.validation))
    scores = [
        detectors.detect(
            "x",
            COMBINED,
            Material(material.samples, WITH_IC, {}, {}, verdicts={"one": one, "other": second}),
        ).score
        for second in (other, other_unit)
    ]
    np.testing.assert_array_equal(*scores)


def test_what_is_missing_in_a_part_is_missing_in_the_whole() -> None:
    material, random = make(100), np.random.default_rng(2)
    one, other = verdict_of(random, 1.5, material), verdict_of(random, 1.0, material)
    other.score[7] = np.nan
    other.validation[:50] = np.nan
    known = Material(material.samples, WITH_IC, {}, {}, verdicts={"one": one, "other": other})
    assert np.flatnonzero(np.isnan(detectors.detect("x", COMBINED, known).score)).tolist() == [7]
    other.validation[:100] = np.nan
    with pytest.raises(IcflowError, match=r"x: a combination needs scores .* both classes"):
        detectors.detect("x", COMBINED, known)
