"""The wheel, installed where its user cannot write, in an empty folder.

What icflow requires is taken from the environment of the tests: it alone is installed anew.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from icflow import resources
from icflow.ogip.spectra import read_spectra

# What a wheel is made of, and what its files are links to.
SOURCES = [
    *("pyproject.toml", "README.md", "LICENSE", "Snakefile", "config.yaml", "constraints.txt"),
    *("src", "config", "workflow", "envs", "containers", "resources/background"),
    "resources/example",
]
SHARD = "results/simulate/Coma/shard-0000.pha"


@dataclass(frozen=True)
class Installed:
    """An installed icflow and a user of it."""

    site: Path
    home: Path

    def run(self, *command: str, folder: Path | None = None) -> str:
        """Run a command as the user, and return what it says."""
        done = subprocess.run(
            [*_without_privilege(), *command],
            cwd=folder or self.home,
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def _environment(self) -> Mapping[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        own = {"HOME": str(self.home), "PYTHONPATH": str(self.site), "NO_COLOR": "1"}
        scripts = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
        return kept | own | {"PATH": scripts, "ICFLOW_DATA": str(self.home / "data")}


def _without_privilege() -> Sequence[str]:
    """Return what takes from root that it may write everywhere."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("root may write everywhere, and setpriv is not here to forbid it")
    return "setpriv", "--bounding-set=-dac_override"


@pytest.fixture(scope="module")
def installed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Build the wheel of this tree and install it, read only."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.sif")
    for name in SOURCES:
        if (root / name).is_dir():
            shutil.copytree(root / name, folder / "tree" / name, symlinks=True, ignore=ignored)
        else:
            (folder / "tree").mkdir(exist_ok=True)
            shutil.copyfile(root / name, folder / "tree" / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*build, str(folder / "tree")], check=True)
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    install = [*pip, "install", "--no-deps", "--no-compile", "--target", str(site)]
    subprocess.run([*install, str(wheel)], check=True)
    for path in (site, *site.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222)
    home = folder / "home"
    (home / "data").mkdir(parents=True)
    for name in resources.RESOURCES:
        (home / "data" / name).symlink_to(resources.ensure(name, root))
    return Installed(site, home)


def test_the_installed_package_is_used_and_cannot_be_written(installed: Installed) -> None:
    code = "import icflow, os; print(icflow.__file__, os.access(icflow.__file__, os.W_OK))"
    place, writable = installed.run(sys.executable, "-c", code).split()
    assert Path(place).is_relative_to(installed.site) and writable == "False"
    said = installed.run("icflow", "info")
    assert f"compiled functions: 0, 0 MB in {installed.home}/.cache/icflow/compiled" in said
    assert f"Data nustar_fpma.rmf: {installed.home}/data/nustar_fpma.rmf" in said


def test_a_project_of_it_runs(installed: Installed, root: Path) -> None:
    project = installed.home / "project"
    installed.run("icflow", "init", "project")
    fetched = installed.run("icflow", "fetch", folder=project)
    assert fetched.count("fetched, checksum right") == len(resources.RESOURCES)
    assert "valid" in installed.run("icflow", "validate", folder=project)
    command = [sys.executable, "-m", "snakemake", "--cores", "2"]
    installed.run(*command, SHARD, "--configfile", "config/tiny.yaml", folder=project)
    spectra = read_spectra(project / SHARD)
    assert spectra.counts.shape[0] == 1 and spectra.counts.sum() > 1e6
    assert not list(installed.site.rglob("__pycache__"))


def test_compiled_functions_are_kept_where_the_user_may_write(installed: Installed) -> None:
    code = """
import numpy as np
from icflow.ogip.bins import bins_of_counts
print(len(bins_of_counts(np.ones(10, int), np.ones(10, bool), 3)[0]))
"""
    assert installed.run(sys.executable, "-c", code) == "4\n"
    assert list((installed.home / ".cache/icflow/compiled").rglob("*.nbi"))


def test_python_works_in_an_empty_folder(installed: Installed, tmp_path: Path) -> None:
    code = """
import icflow
nustar = icflow.Instrument(
    icflow.data_file("nustar_fpma.rmf"), icflow.data_file("nustar_fpma.arf"), exposure=1e5
)
model = icflow.Model("tbabs*apec", {"TBabs.nH": 0.01, "apec.kT": 8, "apec.norm": 0.05})
print(model.predict(nustar).sum())
"""
    said = installed.run(sys.executable, "-c", code, folder=tmp_path)
    # One number: XSPEC's functions, which would print more, are quiet.
    assert 5e4 < float(said) < 1e6
    assert list(tmp_path.iterdir()) == []
