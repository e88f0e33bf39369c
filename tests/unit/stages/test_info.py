"""`icflow info`: what OGIP files hold, and what is odd about them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import toy
from astropy.io import fits

import icflow
from icflow.cli import main
from icflow.errors import IcflowError
from icflow.ogip.spectrum import read_spectrum
from icflow.resources import RESOURCES


def test_files_are_told_of_with_what_is_odd(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = np.zeros(toy.N, int)
    flags[7:9], flags[90] = 1, 5
    area = np.where(np.arange(toy.N) < 9, 0.5, 1.0)
    columns = [
        fits.Column("QUALITY", "I", array=flags),
        fits.Column("AREASCAL", "E", array=area),
    ]
    spectrum = toy.pha(columns=columns, AREASCAL=None, BACKFILE="gone.pha", POISSERR=False)
    low = np.concatenate([[0.0], toy.LOW[1:]])
    toy.write(tmp_path, spectrum, toy.rmf(low=low), toy.arf(low))
    names = [str(tmp_path / name) for name in ("spec.pha", "resp.rmf", "area.arf")]
    assert main(["info", *names]) == 0
    printed = capsys.readouterr().out
    for words in (
        "spec.pha: a spectrum (PHA)",
        f"Counts: {toy.draw().sum()} in 10000 s",
        "Bins: 398 no GROUPING, 1 of bad quality",
        "QUALITY: 397 channels 0, 2 channels 1, 1 channels 5",
        "AREASCAL: 0.5 to 1 by channel, BACKSCAL: 1",
        f"RESPFILE: resp.rmf ({tmp_path / 'resp.rmf'})",
        "BACKFILE: gone.pha (missing)",
        "POISSERR is F",
        "resp.rmf: a redistribution matrix (RMF)",
        "Channels: 1 to 400, 1 to 41 keV",
        "starts at 0 keV",
        "area.arf: an effective area (ARF)",
        "Largest area: 50 cm2",
    ):
        assert words in printed


def two_modules(folder: Path, rows: int) -> Path:
    """Write spectra of two modules in a file, as they are simulated; the second is brighter."""
    tables = []
    for module, scale in (("FPMA", 1), ("FPMB", 2)):
        counts = scale * np.stack([toy.draw()] * rows)
        channel = np.tile(np.arange(1, toy.N + 1), (rows, 1))
        table = fits.BinTableHDU.from_columns(
            [
                fits.Column("CHANNEL", f"{toy.N}J", array=channel),
                fits.Column("COUNTS", f"{toy.N}J", array=counts),
            ],
            name="SPECTRUM",
        )
        own = {"EXPOSURE": toy.EXPOSURE, "AREASCAL": 1.0, "BACKSCAL": 1.0, "MODULE": module}
        table.header.update(toy.ORIGIN | own)
        tables.append(table)
    toy.save(folder / "two.pha", *tables)
    return folder / "two.pha"


def test_every_module_and_row_is_told_of_by_the_name_that_it_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, total = two_modules(tmp_path, 7), toy.draw().sum()
    assert main(["info", str(path)]) == 0
    printed = capsys.readouterr().out
    for words in (
        "Extensions: 2 with spectra",
        f"{path}[1]: MODULE FPMA",
        f"{path}[2]: MODULE FPMB",
        f"Spectra: 7 (type II), {path}[2]{{1}} to {path}[2]{{7}}",
        f"… and so on, to {path}[2]{{7}}",
    ):
        assert words in printed
    assert printed.count(f"Counts: {total} in") == printed.count(f"Counts: {2 * total} in") == 5
    # Each name reads what it says.
    assert read_spectrum(f"{path}[2]{{7}}").counts.sum() == 2 * total
    assert read_spectrum(f"{path}[2]{{7}}").notes == ()
    (note,) = read_spectrum(f"{path}{{7}}").notes
    assert "in 2 extensions, of which this is the first" in note
    assert f"beside it: {path}[2]{{7}}" in note
    with pytest.raises(IcflowError) as caught:
        read_spectrum(path)
    assert f"{path}{{7}}; first rows of other modules: {path}[2]{{1}}" in str(caught.value)
    with pytest.raises(IcflowError) as caught:
        read_spectrum(f"{path}[2]")
    assert f"choose a row, {path}[2]{{1}} to {path}[2]{{7}}" in str(caught.value)


def test_what_cannot_be_used_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toy.write(tmp_path, toy.pha(EXPOSURE=None))
    assert main(["info", str(tmp_path / "spec.pha")]) == 0
    assert "Cannot be used: " in capsys.readouterr().out
    assert main(["info", str(tmp_path / "none.pha")]) == 1
    assert "no such file" in capsys.readouterr().err


def test_without_files_it_tells_what_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ICFLOW_DATA", str(tmp_path))
    monkeypatch.setenv("ICFLOW_CACHE", str(tmp_path))
    monkeypatch.setenv("ICFLOW_XSPEC_PYTHON", "/no/python/of/xspec")
    monkeypatch.chdir(tmp_path)
    for name in ("nustar_fpma.rmf", "nustar_fpma.arf"):
        (tmp_path / name).touch()
    os.truncate(tmp_path / "nustar_fpma.rmf", RESOURCES["nustar_fpma.rmf"].size)
    assert main(["info"]) == 0
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["icflow"].startswith(icflow.__version__)
    assert "numpy 2" in lines["Versions"]
    assert lines["Engine embedded"].startswith("model functions of HEASoft")
    assert lines["Engine xspec"].startswith("not here")
    assert lines["Data nustar_fpma.rmf"] == str(tmp_path / "nustar_fpma.rmf")
    half = f"{tmp_path / 'nustar_fpma.arf'}, 0 of 63360 bytes: delete it and run `icflow fetch`"
    assert lines["Data nustar_fpma.arf"] == half
    assert "GPU" in lines and lines["Kept"].startswith("compiled functions")
