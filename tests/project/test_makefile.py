"""What make does where something is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_without_xspec_nothing_is_tested_and_nothing_fails(root: Path, tmp_path: Path) -> None:
    empty = tmp_path / "python"
    empty.write_text(f'#!/bin/sh\nexec {sys.executable} -S -I "$@"\n')
    empty.chmod(0o755)
    command = ["make", "test-xspec", f"PYTHON={empty}"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"NOTHING WAS TESTED, {empty} has no XSPEC" in done.stdout
