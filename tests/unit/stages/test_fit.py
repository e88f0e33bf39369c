"""`icflow predict` and `icflow fit`, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from icflow.cli import main
from icflow.models.save_file import read_save_file


@pytest.fixture
def physics(root: Path, rmf_path: Path, arf_path: Path, atomdb: Path) -> list[str]:
    return ["--rmf", str(rmf_path), "--arf", str(arf_path), "--atomdb", str(atomdb)]


@pytest.fixture
def background(root: Path) -> list[str]:
    return ["--background", str(root / "resources/background/nustar_fpma.yaml")]


@pytest.fixture
def observation(reference: Path, physics: list[str], background: list[str]) -> list[str]:
    return [
        "fit", str(reference / "observation.pha"), "--expression", "tbabs*(apec+powerlaw)",
        "--freeze", "TBabs.nH=0.00858", "--freeze", "powerlaw.PhoIndex=2",
        "--freeze", "apec.Redshift=0.043209381135681194", "--limits", "apec.kT=0.5:15",
        *physics, *background, "--background-range", "0.1", "--energies", "3", "80",
        "--group-min", "100",
    ]  # fmt: skip


def test_predict_writes_expected_counts(
    tmp_path: Path, physics: list[str], reference: Path
) -> None:
    cases = json.loads((reference / "models.json").read_text())
    number = next(i for i, c in enumerate(cases) if c["expression"] == "tbabs*(apec+apec)")
    nH, kT, Z, z, norm, kT2, _, _, norm2 = cases[number]["parameters"]
    values = {
        "TBabs.nH": nH, "apec.kT": kT, "apec.Abundanc": Z, "apec.Redshift": z, "apec.norm": norm,
        "apec_3.kT": kT2, "apec_3.Abundanc": Z, "apec_3.Redshift": z, "apec_3.norm": norm2,
    }  # fmt: skip
    sets = [word for name, value in values.items() for word in ("--set", f"{name}={value!r}")]
    output = tmp_path / "counts.ecsv"
    arguments = ["predict", "tbabs*(apec+apec)", *sets, *physics, "--exposure", "1e6"]
    assert main([*arguments, "--output", str(output)]) == 0
    table = Table.read(output)
    assert table.colnames == ["channel", "energy_lo", "energy_hi", "counts"]
    rate = np.load(reference / "models.npz")["rate"][number]
    held = rate > 1e-7 * rate.max()
    np.testing.assert_allclose(table["counts"][held], 1e6 * rate[held], rtol=1e-6)


def test_predict_adds_the_background(
    tmp_path: Path, physics: list[str], background: list[str]
) -> None:
    outputs = [tmp_path / "with.ecsv", tmp_path / "without.ecsv"]
    for output, extra in zip(outputs, (background, []), strict=True):
        arguments = ["predict", "powerlaw", "--exposure", "1e5", *physics, *extra]
        assert main([*arguments, "--output", str(output)]) == 0
    more, less = (Table.read(output)["counts"] for output in outputs)
    assert np.all(more >= less)
    assert more[3000] > less[3000]  # 121 keV: nothing but background


def test_fit_finds_the_minimum_of_xspec_and_prints_it(
    tmp_path: Path, reference: Path, observation: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "fit.json"
    arguments = [*observation, "--output", str(output)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "C-stat 1870.86 for 1924 bins, 1916 degrees of freedom; converged" in printed
    result = json.loads(output.read_text())
    expected = json.loads((reference / "fits.json").read_text())[1]
    assert result["cstat"] < expected["best_1T+IC_fixed"] + 0.01
    assert result["dof"] == expected["1T+IC_fixed"]["dof"]
    assert result["converged"] is True
    assert result["parameters"]["powerlaw.PhoIndex"] == {"value": 2.0, "error": 0.0, "free": False}
    kT = result["parameters"]["apec.kT"]
    assert kT["free"] and abs(kT["value"] - 2.168) < 5 * kT["error"]
    assert set(result["background"]) == {"continuum", "aperture", "lines", "focused"}


def test_a_fit_from_one_start_is_asked_for(
    tmp_path: Path, observation: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "fit.json"
    assert main([*observation, "--strategy", "plain", "--output", str(output)]) == 0
    assert "converged, 1 of 1 starts agree" in capsys.readouterr().out
    result = json.loads(output.read_text())
    assert result["starts"] == 1 and result["iterations"] > 3
    assert result["cstat"] > 1870.85


def test_intervals_end_where_cstat_has_risen_by_delta(
    tmp_path: Path, observation: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "fit.json"
    arguments = [*observation, "--output", str(output)]
    assert main([*arguments, "--errors", "profile", "--delta", "2.706"]) == 0
    printed, best = capsys.readouterr().out, json.loads(output.read_text())
    assert best["delta"] == 2.706
    for name in ("powerlaw.norm", "apec.kT"):
        entry = best["parameters"][name]
        low, high = entry["interval"]
        assert low < entry["value"] < high
        assert f"[{low:.6g}, {high:.6g}]" in printed
        for end in (low, high):
            assert main([*arguments, "--freeze", f"{name}={end!r}"]) == 0
            rise = json.loads(output.read_text())["cstat"] - best["cstat"]
            assert rise == pytest.approx(2.706, abs=0.1)


def test_averaged_intervals_are_asked_for_and_are_the_same_again(
    tmp_path: Path, observation: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = [tmp_path / "fit.json", tmp_path / "again.json"]
    for output in outputs:
        assert main([*observation, "--errors", "marginal", "--output", str(output)]) == 0
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    assert "error  [68.3 % averaged]" in capsys.readouterr().out
    norm = json.loads(outputs[0].read_text())["parameters"]["powerlaw.norm"]
    low, high = norm["interval"]
    assert low < norm["value"] < high and high - low == pytest.approx(4.9e-4, rel=0.05)


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (["--freeze", "apec.kt=1"], "--freeze apec.kt: 'apec' has no such parameter"),
        (["--link", "apec.kT=apec.kT"], "name a parameter that is not linked itself"),
        (["--energies", "80", "3"], "the first number must be below the second"),
        (["--energies", "200", "300", "--freeze", "apec.Redshift=0"], "select no channel"),
        (["--background-range", "2"], "background_range"),
        (["--errors", "profile", "--delta", "-1"], "delta"),
        (["--freeze", "apec.kT=100"], "outside XSPEC's hard limits"),
    ],
)
def test_fit_refuses(
    reference: Path,
    physics: list[str],
    capsys: pytest.CaptureFixture[str],
    extra: list[str],
    reason: str,
) -> None:
    spectrum = str(reference / "observation.pha")
    limits = ["--limits", "apec.kT=0.5:15"] if "apec.kT" not in " ".join(extra) else []
    assert main(["fit", spectrum, "--expression", "apec", *physics, *limits, *extra]) == 1
    assert reason in capsys.readouterr().err


def test_fit_asks_for_the_response_that_the_spectrum_names(
    reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spectrum = tmp_path / "observation.pha"
    spectrum.write_bytes((reference / "observation.pha").read_bytes())
    assert main(["fit", str(spectrum), "--expression", "apec"]) == 1
    assert "RESPFILE is nustar_fpma.rmf" in capsys.readouterr().err


# --- background spectra, several spectra, and what is written -------------------------------


@pytest.fixture
def files(reference: Path) -> Path:
    """Spectra of a made-up instrument with background spectra."""
    return reference / "files"


@pytest.fixture
def powerlaw(atomdb: Path) -> list[str]:
    return ["--expression", "powerlaw", "--atomdb", str(atomdb)]


def test_a_background_spectrum_is_used_unless_told_otherwise(
    files: Path, powerlaw: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fits = {}
    for word in (None, "file", "w_few_b.pha", "none"):
        background = []
        if word is not None:
            background = ["--background", str(files / word) if word.endswith(".pha") else word]
        output = tmp_path / "fit.json"
        spectrum = [str(files / "w_few.pha"), "--energies", "3", "30", "--output", str(output)]
        assert main(["fit", *spectrum, *powerlaw, *background]) == 0
        fits[word], printed = json.loads(output.read_text()), capsys.readouterr().out
        used = "none" if word == "none" else str(files / "w_few_b.pha")
        assert f"background {used}" in printed
        assert ("C-stat" if word == "none" else "W-stat 259.40 for 269 bins") in printed
    cases = {c["name"]: c for c in json.loads((files / "cases.json").read_text())}
    best = cases["w_few"]["fit"]
    for word in (None, "file", "w_few_b.pha"):
        assert fits[word]["statistic"] == "W"
        assert fits[word]["cstat"] == pytest.approx(best["statistic"], abs=0.01)
        assert fits[word]["background_spectrum"] == str(files / "w_few_b.pha")
    # The background fitted as source.
    assert fits["none"]["statistic"] == "C"
    assert fits["none"]["parameters"]["powerlaw.PhoIndex"]["value"] < 1.5


def test_several_spectra_are_fitted_jointly(
    files: Path, powerlaw: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, save, plot = (tmp_path / f"fit.{suffix}" for suffix in ("json", "xcm", "pdf"))
    spectra = [str(files / f"w_j{number}.pha") for number in (1, 2)]
    arguments = ["fit", *spectra, *powerlaw, "--energies", "3", "30"]
    writing = ["--output", str(output), "--save", str(save), "--plot", str(plot), "--unfolded"]
    assert main([*arguments, *writing]) == 0
    assert "W-stat 346.70 for 336 bins, 333 degrees of freedom" in capsys.readouterr().out
    result = json.loads(output.read_text())
    assert [spectrum["spectrum"] for spectrum in result["spectra"]] == spectra
    assert [spectrum["exposure"] for spectrum in result["spectra"]] == [1e4, 8e3]
    assert result["free"] == ["powerlaw.PhoIndex", "powerlaw.norm", "factor.w_j2"]
    assert np.shape(result["covariance"]) == (3, 3)
    values = {name: entry["value"] for name, entry in result["parameters"].items()}
    # XSPEC's best fit, with a constant in front.
    assert values["factor.w_j2"] == pytest.approx(1.13445, abs=1e-3)
    saved = read_save_file(save)
    assert [spectrum.name for spectrum in saved.spectra.values()] == spectra
    _, second = saved.values(saved.models[""], 2)
    assert list(second.values()) == pytest.approx(
        [values["factor.w_j2"], values["powerlaw.PhoIndex"], values["powerlaw.norm"]], rel=1e-10
    )
    assert plot.read_bytes().startswith(b"%PDF")
    frozen = ["--freeze", f"factor.w_j2={values['factor.w_j2']!r}", "--output", str(output)]
    assert main([*arguments, *frozen]) == 0
    again = json.loads(output.read_text())
    assert again["cstat"] == pytest.approx(result["cstat"], abs=1e-6)
    assert again["dof"] == result["dof"] + 1


def test_spectra_with_and_without_background_are_fitted_in_one_sum(
    files: Path, powerlaw: list[str], tmp_path: Path
) -> None:
    output = tmp_path / "fit.json"
    spectra = [str(files / "w_j1.pha"), str(files / "w_j2.pha")]
    chosen = ["--background", "file", "--background", "none"]
    arguments = ["fit", *spectra, *powerlaw, *chosen, "--output", str(output)]
    assert main([*arguments, "--cross-normalisation", "0.1", "9"]) == 0
    result = json.loads(output.read_text())
    assert result["statistic"] == "W + C"
    backgrounds = [spectrum["background_spectrum"] for spectrum in result["spectra"]]
    assert backgrounds == [str(files / "w_j1_b.pha"), None]
    # Its background is taken for source.
    assert result["parameters"]["factor.w_j2"]["value"] > 1.13


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (["--rmf", "a.rmf", "--rmf", "b.rmf"], "--rmf is given 2 times for 1 spectra"),
        (["--plot", "fit.txt"], "fit.txt: figures are written as .pdf, .png, .svg"),
        (["--save", "my fit.xcm"], "my fit.xcm: XSPEC splits names of files at blanks"),
        (["--freeze", "factor.B=1"], "--freeze factor.B: 'powerlaw' has no such parameter"),
    ],
)
def test_fit_refuses_before_it_fits(
    files: Path,
    powerlaw: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    extra: list[str],
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["fit", str(files / "w_few.pha"), *powerlaw, *extra]) == 1
    assert reason in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
