"""The background of a source from source-free regions, on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from icflow import cli
from icflow.engines.embedded.folding import fold_background, load_response
from icflow.models.background import read_background
from icflow.ogip.response import Rmf, write_rmf
from icflow.ogip.spectrum import Spectrum, write_spectrum

N = 80
EDGES = np.linspace(1.0, 41.0, N + 1)
SHAPES = """
name: made up
components:
  particles:
    redistribution: identity
    area: none
    sum: [{model: powerlaw, PhoIndex: 0.0, norm: 2.0e-3}, {model: lorentz, LineE: 20.0, norm: 0.01}]
  sky:
    redistribution: source
    area: none
    detectors: [1.0, 3.0]
    expression: tbabs*powerlaw
    parameters: {TBabs.nH: 0.1, powerlaw.PhoIndex: 1.5, powerlaw.norm: 0.1}
"""
# Norms of the field by module, relative to the shapes.
TRUTH = {"A": {"particles": 1.0, "sky": 0.5}, "B": {"particles": 2.0, "sky": 1.0}}
# Spectra: module, the fractions of two detectors, exposure.
SEEN = {
    "bgdA.pha": ("A", [0.8, 0.2], 4e5),
    "bgdB.pha": ("B", [0.5, 0.5], 3e5),
    "nuA01_sr.pha": ("A", [0.0, 0.6], 1e5),
    "nuB01_sr.pha": ("B", [0.0, 0.6], 1e5),
}


@pytest.fixture
def folder(tmp_path: Path, atomdb: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of regions and sources, drawn with the truth."""
    monkeypatch.chdir(tmp_path)
    channel = np.arange(N)
    rmf = Rmf(EDGES[:-1], EDGES[1:], csr_array(0.9 * np.eye(N)), channel, EDGES[:-1], EDGES[1:])
    write_rmf(tmp_path / "a.rmf", rmf)
    (tmp_path / "shapes").mkdir()
    (tmp_path / "shapes/shapes.yaml").write_text(SHAPES)
    response = load_response(tmp_path / "a.rmf", None)
    parts = {c.name: c for c in read_background(tmp_path / "shapes/shapes.yaml")}
    random = np.random.default_rng(3)
    for name, (module, fractions, exposure) in SEEN.items():
        share = {"particles": np.mean(fractions), "sky": np.dot([1, 3], fractions) / 4}
        rate = sum(
            TRUTH[module][part] * share[part] * fold_background(parts[part], response)
            for part in parts
        )
        spectrum = Spectrum(
            channel=channel,
            counts=random.poisson(rate * exposure),
            exposure=exposure,
            backscal=0.1 * float(np.mean(fractions)),
            respfile="a.rmf",
            telescope="T",
            instrument=module,
        )
        write_spectrum(tmp_path / name, spectrum)
    shares = "".join(f"{name}: {{detectors: {seen[1]}}}\n" for name, seen in SEEN.items())
    (tmp_path / "regions.yaml").write_text(shares)
    return tmp_path


def fit(folder: Path, atomdb: Path, *more: str) -> int:
    files = ["bgdA.pha", "bgdB.pha", "--source", "nuA01_sr.pha", "nuB01_sr.pha"]
    shapes = ["--background", "shapes/shapes.yaml", "--atomdb", str(atomdb)]
    output = ["--energies", "1", "41", "--output", "out/background.yaml"]
    return cli.main(["background", "fit", *files, *shapes, *output, *more])


def test_norms_of_the_regions_are_those_of_the_source(
    folder: Path, atomdb: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(folder, atomdb, "--regions", "regions.yaml") == 0
    printed = capsys.readouterr().out
    assert "out/background-nuA01_sr.yaml: background of nuA01_sr.pha" in printed
    assert "A: norms are scaled by the detectors seen: particles sky" in printed
    assert "Warning" not in printed and "Note" not in printed
    given = {c.name: c for c in read_background("shapes/shapes.yaml")}
    for name, (module, fractions, _) in list(SEEN.items())[2:]:
        for part in read_background(f"out/background-{Path(name).stem}.yaml"):
            share = {"particles": np.mean(fractions), "sky": np.dot([1, 3], fractions) / 4}
            norm = TRUTH[module][part.name] * share[part.name]
            expected = given[part.name].values["powerlaw.norm"] * norm
            assert part.range is not None and 0 < part.range < 0.1
            # Twice the range is 3.3 sigma.
            assert expected == pytest.approx(part.values["powerlaw.norm"], rel=2 * part.range)
            assert part.detectors == given[part.name].detectors
            assert part.redistribution == given[part.name].redistribution


def test_without_regions_backscal_counts(
    folder: Path, atomdb: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(folder, atomdb) == 0
    printed = capsys.readouterr().out
    assert "A: norms are scaled by BACKSCAL (as bright everywhere): particles sky" in printed
    assert "Note: some detectors see more of A.sky, B.sky than others" in printed
    parts = {c.name: c for c in read_background("out/background-nuB01_sr.yaml")}
    # As bright everywhere: the source sees 0.6 of what the region does, in both components.
    for name, norm in (("particles", 2e-3 * 2.0), ("sky", 0.1 * 1.0)):
        expected = norm * 0.5 * 0.6
        assert parts[name].values["powerlaw.norm"] == pytest.approx(expected, rel=0.05)
    before = Path("out/background-nuB01_sr.yaml").read_bytes()
    assert fit(folder, atomdb) == 0
    assert Path("out/background-nuB01_sr.yaml").read_bytes() == before


def test_a_region_with_a_source_is_told(
    folder: Path, atomdb: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = np.zeros(N, dtype=np.int64)
    line[20] = 3000
    spectrum = Spectrum(
        np.arange(N), line + 50, 1e5, backscal=0.05, respfile="a.rmf", instrument="A"
    )
    write_spectrum("bgdA.pha", spectrum)
    assert fit(folder, atomdb) == 0
    assert "Warning: bgdA.pha is" in capsys.readouterr().out


def write_other(name: str, module: str, channels: int = N) -> None:
    counts = np.ones(channels, dtype=np.int64)
    spectrum = Spectrum(np.arange(channels), counts, 1e5, respfile="a.rmf", instrument=module)
    write_spectrum(name, spectrum)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.pha", "--source", "nuA01_sr.pha"], "none.pha"),
        (["bgdA.pha", "--source", "nuB01_sr.pha"], "nuB01_sr.pha: its INSTRUME is B, and no reg"),
        (["bgdA.pha", "bgdB.pha", "--source", "nuA01_sr.pha"], "bgdB.pha: its INSTRUME is B, and"),
        (["short.pha", "--source", "nuA01_sr.pha"], "channels 0 to 89, a.rmf 0 to 79; give"),
        (["bgdA.pha", "--source", "nuA01_sr.pha", "--regions", "b.yaml"], "b.yaml: bgdC.pha is no"),
        (
            ["bgdA.pha", "--source", "nuA01_sr.pha", "--background", *["s.yaml"] * 2],
            "names 2 files",
        ),
    ],
)
def test_bad_input_is_refused_in_one_sentence(
    folder: Path,
    atomdb: Path,
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_other("short.pha", "A", 90)
    Path("b.yaml").write_text("bgdC.pha: {sky: 1.0}\n")
    if "--background" not in arguments:
        arguments = [*arguments, "--background", "shapes/shapes.yaml"]
    more = ["--output", "out.yaml", "--energies", "1", "41", "--atomdb", str(atomdb)]
    assert cli.main(["background", "fit", *arguments, *more]) == 1
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not Path("out.yaml").exists()
