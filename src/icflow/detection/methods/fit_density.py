"""Detector: how far the parameters of the thermal fit lie from those of thermal spectra."""

from __future__ import annotations

from typing import Any

import numpy as np

from icflow.config import Detector
from icflow.detection.base import FITS, TEST, TRAINING, VALIDATION, Material, Method, Verdict
from icflow.detection.fits import Scale, checked, fitted, of_source, where_finite
from icflow.typing import Floats

NEIGHBOURS = 20


def judge(detector: Detector, material: Material) -> Verdict:
    """Score by how far the best-fit 2T parameters lie from those of 2T spectra.

    A spectrum with IC fits the thermal model well, but with parameters that
    thermal spectra seldom have. The density of those of the thermal training
    spectra is estimated by the distance to the `NEIGHBOURS`-th nearest of them,
    whose logarithm is the score: norms and temperatures by their logarithms,
    each parameter in units of its standard deviation. No spectrum with IC is
    learnt from.
    """
    from sklearn.neighbors import NearestNeighbors

    tables = {p: material.result(FITS, p, detector.thermal) for p in (TRAINING, VALIDATION, TEST)}
    features = {part: of_source(fitted(table, "")) for part, table in tables.items()}
    values = checked(features)
    learnt = values[TRAINING][np.isfinite(values[TRAINING]).all(axis=1)]
    scale = Scale.of(features[TRAINING].names, learnt)
    neighbours = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(learnt)))
    neighbours.fit(scale.apply(learnt))
    validation, test = (_distance(neighbours, scale, values[part]) for part in (VALIDATION, TEST))
    bad = ~np.asarray(tables[TEST]["converged"], dtype=bool) & np.isfinite(test)
    return material.verdict(test, validation, unconverged=int(bad.sum()))


def _distance(neighbours: Any, scale: Scale, values: Floats) -> Floats:
    """Return the logarithm of the distance to the last of the neighbours, NaN without a fit."""

    def score(usable: Floats) -> Floats:
        distance, _ = neighbours.kneighbors(scale.apply(usable))
        return np.asarray(np.log(np.maximum(distance[:, -1], 1e-12)))

    return where_finite(score, values)


METHOD = Method(judge, needs=("thermal",), sees="threshold", learns=(TRAINING,))
