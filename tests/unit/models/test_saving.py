"""Fits as XSPEC's save files."""

from __future__ import annotations

from pathlib import Path

import pytest

from icflow.config import AtomicData, Free, Link
from icflow.models.save_file import read_save_file
from icflow.models.saving import Fit, Fitted, save_file

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


def fit_of(*spectra: Fitted, comment: str = "") -> Fit:
    return Fit(EXPRESSION, PARAMETERS, VALUES, spectra, [3, 80], [0.8, 1.25], AtomicData(), comment)


def test_a_fit_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "fit.xcm"
    path.write_text(save_file(fit_of(Fitted("a.pha", "a.rmf", "a.arf", "b.pha"))))
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
    spectra = Fitted("a.pha", "a.rmf", "a.arf", None), Fitted("b.pha", "b.rmf", None, None, 1.07)
    path.write_text(save_file(fit_of(*spectra, comment="bins of 30 counts")))
    assert path.read_text().splitlines()[1] == "# bins of 30 counts"
    saved = read_save_file(path)
    assert saved.spectra[2].areas == {1: "none"}
    model = saved.models[""]
    assert model.expression == f"constant*({EXPRESSION})"
    (_, first), (_, second) = (saved.values(model, group) for group in (1, 2))
    assert (first.pop("constant.factor"), second.pop("constant.factor")) == (1.0, 1.07)
    assert list(first.values()) == pytest.approx(list(VALUES.values())) and first == second
