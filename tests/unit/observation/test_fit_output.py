"""What is said of a fit, of one made up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from icflow.config import FitModel, Free
from icflow.engines.base import FitResult
from icflow.observation.fit_output import FitRecord, as_json, as_text
from icflow.ogip.observation import SpectrumFiles
from icflow.ogip.spectrum import Spectrum
from icflow.settings import FitSpectrumSettings

NAMES = ("powerlaw.PhoIndex", "powerlaw.norm", "factor.B")


def spectrum(name: str) -> Spectrum:
    return Spectrum(np.arange(4), np.array([1, 0, 2, 3]), 1e4, name)


def files(name: str, behind: bool, background: Path | None = None) -> SpectrumFiles:
    return SpectrumFiles(
        *(name, "", spectrum(f"{name}.pha"), Path("r.rmf"), None, background),
        behind=spectrum(f"{name}_b.pha") if behind else None,
        notes=("odd",),
    )


def fit(
    *spectra: SpectrumFiles, per_bin: float = 9.0, agreeing: int = 2, **settings: Any
) -> FitRecord:
    result = FitResult(
        cstat=12.5,
        dof=5,
        bins=8,
        converged=True,
        starts=3,
        agreeing=agreeing,
        iterations=4,
        gradient=0.0,
        values=dict(zip(NAMES, (2.0, 0.5, 1.25), strict=True)),
        errors=dict(zip(NAMES, (0.1, 0.05, np.nan), strict=True)),
        free=NAMES,
        at_bound=("factor.B",),
        covariance=np.array([[0.01, 0, np.nan], [0, 0.0025, np.nan], [np.nan] * 3]),
        intervals={"powerlaw.PhoIndex": (1.9, 2.125)},
    )
    parameters: Any = {name: Free(free=[0.0, 9.0]) for name in NAMES[:2]}
    given = FitSpectrumSettings(
        expression="powerlaw",
        background_range=0,
        starts=3,
        freeze={},
        link={},
        limits={},
        **settings,
    )
    foldings = [SimpleNamespace(factor=f"factor.{file.name}") for file in spectra]
    engine: Any = SimpleNamespace(
        n_bins=8,
        behind_per_bin=per_bin,
        unexplained=np.zeros(0),
        versions=lambda: {"ENGINE": "none"},
        engine=SimpleNamespace(foldings=foldings),
    )
    model = FitModel(expression="powerlaw", parameters=parameters)
    return FitRecord(given, spectra, (3.0, 80.0), model, engine, result)


@pytest.mark.parametrize(
    ("behind", "name"), [((True, True), "W"), ((False, False), "C"), ((False, True), "W + C")]
)
def test_the_statistic_has_a_name(behind: tuple[bool, bool], name: str) -> None:
    made = fit(*(files(own, has) for own, has in zip("AB", behind, strict=True)))
    assert made.statistic == name == as_json(made)["statistic"]
    assert as_text(made)[-1].startswith(f"{name}-stat 12.50 for 8 bins, 5 degrees of freedom")


def test_the_table_says_what_was_chosen_and_what_is_odd() -> None:
    lines = as_text(fit(files("A", True), files("B", False)))
    assert lines[:2] == [
        "Spectrum A.pha (A): 10000 s",
        "Response r.rmf, area none, background A_b.pha",
    ]
    assert lines[4] == "Bins 8, ungrouped, 3 to 80 keV (by default; --energies chooses others)"
    assert lines.count("Note: odd") == 1
    assert any("PhoIndex" in line and line.endswith("[1.9, 2.125]") for line in lines)
    assert any(line.startswith("factor.B") and line.endswith("at its limit") for line in lines)
    lines = as_text(fit(files("A", False), energies=[3.0, 80.0], group_min=25))
    assert lines[2] == "Bins 8, of at least 25 counts, 3 to 80 keV"


def test_few_counts_of_the_background_spectrum_are_pointed_out() -> None:
    made = fit(files("A", True), per_bin=0.153)
    (note,) = [line for line in as_text(made) if "W is biased" in line]
    assert note.startswith("Note: the background spectrum holds 0.15 counts in a bin")
    assert as_json(made)["notes"] == ["odd", note.removeprefix("Note: ")]
    assert not any("biased" in line for line in as_text(fit(files("A", True))))


def test_the_table_says_what_intervals_are() -> None:
    (line,) = [line for line in as_text(fit(files("A", False))) if line.startswith("parameter")]
    assert line.endswith("error  [C rises by 1]")
    averaged = fit(files("A", False), errors="marginal", delta=2.706)
    (line,) = [line for line in as_text(averaged) if line.startswith("parameter")]
    assert line.endswith("error  [90 % averaged]")
    assert as_json(averaged)["errors"] == "marginal"


def test_averages_that_cannot_be_had_are_pointed_out() -> None:
    made = fit(files("A", False), errors="marginal")
    assert not any("averaged" in note for note in as_json(made)["notes"])
    made = replace(made, result=replace(made.result, intervals={}))
    (note,) = [note for note in as_json(made)["notes"] if "averaged" in note]
    assert note.startswith("no averaged intervals") and "by profile" in note


def test_a_start_that_stands_alone_is_pointed_out() -> None:
    made = fit(files("A", False), agreeing=1)
    (note,) = [line for line in as_text(made) if "1 of 3 starts led" in line]
    assert note.startswith("Note: ") and note.removeprefix("Note: ") in as_json(made)["notes"]
    assert not any("starts led" in line for line in as_text(fit(files("A", False))))


def test_json_holds_no_nan() -> None:
    tree = as_json(fit(files("A", True), files("B", False)))
    assert tree["parameters"]["factor.B"] == {"value": 1.25, "error": None, "free": True}
    assert tree["parameters"]["powerlaw.PhoIndex"]["interval"] == [1.9, 2.125]
    assert tree["covariance"] == [[0.01, 0, None], [0, 0.0025, None], [None] * 3]
    assert [own["background_spectrum"] for own in tree["spectra"]] == ["A_b.pha", None]
    assert "spectrum" not in tree
    assert as_json(fit(files("A", True)))["spectrum"] == "A.pha"
