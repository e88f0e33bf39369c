"""Compiled functions: whole in their callers, made once, and anew when what they call is edited."""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE
from typing import Any

from numba.core.dispatcher import Dispatcher

import icflow

# Two modules, one compiled function of each; what is compiled here is told.
INNER = """
from icflow.compiled import strict
SCALE = 2.0

@strict
def inner(x):
    return SCALE * x + 1.0
"""
OUTER = """
from icflow.compiled import strict
from inner import inner

@strict
def outer(x):
    return 10.0 * inner(x)
"""
MAIN = """
import json, sys
from numba.core import event
from outer import outer

class Compilations(event.Listener):
    names = []
    def on_start(self, event):
        name = event.data["dispatcher"].py_func.__name__
        if name in ("inner", "outer"):
            self.names.append(name)
    def on_end(self, event):
        pass

event.register("numba:compile", Compilations())
sys.stdin.read()
print(json.dumps([outer(3.0), sorted(Compilations.names)]))
"""


def calculate(folder: Path, processes: int) -> list[Any]:
    """Call the outer function in processes that start at once; return what each of them says."""
    running = [
        subprocess.Popen([sys.executable, "main.py"], cwd=folder, stdin=PIPE, stdout=PIPE)
        for _ in range(processes)
    ]
    for process in running:
        process.stdin.close()  # type: ignore[union-attr]
    said = [process.stdout.read() for process in running]  # type: ignore[union-attr]
    assert [process.wait() for process in running] == [0] * processes
    return [json.loads(text) for text in said]


def write(folder: Path, **modules: str) -> None:
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)


def test_compiled_functions_are_put_into_their_callers() -> None:
    names = [module.name for module in pkgutil.walk_packages(icflow.__path__, "icflow.")]
    functions = [
        value
        for name in names
        if not name.startswith("icflow.engines.xspec") and not name.endswith("__main__")
        for value in vars(importlib.import_module(name)).values()
        if isinstance(value, Dispatcher)
    ]
    assert len(functions) > 40
    for function in functions:
        assert function.targetoptions["forceinline"], function.py_func


def test_an_edit_of_what_is_called_compiles_the_caller_anew(tmp_path: Path) -> None:
    write(tmp_path, inner=INNER, outer=OUTER, main=MAIN)
    assert calculate(tmp_path, 1) == [[70.0, ["inner", "outer"]]]
    assert calculate(tmp_path, 1) == [[70.0, []]]
    write(tmp_path, inner=INNER.replace("+ 1.0", "+ 2.0"))
    assert calculate(tmp_path, 1) == [[80.0, ["inner", "outer"]]]
    write(tmp_path, inner=INNER.replace("SCALE = 2.0", "SCALE = 3.0"))
    assert calculate(tmp_path, 1) == [[100.0, ["inner", "outer"]]]


def test_one_process_compiles_and_the_other_waits(tmp_path: Path) -> None:
    write(tmp_path, inner=INNER, outer=OUTER, main=MAIN)
    results = calculate(tmp_path, 2)
    assert [value for value, _ in results] == [70.0, 70.0]
    assert sorted(name for _, names in results for name in names) == ["inner", "outer"]
    assert not list(tmp_path.rglob("*.lock"))
