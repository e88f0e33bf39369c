"""Where data and caches lie, and the order in which data are looked for."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from icflow import folders


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ICFLOW_DATA", "ICFLOW_CACHE", "HEADAS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(platformdirs, "user_data_path", lambda *_, **__: tmp_path / "user")


def test_data_go_to_the_user_unless_a_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert folders.data_folder() == tmp_path / "user"
    monkeypatch.setenv("ICFLOW_DATA", str(tmp_path / "named"))
    assert folders.data_folder() == tmp_path / "named"


def test_data_are_looked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(folders.data_folders()) == [tmp_path / "user"]
    monkeypatch.setenv("ICFLOW_DATA", str(tmp_path / "named"))
    monkeypatch.setenv("HEADAS", "/opt/heasoft/x86_64")
    assert list(folders.data_folders()) == [
        tmp_path / "named",
        tmp_path / "user",
        Path("/opt/heasoft/spectral/modelData"),
        Path("/opt/heasoft/x86_64/spectral/modelData"),
    ]


def test_the_library_of_the_wheel_is_no_heasoft(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADAS", "/site-packages/xspectrampoline/LibXSPEC")
    assert len(list(folders.data_folders())) == 1


def test_the_cache_is_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert folders.cache_folder() == Path.home() / ".cache/icflow"
    monkeypatch.setenv("ICFLOW_CACHE", str(tmp_path))
    assert folders.cache_folder() == tmp_path
