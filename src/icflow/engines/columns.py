"""Fits as columns: what every table of fits holds, one row for each spectrum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from icflow.engines.base import FitResult

COUNTED = ("dof", "bins", "converged", "starts", "agreeing", "iterations")


def columns_of(results: Sequence[FitResult], profile: bool = False) -> dict[str, list[Any]]:
    """Return the columns of a table of fits of one model.

    ``cstat``, those `COUNTED`, ``gradient``, ``at_bound`` (names with commas between), ``status``;
    for each parameter its value, ``NAME_error`` where it was fitted and, of profiles,
    ``NAME_lower`` and ``NAME_upper``.
    """
    columns: dict[str, list[Any]] = {"cstat": [result.cstat for result in results]}
    columns |= {name: [getattr(result, name) for result in results] for name in COUNTED}
    columns["gradient"] = [result.gradient for result in results]
    columns["at_bound"] = [",".join(result.at_bound) for result in results]
    columns["status"] = [result.status for result in results]
    for name in results[0].values if results else ():
        columns[name] = [result.values[name] for result in results]
        if any(result.errors[name] != 0 for result in results):
            columns[f"{name}_error"] = [result.errors[name] for result in results]
        if profile and name in results[0].free:
            for end, column in enumerate(("lower", "upper")):
                columns[f"{name}_{column}"] = [_interval(result, name)[end] for result in results]
    return columns


def _interval(result: FitResult, name: str) -> tuple[float, float]:
    return result.intervals.get(name, (np.nan, np.nan))
