"""Detector: a linear discriminant on what two fits say about the source."""

from __future__ import annotations

import numpy as np

from icflow.config import Detector
from icflow.detection.base import (
    PAIR,
    PARTS,
    TEST,
    TRAINING,
    TRAINING_IC,
    VALIDATION,
    Material,
    Method,
    Verdict,
)
from icflow.detection.fits import (
    checked,
    fit_features,
    of_source,
    unconverged,
    where_finite,
    with_classes,
)


def judge(detector: Detector, material: Material) -> Verdict:
    """Score by a linear discriminant on what the two fits say about the source.

    The covariances are shrunk (Ledoit & Wolf 2004), so that a few tens of spectra
    of each class suffice. Unlike that of trees, the score is smooth: no two spectra
    share one, however far apart the classes lie.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    values = checked({p: of_source(fit_features(detector, material, p)) for p in PARTS})
    rows, is_ic = with_classes(values)
    usable = np.isfinite(rows).all(axis=1)
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=[0.5, 0.5])
    model.fit(rows[usable], is_ic[usable])
    validation, test = (
        where_finite(model.decision_function, values[part]) for part in (VALIDATION, TEST)
    )
    return material.verdict(test, validation, unconverged=unconverged(detector, material, test))


METHOD = Method(judge, needs=PAIR, sees="training", learns=(TRAINING, TRAINING_IC))
