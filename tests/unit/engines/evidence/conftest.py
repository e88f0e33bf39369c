"""The default run, and what its spectra are observed with."""

from __future__ import annotations

from pathlib import Path

import pytest

from icflow import config
from icflow.config import Config, Instrument


@pytest.fixture(scope="module")
def run(root: Path) -> Config:
    return config.load(root / "config.yaml")


@pytest.fixture(scope="module")
def instrument(root: Path, rmf_path: Path, arf_path: Path) -> Instrument:
    background = str(root / "resources/background/nustar_fpma.yaml")
    return Instrument(rmf=str(rmf_path), arf=str(arf_path), exposure=1e6, background=background)
