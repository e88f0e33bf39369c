"""The evaluation, by hand for four test spectra and for scores that state their odds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from by_hand import BAYES, DELTA, SAMPLES, WITH_IC, fit_table, integral_table, material
from made_up import make

from icflow import settings as settings_of
from icflow.config import Config, Detector
from icflow.detection import evaluation
from icflow.detection.base import INTEGRALS, TEST, VALIDATION, Material, Verdict
from icflow.detection.evaluation import Evaluation
from icflow.detection.quality import Resampling
from icflow.errors import IcflowError
from icflow.settings import EvaluateSettings

NAN = math.nan


def evaluating(config: Config, seed: int | None = None, **detectors: Detector) -> EvaluateSettings:
    """Return the settings of an evaluation of other detectors."""
    settings = settings_of.evaluate(config)
    changes = {"detectors": detectors, "bootstrap": 100, "recalls": [0.5], "false_alarms": [0.5]}
    detection = settings.detection.model_copy(update=changes)
    seed = settings.seed if seed is None else seed
    return settings.model_copy(update={"detection": detection, "seed": seed})


def differing(test: list[float], validation: list[float]) -> Material:
    """Return fits of which C differs by these numbers."""
    pairs = [
        {
            "2T": fit_table([100 + fall for fall in falls], [100] * 4),
            "IC": fit_table([100.0] * 4, [98] * 4),
        }
        for falls in (test, validation)
    ]
    return material(fits=pairs[0], validation=pairs[1])


def of_fits(config: Config, seed: int | None = None, name: str = "delta") -> Evaluation:
    """Two without IC, of which one looks like IC; two with it, of which one has no score."""
    given = differing([5.5, -2.0, 15.0, NAN], [0.0, 4.0, 6.0, 9.0])
    return Evaluation.of(evaluating(config, seed, **{name: DELTA}), given)


def test_numbers_of_four_spectra(config: Config) -> None:
    judged = of_fits(config)
    verdict = judged.verdicts["delta"]
    np.testing.assert_array_equal(verdict.score, [5.5, -2.0, 15.0, NAN])
    assert (verdict.threshold, verdict.missing) == (5.0, 1)  # between 4 and 6
    draws = judged.draws["delta"]
    assert {draws[name].shape for name in draws} == {(101,)}
    for name in ("recall", "precision", "false_alarm", "bacc"):
        assert draws[name][0] == 0.5
    assert set(draws["recall"]) == {0.0, 0.5, 1.0}


def test_the_seed_draws_the_resampling(config: Config) -> None:
    one, again, other = (of_fits(config, seed).draws["delta"]["recall"] for seed in (1, 1, 2))
    assert one.tolist() == again.tolist() != other.tolist()


def test_other_scores_are_calibrated_on_validation_spectra(config: Config) -> None:
    given = make(200)
    judged = Evaluation.of(evaluating(config, delta=DELTA), given)
    verdict, probability = judged.verdicts["delta"], judged.probabilities["delta"]
    order = np.argsort(verdict.score)
    assert (np.diff(probability[order]) >= 0).all()
    assert (probability[order[0]], probability[order[-1]]) == pytest.approx((0, 1), abs=0.1)
    # As often as stated, within four standard deviations.
    is_ic = given.samples[TEST].is_ic
    scatter = math.sqrt(np.sum(probability * (1 - probability)))
    assert abs(np.sum(is_ic - probability)) < 4 * scatter


def test_scores_that_are_odds_are_taken_at_their_word(config: Config) -> None:
    """A probability of p says that odds are p to 1 - p; the Bayes factor is e^2."""
    given = differing([0.0] * 4, [0.0] * 4)
    results: dict[str, Any] = dict(given.results)
    results[INTEGRALS] = {
        part: {"2T": integral_table([0.0] * 4), "IC": integral_table([2.0, -2.0, 0.0, 2.0])}
        for part in (TEST, VALIDATION)
    }
    odds = Material(SAMPLES, WITH_IC, {}, results)
    judged = Evaluation.of(evaluating(config, bayes=BAYES), odds)
    assert judged.verdicts["bayes"].log_odds
    p = 1 / (1 + math.exp(-2))
    np.testing.assert_allclose(judged.probabilities["bayes"], [p, 1 - p, 0.5, p], rtol=1e-12)


def test_all_numbers_are_of_the_same_resampling(config: Config) -> None:
    """Of a resampling that counts one spectrum twice: decisions, scores and probabilities."""
    is_ic = np.array([False, False, True, True])
    times = np.array([[1, 1, 1, 1], [2, 0, 1, 1]], dtype=np.uint16)
    verdict = Verdict(np.array([3.0, 1.0, 2.0, 4.0]), 2.5, np.array([]))
    probability = np.array([0.8, 0.2, 0.5, 0.9])
    found = evaluation.measure(
        verdict, probability, Resampling(is_ic, times), evaluating(config).detection
    )
    assert found["false_alarm"].tolist() == [0.5, 1.0]
    assert found["recall"].tolist() == [0.5, 0.5]
    assert found["auc"].tolist() == [0.75, 0.5]
    brier = [(0.64 + 0.04 + 0.25 + 0.01) / 4, (2 * 0.64 + 0.25 + 0.01) / 4]
    np.testing.assert_allclose(found["brier"], brier, rtol=1e-12)


def test_tables_have_a_row_per_spectrum_in_order(config: Config) -> None:
    judged = of_fits(config)
    table = judged.scores({"apec.kT": np.array([4.0, 5.0, 6.0, 7.0])})
    assert list(zip(table["dataset"], table["index"], table["is_ic"], strict=True)) == [
        *(("hot", 0, False), ("hot", 1, False)),
        *(("ic", 0, True), ("ic", 1, True)),
    ]
    assert table["truth.apec.kT"].tolist() == [4.0, 5.0, 6.0, 7.0]
    assert table["delta_decision"].tolist() == [True, False, True, False]
    assert judged.validation()["delta"].tolist() == [0.0, 4.0, 6.0, 9.0]


@pytest.mark.parametrize("name", ["index", "truth.apec.kT"])
def test_a_detector_named_like_a_column_is_refused(config: Config, name: str) -> None:
    judged = of_fits(config, name=name)
    with pytest.raises(IcflowError, match=rf"detection\.detectors\.{name}: the table of scores"):
        judged.scores({"apec.kT": np.zeros(4)})
