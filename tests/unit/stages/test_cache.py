"""`icflow cache`: what is kept, and cleared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from icflow import cache
from icflow.cli import main


def test_shows_and_clears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ICFLOW_CACHE", str(tmp_path))
    monkeypatch.setenv("ICFLOW_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/nustar_fpma.arf").write_bytes(bytes(2_000_000))
    (tmp_path / "compiled").mkdir()
    (tmp_path / "compiled/descend-7.py311.1.nbc").write_bytes(bytes(3_000_000))
    cache.cached({"name": "shown"}, lambda: {"rows": np.zeros(1_000_000)})
    assert main(["cache"]) == 0
    fetched, folded, compiled = capsys.readouterr().out.splitlines()
    assert fetched == f"fetched files: 1, 2 MB in {tmp_path}/data"
    assert folded == f"folded tables: 1, 8 MB in {tmp_path}/folded"
    assert compiled == f"compiled functions: 1, 3 MB in {tmp_path}/compiled"
    assert main(["cache", "--clear"]) == 0
    _, folded, compiled = capsys.readouterr().out.splitlines()
    assert "folded tables: 0, 0 MB" in folded and "compiled functions: 0, 0 MB" in compiled
    assert (tmp_path / "data/nustar_fpma.arf").exists()
