"""Detectors on tables small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from icflow.config import Dataset, Detector
from icflow.detection import detectors
from icflow.errors import IcflowError

WITH_IC = {"train": False, "val": True, "hot": False, "ic": True}
TEST = detectors.Sample(
    dataset=np.array(["hot", "hot", "ic", "ic"]),
    index=np.array([0, 1, 0, 1]),
    is_ic=np.array([False, False, True, True]),
)
CAE = Detector(title="CAE", method="reconstruction_error", network="cae")
RULE = Detector(title="Rule", method="cstat_rule", thermal="2T", alternative="IC")


def score_table(holdout: list[float], validation: list[float], test: list[float]) -> Table:
    rows = [("train", i, "selection", 1e6) for i in range(3)]
    rows += [("train", 10 + i, "holdout", r) for i, r in enumerate(holdout)]
    rows += [("val", i, "validation", r) for i, r in enumerate(validation)]
    # Test rows in an order of their own.
    rows += [(TEST.dataset[i], TEST.index[i], "test", test[i]) for i in (3, 0, 2, 1)]
    return Table(rows=rows, names=["dataset", "index", "part", "R_a"])


def fit_table(cstat: list[float], dof: list[int], converged: list[bool] | None = None) -> Table:
    return Table(
        {"cstat": cstat, "dof": dof, "converged": converged or [True] * len(cstat)},
    )


def evidence(scores: dict | None = None, fits: dict | None = None) -> detectors.Evidence:
    return detectors.Evidence(TEST, WITH_IC, scores or {}, fits or {})


def test_class_is_whether_the_scenario_differs_from_training() -> None:
    datasets = {
        "train": Dataset(scenario="2T", size=5),
        "other": Dataset(scenario="1T+IC", size=5),
        "same": Dataset(scenario="2T", size=9),
    }
    assert detectors.with_ic(datasets, "train") == {"train": False, "other": True, "same": False}


def test_reconstruction_error_takes_medians_over_folds() -> None:
    folds = [
        score_table([1.0, 2.0], [4.0, 6.0], [1.0, 9.0, 3.0, 8.0]),  # threshold 3
        score_table([1.0, 2.0], [6.0, 7.0], [2.0, 9.0, 5.0, 9.0]),  # threshold 4
        score_table([1.0, 8.0], [10.0, 11.0], [2.5, 1.0, 6.0, 7.0]),  # threshold 9
    ]
    verdict = detectors.detect("cae", CAE, evidence({"cae": folds}))
    assert verdict.fold_thresholds == (3.0, 4.0, 9.0)
    assert verdict.threshold == 4.0
    assert verdict.score.tolist() == [2.0, 9.0, 5.0, 8.0]
    assert verdict.decision.tolist() == [False, True, True, True]
    assert verdict.missing == 0


def test_reconstruction_error_without_a_number_claims_nothing() -> None:
    table = score_table([1.0, np.nan], [4.0, 6.0], [np.nan, 9.0, np.nan, 8.0])
    verdict = detectors.detect("cae", CAE, evidence({"cae": [table]}))
    assert verdict.threshold == 2.5
    assert verdict.decision.tolist() == [False, True, False, True]
    assert verdict.missing == 2


def test_reconstruction_error_needs_scores_of_its_network() -> None:
    with pytest.raises(IcflowError, match=r"detectors\.cae: .*no scores of the network 'cae'"):
        detectors.detect("cae", CAE, evidence({"ae": []}))


def test_reconstruction_error_needs_every_test_spectrum() -> None:
    table = score_table([1.0, 2.0], [4.0, 6.0], [1.0, 2.0, 3.0, 4.0])
    with pytest.raises(IcflowError, match="dataset ic: no row for spectrum 1"):
        detectors.detect("cae", CAE, evidence({"cae": [table[table["R_a"] != 4.0]]}))


def test_validation_of_one_class_is_refused() -> None:
    table = score_table([1.0, 2.0], [], [1.0, 2.0, 3.0, 4.0])
    with pytest.raises(IcflowError, match=r"detectors\.cae: .*both classes.*detection\.validation"):
        detectors.detect("cae", CAE, evidence({"cae": [table]}))


def test_cstat_rule_takes_the_fit_closer_to_one() -> None:
    thermal = fit_table([110.0, 104.0, 95.0, 100.0], [100] * 4)
    alternative = fit_table([105.0, 106.0, 104.0, 100.0], [100] * 4)
    verdict = detectors.detect("rule", RULE, evidence(fits={"2T": thermal, "IC": alternative}))
    np.testing.assert_allclose(verdict.score, [0.05, -0.02, 0.01, 0.0], atol=1e-12)
    # Equally close is no detection.
    assert verdict.decision.tolist() == [True, False, True, False]
    assert verdict.threshold == 0.0
    assert verdict.fold_thresholds == ()


def test_cstat_rule_survives_failed_fits_and_counts_them() -> None:
    thermal = fit_table([np.nan, 120.0, 120.0, np.inf], [100, 0, 100, 100], [False] * 4)
    alternative = fit_table([100.0] * 4, [100] * 4)
    verdict = detectors.detect("rule", RULE, evidence(fits={"2T": thermal, "IC": alternative}))
    assert verdict.decision.tolist() == [False, False, True, False]
    assert verdict.missing == 3
    assert verdict.unconverged == 1


def test_cstat_rule_treats_masked_numbers_as_missing() -> None:
    thermal = Table(fit_table([110.0] * 4, [100] * 4), masked=True)
    thermal["cstat"].mask = [True, False, False, False]
    verdict = detectors.detect(
        "rule", RULE, evidence(fits={"2T": thermal, "IC": fit_table([100.0] * 4, [100] * 4)})
    )
    assert verdict.missing == 1


def test_cstat_rule_needs_both_fits() -> None:
    with pytest.raises(IcflowError, match=r"detectors\.rule: there are no results of the fit 'IC'"):
        detectors.detect("rule", RULE, evidence(fits={"2T": fit_table([1.0] * 4, [1] * 4)}))


@pytest.mark.parametrize(
    ("detector", "message"),
    [
        (Detector(title="X", method="guess"), r"x\.method is 'guess', allowed: cstat_rule, rec"),
        (Detector(title="X", method="reconstruction_error"), "x lacks network"),
        (Detector(title="X", method="cstat_rule", thermal="2T"), "x lacks alternative"),
        (Detector(title="X", method="cstat_rule"), "x lacks thermal and alternative"),
    ],
)
def test_detectors_without_their_inputs_are_refused(detector: Detector, message: str) -> None:
    with pytest.raises(IcflowError, match=message):
        detectors.check("x", detector)
