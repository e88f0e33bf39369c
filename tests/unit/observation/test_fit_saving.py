"""Fits as files that XSPEC loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import save_syntax
import toy
import yaml

from icflow.cli import main
from icflow.engines.embedded.folding import fold_background, load_response
from icflow.models.background import read_background
from icflow.models.save_file import read_save_file
from icflow.ogip.response import read_arf, read_rmf

COMPONENTS: dict[str, Any] = {
    "sky": {
        "redistribution": "source",
        "area": {"nodes": [[1.0, 20.0], [10.0, 40.0], [41.0, 10.0]], "interpolation": "loglog"},
        "range": 0.3,
        "expression": "tbabs*powerlaw",
        "parameters": {"TBabs.nH": 0.5, "powerlaw.PhoIndex": 1.4, "powerlaw.norm": 0.2},
    },
    "particles": {
        "redistribution": "identity",
        "area": "none",
        "range": 0.0,
        "sum": [{"model": "logpar", "alpha": 0.2, "beta": 0.0, "pivotE": 10.0, "norm": 0.02}],
    },
}
EV = {"low": 1e3 * toy.LOW, "high": 1e3 * toy.HIGH, "unit": "eV"}


def background(path: Path, norm: float = 0.2) -> Path:
    tree = json.loads(json.dumps(COMPONENTS))
    tree["sky"]["parameters"]["powerlaw.norm"] = norm
    path.write_text(yaml.safe_dump({"name": "toy", "components": tree}))
    return path


def counts(path: Path, folder: Path, factor: float = 1.0) -> Any:
    """Draw a source, `factor` times as bright, over the background of a file."""
    response = load_response(folder / "resp.rmf", folder / "area.arf")
    rates = [fold_background(part, response) for part in read_background(path)]
    expected = factor * toy.expected(0.5) + toy.EXPOSURE * np.sum(rates, axis=0)
    return np.random.default_rng(3).poisson(expected)


@pytest.fixture
def fit(tmp_path: Path, atomdb: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`icflow fit` in the folder of the test, with a save file; returns the JSON."""
    monkeypatch.chdir(tmp_path)
    words = ["--expression", "powerlaw", "--energies", "3", "30", "--atomdb", str(atomdb)]

    def run(*given: str, status: int = 0) -> Any:
        output = ["--output", "fit.json", "--save", "fit.xcm"]
        assert main(["fit", *given, *words, *output]) == status
        return None if status else json.loads(Path("fit.json").read_text())

    return run


def test_a_background_of_components_is_read_back_from_the_save_file(
    tmp_path: Path, fit: Any
) -> None:
    toy.write(tmp_path)
    for name, norm, factor in (("a", 0.2, 1.0), ("b", 0.3, 1.1)):
        path = background(tmp_path / f"{name}.yaml", norm)
        drawn = counts(path, tmp_path, factor)
        toy.save(tmp_path / f"{name}.pha", toy.pha(drawn, INSTRUME=name.upper()))
    toy.save(tmp_path / "resp.rmf", *toy.rmf(INSTRUME="none"))
    toy.save(tmp_path / "area.arf", toy.arf(INSTRUME="none"))
    made = fit("a.pha", "b.pha", "--background", "a.yaml", "--background", "b.yaml")
    assert save_syntax.faults(Path("fit.xcm").read_text()) == []
    assert main(["background", "import", "fit.xcm", "--output", "back.yaml"]) == 0
    response = load_response("resp.rmf", "area.arf")
    saved = read_save_file("fit.xcm")
    for group, name in enumerate("ab", start=1):
        factors = {
            key: value for key, value in made["background"].items() if key[0] == name.upper()
        }
        assert len(factors) == 2 and factors[f"{name.upper()}.particles"] == 1
        given = {part.name: part for part in read_background(f"{name}.yaml")}
        back = {part.name: part for part in read_background(f"back-{name}.yaml")}
        assert list(back) == list(given)
        for component, part in given.items():
            rate = factors[f"{name.upper()}.{component}"] * fold_background(part, response)
            np.testing.assert_allclose(
                fold_background(back[component], response), rate, rtol=2e-6, atol=1e-12
            )
        assert back["particles"].redistribution == "identity" and back["particles"].area is None
        _, values = saved.values(saved.models[""], group)
        fitted = {key: entry["value"] for key, entry in made["parameters"].items()}
        assert values["powerlaw.PhoIndex"] == pytest.approx(fitted["powerlaw.PhoIndex"])
        factor = 1.0 if group == 1 else fitted["factor.B"]
        assert values["constant.factor"] == pytest.approx(factor)
    assert {path.name for path in tmp_path.glob("fit-*")} == {
        *("fit-A-identity.rmf", "fit-A-sky.arf", "fit-B-identity.rmf", "fit-B-sky.arf")
    }


def test_responses_that_xspec_would_read_otherwise_are_written_anew(
    tmp_path: Path, fit: Any
) -> None:
    toy.write(tmp_path, response=toy.rmf(**EV, bounds=(EV["low"], EV["high"])), area=toy.arf(**EV))
    fit("spec.pha")
    lines = Path("fit.xcm").read_text().splitlines()
    assert "response 1:1 fit-source.rmf" in lines and "arf 1:1 fit-source.arf" in lines
    rmf, arf = read_rmf("fit-source.rmf"), read_arf("fit-source.arf")
    assert rmf.plain and arf.plain
    np.testing.assert_allclose(rmf.e_max, toy.HIGH, rtol=1e-6)
    np.testing.assert_allclose(rmf.matrix.toarray(), toy.redistribution(), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(arf.energies, toy.EDGES, rtol=1e-6)


def test_an_area_of_other_rows_is_written_on_those_of_the_response(
    tmp_path: Path, fit: Any
) -> None:
    toy.write(tmp_path, area=toy.arf(toy.LOW[10:330], toy.HIGH[10:330]))
    fit("spec.pha")
    lines = Path("fit.xcm").read_text().splitlines()
    assert "response 1:1 resp.rmf" in lines and "arf 1:1 fit-source.arf" in lines
    np.testing.assert_array_equal(
        read_arf("fit-source.arf").area, np.repeat([0, 50.0, 0], [10, 320, 70])
    )


def test_plain_files_are_named_and_bins_that_are_others_are_told(tmp_path: Path, fit: Any) -> None:
    toy.write(tmp_path)
    fit("spec.pha", "--group-min", "25")
    text = Path("fit.xcm").read_text()
    assert "# fitted in bins of at least 25 counts" in text
    assert "response 1:1 resp.rmf\narf 1:1 area.arf\nbackgrnd 1 none\n" in text
    assert not list(tmp_path.glob("fit*rf"))


def test_what_is_read_is_not_replaced(
    tmp_path: Path, fit: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.write(tmp_path)
    (tmp_path / "resp.rmf").rename(tmp_path / "fit-source.rmf")
    before = (tmp_path / "fit-source.rmf").read_bytes()
    fit("spec.pha", "--rmf", "fit-source.rmf", status=1)
    assert "fit-source.rmf: is read, and responses are written" in capsys.readouterr().err
    assert (tmp_path / "fit-source.rmf").read_bytes() == before
    for option in ("--save", "--output", "--plot"):
        name = "spec.pdf" if option == "--plot" else "spec.pha"
        (tmp_path / "spec.pdf").unlink(missing_ok=True)
        (tmp_path / "spec.pdf").symlink_to("spec.pha")
        words = ["fit", "spec.pha", "--rmf", "fit-source.rmf", "--expression", "powerlaw"]
        assert main([*words, option, name]) == 1
        assert f"{name}: is read, so it is not replaced; name another" in capsys.readouterr().err


def test_names_that_xspec_splits_are_refused(
    tmp_path: Path, fit: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.write(tmp_path)
    (tmp_path / "spec.pha").rename(tmp_path / "my spec.pha")
    fit("my spec.pha", status=1)
    error = capsys.readouterr().err
    assert "my spec.pha: XSPEC splits names of files at blanks, and cannot load this one" in error
