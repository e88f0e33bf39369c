"""The columns of the table of scores."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from icflow.errors import IcflowError

# What it holds of a spectrum besides what detectors say: columns, and how others begin.
IDENTITY, TRUTH = ("dataset", "index", "is_ic"), "truth."


class Columns(NamedTuple):
    """The columns of one detector."""

    score: str
    decision: str
    probability: str


def columns_of(name: str) -> Columns:
    """Return the columns of a detector."""
    return Columns(name, f"{name}_decision", f"{name}_probability")


def check_columns(names: Iterable[str]) -> None:
    """Check that each detector has columns of its own in the table of scores.

    Raises
    ------
    IcflowError
        Naming a detector that has not.
    """
    taken = set(IDENTITY)
    for name in names:
        columns = set(columns_of(name))
        if taken & columns or name.startswith(TRUTH):
            raise IcflowError(
                f"detection.detectors.{name}: the table of scores has a column of that name "
                "already; rename the detector"
            )
        taken |= columns
