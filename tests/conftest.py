"""Fixtures that several test files share."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from browsing import BROWSERS
from fetched import fetch

from icflow.engines.xspec import version
from icflow.heasoft import is_heasoft

ROOT = Path(__file__).resolve().parents[1]

# Little that is imported is ever garbage, and a search for it takes long.
gc.disable()


@cache
def why_missing(engine: str) -> str:
    """Say why an engine cannot run here; empty if it can."""
    if engine == "embedded":
        headas = os.environ.get("HEADAS", "")
        heasoft = is_heasoft(headas)
        return f"HEADAS is {headas}, not the library of xspectrampoline" if heasoft else ""
    _, reason = version.ask()
    return reason and f"{version.xspec_python()} cannot import xspec ({reason})"


def pytest_report_header() -> list[str]:
    """Say which engines the conformance suite runs against."""
    return [
        f"engine {name}: {why_missing(name) or 'runs in tests/conformance'}"
        for name in ("embedded", "xspec")
    ]


# Files of tests that take longest, the longest first: what is short fills the gaps at the end. The
# first makes the finished run, which takes a minute, and others read it later. Where nothing is
# compiled yet, test_nearest.py takes longest.
LONGEST = (
    "workflow/test_kills.py",
    "unit/engines/evidence/test_nearest.py",
    "unit/observation/test_analysis.py",
    "project/test_benchmarks.py",
    "unit/publish/test_figures.py",
    "project/test_site.py",
    "workflow/test_wheel.py",
    "unit/networks/test_training.py",
    "unit/stages/test_ratio.py",
    "unit/observation/test_ratios.py",
    "workflow/test_reruns.py",
    "workflow/test_observations.py",
    "workflow/test_two_modules.py",
    "unit/engines/evidence/test_integral.py",
    "unit/test_kernels.py",
    "unit/engines/xspec/test_engine.py",
    "unit/publish/test_report.py",
    "workflow/test_scans.py",
    "workflow/test_outputs.py",
    "unit/stages/test_evaluate.py",
    "workflow/test_xspec.py",
    "workflow/test_projects.py",
    "unit/models/test_trial.py",
    "workflow/test_bad_input.py",
    "fuzz/test_fits.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest."""
    ranks = {ROOT / "tests" / name: rank for rank, name in enumerate(LONGEST)}
    assert all(path.is_file() for path in ranks), "LONGEST names a file that is not there"
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


def pytest_collection_finish() -> None:
    """Leave what was imported for all tests out of every later search for garbage."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def missing_engine() -> Callable[[str], str]:
    """Why an engine of that name cannot run here; empty if it can."""
    return why_missing


@pytest.fixture(scope="session")
def browser() -> str:
    """A browser, without which the layout of pages cannot be checked."""
    paths = [path for name in BROWSERS if (path := shutil.which(name))]
    if not paths:
        pytest.skip(
            f"NO BROWSER ({', '.join(BROWSERS)}): the layout of pages is not checked; "
            "install one, such as Debian's chromium"
        )
    return paths[0]


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of the reference values from a real XSPEC."""
    return ROOT / "tests" / "data" / "xspec_reference"


@pytest.fixture(scope="session")
def rmf_path() -> Path:
    """The NuSTAR FPMA redistribution matrix."""
    return fetch() / "responses" / "nustar_fpma.rmf"


@pytest.fixture(scope="session")
def arf_path() -> Path:
    """The NuSTAR FPMA effective area."""
    return fetch() / "responses" / "nustar_fpma.arf"


@pytest.fixture(scope="session")
def atomdb() -> Path:
    """Folder with the AtomDB 3.0.9 tables."""
    return fetch() / "atomdb"
