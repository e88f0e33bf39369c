"""The reconstruction error of an autoencoder, as published."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table
from by_hand import CAE, TEST, material, score_table

from icflow.detection.methods.reconstruction_error import METHOD
from icflow.errors import IcflowError

HELD_OUT, VALIDATION, SCORES = [1.0, 2.0], [4.0, 6.0], [1.0, 9.0, 3.0, 8.0]


def fold() -> Table:
    """Scores of a fold, whose best threshold lies between 2 and 4."""
    return score_table(HELD_OUT, VALIDATION, SCORES)


def test_what_is_badly_reconstructed_is_called_ic() -> None:
    verdict = METHOD.judge(CAE, material({"cae": [fold()]}))
    assert verdict.threshold == 3.0
    # A score that equals the threshold is not above it.
    assert verdict.decision.tolist() == [False, True, False, True]
    np.testing.assert_array_equal(verdict.score, SCORES)
    accuracy = np.mean(verdict.decision == TEST.is_ic)
    assert verdict.fold_accuracies == (pytest.approx(accuracy),)


def test_the_mean_squared_error_is_read_and_no_other_number() -> None:
    table = fold()
    table["deviance"] = -table["R_a"]
    with_more = METHOD.judge(CAE, material({"cae": [table]}))
    np.testing.assert_array_equal(with_more.score, SCORES)
    table.remove_column("R_a")
    with pytest.raises(IcflowError, match="the scores lack the column R_a; score the network"):
        METHOD.judge(CAE, material({"cae": [table]}))


def test_a_network_that_reconstructs_worse_throughout_judges_alike() -> None:
    """Scaled to one threshold, folds that differ by a factor say the same."""
    worse = fold()
    worse["R_a"] *= 10.0
    one, both = (
        METHOD.judge(CAE, material({"cae": folds})) for folds in ([fold()], [fold(), worse])
    )
    assert both.fold_thresholds == (3.0, 30.0)
    assert both.threshold == 16.5
    np.testing.assert_allclose(both.score, one.score * 16.5 / 3.0)
    assert both.decision.tolist() == one.decision.tolist()


def test_it_needs_a_network_and_sees_ic_by_its_threshold_alone() -> None:
    assert METHOD.needs == ("network",)
    assert METHOD.sees == "threshold"
