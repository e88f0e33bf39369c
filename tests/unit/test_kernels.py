"""Compiled functions: made once, and anew when what they call is edited."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from icflow.kernels import fingerprint

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


def calculate(folder: Path, processes: int, kept: Path) -> list[Any]:
    """Call the outer function in processes that start at once; return what each of them says."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(kept)}
    # Byte code of a module that is edited within the same second would be taken for the new one's.
    command = [sys.executable, "-B", "main.py"]
    running = [
        subprocess.Popen(command, cwd=folder, env=environment, stdin=PIPE, stdout=PIPE)
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


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the functions were compiled and kept."""
    folder = tmp_path_factory.mktemp("once")
    write(folder, inner=INNER, outer=OUTER, main=MAIN)
    assert calculate(folder, 1, folder / "kept") == [[70.0, ["inner", "outer"]]]
    return folder


@pytest.fixture
def compiled(once: Path, tmp_path: Path) -> Path:
    """A copy of it, which shares nothing with it."""
    return Path(shutil.copytree(once, tmp_path / "compiled"))


@pytest.mark.parametrize(
    ("inner", "made"),
    [
        (INNER, ["inner", "outer"]),
        (
            INNER.replace("import strict", "import inner as part").replace("@strict", "@part"),
            ["outer"],
        ),
    ],
    ids=["alone", "part"],
)
def test_an_edit_of_what_is_called_compiles_the_caller_anew(
    tmp_path: Path, inner: str, made: list[str]
) -> None:
    kept = tmp_path / "kept"
    write(tmp_path, inner=inner, outer=OUTER, main=MAIN)
    assert calculate(tmp_path, 1, kept) == [[70.0, made]]
    assert calculate(tmp_path, 1, kept) == [[70.0, []]]
    write(tmp_path, inner=inner.replace("+ 1.0", "+ 2.0"))
    assert calculate(tmp_path, 1, kept) == [[80.0, made]]
    write(tmp_path, inner=inner.replace("SCALE = 2.0", "SCALE = 3.0"))
    assert calculate(tmp_path, 1, kept) == [[100.0, made]]
    # What was there before is there still.
    write(tmp_path, inner=inner)
    assert calculate(tmp_path, 1, kept) == [[70.0, []]]


def test_numbers_in_arrays_and_inside_of_functions_count() -> None:
    text = """
import numpy as np
SCALES = np.array([1.0, 2.0])
def total(x):
    return sum([3.0 * scale for scale in SCALES])
"""

    def fingerprint_of(text: str) -> str:
        names: dict[str, Any] = {}
        exec(text, names)
        return fingerprint(names["total"])

    assert fingerprint_of(text) == fingerprint_of(text + "# A comment.")
    for number in ("2.0", "3.0"):
        assert fingerprint_of(text) != fingerprint_of(text.replace(number, "4.0"))


def test_what_is_loaded_is_put_into_what_is_compiled_after(compiled: Path) -> None:
    write(compiled, outer=OUTER.replace("10.0", "20.0"))
    assert calculate(compiled, 1, compiled / "kept") == [[140.0, ["outer"]]]


PRODUCTS = """
import sys
import numpy as np
from icflow.compiled import strict

@strict
def solved(a, b):
    return np.linalg.solve(a, np.dot(a, b))

result = solved(np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[1.0, 0.0], [5.0, 2.0]]))
assert np.allclose(result, [[1, 0], [5, 2]]), result
print([name for name in ("scipy.linalg", "numba.np.linalg") if name in sys.modules])
import scipy.linalg
assert np.allclose(scipy.linalg.solve(np.eye(2), result), result)
"""


def test_algebra_is_loaded_without_all_that_could_be_compiled(tmp_path: Path) -> None:
    write(tmp_path, main=PRODUCTS)
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "kept")}
    command = [sys.executable, "main.py"]
    run = {"cwd": tmp_path, "env": environment, "text": True, "check": True}
    first, second = (subprocess.run(command, stdout=PIPE, **run).stdout for _ in range(2))
    assert "numba.np.linalg" in first
    assert second == "[]\n"


def test_copies_of_the_same_code_share_what_is_compiled(compiled: Path, tmp_path: Path) -> None:
    write(tmp_path, inner=INNER, outer=OUTER, main=MAIN)
    assert calculate(tmp_path, 1, compiled / "kept") == [[70.0, []]]


def test_functions_are_compiled_where_nothing_can_be_kept(tmp_path: Path) -> None:
    write(tmp_path, inner=INNER, outer=OUTER, main=MAIN)
    nowhere = tmp_path / "main.py/kept"
    assert calculate(tmp_path, 1, nowhere) == [[70.0, ["inner", "outer"]]]


@pytest.mark.parametrize(("kind", "end"), [("nbi", -9), ("nbc", -9), ("nbc", 0)])
def test_what_is_damaged_is_compiled_anew(compiled: Path, kind: str, end: int) -> None:
    kept = compiled / "kept"
    (damaged,) = kept.glob(f"outer*.{kind}")
    damaged.write_bytes(damaged.read_bytes()[:end])
    (value, names), *_ = calculate(compiled, 1, kept)
    assert value == 70.0 and "outer" in names
    assert calculate(compiled, 1, kept) == [[70.0, []]]


def test_machine_code_with_one_wrong_bit_is_compiled_anew(compiled: Path) -> None:
    kept = compiled / "kept"
    (damaged,) = kept.glob("outer*.nbc")
    content = bytearray(damaged.read_bytes())
    # In the object file (of Linux or macOS) that is pickled: it would be loaded, and run.
    begin = re.search(rb"\x7fELF|\xcf\xfa\xed\xfe", content)
    assert begin is not None
    content[begin.start() + 18] ^= 64
    damaged.write_bytes(content)
    (value, names), *_ = calculate(compiled, 1, kept)
    assert value == 70.0 and "outer" in names
    assert calculate(compiled, 1, kept) == [[70.0, []]]


def test_what_is_damaged_is_compiled_where_nothing_can_be_written(compiled: Path) -> None:
    kept = compiled / "kept"
    (damaged,) = kept.glob("outer*.nbi")
    damaged.write_bytes(damaged.read_bytes()[:-9])
    # Root, who may run these tests, writes everywhere.
    refuse = """
from numba.core.caching import IndexDataCacheFile
def refuse(*_):
    raise PermissionError("read only")
IndexDataCacheFile.flush = IndexDataCacheFile.save = refuse
"""
    write(compiled, main=refuse + MAIN)
    (value, names), *_ = calculate(compiled, 1, kept)
    assert value == 70.0 and "outer" in names


def test_functions_of_a_type_that_has_moved_are_compiled_anew(tmp_path: Path) -> None:
    point = "from typing import NamedTuple\nclass Point(NamedTuple):\n    x: float\n"
    outer = "from icflow.compiled import strict\n@strict\ndef outer(p):\n    return 10.0 * p.x\n"
    main = MAIN.replace("outer(3.0)", "outer(Point(7.0))")
    kept = tmp_path / "kept"
    write(tmp_path, old=point, outer=outer, main=f"from old import Point\n{main}")
    assert calculate(tmp_path, 1, kept) == [[70.0, ["outer"]]]
    (tmp_path / "old.py").rename(tmp_path / "new.py")
    write(tmp_path, main=f"from new import Point\n{main}")
    assert calculate(tmp_path, 1, kept) == [[70.0, ["outer"]]]
    assert calculate(tmp_path, 1, kept) == [[70.0, []]]


def test_one_process_compiles_and_the_other_waits(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    write(tmp_path, inner=INNER, outer=OUTER, main=MAIN)
    results = calculate(tmp_path, 2, kept)
    assert [value for value, _ in results] == [70.0, 70.0]
    assert sorted(name for _, names in results for name in names) == ["inner", "outer"]
    assert list(kept.glob("*.nbi")) and not list(kept.glob("*.lock"))
