"""The resources, fetched and checked once by each process that tests."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from icflow import resources

ROOT = Path(__file__).resolve().parents[2]


@cache
def fetch(root: Path = ROOT) -> Path:
    """Fetch every resource of a project; return their folder."""
    for name in resources.RESOURCES:
        resources.ensure(name, root)
    return root / "resources"
