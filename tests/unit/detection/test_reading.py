"""Results in the place of others are not taken for these."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from icflow.detection import reading
from icflow.detection.base import FITS, TEST, VALIDATION, Sample
from icflow.errors import IcflowError
from icflow.tables import write_table
from icflow.truth import Truth, write_truth

SAMPLES = {part: Sample.of({"hot": 1}, {"hot": False}) for part in (VALIDATION, TEST)}


def scores(folder: Path, **meta: str | int) -> Path:
    columns = {"dataset": ["hot"], "index": [0], "part": [TEST], "R_a": [1.0]}
    write_table(folder / "scores.ecsv", Table(columns, meta=meta))
    return folder / "scores.ecsv"


def fits(folder: Path, **meta: str) -> Path:
    columns = {"index": [0], "cstat": [1.0], "dof": [1], "converged": [True]}
    write_table(folder / "fits.ecsv", Table(columns, meta=meta))
    return folder / "fits.ecsv"


def test_scores_of_another_network_or_fold(tmp_path: Path) -> None:
    path = scores(tmp_path, network="ae", fold=1)
    assert list(reading.read_scores({("ae", 1): [path]}, SAMPLES, True)) == ["ae"]
    for wanted, words in ((("cae", 1), "of network ae"), (("ae", 0), "of fold 1")):
        with pytest.raises(IcflowError, match=f"{path}: is {words}, and was to be of"):
            reading.read_scores({wanted: [path]}, SAMPLES, True)


def test_fits_of_another_model_or_dataset(tmp_path: Path) -> None:
    path = fits(tmp_path, fit="2T", dataset="hot")
    found = reading.read_results({FITS: {("hot", "2T"): [path]}}, SAMPLES)
    assert list(found[FITS][TEST]) == ["2T"]
    for wanted, words in ((("hot", "1T"), "of fit 2T"), (("cool", "2T"), "of dataset hot")):
        with pytest.raises(IcflowError, match=f"{path}: is {words}, and was to be of"):
            reading.read_results({FITS: {wanted: [path]}}, SAMPLES)


def test_the_truth_of_another_dataset(tmp_path: Path) -> None:
    path = tmp_path / "truth.ecsv"
    write_truth(path, Truth("cool", "2T", np.array([0]), {"powerlaw.norm": np.ones(1)}), "powerlaw")
    with pytest.raises(IcflowError, match=f"{path}: is of dataset cool, and was to be of dataset"):
        reading.read_truths({"hot": [path]}, SAMPLES[TEST])
