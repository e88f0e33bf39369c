"""Scans for tests: two points, one of them of fainter sources."""

from __future__ import annotations

from typing import Any

DATASETS = {
    "faint": {"like": "test_1T+IC", "parameters": {"powerlaw.norm": {"uniform": [1e-5, 1e-4]}}},
    "3T": {"like": "test_2T", "ic": False},
}
FIRST = {"name": "first", "label": "first", "value": 0.0, "test": ["test_2T", "test_1T+IC"]}
PAIR = {"thermal": "2T_fixed", "alternative": "1T+IC_fixed"}
SECOND = {"name": "second", "label": "IC | faint", "value": 1.0, "test": ["test_2T", "faint"]}


def scan_of(*points: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"title": "What", "figure": "rates", "points": list(points), **keys}
