"""The files of a project, as they are installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from icflow import project
from icflow.errors import IcflowError


def test_every_file_is_that_of_the_clone(root: Path) -> None:
    links = [path for path in project.FILES.rglob("*") if path.is_symlink()]
    assert len(links) > 10
    for path in links:
        assert path.resolve() == root / path.relative_to(project.FILES), path
    project.check_files()


def test_half_an_installation_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "CONFIG", tmp_path / "config.yaml")
    with pytest.raises(IcflowError, match="installed from half a source tree"):
        project.check_files()
