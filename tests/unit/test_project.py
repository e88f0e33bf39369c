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
    assert project.SNAKEFILE.samefile(root / "Snakefile")
    assert project.CONFIG.samefile(root / "config.yaml")
    project.check_files()


def test_half_an_installation_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "CONFIG", tmp_path / "config.yaml")
    with pytest.raises(IcflowError, match="installed from half a source tree"):
        project.check_files()


def test_copies_can_be_edited_and_hold_no_links(tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    (installed / "folder/__pycache__").mkdir(parents=True)
    (installed / "folder/script.sh").write_text("#!/bin/sh\n")
    (installed / "folder/link.sh").symlink_to("script.sh")
    (installed / "folder/script.sh").chmod(0o555)
    (installed / "folder").chmod(0o555)
    project.copy(installed / "folder", tmp_path / "deep/copy")
    project.copy(installed / "folder/script.sh", tmp_path / "script.sh")
    (installed / "folder").chmod(0o755)
    assert not (tmp_path / "deep/copy/__pycache__").exists()
    assert (tmp_path / "deep/copy").stat().st_mode & 0o777 == 0o755
    for path in (*(tmp_path / "deep/copy").iterdir(), tmp_path / "script.sh"):
        assert not path.is_symlink() and path.stat().st_mode & 0o777 == 0o755
