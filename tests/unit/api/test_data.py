"""Files that can be fetched, found where they are."""

from __future__ import annotations

from pathlib import Path

import pytest

import icflow
from icflow.api import data


def test_what_is_nowhere_goes_to_the_folder_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the notebook is, in a project too."""
    (tmp_path / "resources").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "find", lambda name: None)
    asked: list[object] = []
    monkeypatch.setattr(data, "ensure", lambda *given: asked.append(given) or Path("there"))
    assert icflow.data_file("nustar_fpma.arf") == Path("there")
    assert asked == [("nustar_fpma.arf", None)]


def test_files_are_found_without_fetching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ICFLOW_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/nustar_fpma.arf").touch()
    assert icflow.data_file("nustar_fpma.arf") == tmp_path / "data/nustar_fpma.arf"
    (tmp_path / "resources/responses").mkdir(parents=True)
    (tmp_path / "resources/responses/nustar_fpma.arf").touch()
    assert icflow.data_file("nustar_fpma.arf") == Path("resources/responses/nustar_fpma.arf")
