"""Stage: a network for one observation."""

from __future__ import annotations

from icflow.observation.networks import run

__all__ = ["run"]
