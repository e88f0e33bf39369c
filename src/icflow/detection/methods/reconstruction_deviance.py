"""Detector: the Poisson deviance of the reconstruction of an autoencoder."""

from __future__ import annotations

from icflow.config import Detector
from icflow.detection.base import Material, Method, Verdict
from icflow.detection.folds import by_folds, column


def judge(detector: Detector, material: Material) -> Verdict:
    """Score by the Poisson deviance of the reconstruction of an autoencoder.

    Each channel counts by what noise lets expect of it, so that bright soft
    channels do not drown the others. Folds join as for the reconstruction error.
    """
    return by_folds(detector, material, lambda table: column(table, "deviance"))


METHOD = Method(judge, needs=("network",), sees="threshold")
