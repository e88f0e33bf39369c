"""What a fit of spectra chooses for its user: names, limits, starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icflow.config import Free, Link
from icflow.errors import IcflowError
from icflow.observation.fitting import check_expression, model_of, names_of
from icflow.ogip.observation import SpectrumFiles
from icflow.ogip.spectrum import Spectrum
from icflow.settings import FitSpectrumSettings

ENERGIES = (3.0, 30.0)


def settings(expression: str, **given: Any) -> FitSpectrumSettings:
    empty: dict[str, Any] = {"freeze": {}, "link": {}, "limits": {}}
    return FitSpectrumSettings(
        **{"expression": expression, "background_range": 0, "starts": 3, **empty, **given}
    )


def files(path: str, instrument: str = "") -> SpectrumFiles:
    spectrum = Spectrum(np.arange(2), np.ones(2, int), 1e4, path, instrument=instrument)
    return SpectrumFiles("", "", spectrum, Path("r.rmf"), None, None)


def test_what_is_not_given_is_free_within_sensible_limits() -> None:
    given = {"freeze": {"TBabs.nH": 0.1}, "link": {"powerlaw_3.PhoIndex": "powerlaw.PhoIndex"}}
    model = model_of(
        settings("tbabs*(powerlaw+powerlaw+gaussian)", start={"powerlaw.PhoIndex": 2.0}, **given),
        ENERGIES,
    )
    assert model.parameters["TBabs.nH"] == 0.1
    assert model.parameters["powerlaw_3.PhoIndex"] == Link(link="powerlaw.PhoIndex")
    assert model.parameters["powerlaw.PhoIndex"] == Free(free=[-3.0, 10.0], start=2.0)
    assert model.parameters["powerlaw.norm"] == Free(free=[0.0, 1e6])
    assert model.parameters["gaussian.LineE"] == Free(free=[3.0, 30.0])


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"start": {"powerlaw.PhoIndex": 20.0}}, r"--start powerlaw\.PhoIndex=20: lies outside"),
        ({"start": {"powerlaw.kT": 1.0}}, r"--start powerlaw\.kT: .* no such parameter"),
        ({"limits": {"powerlaw.PhoIndex": [-9.0, 3.0]}}, "reaches outside XSPEC's hard limits"),
        ({"link": {"powerlaw.PhoIndex": "powerlaw.kT"}}, "name a parameter that is not linked"),
        ({"freeze": {"powerlaw.PhoIndex": 20.0}}, "outside XSPEC's hard limits"),
    ],
)
def test_what_cannot_be_fitted(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(IcflowError, match=sentence):
        model_of(settings("powerlaw", **given), ENERGIES)


def test_models_without_their_data_are_refused() -> None:
    check_expression("tbabs*powerlaw")
    with pytest.raises(IcflowError, match="reads data files"):
        check_expression("tbabs*nei")


def test_spectra_are_named_by_instruments_or_else_by_files() -> None:
    assert names_of([files("a.pha", "FPMA")]) == [""]
    assert names_of([files("a.pha", "FPMA"), files("b.pha", "FPMB")]) == ["FPMA", "FPMB"]
    assert names_of([files("a.pha", "PN"), files("b.pha", "PN")]) == ["a", "b"]
    assert names_of([files("x/1.pha", "PN"), files("y/1.pha", "PN")]) == ["S1", "S2"]
