"""The temporary folder of a job with XSPEC."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from icflow.config import AtomicData, Instrument
from icflow.config.model import listed_modules
from icflow.engines.xspec import home, version
from icflow.engines.xspec.engine import PyXspecEngine
from icflow.errors import IcflowError
from icflow.settings import SimulateSettings


class Owner:
    """Something that a folder goes with."""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that temporary folders are made in."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_folder_goes_with_its_owner(temporary: Path) -> None:
    owner = Owner()
    folder = home.make(owner)
    assert list(temporary.iterdir()) == [folder]
    del owner
    assert list(temporary.iterdir()) == []


def test_what_killed_jobs_have_left_is_removed(temporary: Path) -> None:
    owner, other = Owner(), Owner()
    mine = home.make(owner)
    left, strange = temporary / f"{home._NAME}left", temporary / "icflow-xspec-elsewhere-x"
    for folder in (left, strange):
        folder.mkdir()
        (folder / home.LOCK).touch()
    yours = home.make(other)
    assert {*temporary.iterdir()} == {mine, yours, strange}


def test_two_jobs_in_one_folder_are_refused(temporary: Path) -> None:
    owner = Owner()
    folder = home.make(owner)
    with pytest.raises(IcflowError, match=r"temporary folder of another job .* give each a TMPDIR"):
        home.hold(folder, Owner())


@pytest.fixture
def with_blank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instrument: Instrument) -> Path:
    """A folder of temporary ones whose path XSPEC would split."""
    folder = tmp_path / "my files"
    assert folder.is_dir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def test_with_a_blank_in_tmpdir_xspec_has_its_home_elsewhere(
    with_blank: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    calls: Path,
    instrument: Instrument,
) -> None:
    (tmp_path / "t").mkdir()
    monkeypatch.setattr(home, "WITHOUT_BLANKS", (str(tmp_path / "nowhere"), str(tmp_path / "t")))
    before = {*with_blank.iterdir()}
    for part in ("coco", "line"):
        (with_blank / f"apec_v3.0.9_{part}.fits").touch()
    engine = PyXspecEngine([instrument], AtomicData(folder=str(with_blank)))
    assert engine.folder.parent == tmp_path / "t"
    counts = engine.predict("powerlaw", {"powerlaw.PhoIndex": 2.0, "powerlaw.norm": 0.5})
    assert counts.sum() > 0
    # No file that XSPEC was given has a blank in its name.
    names = re.findall(r"'([^']*\.(?:rmf|arf|pha)|[^']*apec_v[^']*)'", calls.read_text())
    assert {"source.rmf", str(engine.folder / "apec_v3.0.9")} <= {*names}
    assert not any(" " in name for name in names)
    assert len({*with_blank.iterdir()} - before) == 2, "the tables alone"
    # Its version is asked there, too.
    told = ["sh", "-c", 'echo "XSPEC $TMPDIR"']
    assert version.ask(told) == (str(tmp_path / "t"), "")


def test_where_no_path_is_without_a_blank(
    with_blank: Path, monkeypatch: pytest.MonkeyPatch, calls: Path, instrument: Instrument
) -> None:
    monkeypatch.setattr(home, "WITHOUT_BLANKS", ("/nowhere", "/no/where"))
    problem = r"TMPDIR is '.*my files', XSPEC splits paths .* /nowhere, /no/where can be written"
    with pytest.raises(IcflowError, match=problem):
        PyXspecEngine([instrument], AtomicData(folder="nowhere"))


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: Path, instrument: Instrument
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(IcflowError, match=r"none can be written \(.*nowhere.*\); set TMPDIR"):
        PyXspecEngine([instrument], AtomicData(folder="nowhere"))


def test_a_job_that_is_told_to_end_leaves_nothing(
    calls: Path, instrument: Instrument, tmp_path: Path
) -> None:
    temporary = tmp_path / "t"
    temporary.mkdir()
    settings = SimulateSettings(
        engine="xspec",
        seed=1,
        atomic_data=AtomicData(folder="nowhere"),
        modules=listed_modules(instrument),
        dataset="a",
        draws="a",
        scenario="s",
        model={"expression": "powerlaw", "parameters": {"powerlaw.norm": 0.5}},
    )
    text = json.dumps(settings.model_dump(mode="json", exclude_none=True))
    command = [sys.executable, "-m", "icflow.cli", "simulate", "--settings", text]
    command += ["--shard-first", "0", "--count", "100000", "--output", str(tmp_path / "a.pha")]
    job = subprocess.Popen(command, env=os.environ | {"TMPDIR": str(temporary)})
    partial = tmp_path / "a.pha.partial.jsonl"
    try:
        while not partial.exists():
            assert job.poll() is None
            time.sleep(0.05)
        assert len(list(temporary.iterdir())) == 1
        job.send_signal(signal.SIGTERM)
        assert job.wait(60) == 128 + signal.SIGTERM
    finally:
        job.kill()
    assert list(temporary.iterdir()) == []
    assert partial.stat().st_size > 0, "what was faked is kept"
