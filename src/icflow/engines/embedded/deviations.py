"""What is wrong with calibration and background, as parameters of fits.

How wrong these are is known from elsewhere, as a deviate of standard error 1 for each of them. That
is as good as one more bin, beside the channels, in which `MANY` counts are expected and as many
times their root more as the deviate: C of it is the square of the distance from what was measured.
So deviates are settled, drawn and simulated as all else is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from icflow.engines.base import FitResult
from icflow.typing import Floats

# Counts of the bin of a deviate that is measured to be 0: as good as normal.
MANY = 10**6
# Deviates are not looked for farther away than this from where the slopes were taken.
FARTHEST = 8.0
# Start of the names of the parameters, and the fixed one that all measurements have in common.
DEVIATE = "deviate."
MEASURED = "measured"


@dataclass(frozen=True)
class Deviations:
    """Deviates that fits settle, and by how much they change what is expected.

    Attributes
    ----------
    at : dict
        By name, those that the tables of the engine have in them.
    slopes : ndarray, shape (n_deviates, n_channels)
        Expected counts, of source and background, for each deviate that is higher by 1.
    """

    at: Mapping[str, float]
    slopes: Floats

    def __len__(self) -> int:
        return len(self.at)

    @property
    def limits(self) -> dict[str, tuple[float, float, float]]:
        """Start and limits of each parameter; equal ones where it is not free."""
        if not self.at:
            return {}
        return {MEASURED: (1.0, 1.0, 1.0)} | {
            DEVIATE + name: (value, value - FARTHEST, value + FARTHEST)
            for name, value in self.at.items()
        }

    def rows(self) -> Iterator[tuple[str, Floats]]:
        """Yield what is expected for 1 of each parameter, shape (n_channels + n_deviates,)."""
        if not self.at:
            return
        values = np.array(list(self.at.values()))
        yield MEASURED, np.append(-values @ self.slopes, np.full(len(self), float(MANY)))
        for name, slope, own in zip(self.at, self.slopes, np.eye(len(self)), strict=True):
            yield DEVIATE + name, np.append(slope, np.sqrt(MANY) * own)


NOTHING_WRONG = Deviations({}, np.empty((0, 0)))


def measured(deviates: Floats) -> Floats:
    """Return the counts that are expected in the bins of deviates."""
    return np.asarray(MANY + np.sqrt(MANY) * deviates)


def deviates_in(values: Mapping[str, float]) -> dict[str, float]:
    """Return the deviates among the parameters of a fit, by their own names."""
    return {n.removeprefix(DEVIATE): v for n, v in values.items() if n.startswith(DEVIATE)}


def settled(fit: FitResult, number: int) -> FitResult:
    """Return a fit that has settled deviates, counted neither as free parameters nor as bins.

    Parameters
    ----------
    number : int
        How many; 0 for a fit without.
    """
    if number == 0:
        return fit
    n = len(fit.free) - number

    def known(given: Mapping[str, float]) -> dict[str, float]:
        return {name: value for name, value in given.items() if name != MEASURED}

    return replace(
        fit,
        bins=fit.bins - number if fit.status == "ok" else fit.bins,
        values=known(fit.values),
        errors=known(fit.errors),
        free=fit.free[:n],
        at_bound=tuple(name for name in fit.at_bound if not name.startswith(DEVIATE)),
        covariance=fit.covariance[:n, :n],
    )
