"""What `icflow.observe` asks for; what comes of it is tested with the analysis."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from astropy import units

import icflow
from icflow.api import observing
from icflow.config import Config


@pytest.fixture
def asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the analysis would be run with."""
    given: dict[str, Any] = {}

    def run(config: Config, name: str, place: Path) -> None:
        given.update(config=config, name=name, folder=place)
        raise icflow.IcflowError("asked for")

    monkeypatch.setattr(observing, "run", run)
    return given


def test_it_asks_for_what_a_configuration_says(folder: Path, asked: dict[str, Any]) -> None:
    toy.save(folder / "b.pha", toy.pha(INSTRUME="TOY2", BACKFILE="back.pha"))
    toy.save(folder / "back.pha", toy.pha(counts=np.ones(toy.N, int)))
    spectra = [icflow.read_spectrum(n, energies=(3, 30)) for n in ("spec.pha", "b.pha")]
    radio = {"flux_density": 640.0, "frequency": 1400.0, "spectral_index": 1.2}
    with pytest.raises(icflow.IcflowError, match="asked for"):
        icflow.observe(
            spectra,
            redshift=0.023,
            nH=8.58e19 * units.cm**-2,
            name="Coma",
            radio=radio,
            config={"observe": {"simulations": 100}},
        )
    (observation,) = asked["config"].observations.values()
    assert observation.redshift == 0.023 and observation.nH == pytest.approx(0.00858)
    assert observation.radio.frequency == 1400
    assert (asked["name"], asked["folder"]) == ("Coma", Path("observe/Coma"))
    assert asked["config"].observe.simulations == 100
    assert observation.energies == [3.0, 30.0] and observation.group_min is None
    backgrounds = {name: one.background for name, one in observation.modules().items()}
    assert backgrounds == {"TOY": "none", "TOY2": "file"}


def test_a_folder_and_a_file_of_settings_may_be_named(folder: Path, asked: dict[str, Any]) -> None:
    (folder / "mine.yaml").write_text("observe: {simulations: 150}\n")
    with pytest.raises(icflow.IcflowError, match="asked for"):
        icflow.observe("spec.pha", redshift=0.1, nH=0.1, folder="there", config="mine.yaml")
    assert asked["folder"] == Path("there")
    assert asked["config"].observe.simulations == 150


def test_what_a_verdict_says(tmp_path: Path) -> None:
    summary = {
        "name": "Coma",
        "verdict": "No IC in Coma & around",
        "decision": "no IC",
        "false_alarm": 0.25,
        "warnings": ["the norm is < 0"],
    }
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    verdict = icflow.Verdict(tmp_path)
    assert (verdict.decision, verdict.false_alarm) == ("no IC", 0.25)
    assert verdict.warnings == ["the norm is < 0"]
    shown = verdict._repr_html_()
    assert "Coma &amp; around" in shown and "the norm is &lt; 0" in shown


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"redshift": "near"}, "redshift is 'near'; give a number"),
        ({"redshift": float("nan")}, "redshift is nan"),
        ({"redshift": -1.0}, "redshift"),
        ({"nH": 3 * units.keV}, "nH is 3.0 keV, which cannot be converted"),
        ({"spectra": "gone.pha"}, r"gone\.pha"),
        ({"config": {"observe": {"simulations": 5}}}, "simulations"),
        ({"config": "gone.yaml"}, r"gone\.yaml"),
        ({"config": 3}, "config is 3; give the name of a file"),
        ({"folder": 3}, "folder is 3; give the name of a file"),
        ({"redshift": 3 * units.keV}, "redshift is 3.0 keV, and has no unit"),
    ],
)
def test_what_cannot_be_observed(
    asked: dict[str, Any], arguments: dict[str, Any], sentence: str
) -> None:
    given: dict[str, Any] = {"spectra": "spec.pha", "redshift": 0.02, "nH": 0.01, **arguments}
    with pytest.raises(icflow.IcflowError, match=sentence):
        icflow.observe(**given)
