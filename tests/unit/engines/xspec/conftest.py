"""An instrument, and a stand-in for PyXspec that records what it is asked for."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import eye_array

from icflow import heasoft
from icflow.config import AtomicData, Instrument
from icflow.engines.xspec import process
from icflow.engines.xspec.engine import PyXspecEngine
from icflow.ogip.response import Rmf, write_arf, write_rmf

CHANNELS = 12
EXPOSURE = 1000.0
BACKGROUND = """
name: two components
components:
  continuum:
    redistribution: identity
    area: none
    sum: [{model: bknpower, PhoIndx1: -0.05, BreakE: 124.0, PhoIndx2: -0.85, norm: 0.25}]
  lines:
    redistribution: source
    area: {nodes: [[1.0, 2.0], [20.0, 4.0]], interpolation: loglog}
    sum:
      - {model: apec, kT: 1.5, Abundanc: 1.2, norm: 0.5}
      - {model: lorentz, LineE: 3.5, Width: 0.4, norm: 0.25}
"""


@pytest.fixture(autouse=True)
def _no_heasoft(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget a HEADAS that another test has set."""
    monkeypatch.setattr(heasoft, "_aside", "")


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The script that XSPEC was given; the stand-in takes the place of PyXspec."""
    folder = tmp_path / "python"
    folder.mkdir()
    shutil.copy(Path(__file__).with_name("fake_xspec.py"), folder / "xspec.py")
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    monkeypatch.setenv("FAKE_XSPEC_CALLS", str(tmp_path / "calls"))
    monkeypatch.delenv(process.PYTHON, raising=False)
    return tmp_path / "calls"


@pytest.fixture
def instrument(tmp_path: Path) -> Instrument:
    """Twelve channels of 1 keV from 1 keV on, in a folder with a blank in its name."""
    folder = tmp_path / "my files"
    folder.mkdir()
    low = np.arange(1.0, CHANNELS + 1)
    channel = np.arange(CHANNELS)
    rmf = Rmf(low, low + 1, eye_array(CHANNELS, format="csr"), channel, low, low + 1)
    write_rmf(folder / "a.rmf", rmf)
    write_arf(folder / "a.arf", low, low + 1, np.full(CHANNELS, 100.0))
    (folder / "background.yaml").write_text(BACKGROUND)
    return Instrument(
        rmf=str(folder / "a.rmf"),
        arf=str(folder / "a.arf"),
        exposure=EXPOSURE,
        background=str(folder / "background.yaml"),
    )


@pytest.fixture
def engine(calls: Path, instrument: Instrument) -> PyXspecEngine:
    return PyXspecEngine([instrument], AtomicData(folder="nowhere"))
