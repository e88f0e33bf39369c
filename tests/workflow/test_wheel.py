"""The wheel, installed where its user cannot write, in an empty folder.

What icflow requires is taken from the environment of the tests: it alone is installed anew. That
its workflow is the one of the clone is seen from a finished run, to which it has nothing to add.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml
from fetched import fetch
from running import TINY, Project, nest

from icflow import resources
from icflow.folders import cache_folder
from icflow.ogip.spectra import read_spectra

# What a wheel is made of, and what its files are links to.
SOURCES = [
    *("pyproject.toml", "README.md", "LICENSE", "Snakefile", "config.yaml", "constraints.txt"),
    *("src", "config", "workflow", "envs", "containers", "resources/background"),
    "resources/example",
]
SHARD = "results/simulate/Coma/shard-0000.pha"
# What is made anew on the way to Table 1: fits of either strategy, a network, scores, the tables
# themselves.
REMADE = (
    "baseline/test_2T/2T_fixed/",
    "baseline/test_2T/1T+IC_free_plain/",
    "train/ae/fold-0",
    "score/ae/fold-0.ecsv",
    "fluxes",
    "evaluate",
    "tables",
)
# A quick look at the example.
QUICK = {
    "fits/starts": 2,
    "observe/simulations": 20,
    "observe/false_alarm": 0.1,
    "observe/detectors/fit_discriminant/method": "cstat_rule",
}


@dataclass(frozen=True)
class Installed:
    """An installed icflow, with all of its files, and a user of it."""

    site: Path
    files: frozenset[Path]
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
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True)
    files = frozenset(site.rglob("*"))
    for path in (site, *files):
        path.chmod(path.stat().st_mode & ~0o222)
    home = folder / "home"
    (home / "data").mkdir(parents=True)
    fetch(root)
    for name, resource in resources.RESOURCES.items():
        (home / "data" / name).symlink_to(resource.path(root))
    return Installed(site, files, home)


def test_the_installed_package_is_used_and_cannot_be_written(installed: Installed) -> None:
    code = "import icflow, os; print(icflow.__file__, os.access(icflow.__file__, os.W_OK))"
    place, writable = installed.run(sys.executable, "-c", code).split()
    assert Path(place).is_relative_to(installed.site) and writable == "False"
    said = installed.run("icflow", "info")
    assert f"compiled functions: 0, 0 MB in {installed.home}/.cache/icflow/compiled" in said
    assert f"Data nustar_fpma.rmf: {installed.home}/data/nustar_fpma.rmf" in said


@pytest.fixture(scope="module")
def project(installed: Installed) -> Path:
    """A project with its data, in the home of the user."""
    # Functions are compiled and tables folded once for every installation of the same code.
    shutil.rmtree(installed.home / ".cache/icflow", ignore_errors=True)
    (installed.home / ".cache").mkdir(exist_ok=True)
    (installed.home / ".cache/icflow").symlink_to(cache_folder())
    installed.run("icflow", "init", "project")
    folder = installed.home / "project"
    fetched = installed.run("icflow", "fetch", folder=folder)
    assert fetched.count("fetched, checksum right") == len(resources.RESOURCES)
    assert "valid" in installed.run("icflow", "validate", folder=folder)
    return folder


def snakemake(installed: Installed, folder: Path, *words: str) -> str:
    """Run Snakemake with the tiny configuration and return what it says."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile"]
    return installed.run(*command, TINY, "--", *words, folder=folder)


def test_a_project_of_it_runs(installed: Installed, project: Path) -> None:
    snakemake(installed, project, SHARD)
    spectra = read_spectra(project / SHARD)
    assert spectra.counts.shape[0] == 1 and spectra.counts.sum() > 1e6
    assert installed.files == set(installed.site.rglob("*"))


def test_a_project_of_it_makes_table_1_of_the_clone(
    installed: Installed, project: Path, finished: Project
) -> None:
    for name in ("results", ".snakemake"):
        shutil.rmtree(project / name, ignore_errors=True)
        shutil.copytree(finished.folder / name, project / name)
    shutil.copy(finished.folder / TINY, project / TINY)
    # Settings, versions and code of every job, as Snakemake has recorded them, are the same.
    assert "Nothing to be done" in snakemake(installed, project, "evaluate")
    for name in REMADE:
        path = project / "results" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    said = snakemake(installed, project, "evaluate")
    for rule in ("baseline_shard", "train_fold", "evaluate"):
        assert rule in said
    made = Project(project).contents()
    for name, content in finished.contents().items():
        assert not name.startswith(REMADE) or made[name] == content, name


def test_it_looks_for_ic_in_the_example(installed: Installed, project: Path) -> None:
    (project / "quick.yaml").write_text(yaml.safe_dump(nest(QUICK)))
    configs = ("--config", "config.yaml", "config/observe-example.yaml", "quick.yaml")
    said = installed.run("icflow", "observe", "example", *configs, folder=project)
    summary = json.loads((project / "results/observe/example/summary.json").read_text())
    assert summary["verdict"] in said
    assert 0 < summary["false_alarm"] <= 1
    assert (project / "results/observe/example/observation.pdf").stat().st_size > 10_000


def test_the_sources_of_it_make_the_same_wheel(installed: Installed, tmp_path: Path) -> None:
    source = tmp_path / "source"
    installed.run("icflow", "source", str(source))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-build-isolation", "--no-compile", "--target", "again"]
    subprocess.run([*pip, "install", *options, str(source)], cwd=tmp_path, check=True)
    files = {
        folder: {
            path.relative_to(folder): path.read_bytes()
            for path in (folder / "icflow").rglob("*")
            if path.is_file() and path.suffix != ".pyc"
        }
        for folder in (installed.site, tmp_path / "again")
    }
    first, again = files.values()
    assert len(first) > 200 and first == again


def test_compiled_functions_are_kept_for_the_user(installed: Installed, tmp_path: Path) -> None:
    code = """
import numpy as np
from icflow.ogip.bins import bins_of_counts
print(len(bins_of_counts(np.ones(10, int), np.ones(10, bool), 3)[0]))
"""
    new = replace(installed, home=tmp_path)
    assert new.run(sys.executable, "-c", code) == "4\n"
    assert list((tmp_path / ".cache/icflow/compiled").glob("*.nbi"))


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
