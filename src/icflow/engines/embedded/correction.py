"""What wrong calibration makes of counts: a linear map of the channels of a module.

The area multiplies them and the energy scale moves them, so whatever has been folded, spectra and
tables alike, is corrected row by row and never folded anew.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from icflow.compiled import jit
from icflow.typing import AnyArray, Floats

# Channels on either side that sums of counts are interpolated through.
AROUND = 2


@dataclass(frozen=True)
class Correction:
    """How counts by the files of an instrument are recorded.

    Attributes
    ----------
    area : ndarray, shape (n_channels,), or None
        Factor of what comes through the optics, if it is not 1.
    places : ndarray, shape (n_channels + 1,), or None
        Where the edges of the channels lie, in channels, if not where the files say.
    """

    area: Floats | None
    places: Floats | None

    def __call__(self, rows: AnyArray, optics: bool = True) -> Floats:
        """Return rows of counts as they are recorded, shape (..., n_channels).

        Parameters
        ----------
        optics : bool
            Whether they come through the optics.
        """
        counts = rows.astype(np.float64)
        if self.area is not None and optics:
            counts *= self.area
        if self.places is None:
            return counts
        flat = counts.reshape(-1, counts.shape[-1])
        return np.array([moved(row, self.places) for row in flat]).reshape(counts.shape)

    @property
    def farthest(self) -> int:
        """By how many channels counts are moved at the most."""
        if self.places is None:
            return 0
        return int(np.ceil(np.abs(self.places - np.arange(len(self.places))).max())) + AROUND

    @property
    def digest(self) -> str:
        """What tells corrections apart."""
        digest = hashlib.sha256()
        for part in (self.area, self.places):
            digest.update(b"none" if part is None else np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()


@jit
def moved(expected: Floats, places: Floats) -> Floats:
    """Return counts between edges that lie elsewhere, by cubic interpolation of their sums.

    Linear in the counts, so those beside a step may be less than none.

    Parameters
    ----------
    expected : ndarray, shape (n_channels,)
    places : ndarray, shape (n_channels + 1,)
        Where the edges lie, in channels.
    """
    n = len(expected)
    total = np.zeros(n + 1)
    for c in range(n):
        total[c + 1] = total[c] + expected[c]
    result = np.empty(n)
    below = 0.0
    for edge in range(n + 1):
        k = min(max(int(places[edge]), 1), n - 2)
        t = places[edge] - k
        # Lagrange's polynomial through the four edges around; that between two of them is linear.
        ends = t * (t - 1) / 6
        value = (1 - t) * total[k] + t * total[k + 1]
        value += ends * (2 - t) * (total[k - 1] - 2 * total[k] + total[k + 1])
        value += ends * (1 + t) * (total[k] - 2 * total[k + 1] + total[k + 2])
        if edge > 0:
            result[edge - 1] = value - below
        below = value
    return result
