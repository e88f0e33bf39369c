"""The process of XSPEC and its environment."""

from __future__ import annotations

import site
from pathlib import Path

import pytest

from icflow.config import AtomicData, Instrument
from icflow.engines.xspec import process
from icflow.engines.xspec.engine import PyXspecEngine
from icflow.errors import IcflowError


def test_a_wrong_headas_is_named(
    calls: Path, instrument: Instrument, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADAS", "/no/heasoft")
    monkeypatch.setenv(process.PYTHON, "false")
    with pytest.raises(IcflowError, match=r"HEADAS is /no/heasoft, where no HEASoft is\); run in"):
        PyXspecEngine([instrument], AtomicData(folder="nowhere"))


def test_xspec_has_a_home_of_its_own(
    engine: PyXspecEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = "/x/site-packages/xspectrampoline/LibXSPEC_v6_35_1"
    monkeypatch.setenv("HEADAS", wheel)
    monkeypatch.setenv("PFILES", "/home/me/pfiles;/opt/heasoft/syspfiles")
    monkeypatch.setattr(site, "getuserbase", lambda: "/home/me/.local")
    monkeypatch.delenv("PYTHONUSERBASE", raising=False)
    environment = engine.process.environment()
    assert environment["HOME"] == str(engine.folder)
    assert environment["PFILES"] == f"{engine.folder};/opt/heasoft/syspfiles"
    assert environment["PYTHONUSERBASE"] == "/home/me/.local", "which follows HOME otherwise"
    assert "HEADAS" not in environment
    monkeypatch.setenv("HEADAS", "/opt/heasoft")
    monkeypatch.delenv("PFILES")
    environment = engine.process.environment()
    assert environment["HEADAS"] == "/opt/heasoft"
    assert environment["PFILES"] == f"{engine.folder};/opt/heasoft/syspfiles"
