"""A folder with a spectrum of a made-up instrument and its companions."""

from __future__ import annotations

from pathlib import Path

import pytest
import toy


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: spec.pha, resp.rmf and area.arf, and no table of AtomDB."""
    toy.write(tmp_path, toy.pha(), toy.rmf(), toy.arf())
    monkeypatch.chdir(tmp_path)
    return tmp_path
