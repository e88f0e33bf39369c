"""What goes into the images, as far as it can be tried without them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from xspectrampoline_helpers import get_HEADAS


def heasoft(folder: Path, *tables: str) -> Path:
    """Make what the test of the image looks at: model.dat, and tables by name."""
    manager = folder / "spectral" / "manager"
    shutil.copytree(Path(get_HEADAS()) / "spectral" / "manager", manager)
    (folder / "spectral" / "modelData").mkdir()
    for name in tables:
        (folder / "spectral" / "modelData" / name).touch()
    return folder


def run_test(root: Path, headas: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the image's test with the stand-in for XSPEC."""
    shutil.copy(root / "tests/unit/engines/xspec/fake_xspec.py", headas / "xspec.py")
    path = os.pathsep.join((str(headas), os.environ.get("PYTHONPATH", "")))
    return subprocess.run(
        [sys.executable, root / "containers" / "test_xspec.py"],
        env=os.environ | {"HEADAS": str(headas), "PYTHONPATH": path} | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_test_of_the_image_fakes_with_the_newest_tables(root: Path, tmp_path: Path) -> None:
    headas = heasoft(tmp_path, "apec_v3.0.9_line.fits", "apec_v3.0.10_line.fits", "other.fits")
    done = run_test(root, headas)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("XSPEC 12.99.9, AtomDB 3.0.10: ")


@pytest.mark.parametrize(
    ("tables", "variables", "sentence"),
    [
        ([], {}, "modelData holds no AtomDB tables"),
        (["apec_v3.0.9_line.fits"], {"FAKE_XSPEC_NO_TABLES": "1"}, "apec is zero everywhere"),
        (["apec_v3.0.9_line.fits"], {"FAKE_XSPEC_STALE": "1"}, "XSPEC faked"),
    ],
)
def test_it_fails_where_xspec_does(
    root: Path, tmp_path: Path, tables: list[str], variables: dict[str, str], sentence: str
) -> None:
    done = run_test(root, heasoft(tmp_path, *tables), **variables)
    assert done.returncode != 0
    assert sentence in done.stderr
