"""Stage: the estimate of a likelihood ratio for one observation."""

from __future__ import annotations

from icflow.observation.ratios import run

__all__ = ["run"]
