"""The benchmarks of the engine run, every row of them, on two spectra."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROWS = {
    "one_start", "one_start_vs_xspec", "cstat_above_xspec", "cstat_above_truth", "expected_counts",
    "simulation", "labels", "baseline", "memory", "linearity", "coverage", "coverage_free",
    "coverage_hessian", "minimum_fixed", "minimum_free",
}  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_every_row_is_measured_and_kept(
    root: Path, rmf_path: Path, arf_path: Path, atomdb: Path, tmp_path: Path
) -> None:
    output = tmp_path / "benchmarks.json"
    # What earlier runs have measured stays.
    output.write_text('{"other": {"value": 1.0}}')
    command = [sys.executable, root / "benchmarks/engine.py", "--output", output]
    done = subprocess.run(
        [*command, "--scale", "0.0001", "--cores", "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(output.read_text())
    assert set(rows) == {"other", *ROWS}
    for name in ROWS:
        assert {"value", "unit", "target", "reached", "machine", "scale"} <= set(rows[name])
        assert isinstance(rows[name]["reached"], bool)
        assert name in done.stdout
    # What two spectra are enough to tell.
    assert rows["cstat_above_xspec"]["reached"]
    assert rows["cstat_above_truth"]["reached"]
    assert rows["memory"]["reached"]
    assert rows["expected_counts"]["value"] < 1e-4


def test_evidences_are_compared_with_nested_sampling(
    root: Path, rmf_path: Path, arf_path: Path, atomdb: Path, tmp_path: Path
) -> None:
    output = tmp_path / "evidence.json"
    command = [sys.executable, root / "benchmarks/evidence.py", "--output", output]
    done = subprocess.run(
        [*command, "--spectra", "1"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    content = json.loads(output.read_text())
    assert len(content["rows"]) == 4
    for row in content["rows"]:
        assert row["effective"] >= 300
        off = abs(row["nested"] - row["sampled"])
        assert off < 4 * (row["nested_error"] ** 2 + row["error"] ** 2) ** 0.5
    assert content["summary"]["spectra"] == 2
    assert "balanced accuracy, laplace" in done.stdout
