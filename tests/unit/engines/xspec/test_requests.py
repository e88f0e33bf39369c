"""The requests that a bare PyXspec is tested with are those that the engine makes.

`tests/xspec` runs where nothing of icflow is installed, on `tests/xspec/requests.json`.
To write that file anew: ``python tests/unit/engines/xspec/test_requests.py``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icflow.config import AtomicData, FitControl, FitModel, Instrument
from icflow.downloads import PipArchive
from icflow.engines.base import Module
from icflow.engines.xspec import process
from icflow.engines.xspec.engine import PyXspecEngine
from icflow.errors import IcflowError
from icflow.models.expression import parse
from icflow.models.scenario import complete, resolve
from icflow.resources import RESOURCES, Resource

ROOT = Path(__file__).resolve().parents[4]
REFERENCE = ROOT / "tests" / "data" / "xspec_reference"
EXPRESSIONS = {"2T": "tbabs*(apec+apec)", "1T+IC": "tbabs*(apec+powerlaw)"}
# The limits of the paper's fits and the starting points of the reference fits.
MODELS = {
    "2T_fixed": FitModel(
        expression=EXPRESSIONS["2T"],
        parameters={
            "TBabs.nH": 0.00858,
            "apec.kT": {"free": [0.5, 15.0], "start": 2.0},
            "apec.Abundanc": {"free": [0.0, 5.0], "start": 0.5},
            "apec.norm": {"free": [0.0, 100.0], "start": 0.4},
            "apec_3.kT": {"free": [0.5, 15.0], "start": 6.0},
            "apec_3.Abundanc": {"link": "apec.Abundanc"},
            "apec_3.Redshift": {"link": "apec.Redshift"},
            "apec_3.norm": {"free": [0.0, 100.0], "start": 0.4},
        },
    ),
    "1T+IC_fixed": FitModel(
        expression=EXPRESSIONS["1T+IC"],
        parameters={
            "TBabs.nH": 0.00858,
            "apec.kT": {"free": [0.5, 15.0], "start": 5.0},
            "apec.Abundanc": {"free": [0.0, 5.0], "start": 0.5},
            "apec.norm": {"free": [0.0, 100.0], "start": 0.5},
            "powerlaw.PhoIndex": 2.0,
            "powerlaw.norm": {"free": [0.0, 1.0], "start": 1e-3},
        },
    ),
}
CONTROL = FitControl(
    energies=[3.0, 80.0], group_min=100, background_range=0.1, starts=1, max_iterations=300
)
# Spectra of which the reference fit found the best minimum that is known.
FITS = ((13, "2T_fixed"), (11, "1T+IC_fixed"))
TRUTHS = (0, 1, 11)


def truth(entry: Mapping[str, Any]) -> dict[str, float]:
    """Return the true parameters of a reference spectrum under their names in XSPEC."""
    values = {
        "TBabs.nH": 0.00858,
        "apec.kT": entry["kT1"],
        "apec.Abundanc": entry["Z"],
        "apec.Redshift": entry["z"],
        "apec.norm": entry["n1"],
    }
    if entry["kind"] == "2T":
        second = {"kT": "kT2", "Abundanc": "Z", "Redshift": "z", "norm": "n2"}
        return values | {f"apec_3.{name}": entry[key] for name, key in second.items()}
    return values | {"powerlaw.PhoIndex": 2.0, "powerlaw.norm": entry["ic"]}


class Recorder(PyXspecEngine):
    """An engine that keeps its requests."""

    def __init__(self, modules: Sequence[Module], atomic_data: AtomicData) -> None:
        self.requests: list[dict[str, Any]] = []
        super().__init__(modules, atomic_data)

    def _ask(self, request: Mapping[str, Any], what: str, fits: int = 1) -> dict[str, Any]:
        self.requests.append(dict(request))
        raise process.XspecError("recorded")


def requests() -> dict[str, Any]:
    """Return what the engine asks for the reference spectra."""
    engine = Recorder(
        [
            Instrument(
                rmf=str(ROOT / "resources/responses/nustar_fpma.rmf"),
                arf=str(ROOT / "resources/responses/nustar_fpma.arf"),
                exposure=1e6,
                background=str(ROOT / "resources/background/nustar_fpma.yaml"),
            )
        ],
        AtomicData(folder="nowhere"),
    )
    entries = json.loads((REFERENCE / "fits.json").read_text(encoding="utf-8"))
    counts = np.load(REFERENCE / "spectra.npz")["counts"]
    for spectrum in TRUTHS:
        entry = entries[spectrum]
        with pytest.raises(IcflowError):
            engine.predict(EXPRESSIONS[entry["kind"]], truth(entry))
    with pytest.raises(IcflowError):
        engine.fake(EXPRESSIONS["2T"], truth(entries[0]), 1, "test", [0])
    for spectrum, fit in FITS:
        known = {"apec.Redshift": np.array([entries[spectrum]["z"]])}
        row = counts[spectrum : spectrum + 1].astype(np.int32)
        list(engine.fit(MODELS[fit], CONTROL, row, known, ["apec.Redshift"]))
    *predictions, fake, first, second = engine.requests
    assert len(predictions) == len(TRUTHS)
    models = json.loads((REFERENCE / "models.json").read_text(encoding="utf-8"))
    names = {case["expression"]: list(parse(case["expression"]).parameters) for case in models}
    return {
        "setup": engine.process.setup,
        "truths": [
            {"spectrum": spectrum, "request": request}
            for spectrum, request in zip(TRUTHS, predictions, strict=True)
        ],
        "fake": fake,
        "fits": [
            {"spectrum": spectrum, "fit": fit, "request": request}
            for (spectrum, fit), request in zip(FITS, (first, second), strict=True)
        ],
        "names": names,
        "files": {name: packed(resource) for name, resource in RESOURCES.items()},
    }


def packed(resource: Resource) -> dict[str, Any]:
    """Return where a resource belongs, and the package that holds it."""
    source = resource.sources[-1]
    assert isinstance(source, PipArchive)
    return {
        "folder": resource.folder,
        "sha256": resource.sha256,
        "pip": [*source.pip_args, source.requirement],
        "member": source.member,
    }


@pytest.fixture(autouse=True)
def _no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process.Process, "start", lambda self: None)


def test_the_requests_on_file_are_those_of_the_engine(rmf_path: Path, arf_path: Path) -> None:
    kept = json.loads((ROOT / "tests/xspec/requests.json").read_text(encoding="utf-8"))
    assert json.loads(json.dumps(requests())) == kept


def test_the_background_has_the_areas_of_the_reference(rmf_path: Path) -> None:
    """The bare tests take them from the reference, the engine writes them from nodes."""
    from astropy.io import fits

    from icflow.models.background import read_background
    from icflow.ogip.response import read_rmf

    energies = read_rmf(rmf_path).energies
    components = read_background(ROOT / "resources/background/nustar_fpma.yaml")
    for name, file in (("aperture", "be.arf"), ("focused", "fcxb.arf")):
        (component,) = (c for c in components if c.name == name)
        reference = fits.getdata(REFERENCE / file, "SPECRESP")["SPECRESP"]
        np.testing.assert_allclose(component.effective_area(energies), reference, rtol=1e-4)


def test_true_parameters_are_complete() -> None:
    for entry in json.loads((REFERENCE / "fits.json").read_text(encoding="utf-8")):
        expression = parse(EXPRESSIONS[entry["kind"]])
        values = truth(entry)
        assert resolve(complete(expression, values, ""), {}) == values


if __name__ == "__main__":
    process.Process.start = lambda self: None  # type: ignore[method-assign]
    text = json.dumps(requests(), indent=1) + "\n"
    (ROOT / "tests/xspec/requests.json").write_text(text, encoding="utf-8")
