"""Rows of the benchmarks: printed, and added to a file as they complete."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

from icflow.files import write_json

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "results/benchmarks.json"


def save(
    output: Path,
    row: str,
    value: float,
    unit: str,
    target: float,
    *,
    at_least: bool = False,
    limit: str = "",
    **more: Any,
) -> None:
    """Add a row to the output and print it; `limit` says what the machine would allow."""
    reached = bool(value >= target if at_least else value <= target)
    rows = json.loads(output.read_text()) if output.exists() else {}
    rows[row] = {
        "value": float(f"{value:.6g}"),
        "unit": unit,
        "target": target,
        "reached": reached,
        "limit": limit,
        **more,
        "machine": machine(),
    }
    write_json(output, rows)
    sign, verdict = ("≥" if at_least else "≤"), ("reached" if reached else "NOT REACHED")
    note = "; ".join(filter(None, (more.get("note", ""), limit and f"limit: {limit}")))
    print(f"{row:<22} {value:>12.5g} {unit:<22} {sign} {target:<8g} {verdict}  {note}", flush=True)


def machine() -> str:
    """Return processor, cores and Python of this machine."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        name = models[0].partition(":")[2].strip() if models else name
    return f"{name}, {os.cpu_count()} cores, Python {platform.python_version()}"
