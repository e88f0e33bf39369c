"""Detector: the mean squared error of the reconstruction of an autoencoder."""

from __future__ import annotations

from icflow.config import Detector
from icflow.detection.base import Material, Method, Verdict
from icflow.detection.folds import by_folds, column


def judge(detector: Detector, material: Material) -> Verdict:
    """Score by the reconstruction error R_a of an autoencoder (Lin et al. 2024).

    Each fold chooses its threshold on the spectra that it held out and all
    validation spectra, by the highest balanced accuracy; the threshold is the
    median over the folds, as published. How the folds' networks join in a
    spectrum's score is not published: `by_folds` tells how they do here.
    """
    return by_folds(detector, material, lambda table: column(table, "R_a"))


METHOD = Method(judge, needs=("network",), sees="threshold")
