"""Stage: the page of a finished scan."""

from __future__ import annotations

from icflow.publish.scan_page import run

__all__ = ["run"]
