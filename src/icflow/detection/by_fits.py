"""Detectors that compare two fits of a spectrum: one without IC, one with IC."""

from __future__ import annotations

import math

import numpy as np
from astropy.table import Table

from icflow.config import Detector
from icflow.detection.evidence import TEST, VALIDATION, Evidence, Verdict
from icflow.tables import floats
from icflow.typing import Floats


def cstat_rule(detector: Detector, evidence: Evidence) -> Verdict:
    """Call IC where the fit with IC has C/dof closer to 1 (Lin et al. 2024).

    The score is ``|C/dof - 1|`` of the thermal fit minus that of the fit with
    IC, the threshold 0. Fits that did not converge are used as they ended, as
    published, and counted; without a finite C or degrees of freedom there is no
    score.
    """
    test, validation = (
        np.abs(thermal - 1) - np.abs(alternative - 1)
        for thermal, alternative in (
            [reduced_cstat(table) for table in pair(detector, evidence, part)]
            for part in (TEST, VALIDATION)
        )
    )
    return Verdict(test, 0.0, validation, unconverged=unconverged(detector, evidence, test))


def delta_cstat(detector: Detector, evidence: Evidence) -> Verdict:
    """Score by how much lower C is with IC than without: C(thermal) − C(with IC).

    Both fits are of the same bins, so this is twice the logarithm of the ratio
    of their likelihoods. The threshold is that of the highest balanced accuracy
    on the validation spectra.
    """
    test, validation = (
        np.subtract(*(statistic(table) for table in pair(detector, evidence, part)))
        for part in (TEST, VALIDATION)
    )
    return Verdict(
        test,
        evidence.threshold(validation),
        validation,
        unconverged=unconverged(detector, evidence, test),
    )


def pair(detector: Detector, evidence: Evidence, part: str) -> tuple[Table, Table]:
    """Return the results of a detector's two fits, without IC and with IC."""
    return evidence.fit(part, detector.thermal), evidence.fit(part, detector.alternative)


def unconverged(detector: Detector, evidence: Evidence, score: Floats) -> int:
    """Count the test spectra with a score of which a fit did not converge."""
    converged = [
        np.asarray(table["converged"], dtype=bool) for table in pair(detector, evidence, TEST)
    ]
    return int(np.sum(~np.all(converged, axis=0) & np.isfinite(score)))


def reduced_cstat(table: Table) -> Floats:
    """Return C/dof of each fit, NaN where either is not a usable number."""
    cstat, dof = statistic(table), floats(table, "dof")
    usable = np.isfinite(cstat) & (dof > 0)
    return np.where(usable, cstat, math.nan) / np.where(usable, dof, 1.0)


def statistic(table: Table) -> Floats:
    """Return C of each fit, NaN where the fit gave none."""
    cstat = floats(table, "cstat")
    return np.where(np.isfinite(cstat) & (floats(table, "dof") > 0), cstat, math.nan)
