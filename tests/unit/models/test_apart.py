"""Functions that end their process, called in another one."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from icflow.config import AtomicData
from icflow.errors import IcflowError
from icflow.models import apart, library
from icflow.typing import Floats

EDGES = np.geomspace(0.1, 100.0, 31)


def defaults(name: str) -> Floats:
    return np.array([parameter.default for parameter in library.definitions()[name].parameters])


@pytest.fixture(autouse=True)
def configured() -> None:
    library.configure(AtomicData())


def test_the_numbers_are_those_of_a_call_in_this_process() -> None:
    child = apart.Apart(AtomicData())
    for name, values in (("powerlaw", [1.7]), ("tbabs", [0.3])):
        expected = library.evaluate_here(library.definitions()[name], EDGES, np.array(values))
        np.testing.assert_array_equal(child.evaluate(name, EDGES, np.array(values), name), expected)
    child.stop()


def test_abundances_are_those_of_the_parent() -> None:
    absorbed = []
    for abundances in ("angr", "wilm"):
        child = apart.Apart(AtomicData(abundances=abundances))
        absorbed.append(child.evaluate("tbabs", EDGES, np.array([1.0]), "tbabs"))
        child.stop()
    assert not np.allclose(*absorbed)


def test_a_model_that_ends_its_process_is_named_and_the_next_call_works() -> None:
    definition = library.definitions()["agnsed"]
    names = [parameter.name for parameter in definition.parameters]
    values = defaults("agnsed")
    values[names.index("logmdot")] = -10.0
    with pytest.raises(IcflowError, match=r"agnsed at .*logmdot=-10.*ends its process \(signal"):
        library.evaluate(definition, EDGES, values)
    assert library.evaluate(definition, EDGES, defaults("agnsed")).max() > 0


def test_a_model_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "PATIENCE", 0.0)
    with pytest.raises(IcflowError, match="powerlaw: XSPEC's function does not answer within"):
        apart.Apart(AtomicData()).evaluate("powerlaw", EDGES, np.array([2.0]), "powerlaw")


def test_a_call_that_does_not_end_ends_with_the_process_that_nobody_waits_for() -> None:
    code = """
import sys
from icflow.models import apart, library
def endless(*arguments):
    while True:
        pass
apart.PATIENCE, library.evaluate_here = 0, endless
apart.serve(sys.stdin.buffer, sys.stdout.buffer)
"""
    request = apart.HEAD.pack(8, 2, 1) + b"powerlaw" + np.array([1.0, 2.0, 1.7]).tobytes()
    done = subprocess.run([sys.executable, "-c", code], input=request, timeout=60)
    assert done.returncode == -signal.SIGALRM


def test_a_reply_that_is_cut_ends_the_call(tmp_path: Path) -> None:
    (tmp_path / "reply").write_bytes(b"abc")
    with (tmp_path / "reply").open("rb") as reply, pytest.raises(EOFError):
        apart._whole(reply, 8)
