"""The evaluation of a made-up run: its numbers, its tables, and damaged inputs."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from results import few_shuffles

from icflow import config as configuration
from icflow import settings as settings_of
from icflow.config import Config, Detector
from icflow.detection import evaluation, table1
from icflow.detection.detectors import in_order
from icflow.detection.published import PUBLISHED
from icflow.errors import IcflowError

Evaluate = Callable[[Config, Path], None]
Gather = Callable[[Path, list[Path]], Any]


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """Every evaluation shuffles features as little as that of `evaluated` did."""
    with few_shuffles():
        yield


def read_scores(results: Path) -> Table:
    return Table.read(results / "evaluate/scores.ecsv", format="ascii.ecsv")


def read_metrics(results: Path) -> dict:
    return json.loads((results / "evaluate/metrics.json").read_text())


def test_scores_hold_every_test_spectrum_once(config: Config, evaluated: Path) -> None:
    scores = read_scores(evaluated)
    size = config.datasets["test_2T"].size
    assert scores["dataset"].tolist() == ["test_2T"] * size + ["test_1T+IC"] * size
    assert scores["index"].tolist() == [*range(size), *range(size)]
    assert scores["is_ic"].tolist() == [False] * size + [True] * size


def test_scores_carry_the_truth_of_each_scenario(evaluated: Path) -> None:
    scores = read_scores(evaluated)
    is_ic = np.asarray(scores["is_ic"])
    assert np.isfinite(scores["truth.apec.kT"]).all()
    assert np.isnan(scores["truth.powerlaw.norm"][~is_ic]).all()
    assert np.isfinite(scores["truth.powerlaw.norm"][is_ic]).all()
    assert np.isfinite(scores["truth.apec_3.kT"][~is_ic]).all()


def test_metrics_follow_from_the_scores(config: Config, evaluated: Path) -> None:
    scores, metrics = read_scores(evaluated), read_metrics(evaluated)
    is_ic = np.asarray(scores["is_ic"])
    assert list(metrics["detectors"]) == in_order(config.detection.detectors)
    for name, entry in metrics["detectors"].items():
        decision = np.asarray(scores[f"{name}_decision"])
        assert decision.tolist() == (np.asarray(scores[name]) > entry["threshold"]).tolist()
        assert entry["confusion"] == {
            "tp": int(np.sum(decision & is_ic)),
            "fp": int(np.sum(decision & ~is_ic)),
            "tn": int(np.sum(~decision & ~is_ic)),
            "fn": int(np.sum(~decision & is_ic)),
        }
        recall = np.mean(decision[is_ic])
        accuracy = (recall + np.mean(~decision[~is_ic])) / 2
        assert entry["recall"]["value"] == pytest.approx(recall)
        assert entry["bacc"]["value"] == pytest.approx(accuracy)
        assert entry["precision"]["value"] == pytest.approx(np.mean(is_ic[decision]))
        for key in ("precision", "recall", "bacc", "auc"):
            assert entry[key]["lo"] <= entry[key]["value"] <= entry[key]["hi"]
        assert entry["n_test"] == is_ic.size
        assert scores.meta["thresholds"][name] == entry["threshold"]


def test_every_detector_is_calibrated_and_measured_at_fixed_rates(
    config: Config, evaluated: Path
) -> None:
    scores, metrics = read_scores(evaluated), read_metrics(evaluated)
    is_ic = np.asarray(scores["is_ic"])
    for name, entry in metrics["detectors"].items():
        probability = np.asarray(scores[f"{name}_probability"])
        assert ((probability > 0) & (probability < 1)).all()
        order = np.argsort(scores[name])
        finite = np.isfinite(np.asarray(scores[name])[order])
        assert (np.diff(probability[order][finite]) >= 0).all()
        assert entry["brier"]["value"] == pytest.approx(np.mean((probability - is_ic) ** 2))
        for recall in config.detection.recalls:
            assert 0 <= entry[f"false_alarm_at_recall_{recall:g}"]["value"] <= 1
        rates = [entry[f"recall_at_false_alarm_{r:g}"] for r in config.detection.false_alarms]
        assert rates[0]["value"] <= rates[1]["value"]
    assert metrics["detectors"]["cae"]["brier"]["hi"] < 0.25
    assert "ΔC" in metrics["detectors"]["fit_classifier"]["importances"]
    assert metrics["detectors"]["cae"]["importances"] == {}


def test_differences_of_all_pairs_follow_from_the_metrics(config: Config, evaluated: Path) -> None:
    metrics = read_metrics(evaluated)
    names = in_order(config.detection.detectors)
    rows = list(csv.DictReader((evaluated / "tables/differences.csv").open()))
    assert {(row["detector"], row["other"]) for row in rows} == {
        (first, other) for i, first in enumerate(names) for other in names[i + 1 :]
    }
    for row in rows:
        first, other = (metrics["detectors"][row[key]] for key in ("detector", "other"))
        wanted = first[row["quantity"]]["value"] - other[row["quantity"]]["value"]
        assert float(row["difference"]) == pytest.approx(wanted, abs=1e-6)
        # A detector that combines others can decide exactly as one of them.
        assert float(row["lo"]) <= float(row["hi"])
        zero_inside = float(row["lo"]) <= 0 <= float(row["hi"])
        assert (row["verdict"] == "not told apart") == zero_inside
    text = (evaluated / "tables/differences.md").read_text()
    assert text.count("\n| ") == len(names) * (len(names) - 1) // 2 + 1
    assert "**" in text


def test_one_class_of_validation_spectra_is_refused(
    config: Config, results: Path, evaluate: Evaluate
) -> None:
    tree = config.model_dump(mode="json", exclude_none=True)
    rule = tree["detection"]["detectors"]["cstat_rule_fixed"]
    tree["detection"].pop("ceiling")
    tree["detection"] |= {"validation": ["validation_2T"], "detectors": {"rule": rule}}
    message = "detectors.rule: a probability needs .* both classes, found 0 with and 59 without IC"
    with pytest.raises(IcflowError, match=message):
        evaluate(configuration.validate(tree, "test"), results)


def run_point(
    config: Config,
    inputs: Gather,
    results: Path,
    folder: Path,
    scores: list[Path],
    **changes: Any,
) -> tuple[dict[str, Any], Table]:
    """Evaluate in another folder; return the metrics and the scores of the validation spectra."""
    from icflow.stages import evaluate

    given = dataclasses.replace(inputs(results, scores), fluxes=None)
    settings = settings_of.evaluate(config).model_copy(update={"scan": "a scan"} | changes)
    evaluate.evaluate(settings, given, folder, folder)
    validation = Table.read(folder / "validation.ecsv", format="ascii.ecsv")
    return json.loads((folder / "metrics.json").read_text()), validation


def test_scores_of_a_fold_may_be_in_several_files(
    config: Config, inputs: Gather, evaluated: Path, tmp_path: Path
) -> None:
    whole = sorted(evaluated.glob("score/*/fold-?.ecsv"))
    parts = []
    for path in whole:
        table = Table.read(path, format="ascii.ecsv")
        tested = table["part"] == "test"
        for name, rows in (("one", ~tested), ("two", tested)):
            part = tmp_path / name / path.parent.name / path.name
            part.parent.mkdir(parents=True, exist_ok=True)
            # Whatever a dataset was scored for, what it is used for counts.
            kept = table[rows]
            kept["part"][kept["part"] == "test"] = "validation"
            kept.write(part, format="ascii.ecsv")
            parts.append(part)
    found, validation = run_point(config, inputs, evaluated, tmp_path / "split", parts)
    assert found == read_metrics(evaluated)
    assert set(validation["dataset"]) == set(config.detection.validation)
    assert set(config.detection.detectors) < set(validation.colnames)
    assert len(validation) == 2 * config.datasets["validation_2T"].size


def test_held_out_spectra_can_be_kept_out_of_the_thresholds(
    config: Config, inputs: Gather, evaluated: Path, tmp_path: Path
) -> None:
    whole = sorted(evaluated.glob("score/*/fold-?.ecsv"))
    with_them, _ = run_point(config, inputs, evaluated, tmp_path / "with", whole)
    without, _ = run_point(config, inputs, evaluated, tmp_path / "without", whole, held_out=False)
    thresholds = [found["detectors"]["cae"]["fold_thresholds"] for found in (with_them, without)]
    assert thresholds[0] != thresholds[1]
    assert without["detectors"]["delta_cstat_fixed"] == with_them["detectors"]["delta_cstat_fixed"]


def test_test_spectra_of_one_class_have_false_alarms_alone(
    config: Config, inputs: Gather, evaluated: Path, tmp_path: Path
) -> None:
    whole = sorted(evaluated.glob("score/*/fold-?.ecsv"))
    detection = config.detection.model_copy(update={"test": ["test_2T"]})
    found, _ = run_point(config, inputs, evaluated, tmp_path / "one", whole, detection=detection)
    for name, entry in found["detectors"].items():
        assert entry["recall"]["value"] is None
        assert entry["confusion"]["tp"] == entry["confusion"]["fn"] == 0
        both = read_metrics(evaluated)["detectors"][name]
        assert entry["confusion"]["fp"] == both["confusion"]["fp"]


def test_fluxes_are_added_to_the_scores(config: Config, evaluated: Path) -> None:
    scores = read_scores(evaluated)
    fluxes = Table.read(evaluated / "fluxes/fluxes.ecsv", format="ascii.ecsv")
    assert scores["truth.ic_flux"].unit == fluxes["ic_flux"].unit
    # The table of fluxes lists the datasets the other way round.
    for name in config.detection.test:
        np.testing.assert_array_equal(
            scores["truth.ic_flux"][scores["dataset"] == name],
            fluxes["ic_flux"][fluxes["dataset"] == name],
        )


def test_fluxes_of_other_spectra_are_refused(
    config: Config, results: Path, evaluate: Evaluate
) -> None:
    path = results / "fluxes/fluxes.ecsv"
    table = Table.read(path, format="ascii.ecsv")[:-1]
    table.write(path, format="ascii.ecsv", overwrite=True)
    message = r"fluxes\.ecsv, dataset test_2T: no row for spectrum 59"
    with pytest.raises(IcflowError, match=message):
        evaluate(config, results)


def test_made_up_classes_are_told_apart(evaluated: Path) -> None:
    detectors = read_metrics(evaluated)["detectors"]
    assert detectors["cae"]["bacc"]["lo"] > 0.55
    assert detectors["cae"]["auc"]["value"] > 0.7
    assert len(detectors["cae"]["fold_thresholds"]) == 2
    assert detectors["cstat_rule_fixed"]["fold_thresholds"] == []


def test_odds_that_follow_from_priors_are_not_calibrated(evaluated: Path) -> None:
    scores = read_scores(evaluated)
    odds = np.exp(np.asarray(scores["bayes_factor"]))
    assert np.allclose(scores["bayes_factor_probability"], odds / (1 + odds))


def test_failed_fits_are_counted(evaluated: Path) -> None:
    # In the first shard of every fit, spectrum 1 does not converge and spectrum 2 has no numbers.
    entry = read_metrics(evaluated)["detectors"]["cstat_rule_free"]
    assert (entry["missing"], entry["unconverged"]) == (2, 2)


def test_table_as_csv_has_the_agreed_columns(config: Config, evaluated: Path) -> None:
    text = (evaluated / "tables/table1.csv").read_text()
    assert text.splitlines()[0] == (
        "detector,precision,precision_lo,precision_hi,recall,recall_lo,recall_hi,"
        "bacc,bacc_lo,bacc_hi,n_test"
    )
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["detector"] for row in rows] == in_order(config.detection.detectors)
    entry = read_metrics(evaluated)["detectors"]["cae"]
    assert float(rows[0]["bacc"]) == pytest.approx(entry["bacc"]["value"], abs=1e-6)
    assert rows[0]["n_test"] == "120"


@pytest.mark.parametrize("suffix", ["md", "tex"])
def test_table_shows_published_values_and_settings(
    config: Config, evaluated: Path, suffix: str
) -> None:
    text = (evaluated / f"tables/table1.{suffix}").read_text()
    lines = [line for line in text.splitlines() if "Fit, one start, z fixed" in line]
    assert len(lines) == 1
    for number in ("0.54", "0.62", "0.55"):
        assert number in lines[0]
    epochs = "10 epochs (AE, CAE) and 60 epochs (DENSE)"
    for setting in ("2 of 10 folds", epochs, "AtomDB 3.0.9", "XSPEC 12.15.0", "60 2T"):
        assert setting in text
    assert "fits plain and thorough" in text


def test_networks_are_said_to_have_the_epochs_that_they_have() -> None:
    assert table1.epochs({"cae": 300, "ae": 300}) == "300 epochs"
    assert table1.epochs({"ae": 1200, "cae": 25, "dense": 60, "plain": 25}) == (
        "1,200 epochs (AE), 25 epochs (CAE, PLAIN) and 60 epochs (DENSE)"
    )


def test_published_detectors_come_first_then_those_that_see_least() -> None:
    rule = Detector(title="x", method="cstat_rule", thermal="2T", alternative="1T+IC")
    delta = rule.model_copy(update={"method": "delta_cstat"})
    found = in_order({"apple": delta, "zebra": rule, "ae": delta, "ape": delta, "cae": delta})
    assert found == ["cae", "ae", "zebra", "ape", "apple"]


def test_published_rows_are_the_default_detectors(config: Config) -> None:
    assert set(PUBLISHED) <= set(config.detection.detectors)


def test_latex_escapes_what_users_write(config: Config, results: Path, evaluate: Evaluate) -> None:
    tree = config.model_dump(mode="json", exclude_none=True)
    tree["detection"]["detectors"]["cae"]["title"] = "R_a & 50%"
    evaluate(configuration.validate(tree, "test"), results)
    assert r"R\_a \& 50\% &" in (results / "tables/table1.tex").read_text()


def test_the_caption_counts_labels_that_were_missing() -> None:
    settings = {"folds": 10, "folds_trained": 2, "spectra": 800, "epochs": 25}
    sentence = "3 of 800 training spectra are left out: their label fits gave no number"
    told = Table(meta={"training": settings, "labels": [sentence]})
    trained = evaluation._training({"cae": [told], "ae": [told], "x": [Table(meta={})]})
    metrics = {
        "datasets": {},
        "population": "apec.kT 1–10",
        "bootstrap": 100,
        "training": trained,
        "versions": {},
    }
    assert table1.caption(metrics).count(f" {sentence}. ") == 1
    assert "labels" not in evaluation._training({"ae": [Table(meta={"training": settings})]})


def test_undefined_metrics_are_written_as_such() -> None:
    nothing = {"value": None, "lo": None, "hi": None}
    entry = {
        "title": "Never",
        "sees": "never",
        "precision": nothing,
        "recall": {"value": 0.0, "lo": 0.0, "hi": 0.0},
        "bacc": {"value": 0.5, "lo": 0.5, "hi": 0.5},
        "n_test": 4,
        "published": None,
    }
    metrics = {
        "detectors": {"never": entry},
        "datasets": {},
        "population": "apec.kT 1–10",
        "bootstrap": 100,
        "training": {},
        "versions": {},
    }
    row = table1.csv(metrics).splitlines()[1].split(",")
    assert math.isnan(float(row[1]))
    assert float(row[4]) == 0.0
    assert "| Never | nothing | undefined | – |" in table1.markdown(metrics)
    assert " Population: apec.kT 1–10. " in table1.markdown(metrics)
    assert r"Never & nothing & -- & -- & $0.000" in table1.latex(metrics)


def test_bytes_do_not_depend_on_the_order_of_files(
    config: Config, inputs: Gather, evaluated: Path, tmp_path: Path
) -> None:
    from icflow.stages import evaluate

    again = tmp_path / "again"
    given = inputs(evaluated, sorted(evaluated.glob("score/*/fold-?.ecsv"))[::-1])

    def turned(value: Any) -> Any:
        if not isinstance(value, dict):
            return value[::-1]
        return {key: turned(below) for key, below in reversed(list(value.items()))}

    backwards = {
        field.name: turned(value)
        for field in dataclasses.fields(given)
        if isinstance(value := getattr(given, field.name), dict)
    }
    evaluate.evaluate(
        settings_of.evaluate(config),
        dataclasses.replace(given, **backwards),
        again / "evaluate",
        again / "tables",
    )
    made = sorted(path.relative_to(again) for path in again.rglob("*.*"))
    assert len(made) == 7
    for path in made:
        assert (again / path).read_bytes() == (evaluated / path).read_bytes()


def test_the_files_are_found_by_the_layout(config: Config, evaluated: Path, tmp_path: Path) -> None:
    from icflow.stages import evaluate

    folder = tmp_path / "again"
    evaluate.run(settings_of.evaluate(config), evaluated, folder, folder / "tables")
    for name in ("scores.ecsv", "metrics.json"):
        assert (folder / name).read_bytes() == (evaluated / "evaluate" / name).read_bytes()


def damage_shard(results: Path) -> None:
    (results / "baseline/test_2T/2T_free/shard-0001.ecsv").unlink()


def damage_fit(results: Path) -> None:
    for folder in ("2T_free", "2T_fixed"):
        shutil.rmtree(results / "baseline/test_1T+IC" / folder)


def damage_network(results: Path) -> None:
    shutil.rmtree(results / "score/ae")


def truncate_scores(results: Path) -> None:
    path = results / "score/cae/fold-1.ecsv"
    path.write_bytes(path.read_bytes()[:300])


def damage_column(results: Path) -> None:
    path = results / "baseline/test_2T/2T_free/shard-0000.ecsv"
    table = Table.read(path, format="ascii.ecsv")
    table.remove_column("dof")
    table.write(path, format="ascii.ecsv", overwrite=True)


def damage_spectra(results: Path) -> None:
    shutil.rmtree(results / "simulate/test_2T")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_shard, "fit 2T_free of the dataset test_2T: no row for spectrum 30"),
        (damage_fit, r"fit 2T_fixed: no results for the dataset test_1T\+IC"),
        (damage_network, "detectors.ae: there are no scores of the network 'ae'"),
        (truncate_scores, "score/cae/fold-1.ecsv: not a whole ECSV table"),
        (damage_column, "2T_free/shard-0000.ecsv: lacks the column dof"),
        (damage_spectra, "no spectra of the dataset test_2T"),
    ],
)
def test_damaged_inputs_are_refused_and_nothing_is_written(
    config: Config,
    results: Path,
    evaluate: Evaluate,
    damage: Callable[[Path], None],
    message: str,
) -> None:
    damage(results)
    with pytest.raises(IcflowError, match=message):
        evaluate(config, results)
    assert not (results / "evaluate/metrics.json").exists()
    assert not (results / "tables").exists()


def test_detector_named_like_a_column_is_refused(
    config: Config, results: Path, evaluate: Evaluate
) -> None:
    tree = config.model_dump(mode="json", exclude_none=True)
    tree["detection"]["detectors"]["is_ic"] = tree["detection"]["detectors"].pop("ae")
    with pytest.raises(IcflowError, match=r"detectors\.is_ic: .*rename the detector"):
        evaluate(configuration.validate(tree, "test"), results)
