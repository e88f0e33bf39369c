"""What fits say about spectra: how well they describe them, and with which parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from icflow.config import Detector
from icflow.detection.base import FITS, TEST, TRAINING, TRAINING_IC, Material
from icflow.errors import IcflowError
from icflow.models.like_components import in_order
from icflow.tables import floats, parameters
from icflow.typing import Booleans, Floats

if TYPE_CHECKING:
    from astropy.table import Table

FEWEST = 20  # spectra of a class from which something can be learnt
# The quantities that differ by factors rather than by steps.
FACTORS = (".norm", ".kT")


def pair(detector: Detector, material: Material, part: str) -> tuple[Table, Table]:
    """Return the results of a detector's two fits, without IC and with IC."""
    return (
        material.result(FITS, part, detector.thermal),
        material.result(FITS, part, detector.alternative),
    )


def unconverged(detector: Detector, material: Material, score: Floats) -> int:
    """Count the test spectra with a score of which a fit did not converge."""
    converged = [
        np.asarray(table["converged"], dtype=bool) for table in pair(detector, material, TEST)
    ]
    return int(np.sum(~np.all(converged, axis=0) & np.isfinite(score)))


def reduced_cstat(table: Table) -> Floats:
    """Return C/dof of each fit, NaN where either is not a usable number."""
    cstat, dof = statistic(table), floats(table, "dof")
    usable = np.isfinite(cstat) & (dof > 0)
    return np.where(usable, cstat, math.nan) / np.where(usable, dof, 1.0)


def statistic(table: Table) -> Floats:
    """Return C of each fit, NaN where the fit gave none."""
    cstat = floats(table, "cstat")
    return np.where(np.isfinite(cstat) & (floats(table, "dof") > 0), cstat, math.nan)


# --- as numbers to learn from -------------------------------------------------------


@dataclass(frozen=True)
class Features:
    """Numbers that describe spectra: (n_spectra, n_features), NaN where there is none."""

    names: tuple[str, ...]
    values: Floats

    @classmethod
    def join(cls, *parts: Features) -> Features:
        """Put the features of several sources side by side."""
        names = tuple(name for part in parts for name in part.names)
        return cls(names, np.concatenate([part.values for part in parts], axis=1))


def fitted(table: Table, prefix: str) -> Features:
    """Return the free parameters of a fit, those of like components in order.

    Two plasmas are told apart by nothing but their order, which a fit leaves to
    chance: here the cooler one comes first.
    """
    columns = in_order({name: floats(table, name) for name in parameters(table)})
    values = np.stack(list(columns.values()), axis=1) if columns else np.empty((len(table), 0))
    return Features(tuple(f"{prefix}{name}" for name in columns), values)


def fit_features(detector: Detector, material: Material, part: str) -> Features:
    """Return what a detector's two fits say about the spectra of a part."""
    thermal, alternative = pair(detector, material, part)
    quality = Features(
        ("ΔC", "C/dof without IC", "C/dof with IC"),
        np.stack(
            [
                statistic(thermal) - statistic(alternative),
                reduced_cstat(thermal),
                reduced_cstat(alternative),
            ],
            axis=1,
        ),
    )
    return Features.join(quality, fitted(thermal, "without IC: "), fitted(alternative, "with IC: "))


def of_source(features: Features) -> Features:
    """Return features without those that are background factors."""
    kept = ["background." not in name for name in features.names]
    names = tuple(name for name, keep in zip(features.names, kept, strict=True) if keep)
    return Features(names, features.values[:, kept])


def checked(features: Mapping[str, Features]) -> dict[str, Floats]:
    """Return the features of each part: of training spectra to learn from, of others to judge.

    Raises
    ------
    IcflowError
        If training spectra are too few, or the features differ between parts.
    """
    names = next(iter(features.values())).names
    for part, own in features.items():
        if part in (TRAINING, TRAINING_IC) and len(own.values) < FEWEST:
            raise IcflowError(
                f"there are fits of {len(own.values)} {part} spectra, and {FEWEST} are the "
                "fewest to learn from; raise detection.fitted and the size of the dataset"
            )
        if own.names != names:
            raise IcflowError(
                f"the fits of the {part} spectra have other parameters than those of the training "
                "spectra; fit them again"
            )
    return {part: own.values for part, own in features.items()}


def with_classes(values: Mapping[str, Floats]) -> tuple[Floats, Booleans]:
    """Return the training spectra of both classes, one below the other, and which hold IC."""
    rows = [values[part] for part in (TRAINING, TRAINING_IC)]
    return np.concatenate(rows), np.repeat([False, True], [len(part) for part in rows])


def where_finite(score: Callable[[Floats], Floats], values: Floats) -> Floats:
    """Return the scores of rows, NaN of those that lack a number."""
    usable = np.isfinite(values).all(axis=1)
    scores = np.full(len(values), math.nan)
    if usable.any():
        scores[usable] = score(values[usable])
    return scores


@dataclass(frozen=True)
class Scale:
    """Parameters in units in which they scatter alike."""

    factor: Booleans
    least: Floats
    mean: Floats
    spread: Floats

    @classmethod
    def of(cls, names: tuple[str, ...], values: Floats) -> Scale:
        """Return the scale of the parameters of some spectra, (n_spectra, n_parameters)."""
        factor = np.array([name.endswith(FACTORS) for name in names])
        # A norm of zero has no logarithm; what is so much smaller than usual is as good as zero.
        least = 1e-3 * np.abs(np.median(values, axis=0)) + 1e-300
        logs = np.where(factor, np.log(np.maximum(values, least)), values)
        spread = logs.std(axis=0)
        return cls(factor, least, logs.mean(axis=0), np.where(spread > 0, spread, 1.0))

    def apply(self, values: Floats) -> Floats:
        """Return parameters in these units."""
        logs = np.where(self.factor, np.log(np.maximum(values, self.least)), values)
        return np.asarray((logs - self.mean) / self.spread)
