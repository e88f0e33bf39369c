"""Gradient boosting on two fits."""

from __future__ import annotations

from dataclasses import replace

from made_up import (
    CLASSIFIER,
    accuracy,
    make,
)

from icflow.detection import detectors


def test_the_classifier_knows_more_than_any_single_number() -> None:
    material = make()
    verdict = detectors.detect("c", CLASSIFIER, material)
    delta = CLASSIFIER.model_copy(update={"method": "delta_cstat"})
    single = accuracy(detectors.detect("d", delta, material), material)
    assert accuracy(verdict, material) > max(single, 0.95)
    first = sorted(verdict.importances, key=lambda name: -verdict.importances[name].value)[:3]
    assert "ΔC" in first
    assert any("apec_3.kT" in name for name in first)
    lines = verdict.importances["with IC: background.lines"]
    assert abs(lines.value) < 0.02
    assert lines.lo <= lines.value <= lines.hi


def test_any_seed_of_a_configuration_will_do() -> None:
    material = replace(make(), seed=2**63 - 1)
    assert detectors.detect("c", CLASSIFIER, material).importances
