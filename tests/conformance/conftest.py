"""The engines that can run here, each with and without the four backgrounds."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icflow.config import AtomicData, Instrument, Systematics
from icflow.engines.base import Engine
from icflow.engines.registry import ENGINES, make_engine

EXPOSURE = 1e6


@pytest.fixture(scope="session", params=list(ENGINES))
def name(request: pytest.FixtureRequest, missing_engine: Callable[[str], str]) -> str:
    """An engine that can run here."""
    name = str(request.param)
    if missing_engine(name):
        pytest.skip(f"engine {name}: {missing_engine(name)}")
    return name


@pytest.fixture(scope="session")
def make(
    name: str, rmf_path: Path, arf_path: Path, atomdb: Path, root: Path
) -> Callable[..., Engine]:
    """Make the engine for NuSTAR, with or without backgrounds, which may scatter."""

    @cache
    def build(background: bool, scatter: float = 0.0) -> Engine:
        instrument = Instrument(
            rmf=str(rmf_path),
            arf=str(arf_path),
            exposure=EXPOSURE,
            background=str(root / "resources/background/nustar_fpma.yaml") if background else None,
            systematics=Systematics(background=scatter),
        )
        return make_engine(name, [instrument], AtomicData(folder=str(atomdb)))

    return build


@pytest.fixture(scope="session")
def source_only(make: Callable[..., Engine]) -> Engine:
    return make(False)


@pytest.fixture(scope="session")
def complete(make: Callable[..., Engine]) -> Engine:
    return make(True)


@pytest.fixture(scope="session")
def fits(reference: Path) -> list[dict[str, Any]]:
    """Spectra of the reference: truth, statistics and XSPEC's fits."""
    found: list[dict[str, Any]] = json.loads((reference / "fits.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="session")
def counts(reference: Path) -> np.ndarray:
    """Counts of these spectra, shape (n_spectra, n_channels)."""
    return np.asarray(np.load(reference / "spectra.npz")["counts"], dtype=np.int32)
