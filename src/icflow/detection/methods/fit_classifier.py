"""Detector: gradient boosting on what two fits return."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

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
from icflow.detection.fits import checked, fit_features, unconverged, with_classes
from icflow.detection.metrics import Estimate, interval
from icflow.typing import Floats

# Gradient boosting: small trees, many small steps.
BOOSTING = {
    "max_iter": 300,
    "learning_rate": 0.05,
    "max_leaf_nodes": 15,
    "l2_regularization": 1.0,
    "early_stopping": False,
}
PERMUTATIONS = 10


def judge(detector: Detector, material: Material) -> Verdict:
    """Score by a gradient-boosted classifier on what the two fits return.

    It learns from fits of simulated spectra of both classes; the score is the
    logarithm of the odds. Which numbers carry it is measured on the validation
    spectra: by how much the area under the receiver operating characteristic
    falls when one of them is shuffled among the spectra.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    features = {part: fit_features(detector, material, part) for part in PARTS}
    values = checked(features)
    # One thread: sums over spectra must not depend on the number of cores.
    with threadpool_limits(1):
        model = HistGradientBoostingClassifier(**BOOSTING, random_state=0)
        model.fit(*with_classes(values))
        # Without both fits there is nothing to judge by, whatever the classifier makes of it.
        validation, test = (
            np.where(np.isfinite(rows[:, 0]), model.decision_function(rows), math.nan)
            for rows in (values[VALIDATION], values[TEST])
        )
        return material.verdict(
            test,
            validation,
            unconverged=unconverged(detector, material, test),
            importances=_importances(
                model, values[VALIDATION], features[VALIDATION].names, material
            ),
        )


def _importances(
    model: Any, values: Floats, names: tuple[str, ...], material: Material
) -> dict[str, Estimate]:
    """Return by how much shuffling each feature lowers the area under the ROC."""
    from sklearn.inspection import permutation_importance

    if not material.explain:
        return {}
    falls = permutation_importance(
        model,
        values,
        material.samples[VALIDATION].is_ic,
        scoring="roc_auc",
        n_repeats=PERMUTATIONS,
        # Of four bytes, which is what it takes.
        random_state=material.seed % 2**32,
    ).importances
    return {
        name: Estimate(float(fall.mean()), *interval(fall))
        for name, fall in zip(names, falls, strict=True)
    }


METHOD = Method(judge, needs=PAIR, sees="training", learns=(TRAINING, TRAINING_IC))
