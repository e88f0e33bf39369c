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


STAND_IN = """#!/bin/sh
echo "$0 $*" >>"$SAID"
case "$*" in *venv*) mkdir -p "$3/bin" && cp "$0" "$3/bin/pip" ;; esac
case "$*" in *" .") ls pyproject.toml src/icflow/cli.py containers/install.sh >>"$SAID" ;; esac
"""


@pytest.mark.parametrize("name", ["icflow", "heasoft"])
def test_new_environments_install_the_icflow_that_runs_snakemake(
    root: Path, tmp_path: Path, name: str
) -> None:
    """As Snakemake runs it, in any folder, with a stand-in for the environment's Python."""
    prefix, said = tmp_path / "env", tmp_path / "said"
    (prefix / "bin").mkdir(parents=True)
    for program in ("python", "python3"):
        (prefix / "bin" / program).write_text(STAND_IN)
        (prefix / "bin" / program).chmod(0o755)
    (tmp_path / "icflow").write_text(f'#!/bin/sh\nexec {sys.executable} -m icflow.cli "$@"\n')
    (tmp_path / "icflow").chmod(0o755)
    path = os.pathsep.join([str(prefix / "bin"), str(tmp_path), os.environ["PATH"]])
    subprocess.run(
        ["bash", str(root / "envs" / f"{name}.post-deploy.sh")],
        cwd=tmp_path,
        env=os.environ | {"PATH": path, "CONDA_PREFIX": str(prefix), "SAID": str(said)},
        check=True,
    )
    text = said.read_text()
    torch = next(x for x in (root / "constraints.txt").read_text().split() if "torch==" in x)
    assert f"install --constraint constraints.txt {torch}\n" in text.replace("--no-cache-dir ", "")
    assert "src/icflow/cli.py" in text
    if name == "heasoft":
        assert (prefix / "bin/icflow").is_symlink()
        assert f"={prefix}/bin/python" in (prefix / "etc/conda/activate.d/icflow.sh").read_text()


def test_the_image_has_all_that_the_package_is_built_from(root: Path, tmp_path: Path) -> None:
    recipe = (root / "containers/icflow.def").read_text(encoding="utf-8")
    files = recipe.partition("%files")[2].partition("%post")[0].split()[::2]
    for name in files:
        # Links stay links, as in an image: some lead to what is not copied.
        copy = tmp_path / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if (root / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(root / name, copy, symlinks=True, ignore=ignored)
        else:
            shutil.copy(root / name, copy)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    built = subprocess.run(
        [*command, "--no-build-isolation", "--wheel-dir", tmp_path / "wheels", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    assert len(list((tmp_path / "wheels").glob("icflow-*.whl"))) == 1
