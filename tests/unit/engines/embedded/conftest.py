"""An engine for NuSTAR, and the spectra that a real XSPEC made and fitted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icflow import config
from icflow.config import AtomicData, Instrument
from icflow.engines.embedded.engine import EmbeddedEngine

BACKGROUND = "resources/background/nustar_fpma.yaml"


@pytest.fixture(scope="package")
def run(root: Path) -> config.Config:
    return config.load(root / "config.yaml")


@pytest.fixture(scope="package")
def instrument(root: Path, rmf_path: Path, arf_path: Path) -> Instrument:
    return Instrument(
        rmf=str(rmf_path), arf=str(arf_path), exposure=1e6, background=str(root / BACKGROUND)
    )


@pytest.fixture(scope="package")
def engine(instrument: Instrument, atomdb: Path) -> EmbeddedEngine:
    return EmbeddedEngine([instrument], AtomicData(folder=str(atomdb)))


@pytest.fixture(scope="package")
def fits(reference: Path) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = json.loads((reference / "fits.json").read_text())
    return content


@pytest.fixture(scope="package")
def spectra(reference: Path) -> np.ndarray:
    counts: np.ndarray = np.load(reference / "spectra.npz")["counts"]
    return counts
