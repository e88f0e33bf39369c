"""Detectors: every way to turn a spectrum into one score, higher for IC.

A detector of the configuration names a *method* of `METHODS` and what the
method reads (a network, a pair of fits). A new method is one function from
(`Detector`, `Evidence`) to `Verdict` and one line in `METHODS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from icflow.config import Dataset, Detector
from icflow.detection.metrics import Bools, Floats, best_threshold, decide
from icflow.detection.tables import floats, rows_of, strings
from icflow.errors import IcflowError


@dataclass(frozen=True)
class Sample:
    """The spectra that detectors are judged on.

    Attributes
    ----------
    dataset : (n,) str
        Dataset of each spectrum.
    index : (n,) int
        Its index in the dataset.
    is_ic : (n,) bool
        Whether it holds IC emission.
    """

    dataset: NDArray[np.str_]
    index: NDArray[np.int64]
    is_ic: Bools


@dataclass(frozen=True)
class Evidence:
    """Everything that detectors may read.

    Attributes
    ----------
    test : Sample
        The spectra to be scored.
    with_ic : mapping of str to bool
        Whether the spectra of each dataset hold IC emission.
    scores : mapping of str to sequence of astropy.table.Table
        For each network, one score table per trained fold, with the columns
        ``dataset, index, part, R_a``.
    fits : mapping of str to astropy.table.Table
        For each baseline fit, its results for the spectra of `test`, in the
        order of `test`, with the columns ``cstat, dof, converged``.
    """

    test: Sample
    with_ic: Mapping[str, bool]
    scores: Mapping[str, Sequence[Table]]
    fits: Mapping[str, Table]


@dataclass(frozen=True)
class Verdict:
    """What a detector says about the test spectra.

    Attributes
    ----------
    score : (n,) float
        Higher for spectra that look more like IC; NaN where it cannot be had.
    threshold : float
        A spectrum is called IC when its score is above.
    fold_thresholds : tuple of float
        The thresholds of the folds behind `threshold`, if it was chosen so.
    unconverged : int
        Test spectra whose score rests on a fit that did not converge.
    """

    score: Floats
    threshold: float
    fold_thresholds: tuple[float, ...] = ()
    unconverged: int = 0

    @property
    def decision(self) -> Bools:
        """Whether each spectrum is called IC; False where the score is NaN."""
        return decide(self.score, self.threshold)

    @property
    def missing(self) -> int:
        """Number of test spectra without a score."""
        return int(np.isnan(self.score).sum())


def with_ic(datasets: Mapping[str, Dataset], training: str) -> dict[str, bool]:
    """Return for each dataset whether it is of the positive class, IC.

    Positive is what does not follow the scenario of the training dataset, which
    is thermal by the design of the method.
    """
    thermal = datasets[training].scenario
    return {name: dataset.scenario != thermal for name, dataset in datasets.items()}


def reconstruction_error(detector: Detector, evidence: Evidence) -> Verdict:
    """Score by the reconstruction error R_a of an autoencoder (Lin et al. 2024).

    Each fold chooses its threshold on the thermal spectra that it held out and
    all IC validation spectra, by the highest balanced accuracy; the threshold
    is the median over the folds, as published. How the folds' networks join in
    a test spectrum's score is not published: here it is the median of their
    R_a, to which the median threshold belongs.
    """
    tables = evidence.scores.get(str(detector.network), ())
    if not tables:
        raise IcflowError(f"there are no scores of the network {detector.network!r}; score it")
    thresholds = tuple(
        _fold_threshold(table, evidence.with_ic, f"network {detector.network}, table {number}")
        for number, table in enumerate(tables)
    )
    errors = np.stack([_test_errors(table, evidence.test, detector) for table in tables])
    return Verdict(np.median(errors, axis=0), float(np.median(thresholds)), thresholds)


def _fold_threshold(table: Table, ic_datasets: Mapping[str, bool], what: str) -> float:
    part = np.array(strings(table, "part"))
    used = (part == "holdout") | (part == "validation")
    datasets = np.array(strings(table, "dataset"))[used]
    unknown = set(datasets.tolist()) - set(ic_datasets)
    if unknown:
        raise IcflowError(
            f"{what}: holds {', '.join(sorted(unknown))}, not among the datasets; score it again"
        )
    is_ic = np.array([ic_datasets[name] for name in datasets], dtype=bool)
    try:
        return best_threshold(floats(table, "R_a")[used], is_ic)
    except IcflowError as error:
        raise IcflowError(
            f"{what}: {error}; give detection.validation a dataset with IC and keep a fold out"
        ) from None


def _test_errors(table: Table, test: Sample, detector: Detector) -> Floats:
    datasets, part = np.array(strings(table, "dataset")), np.array(strings(table, "part"))
    score = np.full(test.index.size, math.nan)
    for name in dict.fromkeys(test.dataset.tolist()):
        here = np.flatnonzero((datasets == name) & (part == "test"))
        wanted = test.dataset == name
        what = f"scores of the network {detector.network}, dataset {name}"
        index = np.asarray(table["index"])[here]
        score[wanted] = floats(table, "R_a")[here][rows_of(index, test.index[wanted], what)]
    return score


def cstat_rule(detector: Detector, evidence: Evidence) -> Verdict:
    """Call IC where the fit with IC has C/dof closer to 1 (Lin et al. 2024).

    The score is ``|C/dof - 1|`` of the thermal fit minus that of the fit with
    IC, the threshold 0. Fits that did not converge are used as they ended, as
    published, and counted; without a finite C or degrees of freedom there is no
    score.
    """
    distance, unconverged = [], np.zeros(evidence.test.index.size, dtype=bool)
    for name in (detector.thermal, detector.alternative):
        table = evidence.fits.get(str(name))
        if table is None:
            raise IcflowError(f"there are no results of the fit {name!r}; fit the test spectra")
        distance.append(np.abs(reduced_cstat(table) - 1))
        unconverged |= ~np.asarray(table["converged"], dtype=bool)
    score = distance[0] - distance[1]
    return Verdict(score, 0.0, unconverged=int(np.sum(unconverged & np.isfinite(score))))


def reduced_cstat(table: Table) -> Floats:
    """Return C/dof of each fit, NaN where either is not a usable number."""
    cstat, dof = floats(table, "cstat"), floats(table, "dof")
    usable = np.isfinite(cstat) & (dof > 0)
    return np.where(usable, cstat, math.nan) / np.where(usable, dof, 1.0)


# --- registry -------------------------------------------------------------------


@dataclass(frozen=True)
class Method:
    """A way to score, and the keys of a `Detector` that it needs."""

    function: Callable[[Detector, Evidence], Verdict]
    needs: tuple[str, ...]


METHODS = {
    "reconstruction_error": Method(reconstruction_error, needs=("network",)),
    "cstat_rule": Method(cstat_rule, needs=("thermal", "alternative")),
}


def check(name: str, detector: Detector) -> Method:
    """Return the method of a detector after checking that it has its inputs.

    Raises
    ------
    IcflowError
        If the method is unknown or a key that it needs is absent.
    """
    key = f"detection.detectors.{name}"
    method = METHODS.get(detector.method)
    if method is None:
        raise IcflowError(
            f"{key}.method is {detector.method!r}, allowed: {', '.join(sorted(METHODS))}"
        )
    missing = [need for need in method.needs if getattr(detector, need) is None]
    if missing:
        raise IcflowError(
            f"{key} lacks {' and '.join(missing)}, which the method {detector.method!r} reads; "
            "add it"
        )
    return method


def detect(name: str, detector: Detector, evidence: Evidence) -> Verdict:
    """Score all test spectra with one detector of the configuration.

    Raises
    ------
    IcflowError
        If the detector is not set up right or its inputs are absent; the
        message names the detector.
    """
    method = check(name, detector)
    try:
        return method.function(detector, evidence)
    except IcflowError as error:
        raise IcflowError(f"detection.detectors.{name}: {error}") from None
