"""Save files of XSPEC, in and out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import toy

import icflow


def test_a_fit_comes_back(folder: Path) -> None:
    toy.save(folder / "back.pha", toy.pha(counts=toy.draw() // 50))
    given = {"powerlaw.PhoIndex": (1, 3), "powerlaw_2.PhoIndex": "powerlaw.PhoIndex"}
    model = icflow.Model("powerlaw+powerlaw", given | {"powerlaw_2.norm": 0.1})
    spectrum = icflow.read_spectrum("spec.pha", energies=(2, 30), background="back.pha")
    fit = model.fit(spectrum)
    fit.save("fit.xcm")
    again, (other,) = icflow.read_xcm("fit.xcm")
    assert other.energies == [2.0, 30.0]
    assert again.parameters["link"].tolist() == model.parameters["link"].tolist()
    assert again.settings["powerlaw_2.norm"] == 0.1
    refitted = again.fit(other)
    assert (refitted.statistic, refitted.cstat) == ("W", pytest.approx(fit.cstat, abs=1e-3))


@pytest.mark.parametrize("least", [0, 40])
def test_own_bins_come_back(folder: Path, least: int) -> None:
    grouping = np.where(np.arange(toy.N) % 10, -1, 1)
    column = toy.fits.Column("GROUPING", "I", array=grouping)
    toy.save(folder / "grouped.pha", toy.pha(columns=[column]))
    spectrum = icflow.read_spectrum("grouped.pha", energies=(2, 30), group_min=least)
    fit = icflow.Model("powerlaw", {"powerlaw.PhoIndex": (1, 3)}).fit(spectrum)
    fit.save("fit.xcm")
    model, (again,) = icflow.read_xcm("fit.xcm")
    assert again.group_min == least
    refitted = model.fit(again)
    assert refitted.bins == fit.bins
    assert refitted.cstat == pytest.approx(fit.cstat, abs=1e-3)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("data 1:1 spec.pha\n", "holds no model of source 1"),
        ("data 1:1 gone.pha\nmodel powerlaw\n2 0.01 -3 -3 9 10\n1 0.1 0 0 9 10\n", r"gone\.pha"),
        (
            "data 1:1 spec.pha\nmodel powerlaw+powerlaw\n2 0.01 -3 -3 9 10\n1 0.1 0 0 9 10\n"
            "= p1*2\n1 0.1 0 0 9 10\n",
            "is not another parameter alone",
        ),
    ],
)
def test_what_cannot_be_read(folder: Path, words: str, sentence: str) -> None:
    (folder / "bad.xcm").write_text(words)
    with pytest.raises(icflow.IcflowError, match=sentence):
        icflow.read_xcm("bad.xcm")


def test_limits_and_physics_come_back(folder: Path) -> None:
    given = {"TBabs.nH": 0.5, "powerlaw.PhoIndex": (1.3, 2.7), "powerlaw.norm": (0.1, 7.0)}
    model = icflow.Model("tbabs*powerlaw", given, abundances="wilm", cross_sections="bcmc")
    fit = model.fit("spec.pha")
    fit.save("fit.xcm")
    again, _ = icflow.read_xcm("fit.xcm")
    assert again.parameters["low"].tolist()[1:] == [1.3, 0.1]
    assert again.parameters["high"].tolist()[1:] == [2.7, 7.0]
    started = again.parameters["value"].to_numpy()
    assert started == pytest.approx([fit.values[name] for name in again.parameters.index])
    assert again.atomic_data.abundances == "wilm"
    assert again.atomic_data.cross_sections == "bcmc"


def test_models_of_further_sources_are_noted(folder: Path) -> None:
    words = "data 1:1 spec.pha\nresponse 2:1 resp.rmf\nmodel powerlaw\n"
    words += "2 0.01 -3 -3 9 10\n1 0.1 0 0 9 10\nmodel 2:sky powerlaw\n"
    (folder / "saved.xcm").write_text(words + "2 -1 -3 -3 9 10\n1 -1 0 0 9 10\n")
    _, (spectrum,) = icflow.read_xcm("saved.xcm")
    assert "further sources (sky) are left out" in spectrum.notes[-1]


def test_ranges_of_channels_are_noted(folder: Path) -> None:
    words = "data 1:1 spec.pha\nignore 1:1-35,370-400\nmodel powerlaw\n"
    words += "2 0.01 -3 -3 9 10\n1 0.1 0 0 9 10\n"
    (folder / "saved.xcm").write_text(words)
    _, (spectrum,) = icflow.read_xcm("saved.xcm")
    assert "ignores the channels 1-35,370-400" in spectrum.notes[-1]


def test_a_joint_fit_comes_back(folder: Path) -> None:
    toy.save(folder / "other.pha", toy.pha(counts=toy.draw(norm=1.1), INSTRUME="TOY2"))
    spectra = [icflow.read_spectrum(name, energies=(2, 30)) for name in ("spec.pha", "other.pha")]
    fit = icflow.Model("powerlaw", {"powerlaw.PhoIndex": (1, 3)}).fit(spectra)
    fit.save("fit.xcm")
    model, again = icflow.read_xcm("fit.xcm")
    assert model.settings["constant.factor"] == 1.0 and len(again) == 2
    refitted = model.fit(again)
    assert refitted.cstat == pytest.approx(fit.cstat, abs=1e-3)
    assert refitted.values["factor.TOY2"] == pytest.approx(fit.values["factor.TOY2"], rel=1e-4)
