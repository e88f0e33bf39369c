"""Detector: a combination of the scores of others."""

from __future__ import annotations

import math

import numpy as np

from icflow.config import Detector
from icflow.detection.base import VALIDATION, Material, Method, Verdict
from icflow.errors import IcflowError
from icflow.typing import Floats


def judge(detector: Detector, material: Material) -> Verdict:
    """Score by a logistic combination of the scores of other detectors.

    The combination is fitted to the validation spectra, which none of the parts
    has learnt from; it has one coefficient for each of them, too few to adapt
    to these spectra. A part's score enters as the normal deviate of its rank
    among the validation scores, whatever its unit and the shape of its
    distribution.
    """
    from sklearn.linear_model import LogisticRegression

    parts = [material.verdicts[name] for name in detector.parts or ()]
    is_ic = material.samples[VALIDATION].is_ic
    validation = np.stack([_deviates(p.validation, p.validation) for p in parts], axis=1)
    test = np.stack([_deviates(p.validation, p.score) for p in parts], axis=1)
    usable = np.isfinite(validation).all(axis=1)
    if np.unique(is_ic[usable]).size < 2:
        raise IcflowError(
            "a combination needs scores of validation spectra of both classes; name datasets of "
            "both under detection.validation"
        )
    model = LogisticRegression(class_weight="balanced").fit(validation[usable], is_ic[usable])
    validation, test = (
        values @ model.coef_[0] + model.intercept_[0] for values in (validation, test)
    )
    return material.verdict(test, validation, unconverged=max(p.unconverged for p in parts))


def _deviates(reference: Floats, score: Floats) -> Floats:
    """Return the normal deviates that belong to the ranks of scores in a reference."""
    from scipy.special import ndtri

    ranked: Floats = np.sort(reference[np.isfinite(reference)])
    below = 0.5 * (np.searchsorted(ranked, score, "left") + np.searchsorted(ranked, score, "right"))
    rank = (below + 0.5) / (ranked.size + 1.0)
    return np.where(np.isfinite(score), ndtri(rank), math.nan)


METHOD = Method(judge, needs=("parts",), sees="training")
