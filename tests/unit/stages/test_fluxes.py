"""True fluxes of test spectra: analytic for a power law, additive for plasmas."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from icflow import config as configuration
from icflow import settings as settings_of
from icflow.config import Config
from icflow.errors import IcflowError
from icflow.models.inverse_compton import KEV
from icflow.stages import fluxes
from icflow.tables import write_table
from icflow.truth import Truth, read_truth, write_truth

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def default(atomdb: Path) -> Config:
    found = configuration.load(ROOT / "config.yaml")
    atomic = found.atomic_data.model_copy(update={"folder": str(atomdb)})
    return found.model_copy(update={"atomic_data": atomic})


def write(path: Path, scenario: str, truth: dict[str, list[float]], **change: str) -> Path:
    expression = {"2T": "tbabs*(apec+apec)", "3T": "tbabs*apec"}.get(
        scenario, "tbabs*(apec+powerlaw)"
    )
    values = {name: np.array(column) for name, column in truth.items()}
    dataset = change.get("dataset", f"test_{scenario}")
    index = np.arange(len(truth["apec.kT"]))
    write_truth(path, Truth(dataset, scenario, index, values), expression)
    return path


def plasma(name: str, kT: list[float], norm: list[float]) -> dict[str, list[float]]:
    same = {"Abundanc": 0.3, "Redshift": 0.05}
    return {
        f"{name}.kT": kT,
        f"{name}.norm": norm,
        **{f"{name}.{parameter}": [value] * len(kT) for parameter, value in same.items()},
    }


def make(default: Config, *paths: Path) -> Table:
    output = paths[0].with_name("fluxes.ecsv")
    truths = [read_truth(path) for path in paths]
    write_table(output, fluxes.tabulate(settings_of.fluxes(default), truths))
    return Table.read(output, format="ascii.ecsv")


def test_fluxes_of_both_classes(default: Config, tmp_path: Path) -> None:
    column = {"TBabs.nH": [0.00858] * 2}
    ic = write(
        tmp_path / "ic.truth.ecsv",
        "1T+IC",
        column
        | plasma("apec", [4.0, 8.0], [0.5, 0.5])
        | {"powerlaw.PhoIndex": [2.0, 2.0], "powerlaw.norm": [1e-3, 4e-4]},
    )
    thermal = write(
        tmp_path / "thermal.truth.ecsv",
        "2T",
        column | plasma("apec", [4.0, 8.0], [0.5, 0.2]) | plasma("apec_3", [8.0, 8.0], [0.5, 0.3]),
    )
    table = make(default, ic, thermal)
    assert table["dataset"].tolist() == ["test_1T+IC"] * 2 + ["test_2T"] * 2
    # Photon index 2: the energy flux is the norm times the logarithm of the energies' ratio.
    expected = np.array([1e-3, 4e-4]) * math.log(80 / 20) * KEV
    np.testing.assert_allclose(table["ic_flux"][:2], expected, rtol=1e-6)
    np.testing.assert_array_equal(table["ic_norm"], [1e-3, 4e-4, 0, 0])
    np.testing.assert_array_equal(table["ic_flux"][2:], 0)
    cool, hot = table["thermal_flux"][:2]
    assert hot > 3 * cool, "what a plasma emits above 20 keV falls steeply with temperature"
    np.testing.assert_allclose(table["thermal_flux"][2:], [cool + hot, hot], rtol=1e-6)
    assert str(table["ic_flux"].unit) == "erg / (s cm2)"


def test_spectra_of_an_unknown_scenario_are_refused(default: Config, tmp_path: Path) -> None:
    path = write(tmp_path / "odd.truth.ecsv", "3T", plasma("apec", [4.0], [0.5]), dataset="odd")
    with pytest.raises(IcflowError, match="dataset odd: its spectra are of the scenario '3T'"):
        make(default, path)
