"""Which XSPEC there is, asked once and in a home of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from icflow.engines.registry import check_version
from icflow.engines.xspec import version
from icflow.engines.xspec.engine import PyXspecEngine
from icflow.errors import IcflowError


def test_the_version_is_asked_once(
    calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = tmp_path / "new" / "version.json"
    assert version.known(memory) == "12.99.9"
    monkeypatch.setenv("FAKE_XSPEC_VERSION", "12.99.10")
    assert version.known(memory) == "12.99.9"
    # Another file is another XSPEC.
    os.utime(tmp_path / "python" / "xspec.py", ns=(1, 1))
    assert version.known(memory) == "12.99.10"
    memory.write_text("in pieces")
    assert version.known(memory) == "12.99.10"


def test_an_xspec_in_an_image_is_asked_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "heasoft.sif"
    image.touch()
    program = tmp_path / "bin" / "apptainer"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\necho XSPEC 12.15.1\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    for _ in range(2):
        assert version.known(tmp_path / "a.json", str(image)) == "12.15.1"
    asked = (tmp_path / "asked").read_text()
    assert asked.count("exec --cleanenv") == 1
    assert str(image) in asked
    # The address of a registry cannot be asked without fetching it.
    assert version.known(tmp_path / "b.json", "docker://a/b") == ""


@pytest.mark.parametrize("python", ["/no/such/python", "false"])
def test_where_there_is_no_xspec(
    python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(version.PYTHON, python)
    assert version.known(tmp_path / "a.json") == ""
    found, reason = version.ask()
    assert found == ""
    assert reason
    assert list(tmp_path.iterdir()) == []


def test_a_shell_without_xspec_leaves_alone_what_xspec_has_made(
    calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = tmp_path / "version.json"
    assert version.known(memory) == "12.99.9"
    # HEASoft is not set up, its files are away, XSPEC does not start, its image is away.
    monkeypatch.setenv(version.PYTHON, "/no/such/python")
    assert version.known(memory) == "12.99.9"
    monkeypatch.delenv(version.PYTHON)
    module = tmp_path / "python" / "xspec.py"
    module.write_text("raise ImportError('libXSFunctions.so')")
    assert version.known(memory) == "12.99.9"
    module.unlink()
    assert version.known(memory) == "12.99.9"
    assert version.known(memory, str(tmp_path / "heasoft.sif")) == "12.99.9"


def test_asking_leaves_the_home_alone(
    calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    assert version.ask() == ("12.99.9", "")
    assert list(home.iterdir()) == []


def test_one_xspec_for_all_jobs(engine: PyXspecEngine) -> None:
    check_version(engine, "12.99.9")
    check_version(engine, None)
    with pytest.raises(IcflowError, match=r"XSPEC is 12\.99\.9 here and was 12\.9\.1 when the run"):
        check_version(engine, "12.9.1")


def test_an_xspec_that_changes_in_a_job_is_refused(
    engine: PyXspecEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.process.stop()
    monkeypatch.setenv("FAKE_XSPEC_VERSION", "12.99.10")
    with pytest.raises(IcflowError, match=r"XSPEC is 12\.99\.10 now and was 12\.99\.9 when this"):
        engine.process.start()
