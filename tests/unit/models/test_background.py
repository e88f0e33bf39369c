"""The background file: areas, forms, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from icflow.config import AtomicData
from icflow.engines.embedded import folding
from icflow.engines.embedded.folding import fold_background, load_response
from icflow.errors import IcflowError
from icflow.models import library
from icflow.models.background import (
    BackgroundComponent,
    of_each,
    read_background,
    write_background,
)
from icflow.ogip.response import Rmf, read_arf, read_rmf, write_arf, write_rmf

NUSTAR = "resources/background/nustar_fpma.yaml"


def test_the_default_has_the_four_components(root: Path) -> None:
    components = {c.name: c for c in read_background(root / NUSTAR)}
    assert list(components) == ["continuum", "aperture", "lines", "focused"]
    assert components["continuum"].redistribution == "identity"
    lines = components["lines"].expression.components
    assert [c.definition.name for c in lines].count("lorentz") == 29
    assert components["lines"].values["apec.kT"] == 1.14579


def test_fpmb_has_the_lines_of_fpma_with_other_norms(root: Path) -> None:
    own, other = (
        {c.name: c for c in read_background(root / path)}
        for path in (NUSTAR.replace("fpma", "fpmb"), NUSTAR)
    )
    assert list(own) == list(other)
    for component, source in zip(own.values(), other.values(), strict=True):
        assert component.redistribution == source.redistribution
        assert component.area == source.area
        shapes, norms = (
            {v for n, v in component.values.items() if n.endswith(".norm") == norm}
            for norm in (False, True)
        )
        assert shapes <= set(source.values.values())
        assert norms.isdisjoint(source.values.values()) or component.name == "focused"
    # 79.45 % of the sum of four detectors.
    assert own["lines"].values["apec.norm"] == pytest.approx(0.7945 * 0.838572, rel=1e-5)
    continuum = own["continuum"]
    assert sum(continuum.detectors) * 0.7945 == pytest.approx(
        continuum.values["bknpower.norm"], rel=1e-5
    )


AREAS = {
    "{nodes: [[1, 5], [1, 3]], interpolation: loglog}": "area: energies of the nodes must increase",
    "{nodes: [[1, 5], [2, -3]], interpolation: loglog}": "area.nodes.1.1: is -3",
    "{nodes: [[1, 5], [2, 1.0e+300]], interpolation: loglog}": "area.nodes.1.1: is 1e+300",
    "{nodes: [[1, 5], [2, 3]], interpolation: loglog, above: -1}": "area.above: is -1",
    "mine.arf": "area: is 'mine.arf'; input should be 'none'",
    "{fil: mine.arf}": "area.fil: unknown key, did you mean file",
}


@pytest.mark.parametrize("area, words", AREAS.items(), ids=AREAS.values())
def test_only_what_is_wrong_with_an_area_is_said(tmp_path: Path, area: str, words: str) -> None:
    path = tmp_path / "a.yaml"
    model = "sum: [{model: powerlaw, norm: 1}]"
    path.write_text(
        f"name: a\ncomponents: {{sky: {{redistribution: source, area: {area}, {model}}}}}"
    )
    with pytest.raises(IcflowError) as caught:
        read_background(path)
    assert str(caught.value).startswith(f"{path}: components.sky.{words}")
    # Nothing of the forms that it does not have.
    assert str(caught.value).count("components.sky") == 1


@pytest.mark.parametrize(("name", "file"), [("aperture", "be.arf"), ("focused", "fcxb.arf")])
def test_areas_are_those_used_with_xspec(
    root: Path, reference: Path, rmf_path: Path, name: str, file: str
) -> None:
    component = next(c for c in read_background(root / NUSTAR) if c.name == name)
    energies = folding.load_response(rmf_path, None).energies
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


CHANNELS = np.arange(10)
EDGES = np.linspace(1.0, 11.0, 11)


def response(path: Path, bins: int = 5, first: int = 0) -> folding.Response:
    """Write and load an RMF: a photon of any energy is as likely seen in every channel."""
    edges = np.linspace(1.0, 11.0, bins + 1)
    matrix = csr_array(np.full((bins, 10), 0.1))
    write_rmf(path, Rmf(edges[:-1], edges[1:], matrix, CHANNELS + first, EDGES[:-1], EDGES[1:]))
    return folding.Response(read_rmf(path), None)


def sky(folder: Path, redistribution: str, area: str = "none") -> BackgroundComponent:
    """Return a component of 2 photons/cm²/s/keV at every energy."""
    (folder / "sky.yaml").write_text(
        f"name: sky\ncomponents:\n  sky:\n    redistribution: {redistribution}\n"
        f"    area: {area}\n    sum: [{{model: powerlaw, PhoIndex: 0.0, norm: 2.0}}]\n"
    )
    (component,) = read_background(folder / "sky.yaml")
    return component


def test_a_component_with_a_response_of_its_own(tmp_path: Path) -> None:
    source = response(tmp_path / "source.rmf", bins=8)
    response(tmp_path / "sky.rmf")
    edges = np.linspace(1.0, 11.0, 6)
    write_arf(tmp_path / "sky.arf", edges[:-1], edges[1:], np.full(5, 3.0))
    component = sky(tmp_path, "{file: sky.rmf}", "{file: sky.arf}")
    assert component.files == (tmp_path / "sky.rmf", tmp_path / "sky.arf")
    # 2 photons/cm²/s/keV × 10 keV × 3 cm², a tenth of them in each channel.
    counts = folding.fold_background(component, source)
    np.testing.assert_allclose(counts, 2 * 10 * 3 * 0.1, rtol=1e-6)


def test_an_area_of_more_energies_is_found_by_them(tmp_path: Path) -> None:
    source = response(tmp_path / "source.rmf")
    edges = np.linspace(-1.0, 15.0, 9)[1:]
    write_arf(tmp_path / "sky.arf", edges[:-1], edges[1:], edges[:-1])
    component = sky(tmp_path, "source", "{file: sky.arf}")
    np.testing.assert_array_equal(component.effective_area(source.energies), [1, 3, 5, 7, 9])


def test_responses_that_do_not_belong_are_refused(tmp_path: Path) -> None:
    source = response(tmp_path / "source.rmf")
    response(tmp_path / "sky.rmf", first=1)
    with pytest.raises(IcflowError, match=r"sky\.rmf has the channels 1 to 10, .* 0 to 9; give"):
        folding.fold_background(sky(tmp_path, "{file: sky.rmf}"), source)
    edges = np.linspace(1.0, 11.5, 6)
    write_arf(tmp_path / "sky.arf", edges[:-1], edges[1:], np.ones(5))
    with pytest.raises(IcflowError, match=r"sky\.arf: has other energy bins .* regenerate the ARF"):
        folding.fold_background(sky(tmp_path, "source", "{file: sky.arf}"), source)
    with pytest.raises(IcflowError, match=r"sky.yaml: .*redistribution"):
        sky(tmp_path, "mine")


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
        (
            "name: x\ncomponents: {../a: {redistribution: source, area: none,"
            " sum: [{model: powerlaw, norm: 1.0}]}}",
            "'../a': such names may hold letters",
        ),
        (
            "name: x\ncomponents: {a: {redistribution: source, area: none,"
            " sum: [{model: powerlaw}]}}",
            r"components.a: powerlaw.norm is not given; give the norm",
        ),
        (
            "name: x\ncomponents: {a: {redistribution: source, sum: [{model: powerlaw, norm: 1.0}],"
            " area: {interpolation: loglog, nodes: [[2.0, 1.0], [1.0, 2.0]]}}}",
            "energies of the nodes must increase",
        ),
        (
            "name: x\ncomponents: {a: {redistribution: source, sum: [{model: powerlaw, norm: 1.0}],"
            " area: {interpolation: transmission, nodes: [[1.0, 0.5], [2.0, 1.0]]}}}",
            "a transmission is below 1, but the nodes reach 1.0",
        ),
    ],
)
def test_refuses(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(IcflowError, match=reason) as error:
        read_background(path)
    assert "bad.yaml" in str(error.value)


def test_a_component_may_have_a_range_and_detectors(tmp_path: Path) -> None:
    path = tmp_path / "b.yaml"
    text = (
        "name: x\ncomponents: {a: {redistribution: source, area: none, range: 0.3, "
        "detectors: [1.0, 2.0], sum: [{model: powerlaw, norm: 1.0}]}}"
    )
    path.write_text(text)
    (component,) = read_background(path)
    assert component.limits(0.1) == pytest.approx((0.7, 1.3))
    assert component.detectors == (1.0, 2.0)
    path.write_text(text.replace("0.3", "2.5"))
    assert read_background(path)[0].limits(0.1) == (0.0, 3.5)
    path.write_text(text.replace("range: 0.3, ", "").replace("1.0, 2.0", "0, 0"))
    with pytest.raises(IcflowError, match=r"b\.yaml: components\.a\.detectors: no detector sees"):
        read_background(path)
    path.write_text(text.replace("range: 0.3, ", ""))
    assert read_background(path)[0].limits(0.1) == pytest.approx((0.9, 1.1))


def test_what_is_written_is_read_again(root: Path, arf_path: Path, tmp_path: Path) -> None:
    sources = read_background(root / NUSTAR)
    own = tmp_path / "own.yaml"
    own.write_text(
        "name: mine\ncomponents:\n  sky:\n    redistribution: {file: my.rmf}\n    range: 0.2\n"
        f"    area: {{file: {arf_path}}}\n    expression: tbabs*(powerlaw+apec)\n"
        "    parameters: {TBabs.nH: 0.1, powerlaw.norm: 1.0e-5, apec.norm: 0.1}\n"
    )
    components = (*sources, *read_background(own))
    path = tmp_path / "folder" / "copy.yaml"
    write_background(path, "copy", components, ["a comment"])
    assert path.read_text().startswith("# a comment\nname: copy\n")
    for copy, source in zip(read_background(path), components, strict=True):
        assert (copy.name, copy.values, copy.range) == (source.name, source.values, source.range)
        assert (copy.area, copy.detectors) == (source.area, source.detectors) or (
            copy.files[1].samefile(arf_path) and copy.files[0].resolve() == tmp_path / "my.rmf"
        )
        kinds = [c.definition for c in copy.expression.components]
        assert kinds == [c.definition for c in source.expression.components]


def test_every_spectrum_has_a_file_of_its_own() -> None:
    path = Path("out/b.yaml")
    assert of_each(path, [Path("x/a.pha")]) == [path]
    names = [Path("x/bgdA.pha"), Path("bgdB.pha.gz")]
    assert of_each(path, names) == [Path("out/b-bgdA.yaml"), Path("out/b-bgdB.yaml")]
    names = [Path("x/a.pha"), Path("y/a.pha"), Path("b.pha")]
    assert [p.name for p in of_each(path, names)] == ["b-a-1.yaml", "b-a-2.yaml", "b-b.yaml"]


def test_the_background_with_solar_emission_apart_is_the_same(
    root: Path, rmf_path: Path, arf_path: Path, atomdb: Path
) -> None:
    library.configure(AtomicData(folder=str(atomdb)))
    response = load_response(rmf_path, arf_path)
    whole, apart = (
        {
            part.name: fold_background(part, response)
            for part in read_background(root / f"resources/background/nustar_fpma{end}.yaml")
        }
        for end in ("", "_solar")
    )
    assert set(apart) - set(whole) == {"solar"}
    for name, counts in whole.items():
        found = apart[name] + (apart["solar"] if name == "lines" else 0)
        np.testing.assert_allclose(found, counts, rtol=1e-12)
