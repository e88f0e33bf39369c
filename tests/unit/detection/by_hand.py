"""Tables for detectors, small enough to work out by hand."""

from __future__ import annotations

from astropy.table import Table

from icflow.config import Detector
from icflow.detection.base import FITS, Material, Sample

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
BAYES = Detector(title="B", method="bayes_factor", thermal="2T", alternative="IC")


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


def integral_table(logs: list[float], effective: list[float] | None = None) -> Table:
    return Table({"log_evidence": logs, "effective": effective or [300.0] * len(logs)})


def material(
    scores: dict | None = None, fits: dict | None = None, validation: dict | None = None
) -> Material:
    """Material with fits of the test spectra; those of the validation spectra follow from them."""
    fits = fits or {}
    plain = {name: fit_table([100.0] * 4, [100] * 4) for name in fits}
    parts = {"test": fits, "validation": plain if validation is None else validation}
    return Material(SAMPLES, WITH_IC, scores or {}, {FITS: parts})
