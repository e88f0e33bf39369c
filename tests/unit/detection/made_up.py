"""Fits whose classes are known, for detectors that learn."""

from __future__ import annotations

import numpy as np
from astropy.table import Table

from icflow.config import Detector
from icflow.detection.base import FITS, Material, Sample, Verdict
from icflow.tables import stack

WITH_IC = {"hot": False, "ic": True}
NAMES = ("apec.kT", "apec.norm", "apec_3.kT", "apec_3.norm", "background.lines")
CLASSIFIER = Detector(title="C", method="fit_classifier", thermal="2T", alternative="IC")
DISCRIMINANT = CLASSIFIER.model_copy(update={"method": "fit_discriminant"})
DENSITY = Detector(title="D", method="fit_density", thermal="2T")
COMBINED = Detector(title="+", method="combined", parts=["one", "other"])


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
    return Material(samples, WITH_IC, {}, {FITS: tables}, **changes)  # type: ignore[arg-type]


def accuracy(verdict: Verdict, material: Material) -> float:
    is_ic = material.samples["test"].is_ic
    return float((np.mean(verdict.decision[is_ic]) + np.mean(~verdict.decision[~is_ic])) / 2)


def verdict_of(random: np.random.Generator, power: float, material: Material) -> Verdict:
    scores = [
        np.exp(random.normal(size=s.is_ic.size) + power * s.is_ic)
        for s in (material.samples["validation"], material.samples["test"])
    ]
    return Verdict(scores[1], 1.0, scores[0], unconverged=int(10 * power))
