"""Detectors on tables small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from icflow import config as configuration
from icflow.config import Config, Dataset, Detector
from icflow.detection import detectors
from icflow.detection.base import Material, Sample, with_ic
from icflow.detection.methods.latent_density import improbability
from icflow.errors import IcflowError

WITH_IC = {"train": False, "cold": False, "val": True, "hot": False, "ic": True}
SIZES = {
    "training": {"train": 4},
    "training_ic": {},
    "validation": {"cold": 2, "val": 2},
    "test": {"hot": 2, "ic": 2},
}
SAMPLES = {part: Sample.of(sizes, WITH_IC) for part, sizes in SIZES.items()}
TEST = SAMPLES["test"]
CAE = Detector(title="CAE", method="reconstruction_error", network="cae")
RULE = Detector(title="Rule", method="cstat_rule", thermal="2T", alternative="IC")
DELTA = Detector(title="ΔC", method="delta_cstat", thermal="2T", alternative="IC")


def score_table(holdout: list[float], validation: list[float], test: list[float]) -> Table:
    """Scores of one fold: `validation` of the spectra with IC; those without score 0.5."""
    rows = [("train", i, "selection", 1e6) for i in range(3)]
    rows += [("train", 10 + i, "holdout", r) for i, r in enumerate(holdout)]
    rows += [("cold", i, "validation", 0.5) for i in range(2)]
    rows += [("val", i, "validation", r) for i, r in enumerate(validation)]
    # Test rows in an order of their own.
    rows += [(TEST.dataset[i], TEST.index[i], "test", test[i]) for i in (3, 0, 2, 1)]
    return Table(rows=rows, names=["dataset", "index", "part", "R_a"])


def fit_table(cstat: list[float], dof: list[int], converged: list[bool] | None = None) -> Table:
    return Table(
        {"cstat": cstat, "dof": dof, "converged": converged or [True] * len(cstat)},
    )


def material(
    scores: dict | None = None, fits: dict | None = None, validation: dict | None = None
) -> Material:
    """Material with fits of the test spectra; those of the validation spectra follow from them."""
    fits = fits or {}
    plain = {name: fit_table([100.0] * 4, [100] * 4) for name in fits}
    parts = {"test": fits, "validation": plain if validation is None else validation}
    return Material(SAMPLES, WITH_IC, scores or {}, parts)


def test_class_is_whether_the_scenario_differs_from_training_unless_it_is_given() -> None:
    datasets = {
        "train": Dataset(scenario="2T", size=5),
        "other": Dataset(scenario="1T+IC", size=5),
        "same": Dataset(scenario="2T", size=9),
        "3T": Dataset(scenario="3T", size=9, ic=False),
    }
    assert with_ic(datasets, "train") == {
        "train": False, "other": True, "same": False, "3T": False
    }  # fmt: skip


def test_a_sample_holds_the_first_spectra_of_each_dataset() -> None:
    assert TEST.dataset.tolist() == ["hot", "hot", "ic", "ic"]
    assert TEST.index.tolist() == [0, 1, 0, 1]
    assert TEST.is_ic.tolist() == [False, False, True, True]
    assert SAMPLES["training_ic"].index.size == 0


def test_reconstruction_error_takes_medians_over_folds() -> None:
    folds = [
        score_table([1.0, 2.0], [4.0, 6.0], [1.0, 9.0, 3.0, 8.0]),  # threshold 3
        score_table([1.0, 2.0], [6.0, 7.0], [2.0, 9.0, 5.0, 9.0]),  # threshold 4
        score_table([1.0, 8.0], [10.0, 11.0], [2.5, 1.0, 6.0, 7.0]),  # threshold 9
    ]
    verdict = detectors.detect("cae", CAE, material({"cae": folds}))
    assert verdict.fold_thresholds == (3.0, 4.0, 9.0)
    assert verdict.threshold == 4.0
    assert verdict.score.tolist() == [2.0, 9.0, 5.0, 8.0]
    assert verdict.decision.tolist() == [False, True, True, True]
    assert verdict.missing == 0


def test_reconstruction_error_without_a_number_claims_nothing() -> None:
    table = score_table([1.0, np.nan], [4.0, 6.0], [np.nan, 9.0, np.nan, 8.0])
    verdict = detectors.detect("cae", CAE, material({"cae": [table]}))
    assert verdict.threshold == 2.5
    assert verdict.decision.tolist() == [False, True, False, True]
    assert verdict.missing == 2


def test_reconstruction_deviance_reads_its_own_column() -> None:
    table = score_table([1.0, 2.0], [4.0, 6.0], [1.0, 9.0, 3.0, 8.0])
    detector = Detector(title="D", method="reconstruction_deviance", network="cae")
    with pytest.raises(IcflowError, match="lack the column deviance; score the network again"):
        detectors.detect("d", detector, material({"cae": [table]}))
    table["deviance"] = 10 * table["R_a"]
    table["R_a"] = 0.0
    verdict = detectors.detect("d", detector, material({"cae": [table]}))
    assert verdict.threshold == 30.0
    assert verdict.score.tolist() == [10.0, 90.0, 30.0, 80.0]


def test_improbability_counts_in_the_longer_tail() -> None:
    # Skewed to low values: what lies low is improbable, what lies high is not.
    known = np.array([[-9.0], [-4.0], [-1.0], [0.0], [0.5]])
    found = improbability(known, np.array([[-20.0], [-4.0], [9.0], [np.nan]]))
    np.testing.assert_allclose(found[:3], -np.log(np.array([0.5, 2.5, 5.5]) / 6))
    assert np.isnan(found[3])
    # Mirrored it is the same; coordinates add up.
    both = np.concatenate([known, -known], axis=1)
    twice = improbability(both, np.array([[-4.0, 4.0]]))
    np.testing.assert_allclose(twice, 2 * found[1])


def test_latent_density_compares_latents_held_to_labels_with_held_out_ones() -> None:
    detector = Detector(title="D", method="latent_density", network="cae")
    held = [1e6] * 30
    table = score_table(held, [0.0, 0.0], [0.0, 0.0, 0.0, 0.0])
    part, index = np.array(table["part"]), np.array(table["index"])
    # Exponential latents: only the large ones are improbable.
    latent = np.full(len(table), 0.5)
    latent[part == "holdout"] = -np.log(np.linspace(0.02, 0.98, 30))
    latent[(part == "validation") & (np.array(table["dataset"]) == "val")] = 50.0
    latent[(part == "test") & (np.array(table["dataset"]) == "ic")] = 60.0
    table["latent_kT"] = latent
    with pytest.raises(IcflowError, match="held to no labels"):
        detectors.detect("d", detector, material({"cae": [table]}))
    table["label_kT"] = np.nan
    table["latent_1"] = 1e9 * index  # a free latent does not count
    verdict = detectors.detect("d", detector, material({"cae": [table]}))
    assert verdict.decision.tolist() == [False, False, True, True]
    few = table[~((part == "holdout") & (index >= 25))]
    with pytest.raises(IcflowError, match=r"15 spectra were held out, and 20 are the fewest"):
        detectors.detect("d", detector, material({"cae": [few]}))


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
    found = Material(SAMPLES | {"validation": one}, WITH_IC, {}, {"test": fits, "validation": fits})
    with pytest.raises(IcflowError, match=r"x: .*0 with and 4 without IC.*detection\.validation"):
        detectors.detect("x", DELTA, found)


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


def test_fits_are_made_of_what_detectors_read(config: Config) -> None:
    found = detectors.fits_read(config)
    assert {fit for dataset, fit in found if dataset == "test_2T"} == set(config.fits.baseline)
    tree = config.model_dump(mode="json", exclude_none=True)
    tree["detection"].pop("ceiling")
    tree["detection"]["detectors"] = {"delta": DELTA.model_dump(exclude_none=True)}
    tree["detection"]["detectors"]["delta"] |= {"thermal": "2T_free", "alternative": "1T+IC_free"}
    few = detectors.fits_read(configuration.validate(tree, "test"))
    fitted = {fit for dataset, fit in few if dataset == "validation_1T+IC"}
    assert fitted == {"2T_free", "1T+IC_free"}
    assert not any(dataset.startswith("train") for dataset, _ in few)


def test_integrals_are_made_of_what_detectors_read(config: Config) -> None:
    found = detectors.integrals_needed(config.detection, config.datasets)
    names = {"2T_fixed", "1T+IC_fixed"}
    datasets = {*config.detection.test, *config.detection.validation}
    assert set(found) == {(dataset, name) for dataset in datasets for name in names}


BAYES = Detector(title="B", method="bayes_factor", thermal="2T", alternative="IC")


def integral_table(logs: list[float], effective: list[float] | None = None) -> Table:
    return Table({"log_evidence": logs, "effective": effective or [300.0] * len(logs)})


def test_bayes_factor_is_the_ratio_of_evidences() -> None:
    integrals = {
        "2T": integral_table([-10.0, -20.0, -30.0, np.nan]),
        "IC": integral_table([-11.0, -19.0, -30.0, -5.0], [300.0, 20.0, 300.0, 300.0]),
    }
    found = Material(
        SAMPLES, WITH_IC, {}, {}, integrals={"test": integrals, "validation": integrals}
    )
    verdict = detectors.detect("b", BAYES, found)
    assert verdict.threshold == 0.0
    assert verdict.log_odds
    assert verdict.score[:3].tolist() == [-1.0, 1.0, 0.0]
    # Even odds are no detection, and neither is what could not be computed.
    assert verdict.decision.tolist() == [False, True, False, False]
    assert (verdict.missing, verdict.unconverged) == (1, 1)
    with pytest.raises(IcflowError, match=r"b: there are no results of the integral 'IC'"):
        detectors.detect("b", BAYES, Material(SAMPLES, WITH_IC, {}, {}))


@pytest.mark.parametrize(
    ("detector", "message"),
    [
        (
            Detector(title="X", method="guess"),
            r"x\.method is 'guess', allowed: bayes_factor, combined, cstat_rule, delta",
        ),
        (Detector(title="X", method="reconstruction_error"), "x lacks network"),
        (Detector(title="X", method="cstat_rule", thermal="2T"), "x lacks alternative"),
        (Detector(title="X", method="cstat_rule"), "x lacks thermal and alternative"),
    ],
)
def test_detectors_without_their_inputs_are_refused(detector: Detector, message: str) -> None:
    with pytest.raises(IcflowError, match=message):
        detectors.method_of("x", detector)
