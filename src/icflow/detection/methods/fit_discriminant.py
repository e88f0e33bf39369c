"""Detector: a linear discriminant on what two fits say about the source."""

from __future__ import annotations

import numpy as np

from icflow.config import Detector
from icflow.detection.base import (
    PAIR,
    TEST,
    TRAINING,
    TRAINING_IC,
    VALIDATION,
    Material,
    Method,
    Verdict,
)
from icflow.detection.fits import checked, fit_features, of_source, unconverged, where_finite


def judge(detector: Detector, material: Material) -> Verdict:
    """Score by a linear discriminant on what the two fits say about the source.

    The covariances are shrunk (Ledoit & Wolf 2004), so that a few tens of spectra
    of each class suffice. Unlike that of trees, the score is smooth: no two spectra
    share one, however far apart the classes lie.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    learnt = [of_source(fit_features(detector, material, p)) for p in (TRAINING, TRAINING_IC)]
    rows = [
        features.values[np.isfinite(checked(features, part)).all(axis=1)]
        for features, part in zip(learnt, (TRAINING, TRAINING_IC), strict=True)
    ]
    known = np.repeat([False, True], [len(part) for part in rows])
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=[0.5, 0.5])
    model.fit(np.concatenate(rows), known)
    validation, test = (
        where_finite(
            model.decision_function,
            checked(of_source(fit_features(detector, material, part)), part, learnt[0]),
        )
        for part in (VALIDATION, TEST)
    )
    return material.verdict(
        test,
        validation,
        unconverged=unconverged(detector, material, test),
    )


METHOD = Method(judge, needs=PAIR, sees="training", learns=(TRAINING, TRAINING_IC))
