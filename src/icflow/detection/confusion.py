"""Confusion matrices as data frames: true classes in rows, what spectra are called in columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from icflow.typing import Booleans

if TYPE_CHECKING:
    import pandas as pd

CLASSES = ["no IC", "IC"]
# How ``metrics.json`` names the cells, by true class and by what spectra are called.
CELLS = {
    "tp": ("IC", "IC"),
    "fp": ("no IC", "IC"),
    "tn": ("no IC", "no IC"),
    "fn": ("IC", "no IC"),
}


def count(decision: Booleans, is_ic: Booleans) -> pd.DataFrame:
    """Return how many spectra of each class are called IC, and how many are not.

    Parameters
    ----------
    decision, is_ic : (n,) bool
        Whether each spectrum is called IC, and whether it is.
    """
    import pandas as pd  # slow to import, and the workflow reads the registry of figures

    true, called = (np.where(values, "IC", "no IC") for values in (is_ic, decision))
    return _whole(pd.crosstab(true, called))


def cells(matrix: pd.DataFrame) -> dict[str, int]:
    """Return a matrix as ``metrics.json`` holds it."""
    return {key: int(matrix.loc[cell]) for key, cell in CELLS.items()}


def from_cells(counts: Mapping[str, int]) -> pd.DataFrame:
    """Return the matrix that ``metrics.json`` holds."""
    import pandas as pd

    return _whole(pd.Series({CELLS[key]: number for key, number in counts.items()}).unstack())


def fractions(matrix: pd.DataFrame) -> pd.DataFrame:
    """Return the fractions of each true class; those of a class without spectra are NaN."""
    return matrix.div(matrix.sum(axis="columns"), axis="index")


def _whole(matrix: pd.DataFrame) -> pd.DataFrame:
    whole = matrix.reindex(index=CLASSES, columns=CLASSES, fill_value=0)
    return whole.rename_axis(index="true class", columns="called")
