"""Fixtures that several test files share."""

from __future__ import annotations

from pathlib import Path

import pytest

from icflow import resources

ROOT = Path(__file__).resolve().parents[1]


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
    """The NuSTAR FPMA redistribution matrix, fetched once."""
    return resources.ensure("nustar_fpma.rmf", ROOT)


@pytest.fixture(scope="session")
def arf_path() -> Path:
    """The NuSTAR FPMA effective area, fetched once."""
    return resources.ensure("nustar_fpma.arf", ROOT)


@pytest.fixture(scope="session")
def atomdb() -> Path:
    """Folder with the AtomDB 3.0.9 tables, fetched once."""
    coco = resources.ensure("apec_v3.0.9_coco.fits", ROOT)
    resources.ensure("apec_v3.0.9_line.fits", ROOT)
    return coco.parent
