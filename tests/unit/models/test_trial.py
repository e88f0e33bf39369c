"""Models that end the process are told before they do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from icflow.errors import IcflowError
from icflow.files import read_json
from icflow.folders import child_environment
from icflow.models import library, trial

# Each by itself is tried; those that are offered must not disturb one another either.
ALL = """
import os, sys
from icflow.config import AtomicData
from icflow.models import library
library.configure(AtomicData(folder=sys.argv[1]))
declared = library.definitions()
offered = [name for name in declared if name not in library.missing_data()]
used = [name for name in offered if declared[name].kind in ("add", "mul")]
for name in used:
    library.try_defaults(name)
print(len(used), os.listdir())
"""


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ICFLOW_CACHE", str(tmp_path))
    trial.check_works.cache_clear()
    return tmp_path / "models.json"


def test_a_model_that_crashes_is_named_and_remembered(
    memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        IcflowError, match=r"kerrbb ends the process \(signal \d+\) when it is tried"
    ):
        trial.check_works("kerrbb", "HEASoft 0")
    trial.check_works("powerlaw", "HEASoft 0")
    assert list(read_json(memory, "HEASoft 0: powerlaw", "", "")) == [
        "HEASoft 0: kerrbb",
        "HEASoft 0: powerlaw",
    ]
    trial.check_works.cache_clear()
    monkeypatch.setattr(trial, "_outcome", lambda name: pytest.fail(f"{name} is tried again"))
    with pytest.raises(IcflowError, match="kerrbb"):
        trial.check_works("kerrbb", "HEASoft 0")


def test_a_model_that_does_not_end_is_named(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "PATIENCE", 0.01)
    with pytest.raises(IcflowError, match=r"powerlaw does not end within 0\.01 s"):
        trial.check_works("powerlaw", "HEASoft 0")


def test_models_of_another_library_are_tried(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "version", lambda: "HEASoft 0")
    monkeypatch.setattr(trial, "_outcome", lambda name: "ends the process (signal 11)")
    with pytest.raises(IcflowError, match="powerlaw ends the process"):
        library.check_data(library.definitions()["powerlaw"])


def test_every_model_that_is_offered_gives_an_answer_and_leaves_no_file(
    atomdb: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALL, str(atomdb)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=child_environment(),
    )
    assert done.returncode == 0, done.stderr[-500:]
    number, left = done.stdout.split(maxsplit=1)
    assert int(number) > 90
    assert left.strip() == "[]"
