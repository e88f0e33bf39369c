"""Files that can be fetched, found where they are."""

from __future__ import annotations

from pathlib import Path

import pytest

import icflow


def test_files_are_found_without_fetching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ICFLOW_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/nustar_fpma.arf").touch()
    assert icflow.data_file("nustar_fpma.arf") == tmp_path / "data/nustar_fpma.arf"
    (tmp_path / "resources/responses").mkdir(parents=True)
    (tmp_path / "resources/responses/nustar_fpma.arf").touch()
    assert icflow.data_file("nustar_fpma.arf") == Path("resources/responses/nustar_fpma.arf")
