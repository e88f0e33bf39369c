"""Results of fits, made up."""

from __future__ import annotations

from typing import Any

from icflow.engines.base import FitResult


def made_up(**given: Any) -> FitResult:
    """Return a good fit of a power law's norm, but for what is given."""
    values: dict[str, Any] = {
        "cstat": 1.0,
        "dof": 1,
        "bins": 2,
        "converged": True,
        "starts": 1,
        "agreeing": 1,
        "iterations": 1,
        "gradient": 0.0,
        "values": {"powerlaw.norm": 1.0},
        "errors": {"powerlaw.norm": 0.1},
        "free": ("powerlaw.norm",),
    }
    return FitResult(**values | given)
