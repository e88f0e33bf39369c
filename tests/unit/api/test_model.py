"""Models: what they are told, predict, simulate and fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from astropy import units

import icflow

TOY = icflow.Instrument("resp.rmf", "area.arf", exposure=toy.EXPOSURE)
FIXED = icflow.Model("powerlaw", {"powerlaw.PhoIndex": 2, "powerlaw.norm": 1.0})


def test_what_parameters_do() -> None:
    model = icflow.Model(
        "tbabs*(powerlaw+powerlaw+gaussian)",
        {
            "TBabs.nH": 1e20 * units.cm**-2,
            "powerlaw.PhoIndex": {"free": [1, 3], "start": 1.5},
            "powerlaw_3.PhoIndex": "powerlaw.PhoIndex",
            "powerlaw.norm": {"log_uniform": [1e-3, 1.0]},
            "gaussian.LineE": (6.4 * units.keV, 7.0),
            "gaussian.norm": [0, 3e4] * units.ph / units.m**2 / units.s,
            "gaussian.Sigma": {"free": [0, 100 * units.eV], "start": 10 * units.eV},
        },
    )
    table = model.parameters
    assert table.loc["TBabs.nH", "value"] == pytest.approx(0.01)
    assert table.loc["powerlaw.PhoIndex", ["value", "low", "high"]].tolist() == [1.5, 1.0, 3.0]
    assert table.loc["powerlaw_3.PhoIndex", "link"] == "powerlaw.PhoIndex"
    assert table.loc["gaussian.LineE", "high"] == 7.0
    assert table.loc["gaussian.norm", "high"] == pytest.approx(3.0)
    assert table.loc["gaussian.Sigma", ["value", "low", "high"]].tolist() == [0.01, 0.0, 0.1]
    assert "= powerlaw.PhoIndex" in repr(model) and "log-uniform 0.001–1" in repr(model)
    assert "<table" in model._repr_html_()
    assert model.using({"powerlaw.norm": None}).settings.keys() == model.settings.keys() - {
        "powerlaw.norm"
    }


@pytest.mark.parametrize(
    ("expression", "parameters", "sentence"),
    [
        ("powerlow", {}, "powerlow"),
        ("nei", {}, "reads data files"),
        ("powerlaw", {"powerlaw.index": 2}, r"parameters\.powerlaw\.index: .* no such parameter"),
        ("powerlaw", {"powerlaw.PhoIndex": np.nan}, r"parameters\.powerlaw\.PhoIndex is nan"),
        ("powerlaw", {"powerlaw.PhoIndex": 20}, "outside XSPEC's hard limits"),
        ("powerlaw", {"powerlaw.PhoIndex": (1, 2, 3)}, "give two limits"),
        ("powerlaw", {"powerlaw.PhoIndex": (3, 1)}, "the first number must be below the second"),
        ("powerlaw", {"powerlaw.PhoIndex": 2 * units.keV}, "has no unit"),
        ("powerlaw", {"powerlaw.norm": 2 * units.keV}, "cannot be converted"),
        ("powerlaw", {"powerlaw.PhoIndex": "powerlaw.PhoIndex"}, "that is not linked itself"),
        ("powerlaw", {"powerlaw.PhoIndex": {"uniform": [3, 1]}}, "must be below"),
        ("powerlaw", {"powerlaw.norm": {"uniform": [0, 1 * units.keV]}}, "cannot be converted"),
        ("powerlaw", {"factor.B": (0.5, 2)}, "limits of all factors with cross_normalisation"),
    ],
)
def test_what_a_model_cannot_be(expression: str, parameters: dict[str, Any], sentence: str) -> None:
    with pytest.raises(icflow.IcflowError, match=sentence):
        icflow.Model(expression, parameters)


def test_another_choice_leaves_the_physics(tmp_path: Path) -> None:
    model = icflow.Model(
        "powerlaw", abundances="wilm", cross_sections="bcmc", atomdb=tmp_path / "tables"
    )
    other = model.using({"powerlaw.PhoIndex": 2})
    assert other.atomic_data == model.atomic_data
    assert other.atomic_data.folder == str(tmp_path / "tables")


def test_physics_that_there_is_not() -> None:
    with pytest.raises(icflow.IcflowError, match="'lodders' is not a table of XSPEC"):
        icflow.Model("powerlaw", abundances="lodders")
    with pytest.raises(icflow.IcflowError, match="atomdb is 3; give the name of a file"):
        icflow.Model("powerlaw", atomdb=3)  # type: ignore[arg-type]


def test_predicted_counts(folder: Path) -> None:
    np.testing.assert_allclose(FIXED.predict(TOY), toy.expected(), rtol=1e-5)


def test_simulated_spectra_are_the_same_however_many(folder: Path) -> None:
    model = FIXED.using({"powerlaw.PhoIndex": {"uniform": [1.5, 2.5]}})
    many = model.fake(TOY, n=20, seed=3)
    assert many.shape == (20, toy.N)
    np.testing.assert_array_equal(many[:5], model.fake(TOY, n=5, seed=3))
    assert not np.array_equal(many[:5], model.fake(TOY, n=5, seed=4))
    index = model.draw(TOY, n=20, seed=3)["powerlaw.PhoIndex"].to_numpy()
    hard = many[:, 100:].sum(axis=1) / many.sum(axis=1)
    assert np.corrcoef(index, np.log(hard))[0, 1] < -0.998


def test_two_modules_are_simulated_side_by_side(folder: Path) -> None:
    modules = [
        icflow.Instrument("resp.rmf", "area.arf", exposure=exposure, name=name)
        for name, exposure in (("A", 1e4), ("B", 3e4))
    ]
    counts = FIXED.fake(modules, n=2)
    assert counts.shape == (2, 2 * toy.N)
    assert counts[:, toy.N :].sum() / counts[:, : toy.N].sum() == pytest.approx(3, rel=0.02)


def test_many_fits_are_those_of_each(folder: Path) -> None:
    counts = FIXED.fake(TOY, n=4)
    free = icflow.Model("powerlaw", {"powerlaw.PhoIndex": (1, 3)})
    fits = free.fit_many(counts, TOY, energies=(2, 30))
    toy.save(folder / "third.pha", toy.pha(counts=counts[2]))
    alone = free.fit(icflow.read_spectrum("third.pha", energies=(2, 30)))
    assert fits.loc[2, "cstat"] == pytest.approx(alone.cstat, abs=1e-6)
    assert fits.loc[2, "powerlaw.norm"] == pytest.approx(alone.values["powerlaw.norm"], rel=1e-6)
    pulls = (fits["powerlaw.PhoIndex"] - 2) / fits["powerlaw.PhoIndex_error"]
    assert pulls.abs().max() < 4


def test_bins_and_backgrounds_of_many_fits(folder: Path) -> None:
    counts = FIXED.fake(TOY, n=2)
    free = icflow.Model("powerlaw", {"powerlaw.PhoIndex": (1, 3)})
    toy.save(folder / "second.pha", toy.pha(counts=counts[1]))
    alone = free.fit(icflow.read_spectrum("second.pha", energies=(2, 30), group_min=500))
    fits = free.fit_many(counts, TOY, energies=(2, 30), group_min=500)
    assert fits.loc[1, "bins"] == alone.bins < 280
    assert fits.loc[1, "cstat"] == pytest.approx(alone.cstat, abs=1e-6)
    few = free.fit_many(counts // 20000, TOY, energies=(2, 30), group_min=500)
    assert few["status"].str.contains("bins have at least 500; lower group_min").all()
    (folder / "flat.yaml").write_text(toy.FLAT)
    behind = icflow.Instrument("resp.rmf", "area.arf", toy.EXPOSURE, "flat.yaml")
    known, moved = (
        free.fit_many(FIXED.fake(behind, n=2), behind, energies=(2, 30), background_range=fraction)
        for fraction in (0.0, 0.5)
    )
    assert known["background.flat"].tolist() == [1.0, 1.0]
    assert (moved["background.flat"] != 1).all() and moved["background.flat"].between(
        0.5, 1.5
    ).all()


def test_what_is_known_of_each_spectrum_is_not_fitted(folder: Path) -> None:
    fits = icflow.Model("powerlaw").fit_many(
        FIXED.fake(TOY, n=2), TOY, energies=(2, 30), frozen={"powerlaw.PhoIndex": [1.9, 2.1]}
    )
    assert fits["powerlaw.PhoIndex"].tolist() == [1.9, 2.1]
    assert "powerlaw.PhoIndex_error" not in fits


def test_what_is_known_of_each_spectrum_may_have_a_unit(folder: Path) -> None:
    fits = icflow.Model("tbabs*powerlaw").fit_many(
        FIXED.fake(TOY, n=2),
        TOY,
        energies=(2, 30),
        frozen={"TBabs.nH": [1e20, 2e20] / units.cm**2},
    )
    assert fits["TBabs.nH"].tolist() == pytest.approx([0.01, 0.02])


def test_energies_by_default_are_those_of_a_fit(folder: Path) -> None:
    free = icflow.Model("powerlaw", {"powerlaw.PhoIndex": (1, 3)})
    assert free.fit_many(FIXED.fake(TOY), TOY).loc[0, "bins"] == free.fit("spec.pha").bins


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: FIXED.fake(TOY, n=0), "n is 0"),
        (lambda: icflow.Model("powerlaw").using({"powerlaw.norm": (0, 1)}).fake(TOY), "no value"),
        (lambda: FIXED.using({"powerlaw.norm": {"uniform": [0, 1]}}).predict(TOY), "has a prior"),
        (lambda: FIXED.fit_many(np.ones((2, 7)), TOY), "counts has the shape"),
        (lambda: FIXED.fit_many(np.ones((2, toy.N)), TOY, frozen={"kT": [1, 2]}), "no such para"),
        (
            lambda: FIXED.fit_many(np.ones((2, toy.N)), TOY, frozen={"powerlaw.norm": [1]}),
            "each of the 2 spectra",
        ),
        (lambda: FIXED.fit_many(np.ones((2, toy.N)), TOY, energies=(3, 80)), "reach outside the r"),
        (
            lambda: FIXED.fit_many(np.ones((2, toy.N)), TOY, frozen={"powerlaw.norm": [1, -1]}),
            "frozen.powerlaw.norm: -1 lies outside XSPEC's hard limits",
        ),
        (lambda: FIXED.fake(TOY, seed=-1), "seed is -1"),
        (lambda: FIXED.fit("spec.pha", strategy="seeded"), "should be 'thorough' or 'plain'"),
        (lambda: FIXED.flux(80, 20), "give the lower energy first"),
        (lambda: FIXED.fit([]), "give spectra that read_spectrum returns"),
        (lambda: FIXED.fit("spec.pha", background=["a", "b"]), "background names 2 files for 1"),
        (lambda: FIXED.fit("spec.pha", starts=0), "starts"),
        (
            lambda: FIXED.fit(
                [icflow.read_spectrum("spec.pha"), icflow.read_spectrum("spec.pha", group_min=2)]
            ),
            "the spectra have different group_min, None and 2",
        ),
    ],
)
def test_what_cannot_be_done(folder: Path, call: Any, sentence: str) -> None:
    with pytest.raises(icflow.IcflowError, match=sentence):
        call()
