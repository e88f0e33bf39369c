"""Detector: how improbable the latents of an autoencoder are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from icflow.config import Detector
from icflow.detection.base import HELD_OUT, REFERENCE, Material, Method, Verdict
from icflow.detection.fits import FEWEST
from icflow.detection.folds import by_folds
from icflow.errors import IcflowError
from icflow.tables import floats, strings
from icflow.typing import Floats

if TYPE_CHECKING:
    from astropy.table import Table


def judge(detector: Detector, material: Material) -> Verdict:
    """Score by how improbable the latents of an autoencoder are among those of 2T spectra.

    The latents that are held to labels count, and the spectra that a fold held
    out say how they are distributed (`improbability`). Folds join as for the
    reconstruction error.
    """
    return by_folds(detector, material, _of_latents)


def _of_latents(table: Table) -> Floats:
    """Return how improbable the latents of each row are among those of held-out spectra."""
    names = [name.removeprefix("label_") for name in table.colnames if name.startswith("label_")]
    if not names:
        raise IcflowError("its latents are held to no labels; give it labels")
    latents = np.stack([floats(table, f"latent_{name}") for name in names], axis=1)
    reference = latents[np.isin(strings(table, "part"), [HELD_OUT, REFERENCE])]
    reference = reference[np.isfinite(reference).all(axis=1)]
    if len(reference) < FEWEST:
        raise IcflowError(
            f"{len(reference)} spectra were held out, and {FEWEST} are the fewest that show "
            "how latents are distributed; raise autoencoder.training.spectra"
        )
    return improbability(reference, latents)


def improbability(reference: Floats, values: Floats) -> Floats:
    """Return how far out in the tails of a distribution some vectors lie.

    Of each coordinate the fraction of the vectors of the distribution that lie as far out is
    counted, on the side of its longer tail, which is where little is known; the
    score is the sum of the negative logarithms of these fractions. After the
    empirical-cumulative outlier detection of Li et al. (2022), of which this is
    the part that decides by skewness.

    Parameters
    ----------
    reference : (m, d) float
        Vectors of the distribution.
    values : (n, d) float

    Returns
    -------
    (n,) float
        NaN where a coordinate is.
    """
    centred = reference - reference.mean(axis=0)
    side = np.where((centred**3).mean(axis=0) < 0, -1.0, 1.0)
    score = np.zeros(len(values))
    for column, sign in enumerate(side):
        tail = np.sort(sign * reference[:, column])
        beyond = len(tail) - np.searchsorted(tail, sign * values[:, column], side="left")
        score -= np.log((beyond + 0.5) / (len(tail) + 1.0))
    return np.where(np.isfinite(values).all(axis=1), score, math.nan)


METHOD = Method(judge, needs=("network",), sees="threshold")
