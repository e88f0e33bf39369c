"""Detectors that learn, on made-up fits whose classes are known."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from icflow.config import Detector
from icflow.detection import detectors
from icflow.detection.base import Material, Sample, Verdict
from icflow.detection.fits import fitted
from icflow.errors import IcflowError
from icflow.tables import stack

WITH_IC = {"hot": False, "ic": True}
NAMES = ("apec.kT", "apec.norm", "apec_3.kT", "apec_3.norm", "background.lines")
CLASSIFIER = Detector(title="C", method="fit_classifier", thermal="2T", alternative="IC")
DISCRIMINANT = CLASSIFIER.model_copy(update={"method": "fit_discriminant"})
DENSITY = Detector(title="D", method="fit_density", thermal="2T")


def fits(size: int, is_ic: bool, random: np.random.Generator) -> dict[str, Table]:
    """Fits whose second temperature and C tell the classes apart, partly."""
    shift = 1.5 * is_ic
    columns = {
        "index": np.arange(size),
        "cstat": 300 + 20 * random.normal(size=size),
        "dof": np.full(size, 290),
        "converged": np.ones(size, bool),
        **{name: np.exp(0.3 * random.normal(size=size)) for name in NAMES},
    }
    columns["apec_3.kT"] = 5 * np.exp(0.3 * random.normal(size=size) + shift)
    thermal = Table(columns, meta={"free": list(NAMES)})
    alternative = thermal.copy()
    alternative["cstat"] += 3 * random.normal(size=size) - 3 * shift
    return {"2T": thermal, "IC": alternative}


def make(size: int = 300, **changes: object) -> Material:
    random = np.random.default_rng(5)
    classes = {"training": ["hot"], "training_ic": ["ic"]}
    samples, tables = {}, {}
    for part in ("training", "training_ic", "validation", "test"):
        names = classes.get(part, ["hot", "ic"])
        samples[part] = Sample.of(dict.fromkeys(names, size), WITH_IC)
        pairs = [fits(size, WITH_IC[name], random) for name in names]
        tables[part] = {fit: stack([pair[fit] for pair in pairs]) for fit in ("2T", "IC")}
    return Material(samples, WITH_IC, {}, tables, **changes)  # type: ignore[arg-type]


def accuracy(verdict: Verdict, material: Material) -> float:
    is_ic = material.samples["test"].is_ic
    return float((np.mean(verdict.decision[is_ic]) + np.mean(~verdict.decision[~is_ic])) / 2)


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


def test_the_discriminant_learns_from_few_spectra() -> None:
    material = make(40)
    verdict = detectors.detect("d", DISCRIMINANT, material)
    assert accuracy(verdict, material) > 0.9
    assert len(set(verdict.score)) == 80, "no two spectra share a score"
    # Backgrounds are not the source: they say nothing.
    for tables in material.fits.values():
        for table in tables.values():
            table["background.lines"] = np.arange(len(table)) ** 2.0
    np.testing.assert_array_equal(
        detectors.detect("d", DISCRIMINANT, material).score, verdict.score
    )


@pytest.mark.parametrize("detector", [CLASSIFIER, DISCRIMINANT])
def test_what_learns_is_the_same_each_time(detector: Detector) -> None:
    one, other = (detectors.detect("c", detector, make()) for _ in range(2))
    np.testing.assert_array_equal(one.score, other.score)
    assert one.importances == other.importances


def test_the_order_of_like_components_does_not_matter() -> None:
    material = make(40)
    table = material.fits["test"]["2T"]
    swapped = table.copy()
    for parameter in ("kT", "norm"):
        one, other = f"apec.{parameter}", f"apec_3.{parameter}"
        swapped[one], swapped[other] = table[other], table[one]
    np.testing.assert_array_equal(fitted(swapped, "").values, fitted(table, "").values)
    found = fitted(table, "")
    cool, hot = (found.values[:, found.names.index(f"{n}.kT")] for n in ("apec", "apec_3"))
    assert (cool <= hot).all()


def test_spectra_without_both_fits_have_no_score() -> None:
    material = make(60)
    for part in ("training", "test"):
        material.fits[part]["2T"]["cstat"][3] = np.nan
        for name in NAMES:
            material.fits[part]["2T"][name][3] = np.nan
    for detector in (CLASSIFIER, DISCRIMINANT, DENSITY):
        verdict = detectors.detect("x", detector, material)
        assert np.flatnonzero(np.isnan(verdict.score)).tolist() == [3]
        assert (verdict.missing, verdict.unconverged) == (1, 0)


def test_unusual_parameters_stand_out_though_no_ic_was_learnt() -> None:
    material = make()
    learnt = {name: table[:0] for name, table in material.fits["training_ic"].items()}
    blind = Material(material.samples, WITH_IC, {}, {**material.fits, "training_ic": learnt})
    verdict = detectors.detect("d", DENSITY, blind)
    assert accuracy(verdict, material) > 0.85
    # The background is the same for all: it says nothing.
    for part in ("training", "validation", "test"):
        material.fits[part]["2T"]["background.lines"] *= 1e3
    np.testing.assert_array_equal(detectors.detect("d", DENSITY, material).score, verdict.score)


def test_a_norm_of_zero_is_a_number_like_others() -> None:
    material = make(60)
    material.fits["test"]["2T"]["apec.norm"][5] = 0.0
    assert np.isfinite(detectors.detect("d", DENSITY, material).score).all()


@pytest.mark.parametrize("detector", [CLASSIFIER, DISCRIMINANT, DENSITY])
def test_too_few_spectra_to_learn_from(detector: Detector) -> None:
    with pytest.raises(IcflowError, match=r"x: there are fits of 10 training spectra.*fitted"):
        detectors.detect("x", detector, make(10))


@pytest.mark.parametrize("detector", [CLASSIFIER, DISCRIMINANT])
def test_fits_of_other_parameters_are_refused(detector: Detector) -> None:
    material = make(40)
    material.fits["test"]["2T"].meta["free"] = list(NAMES[:2])
    with pytest.raises(IcflowError, match="the fits of the test spectra have other parameters"):
        detectors.detect("x", detector, material)
    del material.fits["test"]["2T"].meta["free"]
    with pytest.raises(IcflowError, match="do not say what was free"):
        detectors.detect("x", detector, material)


# --- combined ---------------------------------------------------------------------


def verdict_of(random: np.random.Generator, power: float, material: Material) -> Verdict:
    scores = [
        np.exp(random.normal(size=s.is_ic.size) + power * s.is_ic)
        for s in (material.samples["validation"], material.samples["test"])
    ]
    return Verdict(scores[1], 1.0, scores[0], unconverged=int(10 * power))


COMBINED = Detector(title="+", method="combined", parts=["one", "other"])


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
