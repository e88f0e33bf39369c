"""Judging by the networks of the folds of a cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from icflow.config import Detector
from icflow.detection.base import HELD_OUT, TEST, VALIDATION, Material, Sample, Verdict
from icflow.detection.roc import best_threshold
from icflow.errors import IcflowError
from icflow.tables import floats, strings
from icflow.typing import Floats

if TYPE_CHECKING:
    from astropy.table import Table


def by_folds(detector: Detector, material: Material, read: Callable[[Table], Floats]) -> Verdict:
    """Judge by one number that each fold's network gives for a spectrum.

    The score is the median over the folds, and so is the threshold, of those
    that each fold chooses on the spectra that it held out and all validation
    spectra.

    Parameters
    ----------
    detector : Detector
    material : Material
    read : callable
        From the score table of a fold to one number for each of its rows, (n,).

    Raises
    ------
    IcflowError
        If the network has no scores, or those of a fold choose no threshold or
        lack a spectrum.
    """
    network = f"network {detector.network}"
    tables = material.scores.get(str(detector.network), ())
    if not tables:
        raise IcflowError(f"there are no scores of the network {detector.network!r}; score it")
    scores = [read(table) for table in tables]
    thresholds = tuple(
        _threshold(table, score, material.with_ic, f"{network}, table {number}")
        for number, (table, score) in enumerate(zip(tables, scores, strict=True))
    )
    test, validation = (
        np.median(
            [
                _of_part(table, score, part, material.samples[part], f"scores of the {network}")
                for table, score in zip(tables, scores, strict=True)
            ],
            axis=0,
        )
        for part in (TEST, VALIDATION)
    )
    return Verdict(test, float(np.median(thresholds)), validation, thresholds)


def column(table: Table, name: str) -> Floats:
    """Return a column of a score table.

    Raises
    ------
    IcflowError
        If it has none of this name.
    """
    if name not in table.colnames:
        raise IcflowError(f"the scores lack the column {name}; score the network again")
    return floats(table, name)


def _threshold(table: Table, score: Floats, with_ic: Mapping[str, bool], what: str) -> float:
    used = np.isin(strings(table, "part"), [HELD_OUT, VALIDATION])
    datasets = np.array(strings(table, "dataset"))[used].tolist()
    unknown = set(datasets) - set(with_ic)
    if unknown:
        raise IcflowError(
            f"{what}: holds {', '.join(sorted(unknown))}, not among the datasets; score it again"
        )
    is_ic = np.array([with_ic[name] for name in datasets], dtype=bool)
    try:
        return best_threshold(score[used], is_ic)
    except IcflowError as error:
        raise IcflowError(
            f"{what}: {error}; give detection.validation a dataset with IC and keep a fold out"
        ) from None


def _of_part(table: Table, score: Floats, part: str, sample: Sample, what: str) -> Floats:
    """Return the scores of the spectra of a part, picked from those of the rows of a table."""
    here = np.flatnonzero(np.array(strings(table, "part")) == part)
    datasets, index = np.array(strings(table, "dataset")), np.asarray(table["index"])
    return score[here[sample.rows_in(datasets[here], index[here], f"{what}, dataset")]]
