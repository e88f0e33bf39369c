"""The registry of detectors: what they need, and in which order they judge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml
from by_hand import DELTA, fit_table, material
from examples import blocks, check_style
from made_up import CLASSIFIER, DENSITY, make

from icflow import config as configuration
from icflow.config import Config, Detector
from icflow.detection import detectors
from icflow.detection.base import INTEGRALS
from icflow.errors import IcflowError


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
    found = detectors.needed(INTEGRALS, config.detection, config.datasets)
    names = {"2T_fixed", "1T+IC_fixed"}
    datasets = {*config.detection.test, *config.detection.validation}
    assert set(found) == {(dataset, name) for dataset in datasets for name in names}


@pytest.mark.parametrize(
    ("detector", "message"),
    [
        (
            Detector(title="X", method="guess"),
            rf"x\.method is 'guess', allowed: {', '.join(sorted(detectors.METHODS))}$",
        ),
        (
            Detector(title="X", method="cstat_rul"),
            r"ratio_estimator, .*; did you mean cstat_rule\?$",
        ),
        (Detector(title="X", method="reconstruction_error"), "x lacks network"),
        (Detector(title="X", method="cstat_rule", thermal="2T"), "x lacks alternative"),
        (Detector(title="X", method="cstat_rule"), "x lacks thermal and alternative"),
    ],
)
def test_detectors_without_their_inputs_are_refused(detector: Detector, message: str) -> None:
    with pytest.raises(IcflowError, match=message):
        detectors.method_of("x", detector)


def test_combinations_are_judged_after_their_parts() -> None:
    material = make(60)
    found = detectors.judge(
        {
            "a": Detector(title="A", method="combined", parts=["b", "c"]),
            "b": CLASSIFIER,
            "c": DENSITY,
        },
        material,
    )
    assert set(found) == {"a", "b", "c"}
    assert np.isfinite(found["a"].score).all()


def test_the_detector_of_the_docs_judges(monkeypatch: pytest.MonkeyPatch, config: Config) -> None:
    code, text = blocks("A detector")
    check_style(code, "src/icflow/detection/methods/bad_fit.py")
    names: dict[str, Any] = {}
    exec(code, names)
    monkeypatch.setitem(detectors.METHODS, "bad_fit", names["METHOD"])
    above = yaml.safe_load(text)
    tree = configuration.overlay(config.model_dump(mode="json", exclude_none=True), above)
    bad_fit = configuration.validate(tree, "test").detection.detectors["bad_fit"]
    test = fit_table([110.0, 90.0, 150.0, np.nan], [100] * 4)
    validation = fit_table([90.0, 100.0, 120.0, 140.0], [100] * 4)
    verdict = detectors.detect(
        "bad_fit",
        bad_fit,
        material(fits={"2T_fixed": test}, validation={"2T_fixed": validation}),
    )
    np.testing.assert_allclose(verdict.score, [1.1, 0.9, 1.5, np.nan])
    assert verdict.threshold == pytest.approx(1.1)
    assert verdict.decision.tolist()[1:3] == [False, True]
