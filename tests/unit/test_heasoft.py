"""What programs of HEASoft need of the process that starts them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from icflow import heasoft

WHEEL = "/x/site-packages/xspectrampoline/LibXSPEC_v6_35_1"


def test_a_headas_that_is_set_aside_is_kept_for_xspec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heasoft, "_aside", "")
    monkeypatch.setenv("HEADAS", "/opt/heasoft")
    monkeypatch.delenv("PFILES", raising=False)
    heasoft.set_aside()
    assert "HEADAS" not in os.environ
    # The library inside the wheel sets the variable when it is loaded.
    monkeypatch.setenv("HEADAS", WHEEL)
    heasoft.set_aside()
    assert heasoft.folder() == "/opt/heasoft"
    environment = heasoft.environment(Path("/job"))
    assert environment["HEADAS"] == "/opt/heasoft"
    assert environment["PFILES"] == "/job;/opt/heasoft/syspfiles"


def test_the_wheel_is_no_heasoft(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heasoft, "_aside", "")
    monkeypatch.setenv("HEADAS", WHEEL)
    assert heasoft.folder() == ""
    assert "HEADAS" not in heasoft.environment(Path("/job"))
    monkeypatch.setenv("HEADAS", "/opt/heasoft")
    assert heasoft.folder() == "/opt/heasoft"
