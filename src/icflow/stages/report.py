"""Stage: the report of a finished run."""

from __future__ import annotations

from icflow.publish.report import run

__all__ = ["run"]
