"""Fits as columns: what every table of fits holds, one row for each spectrum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from icflow.engines.base import FitResult

COUNTED = ("dof", "bins", "converged", "starts", "agreeing", "iterations")
DESCRIBED = ("gradient", "at_bound", "status")


def columns_of(results: Iterable[FitResult], intervals: bool = False) -> dict[str, list[Any]]:
    """Return the columns of a table of fits of one model, of which it keeps no more than that.

    ``cstat``, those `COUNTED`, ``gradient``, ``at_bound`` (names with commas between), ``status``;
    for each parameter its value, ``NAME_error`` where it was fitted and, with intervals,
    ``NAME_lower`` and ``NAME_upper``.
    """
    columns: dict[str, list[Any]] = {name: [] for name in ("cstat", *COUNTED, *DESCRIBED)}
    for number, result in enumerate(results):
        row = _row(result, intervals)
        if number == 0:
            columns = {name: [] for name in row}
        for name, column in columns.items():
            column.append(row[name])
    return {
        name: column
        for name, column in columns.items()
        if not name.endswith("_error") or any(error != 0 for error in column)
    }


def _row(result: FitResult, intervals: bool) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(result, name) for name in ("cstat", *COUNTED)}
    row |= {"gradient": result.gradient, "at_bound": ",".join(result.at_bound)}
    row["status"] = result.status
    for name, value in result.values.items():
        row |= {name: value, f"{name}_error": result.errors[name]}
        if intervals and name in result.free:
            row |= dict(
                zip((f"{name}_lower", f"{name}_upper"), _interval(result, name), strict=True)
            )
    return row


def _interval(result: FitResult, name: str) -> tuple[float, float]:
    return result.intervals.get(name, (np.nan, np.nan))
