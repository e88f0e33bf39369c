"""Judging by the networks of the folds of a cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from icflow.config import Detector
from icflow.detection.base import HELD_OUT, TEST, VALIDATION, Material, Sample, Verdict
from icflow.detection.metrics import confusion, decide
from icflow.detection.roc import best_threshold
from icflow.errors import IcflowError
from icflow.tables import floats, strings
from icflow.typing import Booleans, Floats

if TYPE_CHECKING:
    from astropy.table import Table


def by_folds(detector: Detector, material: Material, read: Callable[[Table], Floats]) -> Verdict:
    """Judge by one number that each fold's network gives for a spectrum.

    Each fold chooses a threshold on the spectra that it held out and all validation
    spectra; the threshold is their median. The score is the median over the folds,
    each first scaled to have that threshold: networks differ in how well they
    reconstruct anything, so that a plain median would be judged by a threshold that
    belongs to none of them. Of an odd number of folds the majority then decides.

    Parameters
    ----------
    detector : Detector
    material : Material
    read : callable
        From the score table of a fold to one number, not negative, for each of its
        rows, (n,).

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
    thresholds = np.array(
        [
            _threshold(table, score, material.with_ic, f"{network}, table {number}")
            for number, (table, score) in enumerate(zip(tables, scores, strict=True))
        ]
    )
    test, validation = (
        np.array(
            [
                _of_part(table, score, part, material.samples[part], f"scores of the {network}")
                for table, score in zip(tables, scores, strict=True)
            ]
        )
        for part in (TEST, VALIDATION)
    )
    return Verdict(
        _joined(test, thresholds),
        float(np.median(thresholds)),
        _joined(validation, thresholds),
        tuple(thresholds.tolist()),
        _alone(test, thresholds, material.samples[TEST].is_ic),
    )


def _alone(scores: Floats, thresholds: Floats, is_ic: Booleans) -> tuple[float, ...]:
    """Return the balanced accuracy of each fold alone, if there are spectra of both classes."""
    if is_ic.all() or not is_ic.any():
        return ()
    return tuple(
        float(confusion(decide(score, threshold), is_ic).balanced_accuracy)
        for score, threshold in zip(scores, thresholds, strict=True)
    )


def _joined(scores: Floats, thresholds: Floats) -> Floats:
    """Return one score for each spectrum from those of the folds, (folds, n)."""
    if (thresholds > 0).all():
        scores = scores / thresholds[:, np.newaxis] * np.median(thresholds)
    return np.asarray(np.median(scores, axis=0))


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
