"""The files that people have, through `icflow fit`: the right values, or one sentence.

Best fits and statistics without other origin are those of XSPEC 12.9.1 for the same files.
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from astropy.io import fits
from astropy.table import Table

from icflow.cli import main

PLAIN = (217.2095, 2.006887, 1.010537)
HALF = (PLAIN[0], PLAIN[1], PLAIN[2] / 2)  # with twice the area
Fit = Callable[..., dict[str, Any]]


@pytest.fixture
def fit(tmp_path: Path, atomdb: Path, capsys: pytest.CaptureFixture[str]) -> Fit:
    """`icflow fit` of a file of the test, as it is typed; returns the JSON, and what is printed."""

    def run(
        *words: str,
        name: str = "spec.pha",
        status: int = 0,
        energies: tuple[float, ...] = (3.0, 30.0),
    ) -> dict[str, Any]:
        output = tmp_path / "fit.json"
        words = words if "--expression" in words else ("--expression", "powerlaw", *words)
        if energies and "--energies" not in words:
            words = ("--energies", *map(str, energies), *words)
        arguments = ["fit", str(tmp_path / name), "--atomdb", str(atomdb), *words]
        assert main([*arguments, "--output", str(output)]) == status
        printed = capsys.readouterr()
        if status:
            assert printed.err.count("\n") == 1
            return {"error": printed.err}
        return json.loads(output.read_text()) | {"printed": printed.out}

    return run


def assert_best(found: dict[str, Any], cstat: float, index: float, norm: float) -> None:
    parameters = found["parameters"]
    assert found["cstat"] < cstat + 0.01
    assert found["cstat"] == pytest.approx(cstat, abs=0.01)
    assert parameters["powerlaw.PhoIndex"]["value"] == pytest.approx(index, abs=2e-4)
    assert parameters["powerlaw.norm"]["value"] == pytest.approx(norm, rel=4e-4)


def quality(*channels: int, value: int = 5) -> fits.Column:
    flags = np.zeros(toy.N, int)
    flags[list(channels)] = value
    return fits.Column("QUALITY", "I", array=flags)


def hot(value: int) -> Any:
    counts = toy.draw()
    counts[90:95] += 20000
    return toy.pha(counts, columns=[quality(*range(90, 95), value=value)])


def falling() -> list[Any]:
    matrix, bounds = toy.redistribution()[:, ::-1], (toy.LOW[::-1], toy.HIGH[::-1])
    return toy.rmf(matrix, bounds=bounds)


def one_group() -> Any:
    return np.where(np.arange(toy.N) == 0, 1, -1)


def from_zero() -> Any:
    return np.concatenate([[0.0], toy.LOW[1:]])


def rounded() -> tuple[Any, Any]:
    edges = np.array([float(f"{edge:.2g}") for edge in toy.EDGES])
    return edges[:-1], edges[1:]


def longer() -> tuple[Any, Any]:
    edges = 1.0 + 0.1 * np.arange(-5, toy.N + 46)
    return edges[:-1], edges[1:]


def negative(size: float) -> Any:
    matrix, rows = toy.redistribution(), np.arange(10, toy.N)
    matrix[rows, rows - 7] = -size
    return matrix


def two_matrices() -> list[Any]:
    first, bounds = toy.rmf(0.7 * toy.redistribution())
    second, _ = toy.rmf(0.3 * toy.redistribution())
    first.header["EXTVER"], second.header["EXTVER"] = 1, 2
    return [first, second, bounds]


def backscal() -> fits.Column:
    return fits.Column("BACKSCAL", "E", array=np.where(np.arange(toy.N) < 100, 1, 0.5))


FULL = {"name": "SPECRESP MATRIX", "HDUCLAS3": "FULL"}
READ: dict[str, tuple[dict[str, Any], tuple[float, float, float], list[str]]] = {
    "plain": (
        {},
        PLAIN,
        [
            "Bins 269, ungrouped, 3 to 30 keV\n",
            "background none",
            "Limits by default: powerlaw.norm 0 to 1e+06 (--limits",
        ],
    ),
    "areascal": (
        {"spectrum": toy.pha(toy.draw(0.5), AREASCAL=0.5)},
        (227.2583, 2.010417, 1.015866),
        [],
    ),
    "no backscal": ({"spectrum": toy.pha(BACKSCAL=None)}, PLAIN, []),
    "backscal column": ({"spectrum": toy.pha(BACKSCAL=None, columns=[backscal()])}, PLAIN, []),
    # XSPEC after `ignore bad`.
    "quality 5": ({"spectrum": hot(5)}, (207.7717, 2.006731, 1.010348), ["5 channels", "QUALITY"]),
    "quality 1": ({"spectrum": hot(1)}, (207.7717, 2.006731, 1.010348), ["5 channels", "QUALITY"]),
    "falling energies": (
        {"response": falling(), "spectrum": toy.pha(toy.draw()[::-1])},
        PLAIN,
        [],
    ),
    "bounds from 0": (
        {"response": toy.rmf(bounds=(np.append(0, toy.LOW[1:]), toy.HIGH))},
        PLAIN,
        [],
    ),
    "energies from 0": (
        {"response": toy.rmf(low=from_zero()), "area": toy.arf(low=from_zero())},
        PLAIN,
        ["starts at 0 keV"],
    ),
    "energies in eV": (
        {
            "response": toy.rmf(
                low=1e3 * toy.LOW, high=1e3 * toy.HIGH, unit="eV",
                bounds=(1e3 * toy.LOW, 1e3 * toy.HIGH),
            ),
            "area": toy.arf(1e3 * toy.LOW, 1e3 * toy.HIGH, unit="eV"),
        },
        PLAIN,
        [],
    ),
    "slightly negative": (
        {"response": toy.rmf(negative(1e-6))},
        (217.2094, 2.006886, 1.010541),
        ["390 matrix elements are slightly negative"],
    ),
    "negative by a fiftieth": (
        {"response": toy.rmf(negative(0.02))},
        (217.1974, 2.003940, 1.021211),
        ["390 matrix elements are slightly negative"],
    ),
    # XSPEC with the area written once; it takes the first matrix of several alone.
    "full response": (
        {"response": toy.rmf(toy.redistribution() * toy.AREA, **FULL),
         "spectrum": toy.pha(ANCRFILE="none")},
        (217.2095, 2.006887, 1.010537),
        ["area none"],
    ),
    "two matrices": ({"response": two_matrices()}, PLAIN, ["sum of its 2 matrices"]),
    "second matrix": (
        {"response": two_matrices(), "spectrum": toy.pha(RESPFILE="resp.rmf{2}")},
        (217.2095, 2.006887, 3.368456),
        [],
    ),
    "said to be full": (
        {"response": toy.rmf(HDUCLAS3="FULL")},
        PLAIN,
        ["taken for a redistribution alone"],
    ),
    "zero width in the area": (
        {"area": toy.arf(*rounded())},
        PLAIN,
        ["row by row", "rounded to 2 digits"],
    ),
    "zero width in both": (
        {"response": toy.rmf(low=rounded()[0], high=rounded()[1]), "area": toy.arf(*rounded())},
        (51481.55, 2.009484, 1.014997),
        [],
    ),
    # XSPEC goes on without such an area, as if it were 1 cm2.
    "area with fewer rows": (
        {"area": toy.arf(toy.LOW[10:330], toy.HIGH[10:330])},
        PLAIN,
        ["has 400 energy bins and", "320; they are matched by energy"],
    ),
    "area with more rows": (
        {"area": toy.arf(*longer())},
        PLAIN,
        ["has 400 energy bins and", "450; they are matched by energy"],
    ),
    "area in square metres": ({"area": toy.arf(area=toy.AREA * 1e-4, of="m**2")}, PLAIN, []),
    "area per something": ({"area": toy.arf(of="cm^2 count/photon")}, PLAIN, []),
    "area in what is not known": ({"area": toy.arf(of="Jy")}, PLAIN, ["SPECRESP is in 'Jy'"]),
    "channels of the matrix from 0": (
        {"response": toy.rmf(start=0, TLMIN4=0)},
        PLAIN,
        ["TLMIN of F_CHAN is 0, though EBOUNDS begin with channel 1"],
    ),
    "suffix": ({"spectrum": toy.pha(RESPFILE="resp.rmf[MATRIX]")}, PLAIN, []),
    "moved": (
        {"spectrum": toy.pha(RESPFILE="/data/me/rmf/resp.rmf", ANCRFILE="/data/me/rmf/area.arf")},
        PLAIN,
        ["RESPFILE is /data/me/rmf/resp.rmf, which is not there"],
    ),
    "part of the channels": (
        {"spectrum": toy.pha(toy.draw()[10:380], first=11)},
        PLAIN,
        ["lists the channels 11 to 380 of 400"],
    ),
    "not for Poisson": ({"spectrum": toy.pha(POISSERR=False)}, PLAIN, ["POISSERR is F"]),
}  # fmt: skip


@pytest.mark.parametrize(("files", "best", "words"), READ.values(), ids=READ)
def test_is_read_right(
    tmp_path: Path,
    fit: Fit,
    files: dict[str, Any],
    best: tuple[float, float, float],
    words: list[str],
) -> None:
    toy.write(tmp_path, **files)
    found = fit()
    assert_best(found, *best)
    for word in words:
        assert word in found["printed"]
    if files and not words:
        assert "Note" not in found["printed"]


REFUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "background": (
        {"spectrum": toy.pha(BACKFILE="back.pha")},
        ["BACKFILE is back.pha", "neither beside the spectrum nor here", "--background"],
    ),
    "area twice": (
        {"response": toy.rmf(toy.redistribution() * toy.AREA, **FULL)},
        ["holds the effective area already", "applied twice", "without ARF"],
    ),
    "another telescope": (
        {"spectrum": toy.pha(TELESCOP="OTHER")},
        ["resp.rmf is a response of another instrument", "MADEUP", "OTHER", "give the response"],
    ),
    "other channels": (
        {"spectrum": toy.pha(toy.draw()[:360], DETCHANS=360)},
        ["has the channels 1 to 360", "1 to 400", "give the response"],
    ),
    "area of other energies": (
        {"area": toy.arf(toy.LOW + 0.5, toy.HIGH + 0.5)},
        ["different energy bins", "make the ARF for this RMF"],
    ),
    "area with fewer rows": (
        {"area": toy.arf(toy.LOW[:280], toy.HIGH[:280])},
        ["has 400 energy bins and", "280", "from 29 to 30.6 keV", "make the ARF"],
    ),
    "area that begins later": (
        {"area": toy.arf(toy.LOW[30:], toy.HIGH[30:])},
        ["has 400 energy bins and", "370", "from 2.3 to 4 keV", "make the ARF"],
    ),
    "unit": ({"area": toy.arf(unit="Angstrom")}, ["ENERG_LO", "'Angstrom'", "keV, eV or MeV"]),
    "eV that are not said to be": (
        {"response": toy.rmf(low=1e3 * toy.LOW, high=1e3 * toy.HIGH)},
        ["1000 to 41000 keV", "no X-rays", "`eV` into TUNIT"],
    ),
    "very negative": ({"response": toy.rmf(negative(0.1))}, ["negative", "make the RMF again"]),
    "bad everywhere": ({"spectrum": toy.pha(QUALITY=5)}, ["has bad QUALITY", "other energies"]),
    "one group": (
        {"spectrum": toy.pha(columns=[fits.Column("GROUPING", "I", array=one_group())])},
        ["every bin of its GROUPING reaches outside of 3 to 30 keV", "group_min"],
    ),
    "no response": ({"spectrum": toy.pha(RESPFILE="none")}, ["RESPFILE names no file", "--rmf"]),
    "elsewhere": (
        {"spectrum": toy.pha(ANCRFILE="gone.arf")},
        ["ANCRFILE is gone.arf", "neither beside the spectrum nor here", "--arf"],
    ),
}


@pytest.mark.parametrize(("files", "words"), REFUSED.values(), ids=REFUSED)
def test_is_refused_in_one_sentence(
    tmp_path: Path, fit: Fit, files: dict[str, Any], words: list[str]
) -> None:
    toy.write(tmp_path, **files)
    error = fit(status=1)["error"]
    for word in words:
        assert word in error


def test_area_may_differ_where_nothing_is_fitted(tmp_path: Path, fit: Fit) -> None:
    low, high = toy.LOW.copy(), toy.HIGH.copy()
    low[0], high[0], low[1] = 0.9, 1.05, 1.05
    toy.write(tmp_path, area=toy.arf(low, high))
    found = fit()
    assert_best(found, *PLAIN)
    assert "energies differ where nothing is fitted" in found["printed"]
    assert "different energy bins" in fit("--energies", "1", "30", status=1)["error"]


def test_full_response_is_used_without_area(tmp_path: Path, fit: Fit) -> None:
    toy.write(tmp_path, response=toy.rmf(toy.redistribution() * toy.AREA, **FULL))
    assert_best(fit("--arf", "none"), *PLAIN)


def test_gzipped_companions(tmp_path: Path, fit: Fit) -> None:
    toy.write(tmp_path)
    for name in ("resp.rmf", "area.arf"):
        with open(tmp_path / name, "rb") as plain, gzip.open(tmp_path / f"{name}.gz", "wb") as out:
            shutil.copyfileobj(plain, out)
        (tmp_path / name).unlink()
    assert_best(fit(), *PLAIN)


W = (252.2555, 2.007098, 0.3034122)


def behind(first: int = 1, part: slice = slice(None), **keys: Any) -> tuple[Any, Any]:
    """Return a source, and its background spectrum with a part of the channels."""
    random = np.random.default_rng(1)
    source = random.poisson(toy.expected(0.3) + 20.0)
    other = random.poisson(np.full(toy.N, 60.0))[part]
    return source, toy.pha(other, first=first, BACKSCAL=3.0, **keys)


def test_background_spectrum_gives_w(tmp_path: Path, fit: Fit) -> None:
    source, background = behind()
    toy.write(tmp_path, toy.pha(source, BACKFILE="back.pha"))
    toy.save(tmp_path / "back.pha", background)
    assert_best(fit("--background", "file"), *W)
    found = fit()
    assert_best(found, *W)
    assert "W-stat 252.2" in found["printed"]
    alone = fit("--background", "none")
    assert alone["parameters"]["powerlaw.PhoIndex"]["value"] < 1.8  # background taken for source


def test_channels_of_a_background_go_by_position(tmp_path: Path, fit: Fit) -> None:
    source, background = behind(first=0)
    toy.write(tmp_path, toy.pha(source, BACKFILE="back.pha"))
    toy.save(tmp_path / "back.pha", background)
    found = fit()
    assert_best(found, *W)
    assert "has the channels 0 to 399" in found["printed"] and "by position" in found["printed"]


def test_channels_of_a_background_go_by_number_where_a_part_is_listed(
    tmp_path: Path, fit: Fit
) -> None:
    source, whole = behind()
    toy.write(tmp_path, toy.pha(source[10:380], first=11, BACKFILE="back.pha"))
    for background in (whole, behind(first=6, part=slice(5, 390))[1]):
        toy.save(tmp_path / "back.pha", background)
        found = fit()
        assert_best(found, *W)
        assert "those of the spectrum are used" in found["printed"]
    toy.save(tmp_path / "back.pha", behind(first=16, part=slice(15, 385))[1])
    error = fit(status=1)["error"]
    assert "has the channels 16 to 385" in error and "11 to 380; give the background" in error


def test_predictions_read_responses_by_the_same_checks(
    tmp_path: Path, atomdb: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def predicted(*words: str, status: int = 0) -> Any:
        names = {"rmf": "resp.rmf", "arf": "area.arf", "output": "counts.ecsv"}
        paths = [word for key, name in names.items() for word in (f"--{key}", tmp_path / name)]
        values = ["--set", "powerlaw.PhoIndex=2", "--exposure", toy.EXPOSURE, "--atomdb", atomdb]
        assert main(["predict", "powerlaw", *map(str, (*values, *paths)), *words]) == status
        return capsys.readouterr()

    low, high = 1e3 * toy.LOW, 1e3 * toy.HIGH
    toy.write(
        tmp_path,
        response=toy.rmf(negative(1e-6), low=low, high=high, unit="eV", bounds=(low, high)),
        area=toy.arf(low, high, unit="eV"),
    )
    assert "slightly negative" in predicted().out
    counts = Table.read(tmp_path / "counts.ecsv")["counts"]
    np.testing.assert_allclose(counts[20:380], toy.expected()[20:380], rtol=2e-4)
    spectrum = predicted("--background", str(tmp_path / "spec.pha"), status=1).err
    assert "is a spectrum (PHA); a background is described as a model here" in spectrum
    toy.write(tmp_path, response=toy.rmf(toy.redistribution() * toy.AREA, **FULL))
    assert "applied twice" in predicted(status=1).err
    predicted("--arf", "none")
    counts = Table.read(tmp_path / "counts.ecsv")["counts"]
    np.testing.assert_allclose(counts, toy.expected(), rtol=1e-5)


def test_rows_of_a_type_two_file(tmp_path: Path, fit: Fit) -> None:
    counts = toy.draw()
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("SPEC_NUM", "J", array=[1, 2]),
            fits.Column("CHANNEL", f"{toy.N}J", array=np.stack([np.arange(toy.N) + 1] * 2)),
            fits.Column("COUNTS", f"{toy.N}J", array=np.stack([counts, 2 * counts])),
        ],
        name="SPECTRUM",
    )
    table.header.update({"HDUCLAS4": "TYPE:II", "EXPOSURE": toy.EXPOSURE, **toy.ORIGIN})
    table.header.update({"RESPFILE": "resp.rmf", "ANCRFILE": "area.arf"})
    toy.write(tmp_path, table)
    # XSPEC's norm for the second row, without area, is 101.05368.
    assert_best(fit(name="spec.pha{2}"), 434.4189, 2.006887, 101.05368 / toy.AREA)
    assert_best(fit(name="spec.pha{1}"), *PLAIN)
    assert "choose a row" in fit(status=1)["error"]
    assert "has no row 3" in fit(name="spec.pha{3}", status=1)["error"]
    # The area that a keyword names goes by rows as well, as in XSPEC.
    toy.save(tmp_path / "area.arf", two_areas())
    assert_best(fit(name="spec.pha{1}"), *PLAIN)
    assert_best(fit(name="spec.pha{2}"), 434.4189, 2.006887, 101.05368 / toy.AREA / 2)
    assert_best(fit("--arf", f"{tmp_path / 'area.arf'}{{2}}", name="spec.pha{1}"), *HALF)


def two_areas() -> Any:
    """Return a type II ARF, the area of the second row twice as large."""
    area = np.array([[toy.AREA], [2 * toy.AREA]]) * np.ones(toy.N)
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("ENERG_LO", f"{toy.N}E", unit="keV", array=np.stack([toy.LOW] * 2)),
            fits.Column("ENERG_HI", f"{toy.N}E", unit="keV", array=np.stack([toy.HIGH] * 2)),
            fits.Column("SPECRESP", f"{toy.N}E", unit="cm**2", array=area),
        ],
        name="SPECRESP",
    )
    table.header.update({"HDUCLAS1": "RESPONSE", "HDUCLAS2": "SPECRESP", "HDUCLAS4": "TYPE:II"})
    return table


def test_a_row_of_a_type_two_area_is_asked_for(tmp_path: Path, fit: Fit) -> None:
    toy.write(tmp_path, area=two_areas())
    error = fit(status=1)["error"]
    assert "holds 2 areas (type II); choose a row" in error and "area.arf{2}" in error
    toy.write(tmp_path, toy.pha(ANCRFILE="area.arf{2}"), area=two_areas())
    assert_best(fit(), *HALF)
    toy.write(tmp_path, toy.pha(ANCRFILE="area.arf{3}"), area=two_areas())
    assert "has no row 3" in fit(status=1)["error"]
    toy.write(tmp_path, toy.pha(ANCRFILE="area.arf{2}"))
    assert "holds one area (type I); leave {2} out" in fit(status=1)["error"]


def test_default_energies_are_told(tmp_path: Path, fit: Fit) -> None:
    n, matrix = 100, toy.redistribution()[:100, :100]
    low, high = toy.LOW[:n], toy.HIGH[:n]
    response = toy.rmf(matrix, low=low, high=high, bounds=(low, high))
    toy.write(tmp_path, toy.pha(toy.draw()[:n], DETCHANS=n), response, toy.arf(low, high))
    found = fit(energies=())
    assert_best(found, 115.2037, 1.998437, 0.9988288)
    assert "Bins 80, ungrouped, 3 to 11 keV (by default; --energies" in found["printed"]
    assert found["energies"] == pytest.approx([3.0, 11.0])
    assert "reach outside" in fit("--energies", "3", "80", status=1)["error"]


@pytest.mark.parametrize("least", ["0", "1", "4"])
def test_few_counts_do_not_bias_the_norm(tmp_path: Path, fit: Fit, least: str) -> None:
    inside = (toy.LOW >= 3 - 1e-9) & (toy.HIGH < 30 - 1e-9)
    counts = np.random.default_rng(4).poisson(10 / toy.expected()[inside].sum() * toy.expected())
    toy.write(tmp_path, toy.pha(counts))
    found = fit("--freeze", "powerlaw.PhoIndex=2", "--group-min", least)
    by_hand = counts[inside].sum() / toy.expected()[inside].sum()
    assert found["parameters"]["powerlaw.norm"]["value"] == pytest.approx(by_hand, rel=1e-4)


def test_default_energies_without_channels_are_told(tmp_path: Path, fit: Fit) -> None:
    low, high = toy.LOW[:10], toy.HIGH[:10]
    response = toy.rmf(toy.redistribution()[:10, :10], low=low, high=high, bounds=(low, high))
    toy.write(tmp_path, toy.pha(toy.draw()[:10], DETCHANS=10), response, toy.arf(low, high))
    error = fit(status=1, energies=())["error"]
    assert "channels from 1 to 2 keV" in error and "3 and 80 keV that are fitted by def" in error
    assert fit(energies=(1.0, 2.0))["bins"] == 9


def test_the_grouping_of_the_file_is_used_unless_others_are_asked_for(
    tmp_path: Path, fit: Fit
) -> None:
    flags = np.where(np.arange(toy.N) % 5 == 0, 1, -1)
    toy.write(tmp_path, toy.pha(columns=[fits.Column("GROUPING", "I", array=flags)]))
    found = fit()
    assert found["bins"] == 53 and "grouped as the file says" in found["printed"]
    assert found["group_min"] is None
    assert fit("--group-min", "0")["bins"] == 269


def test_good_channels_of_bad_groups_are_kept(tmp_path: Path, fit: Fit) -> None:
    counts = toy.draw(0.05)
    toy.write(tmp_path, toy.pha(counts, columns=[quality(220, 280, 340)]))
    inside = (toy.LOW >= 3 - 1e-9) & (toy.HIGH < 40 - 1e-9)
    inside[[220, 280, 340]] = False
    for least in ("0", "20", "100"):
        found = fit(
            "--energies", "3", "40", "--group-min", least, "--freeze", "powerlaw.PhoIndex=2"
        )
        by_hand = counts[inside].sum() / toy.expected()[inside].sum()
        assert found["parameters"]["powerlaw.norm"]["value"] == pytest.approx(by_hand, rel=1e-4)


def test_nothing_free_gives_the_statistic_of_the_model(tmp_path: Path, fit: Fit) -> None:
    toy.write(tmp_path)
    found = fit("--freeze", "powerlaw.PhoIndex=2", "--freeze", "powerlaw.norm=1")
    assert found["cstat"] == pytest.approx(220.37837, abs=1e-3)
    assert found["dof"] == 269


def test_everyday_models_by_their_short_names(tmp_path: Path, fit: Fit) -> None:
    toy.write(tmp_path)
    assert_best(fit("--expression", "po"), *PLAIN)
    found = fit("--expression", "gauss+po")
    # No worse than the power law alone, by as much as three parameters of noise.
    assert 217.21 - 25 < found["cstat"] < 217.22
    assert 3 <= found["parameters"]["gaussian.LineE"]["value"] <= 30


def test_a_switch_has_the_value_that_is_given(tmp_path: Path, fit: Fit) -> None:
    toy.write(tmp_path)
    words = ("--expression", "logpar", "--freeze", "logpar.beta=0", "--freeze", "logpar.pivotE=10")
    parameters = fit(*words)["parameters"]
    # norm (E / pivotE)^-alpha
    assert parameters["logpar.alpha"]["value"] == pytest.approx(PLAIN[1], abs=2e-4)
    norm = PLAIN[2] * 10 ** -PLAIN[1]
    assert parameters["logpar.norm"]["value"] == pytest.approx(norm, rel=1e-3)
    error = fit(*words[:4], "--limits", "logpar.pivotE=1:10", status=1)["error"]
    assert "logpar.pivotE: is a switch; give its value with --freeze logpar.pivotE=" in error


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--limits", "powerlaw.PhoIndex=20:30"], "outside XSPEC's hard limits, -3 to 10"),
        (["--limits", "powerlaw.PhoIndex=1:30"], "outside XSPEC's hard limits, -3 to 10"),
        (["--freeze", "powerlaw.PhoIndex=20"], "outside XSPEC's hard limits"),
        (["--expression", "mekal"], "mekal"),
    ],
)
def test_models_are_checked_before_the_fit(
    tmp_path: Path, fit: Fit, words: list[str], sentence: str
) -> None:
    toy.write(tmp_path)
    assert sentence in fit(*words, status=1)["error"]


def test_files_of_options_that_are_taken_for_spectra(tmp_path: Path, fit: Fit) -> None:
    toy.write(tmp_path)
    (tmp_path / "b.yaml").write_text("name: b")
    words = [str(tmp_path / "spec.pha"), "--background", "a.yaml", str(tmp_path / "b.yaml")]
    error = fit(*words, status=1)["error"]
    assert "b.yaml: is not a FITS file, so no spectrum" in error and "the option before it" in error
    (tmp_path / "note.txt").write_text("hello")
    error = fit("--background", str(tmp_path / "note.txt"), status=1)["error"]
    assert "note.txt: is neither a spectrum nor the description of a background" in error


def test_a_background_spectrum_of_another_kind_is_told(tmp_path: Path, fit: Fit) -> None:
    toy.write(tmp_path)
    toy.save(tmp_path / "back.pha", toy.pha(np.full(toy.N, 200)))
    found = fit("--background", str(tmp_path / "back.pha"))
    assert found["background_spectrum"] == str(tmp_path / "back.pha")
    error = fit("--background", str(tmp_path / "resp.rmf"), status=1)["error"]
    assert "not a spectrum but a redistribution matrix" in error


def test_the_same_counts_are_not_used_twice(tmp_path: Path, fit: Fit) -> None:
    spectrum = toy.write(tmp_path)
    shutil.copy(spectrum, tmp_path / "copy.pha")
    copy = str(tmp_path / "copy.pha")
    said = fit(copy, status=1)["error"]
    assert f"{spectrum} and {copy} hold the same counts in every channel" in said
    said = fit("--background", copy, status=1)["error"]
    assert f"{spectrum}: has the same counts in every channel as its background, {copy}" in said


@pytest.mark.parametrize("command", ["predict", "fake"])
def test_what_other_commands_read_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, capsys: Any
) -> None:
    toy.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    whole = {path: path.read_bytes() for path in tmp_path.iterdir()}
    words = ["predict", "powerlaw", "--rmf", "resp.rmf", "--arf", "area.arf", "--exposure", "1"]
    if command == "fake":
        words = ["fake", "spec.pha", "--expression", "powerlaw"]
    for name in ("resp.rmf", "area.arf", "spec.pha")[: 2 if command == "predict" else 3]:
        assert main([*words, "--output", name]) == 1
        assert f"{name}: is read, so it is not replaced" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == whole
