"""Backgrounds of an XSPEC save file: predicted counts are XSPEC's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.sparse import eye_array

from icflow import cli
from icflow.config import AtomicData
from icflow.engines.embedded.folding import Response, fold_background, load_response
from icflow.errors import IcflowError
from icflow.models import library
from icflow.models.background import read_background
from icflow.ogip.response import read_rmf, write_rmf
from icflow.ogip.spectrum import Spectrum, write_spectrum
from icflow.stages import background_import
from icflow.statistic import cstat

SOURCES = ["apbgd", "intbgd", "fcxb", "intn"]
# What XSPEC 12.9 says per channel: cutoffpl carries an approximate incomplete gamma function, and
# norms are kept to six digits.
PER_CHANNEL = {"apbgd": 2e-5, "fcxb": 2e-5, "intbgd": 5e-6, "intn": 1e-6}


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, reference: Path, rmf_path: Path, arf_path: Path
) -> Path:
    """A folder as a fit of the background leaves it."""
    folder = tmp_path_factory.mktemp("nuskybgd")
    links = [*(reference / "save_files").glob("*.xcm"), rmf_path, arf_path]
    for path in (*links, reference / "be.arf", reference / "fcxb.arf"):
        (folder / path.name).symlink_to(path)
    rmf = read_rmf(rmf_path)
    one = eye_array(rmf.channel.size, format="csr")
    write_rmf(folder / "diag.rmf", replace(rmf, matrix=one))
    for name, module in (("bgdA.pha", "FPMA"), ("bgdB.pha", "FPMB")):
        spectrum = Spectrum(
            channel=rmf.channel,
            counts=np.ones(rmf.channel.size, dtype=np.int64),
            exposure=1e5,
            respfile=rmf_path.name,
            ancrfile=arf_path.name,
            telescope="NuSTAR",
            instrument=module,
        )
        write_spectrum(folder / name, spectrum)
    return folder


@pytest.fixture(scope="module")
def response(rmf_path: Path, atomdb: Path) -> Response:
    library.configure(AtomicData(folder=str(atomdb)))
    return load_response(rmf_path, None)


@pytest.mark.parametrize("saved", ["background_and_source.xcm", "background_only.xcm"])
def test_counts_of_every_component_are_those_of_xspec(
    folder: Path, response: Response, reference: Path, saved: str, tmp_path: Path
) -> None:
    lines = list(background_import.run(folder / saved, tmp_path / "background.yaml"))
    assert lines[0] == (
        f"{tmp_path}/background-bgdA.yaml: background of bgdA.pha: apbgd, intbgd, fcxb, intn"
    )
    assert "abund angr, xsect vern" in lines[-1]
    xspec = np.load(reference / "save_files/counts.npz")
    for spectrum, name in enumerate(("bgdA", "bgdB")):
        components = read_background(tmp_path / f"background-{name}.yaml")
        assert [component.name for component in components] == xspec["sources"].tolist() == SOURCES
        for source, component in enumerate(components):
            counts = fold_background(component, response) * xspec["exposure"][spectrum]
            total = xspec["totals"][spectrum, source]
            assert counts.sum() == pytest.approx(total, rel=1e-6), (name, component.name)
            np.testing.assert_allclose(
                counts[::32], xspec["counts"][spectrum, source], rtol=PER_CHANNEL[component.name]
            )


def test_the_statistic_is_that_of_xspec(
    folder: Path, response: Response, reference: Path, tmp_path: Path
) -> None:
    list(background_import.run(folder / "background_only.xcm", tmp_path / "b.yaml"))
    xspec = np.load(reference / "save_files/counts.npz")
    noticed, total = slice(35, 3709), 0.0  # "ignore 1-35,3710-4096"
    for counts, exposure, name in zip(
        xspec["observed"], xspec["exposure"], ("bgdA", "bgdB"), strict=True
    ):
        parts = read_background(tmp_path / f"b-{name}.yaml")
        expected = sum(fold_background(part, response) for part in parts) * exposure
        total += cstat(counts[noticed].astype(float), expected[noticed])
    # Six digits of the parameters, and cutoffpl: XSPEC itself is off by 0.0014 after `@file`.
    assert total == pytest.approx(44159.23220, abs=0.02)


def test_every_line_is_that_of_xspec(
    folder: Path, response: Response, reference: Path, tmp_path: Path
) -> None:
    list(background_import.run(folder / "background_only.xcm", tmp_path / "b.yaml"))
    xspec = np.load(reference / "save_files/counts.npz")
    lines = next(c for c in read_background(tmp_path / "b-bgdA.yaml") if c.name == "intbgd")
    norms = [f"{term.additive.name}.norm" for term in lines.expression.terms]
    assert [name.split(".")[0] for name in norms] == xspec["line_names"].tolist()
    for name, total in zip(norms, xspec["lines"], strict=True):
        alone = {n: 0.0 for n in norms if n != name}
        counts = fold_background(replace(lines, values={**lines.values, **alone}), response)
        assert counts.sum() * xspec["exposure"][0] == pytest.approx(total, rel=1e-6)


def test_responses_become_words_where_there_are_such(folder: Path, tmp_path: Path) -> None:
    list(background_import.run(folder / "background_only.xcm", tmp_path / "b.yaml"))
    tree = yaml.safe_load((tmp_path / "b-bgdB.yaml").read_text())["components"]
    assert [part["redistribution"] for part in tree.values()] == [*["source"] * 3, "identity"]
    assert [part["area"] == "none" for part in tree.values()] == [False, True, False, True]
    assert (tmp_path / tree["fcxb"]["area"]["file"]).samefile(folder / "fcxb.arf")
    assert tree["fcxb"]["sum"][0]["norm"] == pytest.approx(0.00014 * 1.1)


def test_another_response_stays_a_file(folder: Path, rmf_path: Path, tmp_path: Path) -> None:
    text = (folder / "background_only.xcm").read_text()
    text = text.replace("3:1 nustar_fpma.rmf", "3:1 copy.rmf")
    saved = tmp_path / "saved.xcm"
    saved.write_text(text)
    for path in folder.glob("*.*"):
        if path.suffix != ".xcm":
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "copy.rmf").write_bytes(rmf_path.read_bytes())
    list(background_import.run(saved, tmp_path / "b.yaml"))
    tree = yaml.safe_load((tmp_path / "b-bgdA.yaml").read_text())["components"]
    assert tree["intbgd"]["redistribution"] == {"file": "copy.rmf"}
    assert tree["apbgd"]["redistribution"] == "source"


def test_other_models_may_be_the_source(folder: Path, tmp_path: Path) -> None:
    saved = folder / "background_and_source.xcm"
    said = list(background_import.run(saved, tmp_path / "b.yaml", ["intbgd", "fcxb"]))
    assert any("unnamed model of source 1 is taken for background" in line for line in said)
    components = {c.name: c for c in read_background(tmp_path / "b-bgdB.yaml")}
    assert list(components) == ["source", "apbgd", "intn"]
    assert components["source"].values["constant.factor"] == 1.03
    (area,) = components["source"].files
    assert area.samefile(folder / "nustar_fpma.arf")
    said = list(background_import.run(saved, tmp_path / "c.yaml", ["1", "fcxb"]))
    assert not any("unnamed" in line for line in said)
    components = {c.name: c for c in read_background(tmp_path / "c-bgdB.yaml")}
    assert list(components) == ["apbgd", "intbgd", "intn"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("arf 4:1 fcxb.arf", "arf 4:1 no.arf"), "names no.arf, which is neither beside it nor"),
        (("bgdB.pha", "none.pha"), "names none.pha, which is neither beside it nor here"),
        (("model  4:fcxb cutoffpl", "model  4:fcxb nuskypl"), "unknown model 'nuskypl'"),
        (("0.00195      1e-05", ""), "is not a parameter"),
    ],
)
def test_bad_files_are_refused_in_one_sentence(
    folder: Path,
    tmp_path: Path,
    change: tuple[str, str],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    saved = folder / "bad.xcm"
    saved.write_text((folder / "background_only.xcm").read_text().replace(*change))
    output = tmp_path / "b.yaml"
    assert cli.main(["background", "import", str(saved), "--output", str(output)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"icflow: error: {saved}: ") and words in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_source_that_is_not_there(folder: Path, tmp_path: Path) -> None:
    saved = folder / "background_only.xcm"
    with pytest.raises(IcflowError, match=r"--source apgd: .* allowed: apbgd, intbgd, fcxb, intn"):
        list(background_import.run(saved, tmp_path / "b.yaml", ["apgd"]))
    with pytest.raises(IcflowError, match="holds no model of a background"):
        list(background_import.run(saved, tmp_path / "b.yaml", SOURCES))
