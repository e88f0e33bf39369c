"""Fits as XSPEC's save files."""

from __future__ import annotations

from pathlib import Path

import pytest
import save_syntax

from icflow.config import AtomicData, Free, Link
from icflow.models.expression import parse
from icflow.models.save_file import read_save_file
from icflow.models.saving import SavedComponent, SavedFit, SavedSpectrum, save_file

EXPRESSION = "tbabs*(apec+apec)"
PARAMETERS: dict[str, float | Link | Free] = {
    "TBabs.nH": 0.00858,
    "apec.kT": Free(free=[0.5, 15.0]),
    "apec.Abundanc": Free(free=[0.0, 5.0]),
    "apec.Redshift": 0.05,
    "apec.norm": Free(free=[0.0, 100.0]),
    "apec_3.kT": Free(free=[0.5, 15.0]),
    "apec_3.Abundanc": Link(link="apec.Abundanc"),
    "apec_3.Redshift": Link(link="apec.Redshift"),
    "apec_3.norm": Free(free=[0.0, 100.0]),
}
VALUES = dict(zip(PARAMETERS, (0.00858, 8 / 3, 0.3, 0.05, 0.1, 5.0, 0.3, 0.05, 0.02), strict=True))


def fit_of(*spectra: SavedSpectrum, comment: str = "") -> SavedFit:
    return SavedFit(
        EXPRESSION, PARAMETERS, VALUES, spectra, [3, 80], [0.8, 1.25], AtomicData(), comment
    )


@pytest.mark.parametrize("name", ["background_and_source.xcm", "background_only.xcm"])
def test_xspec_writes_the_syntax_that_files_are_held_to(reference: Path, name: str) -> None:
    text = (reference / "save_files" / name).read_text()
    assert save_syntax.faults(text) == []
    for right, wrong in (
        ("statistic cstat", "statistic C"),
        ("= p2", "= 2"),
        ("model  2:apbgd", "model 2"),
        ("arf 2:1 be.arf", "arf 2 be.arf"),
        ("ignore 1:1-35", "ignore **"),
    ):
        if right in text:
            assert save_syntax.faults(text.replace(right, wrong))


COMPONENT = parse("powerlaw+logpar")
SHAPE = dict(zip(COMPONENT.parameters, (1.4, 1e-3, 1.5, 0.1, 5.0, 0.5), strict=True))


def component(name: str = "sky", factor: float = 1.0, **values: float) -> SavedComponent:
    given = SHAPE | {f"powerlaw.{key}": value for key, value in values.items()}
    return SavedComponent(name, COMPONENT, given, "sky.rmf", "sky.arf", factor, (0.9, 1.1))


def test_components_of_backgrounds_are_further_sources(tmp_path: Path) -> None:
    flat = parse("powerlaw")
    cont = SavedComponent(
        "sky", flat, {"powerlaw.PhoIndex": 0.0, "powerlaw.norm": 0.1}, "id.rmf", None, 1.0, (1, 1)
    )
    spectra = (
        SavedSpectrum("a.pha", "a.rmf", "a.arf", None, 1.0, [component(factor=1.05)]),
        SavedSpectrum("b.pha", "b.rmf", None, None, 1.07, [component(norm=2e-3), cont]),
    )
    text = save_file(fit_of(*spectra))
    assert save_syntax.faults(text) == []
    (tmp_path / "fit.xcm").write_text(text)
    saved = read_save_file(tmp_path / "fit.xcm")
    assert list(saved.models) == ["", "sky_2", "sky_3"]
    assert saved.spectra[1].responses == {1: "a.rmf", 2: "sky.rmf"}
    assert saved.spectra[1].areas == {1: "a.arf", 2: "sky.arf"}
    assert saved.spectra[2].responses == {1: "b.rmf", 2: "sky.rmf", 3: "id.rmf"}
    assert saved.spectra[2].areas == {1: "none", 2: "sky.arf"}
    second, third = saved.models["sky_2"], saved.models["sky_3"]
    assert saved.groups(second) == [1, 2] and saved.groups(third) == [2]
    for group, factor, norm in ((1, 1.05, 1e-3), (2, 1.0, 2e-3)):
        _, values = saved.values(second, group)
        assert list(values.values()) == [factor, 1.4, norm, 1.5, 0.1, 5.0, 0.5]
    assert list(saved.values(third, 2)[1].values()) == [1.0, 0.0, 0.1]
    lines = text.splitlines()
    start = lines.index(f"model 2:sky_2 constant*({COMPONENT.text})")
    # Of the second spectrum, what is as in the first is linked to it.
    assert lines[start + 9] == "= sky_2:p2" and lines[start + 11 : start + 13] == [
        "= sky_2:p4",
        "= sky_2:p5",
    ]
    # A switch has a value alone; what a factor is frozen at has a negative step.
    assert lines[start + 6].split() == lines[start + 13].split() == ["5"]
    frozen = lines[lines.index("model 3:sky_3 constant*(powerlaw)") + 1].split()
    assert float(frozen[1]) < 0 < float(lines[start + 1].split()[1])


def test_models_of_one_name_and_expression_share_it() -> None:
    spectra = (
        SavedSpectrum("a.pha", "a.rmf", None, None, 1.0, [component("lines")]),
        SavedSpectrum("b.pha", "b.rmf", None, None, 1.0, [component("lines")]),
    )
    text = save_file(fit_of(*spectra))
    assert save_syntax.faults(text) == []
    assert text.count("\nmodel 2:lines constant*") == 1 and "model 3:" not in text


def test_the_file_that_xspec_is_tried_with_is_what_is_written() -> None:
    free: dict[str, float | Link | Free] = {
        "powerlaw.PhoIndex": Free(free=[-1.0, 6.0]),
        "powerlaw.norm": Free(free=[0.0, 1e3]),
    }
    values = {"powerlaw.PhoIndex": 2.0, "powerlaw.norm": 0.05}
    spectra = (
        SavedSpectrum("w_j1.pha", "toy.rmf", "toy.arf", "w_j1_b.pha"),
        SavedSpectrum("w_j2.pha", "toy.rmf", "toy.arf", "w_j2_b.pha", 1.13),
    )
    fit = SavedFit("powerlaw", free, values, spectra, [3, 30], [0.1, 10.0], AtomicData())
    tried = (Path(__file__).parents[2] / "xspec" / "saved.xcm").read_text()
    assert save_file(fit).splitlines()[1:] == tried.splitlines()[1:]
    assert save_syntax.faults(tried) == []


def test_a_fit_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "fit.xcm"
    path.write_text(save_file(fit_of(SavedSpectrum("a.pha", "a.rmf", "a.arf", "b.pha"))))
    assert save_syntax.faults(path.read_text()) == []
    saved = read_save_file(path)
    assert saved.settings == {"abund": "angr", "xsect": "vern"}
    assert saved.spectra[1].name == "a.pha"
    assert saved.spectra[1].responses == {1: "a.rmf"} and saved.spectra[1].areas == {1: "a.arf"}
    _, values = saved.values(saved.models[""], 1)
    assert values == pytest.approx(VALUES, rel=1e-11)
    lines = path.read_text().splitlines()
    assert "backgrnd 1 b.pha" in lines and "ignore 1:**-3.0 80.0-**" in lines
    # Value, step, limits: a free parameter, a frozen one, a link.
    (start,) = [number for number, line in enumerate(lines) if line.startswith("model ")]
    nH, kT, *_ = ([float(word) for word in line.split()] for line in lines[start + 1 : start + 3])
    assert nH[:2] == [0.00858, pytest.approx(-8.58e-5)]
    assert kT == pytest.approx([8 / 3, 8 / 300, 0.008, 0.5, 15.0, 64.0])
    assert lines[start + 7 : start + 9] == ["= p3", "= p4"]


def test_a_joint_fit_has_factors(tmp_path: Path) -> None:
    path = tmp_path / "fit.xcm"
    spectra = (
        SavedSpectrum("a.pha", "a.rmf", "a.arf", None),
        SavedSpectrum("b.pha", "b.rmf", None, None, 1.07),
    )
    path.write_text(save_file(fit_of(*spectra, comment="bins of 30 counts")))
    assert path.read_text().splitlines()[1] == "# bins of 30 counts"
    assert save_syntax.faults(path.read_text()) == []
    saved = read_save_file(path)
    assert saved.spectra[2].areas == {1: "none"}
    model = saved.models[""]
    assert model.expression == f"constant*({EXPRESSION})"
    (_, first), (_, second) = (saved.values(model, group) for group in (1, 2))
    assert (first.pop("constant.factor"), second.pop("constant.factor")) == (1.0, 1.07)
    assert list(first.values()) == pytest.approx(list(VALUES.values())) and first == second
