"""Which XSPEC there is: asked without starting a session, in a home of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from icflow.engines.xspec.home import temporary
from icflow.errors import IcflowError
from icflow.files import write_json

PYTHON = "ICFLOW_XSPEC_PYTHON"
# XSPEC makes ~/.xspec wherever HOME points to as soon as it is imported.
_ASK = """
import os, tempfile
with tempfile.TemporaryDirectory() as home:
    os.environ["HOME"] = home
    import xspec
    print("XSPEC", xspec.Xset.version[1])
"""
_WHERE = """
import importlib.util, os
found = importlib.util.find_spec("xspec")
print(found.origin, os.stat(found.origin).st_mtime_ns)
"""
_INSIDE = f'exec "${{{PYTHON}:-python3}}" -c "$0"'
LIMIT = 300  # seconds for XSPEC to be imported, from a slow disk


def xspec_python() -> str:
    """Return the Python that XSPEC is used with, absolute: it may start in another folder."""
    name = os.environ.get(PYTHON) or sys.executable
    return os.path.abspath(shutil.which(name) or name)


def ask(command: Sequence[str] = ()) -> tuple[str, str]:
    """Return the version of XSPEC and, if there is none, why.

    Parameters
    ----------
    command : sequence of str, optional
        What runs a program of Python in another place; by default `xspec_python` does.
    """
    done = _run([*(command or (xspec_python(), "-c")), _ASK])
    if done is None:
        return "", f"{xspec_python()} is no Python"
    version = re.search(r"^XSPEC (\S+)$", done.stdout, re.MULTILINE)
    if done.returncode == 0 and version:
        return version[1], ""
    return "", (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]


def known(memory: Path, image: str | None = None) -> str:
    """Return the version of XSPEC; each is asked once.

    Where there is none now, in a shell without HEASoft for one, it is the one that there was the
    last time: what that has made stays as it is.

    Parameters
    ----------
    memory : Path
        JSON file with the answer and what it was the answer to.
    image : str, optional
        The Apptainer image that XSPEC is in.

    Returns
    -------
    str
        Empty if there has never been one.
    """
    if image is None:
        where = _run([xspec_python(), "-c", _WHERE])
        key = [xspec_python(), "" if where is None else where.stdout.strip()]
        command: list[str] = []
    else:
        key = [image, str(os.stat(image).st_mtime_ns) if os.path.exists(image) else ""]
        command = ["apptainer", "exec", "--cleanenv", image, "sh", "-c", _INSIDE]
    asked, version = kept(memory)
    if not key[1] or asked == key:
        return version
    found, _ = ask(command)
    if not found:
        return version
    with suppress(OSError, IcflowError):
        write_json(memory, {"asked": key, "version": found})
    return found


def kept(memory: Path) -> tuple[Any, str]:
    """Return what was asked the last time, and the version that was the answer, or empty."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        content = json.loads(memory.read_text(encoding="utf-8"))
        return content["asked"], str(content["version"])
    return None, ""


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str] | None:
    with suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(  # noqa: S603 - a Python of the user's
            command,
            env=os.environ | {"TMPDIR": str(temporary())},
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT,
        )
    return None
