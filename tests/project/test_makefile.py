"""What make does where something is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_without_xspec_nothing_is_tested_and_nothing_fails(root: Path, tmp_path: Path) -> None:
    empty = tmp_path / "python"
    empty.write_text(f'#!/bin/sh\nexec {sys.executable} -S -I "$@"\n')
    empty.chmod(0o755)
    command = ["make", "test-xspec", f"PYTHON={empty}"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"NOTHING WAS TESTED, {empty} has no XSPEC" in done.stdout


@pytest.mark.parametrize("failing", ["tests/xspec", "tests/conformance", "none of them"])
def test_both_parts_run_whatever_fails(failing: str, root: Path, tmp_path: Path) -> None:
    """Programs that say what they are asked for stand in for XSPEC's Python and for icflow."""
    for name in ("python", "icflow", "xspec-python"):
        program = tmp_path / name
        program.write_text(
            "#!/bin/sh\n"
            f'echo "{name} $* (XSPEC: $ICFLOW_XSPEC_PYTHON)"\n'
            f'case "$*" in *"{failing}"*) exit 3 ;; esac\n'
        )
        program.chmod(0o755)
    command = ["make", "test-xspec", f"PYTHON={tmp_path}/xspec-python", f"BIN={tmp_path}"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert "xspec-python -m pytest tests/xspec" in done.stdout
    second = f"python -m pytest tests/conformance -k xspec (XSPEC: {tmp_path}/xspec-python)"
    assert second in done.stdout
    assert (done.returncode == 0) == (failing == "none of them")
