"""The background file: areas, forms, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from icflow.engines import folded
from icflow.errors import IcflowError
from icflow.models.background import read_background
from icflow.ogip.response import read_arf

NUSTAR = "resources/background/nustar_fpma.yaml"


def test_the_default_has_the_four_components(root: Path) -> None:
    components = {c.name: c for c in read_background(root / NUSTAR)}
    assert list(components) == ["continuum", "aperture", "lines", "focused"]
    assert components["continuum"].redistribution == "identity"
    lines = components["lines"].expression.components
    assert [c.definition.name for c in lines].count("lorentz") == 29
    assert components["lines"].values["apec.kT"] == 1.14579


@pytest.mark.parametrize(("name", "file"), [("aperture", "be.arf"), ("focused", "fcxb.arf")])
def test_areas_are_those_used_with_xspec(
    root: Path, reference: Path, rmf_path: Path, name: str, file: str
) -> None:
    component = next(c for c in read_background(root / NUSTAR) if c.name == name)
    energies = folded.load_response(rmf_path, None).energies
    expected = read_arf(reference / file).area
    np.testing.assert_allclose(component.effective_area(energies), expected, rtol=1e-4, atol=1e-9)


def test_an_expression_and_an_arf_in_a_file(tmp_path: Path, arf_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\ncomponents:\n  sky:\n    redistribution: source\n"
        f"    area: {{file: {arf_path}}}\n    expression: tbabs*powerlaw\n"
        "    parameters: {TBabs.nH: 0.1, powerlaw.PhoIndex: 1.4, powerlaw.norm: 1.0e-3}\n"
    )
    (component,) = read_background(path)
    assert component.values["powerlaw.PhoIndex"] == 1.4
    assert component.effective_area(read_arf(arf_path).energies).max() > 100


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("components: {}", "name: Field required|components"),
        ("name: x\ncomponents: {a: {redistribution: none, area: none, sum: []}}", "redistribution"),
        ("name: x\ncomponents: {a: {redistribution: source, area: none}}", "either sum, or expr"),
        (
            "name: x\ncomponents: {a: {redistribution: source, area: none,"
            " sum: [{model: lorenz}]}}",
            "unknown model 'lorenz'",
        ),
        (
            "name: x\ncomponents: {a: {redistribution: source, area: none,"
            " sum: [{model: lorentz, Energy: 3.0}]}}",
            "no such parameter",
        ),
        ("[1, 2", "not valid YAML"),
    ],
)
def test_refuses(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(IcflowError, match=reason) as error:
        read_background(path)
    assert "bad.yaml" in str(error.value)
