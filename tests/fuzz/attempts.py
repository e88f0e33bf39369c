"""One rule for every input: a sentence and exit status 1 (2 for bad usage), or an answer.

Commands run in this process. What escapes them is a traceback, what takes longer than `PATIENCE`
is a hang, and a crash ends the test run itself.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import toy
from fetched import fetch

from icflow import cli
from icflow.errors import IcflowError

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 300  # s; the first attempt compiles, for minutes on a busy machine
OUTCOMES: Counter[str] = Counter()
SAVED = ROOT / "tests/data/xspec_reference/save_files/background_and_source.xcm"


@dataclass(frozen=True, repr=False)
class Files:
    """A folder with whole files, its working copies made whole again before each attempt."""

    folder: Path
    whole: dict[str, bytes]

    @classmethod
    def make(cls, folder: Path) -> Files:
        toy.write(folder)
        toy.save(folder / "behind.pha", toy.pha(toy.draw(0.1), BACKFILE="none"))
        shutil.copy(ROOT / "config.yaml", folder)
        shutil.copy(ROOT / "config/tiny.yaml", folder)
        shutil.copy(SAVED, folder / "saved.xcm")
        (folder / "background.yaml").write_text(BACKGROUND)
        whole = {path.name: path.read_bytes() for path in folder.iterdir()}
        (folder / "resources").symlink_to(fetch())
        os.mkfifo(folder / "pipe")
        return cls(folder, whole)

    @contextlib.contextmanager
    def damaged(self, **contents: bytes) -> Iterator[None]:
        """Give files other contents (their names without dots: ``spec_pha``)."""
        named = {name.replace(".", "_"): name for name in self.whole}
        changed = {named[key]: content for key, content in contents.items()}
        for name, content in changed.items():
            (self.folder / name).write_bytes(content)
        try:
            yield
        finally:
            for name in changed:
                (self.folder / name).write_bytes(self.whole[name])

    def attempt(self, *arguments: str) -> tuple[int, str]:
        """Run a command in the folder; return its status and what it said.

        Raises
        ------
        AssertionError
            If it left something behind, or failed without a sentence.
        """
        before = self._names()
        said, complaint = io.StringIO(), io.StringIO()
        with patient(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(complaint):
            status = cli.main(arguments)
        left = self._names() - before
        for name in left:
            path = self.folder / name
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        OUTCOMES["answers" if status == 0 else "sentences"] += 1
        if status:
            lines = complaint.getvalue().splitlines()
            assert status in (1, 2), lines
            assert lines[-1].startswith("icflow: error: "), lines
            assert not left, left
        assert "Traceback" not in complaint.getvalue()
        return status, said.getvalue() + complaint.getvalue()

    def _names(self) -> set[str]:
        return set(os.listdir(self.folder))


def refused(read: Callable[[], Any]) -> bool:
    """Tell whether reading something gave a sentence; what it gave otherwise is an answer."""
    with patient():
        try:
            read()
        except IcflowError:
            OUTCOMES["sentences"] += 1
            return True
    OUTCOMES["answers"] += 1
    return False


@contextlib.contextmanager
def patient() -> Iterator[None]:
    """Wait for a while; what is in compiled code then ends the process and says where."""

    def give_up(*_: Any) -> None:
        raise AssertionError(f"no answer within {PATIENCE} s")

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE)
    faulthandler.dump_traceback_later(2 * PATIENCE, exit=True)
    try:
        yield
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()


BACKGROUND = """\
name: toy
components:
  sky:
    redistribution: source
    area: {file: area.arf}
    expression: tbabs*powerlaw
    parameters: {TBabs.nH: 0.1, powerlaw.PhoIndex: 1.4, powerlaw.norm: 1.0e-3}
  leak:
    redistribution: source
    area:
      nodes: [[1.0, 5.0], [10.0, 3.0], [40.0, 1.0]]
      interpolation: loglog
      above: 30.0
    sum:
      - {model: powerlaw, PhoIndex: 0.5, norm: 1.0e-4}
      - {model: gaussian, LineE: 8.0, Sigma: 0.1, norm: 1.0e-3}
    range: 0.2
"""
