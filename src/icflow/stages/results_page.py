"""Stage: the page of results of a finished run."""

from __future__ import annotations

from icflow.publish.results_page import run

__all__ = ["run"]
