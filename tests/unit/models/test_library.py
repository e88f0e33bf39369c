"""XSPEC's own functions against values computed with a real XSPEC."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from icflow.config import AtomicData
from icflow.engines.embedded import folding
from icflow.errors import IcflowError
from icflow.models import library
from icflow.models.expression import parse
from icflow.models.photons import term_photons

# cutoffpl carries an approximate incomplete gamma function in XSPEC 12.9.
TOLERANCE = {"cutoffpl": 2e-4}
# keV, rest frame: above, AtomDB 3.0.9 tabulates rounding noise of either sign for hot plasma.
LAST_SOUND_ENERGY = 95.0
EDGES = np.array([3.0, 5.0, 8.0])  # keV


def test_definitions_come_from_model_dat() -> None:
    apec = library.definitions()["apec"]
    assert [parameter.name for parameter in apec.parameters] == ["kT", "Abundanc", "Redshift"]
    assert (apec.parameters[0].minimum, apec.parameters[0].maximum) == (0.008, 64.0)
    assert apec.parameters[0].unit == "keV"


def test_switches_have_a_value_without_limits() -> None:
    pivot = next(p for p in library.definitions()["logpar"].parameters if p.name == "pivotE")
    assert pivot.switch and (pivot.unit, pivot.default) == ("keV", 1.0)
    assert pivot.minimum == -np.inf and pivot.maximum == np.inf
    assert not any(parameter.switch for parameter in library.definitions()["apec"].parameters)


def test_every_reference_case(reference: Path, atomdb: Path, rmf_path: Path) -> None:
    library.configure(AtomicData(folder=str(atomdb)))
    energies = folding.load_response(rmf_path, None).energies
    cases = json.loads((reference / "models.json").read_text())
    photons = np.load(reference / "models.npz")["photons"]
    for case, expected in zip(cases, photons, strict=True):
        expression = parse(case["expression"])
        values = dict(zip(expression.parameters, case["parameters"], strict=True))
        found = sum(
            values[f"{term.additive.name}.norm"] * term_photons(term, values, energies)
            for term in expression.terms
        )
        held = expected > 1e-7 * expected.max()
        if "apec" in case["expression"]:
            held &= energies[1:] * 1.1 < LAST_SOUND_ENERGY
        worst = np.abs(found[held] / expected[held] - 1).max()
        assert worst < TOLERANCE.get(case["expression"], 1e-6), (case, worst)


def test_refuses_a_model_that_is_zero_everywhere(atomdb: Path) -> None:
    library.configure(AtomicData(folder=str(atomdb)))
    lorentz = library.definitions()["bremss"]
    with pytest.raises(IcflowError, match=r"bremss is zero everywhere at kT=1e-05"):
        library.evaluate(lorentz, np.array([50.0, 60.0]), np.array([1e-5]))


def test_names_the_missing_tables(tmp_path: Path) -> None:
    with pytest.raises(IcflowError, match=r"coco\.fits: not found; run `icflow fetch`"):
        library.configure(AtomicData(folder=str(tmp_path)))
        library.evaluate(library.definitions()["apec"], EDGES, np.array([5.0, 0.3, 0.0]))


def test_a_model_that_needs_no_tables_asks_for_none(tmp_path: Path) -> None:
    library.configure(AtomicData(folder=str(tmp_path)))
    photons = library.evaluate(library.definitions()["powerlaw"], EDGES, np.array([2.0]))
    np.testing.assert_allclose(photons, 1 / EDGES[:-1] - 1 / EDGES[1:], rtol=1e-9)
    assert not parse("tbabs*(powerlaw+gaussian)").reads_atomdb
    assert parse("tbabs*(powerlaw+vapec)").reads_atomdb


def test_refuses_an_unknown_abundance_table(atomdb: Path) -> None:
    with pytest.raises(IcflowError, match=r"atomic_data\.abundances: 'nosuch'"):
        library.configure(AtomicData(folder=str(atomdb), abundances="nosuch"))
    library.configure(AtomicData(folder=str(atomdb)))


def test_a_wrong_headas_is_named(tmp_path: Path) -> None:
    code = "from icflow.models import library; library.definitions()"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={"HEADAS": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "unset a HEADAS that is not one" in run.stderr


@pytest.mark.parametrize("headas", ["", "/elsewhere/xspectrampoline/LibXSPEC_v6_35_1"])
def test_a_headas_that_is_no_heasoft_does_not_count(headas: str) -> None:
    code = "from icflow.models import library; print(library.version())"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={"HEADAS": headas, "PATH": "", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.startswith("HEASoft 6")


def test_beside_an_xspec_of_headas_the_library_is_that_of_the_wheel(tmp_path: Path) -> None:
    (tmp_path / "headas-init.sh").touch()
    program = (
        "from icflow import heasoft; from icflow.models import library; library.prefer_wheel(); "
        "print(library.version(), 'and', heasoft.folder())"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={"HEADAS": str(tmp_path), "PATH": "", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == f"{library.TRIED} and {tmp_path}\n"


def test_models_without_their_data_are_told() -> None:
    definition = library.definitions()["mekal"]
    with pytest.raises(IcflowError, match=r"mekal reads data files .* use another model, such as"):
        library.evaluate(definition, np.array([1.0, 2.0]), np.ones(5))
    assert not library.missing_data() & {"apec", "vapec", "powerlaw", "tbabs", "zwabs", "bbody"}
    assert library.missing_data() <= set(library.definitions())
