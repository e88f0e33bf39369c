"""Observed spectra: round trips, bytes, bad input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from icflow.errors import IcflowError
from icflow.ogip.spectrum import Spectrum, check_counts, read_spectrum, write_spectrum


def write_table(path: Path, header: dict[str, Any], **columns: tuple[str, Any]) -> Path:
    """Write a spectrum from explicit columns, with the header's usual keywords."""
    hdu = fits.BinTableHDU.from_columns(
        [fits.Column(name, form, array=values) for name, (form, values) in columns.items()],
        name="SPECTRUM",
    )
    for key, value in (
        {"EXPOSURE": 10.0, "BACKSCAL": 1.0, "HDUCLAS1": "SPECTRUM"} | header
    ).items():
        if value is not None:
            hdu.header[key] = value
    hdu.writeto(path)
    return path


def test_spectrum_that_xspec_made(reference: Path) -> None:
    spectrum = read_spectrum(reference / "observation.pha")
    counts = np.load(reference / "spectra.npz")["counts"]
    np.testing.assert_array_equal(spectrum.counts, counts[1])
    assert json.loads((reference / "observation.json").read_text())["kind"] == "1T+IC"
    assert spectrum.exposure == 1e6
    assert (spectrum.channel[0], spectrum.channel[-1]) == (0, 4095)
    assert (spectrum.respfile, spectrum.ancrfile) == ("nustar_fpma.rmf", "nustar_fpma.arf")
    assert spectrum.backfile is None
    assert spectrum.grouping is None
    assert (spectrum.telescope, spectrum.instrument) == ("NuSTAR", "FPMA")


def test_spectrum_round_trip(tmp_path: Path) -> None:
    original = Spectrum(
        channel=np.arange(1, 6),
        counts=np.array([0, 3, 10, 2**31, 1]),
        exposure=12345.5,
        backscal=0.25,
        areascal=2.0,
        respfile="a.rmf",
        backfile="b.pha",
        grouping=np.array([1, -1, 1, 1, -1]),
        quality=np.array([0, 0, 0, 2, 2]),
        telescope="XMM",
        instrument="EMOS1",
    )
    write_spectrum(tmp_path / "s.pha", original)
    copy = read_spectrum(tmp_path / "s.pha")
    for name in original.__dataclass_fields__:
        if name != "path":
            np.testing.assert_array_equal(getattr(copy, name), getattr(original, name), name)
    write_spectrum(tmp_path / "t.pha", replace(original, path="elsewhere"))
    assert (tmp_path / "s.pha").read_bytes() == (tmp_path / "t.pha").read_bytes()


def test_type_two_values_by_row(tmp_path: Path) -> None:
    path = write_table(
        tmp_path / "hetg.pha",
        {"EXPOSURE": None, "BACKSCAL": None},
        CHANNEL=("2I", [[1, 2], [1, 2]]),
        COUNTS=("2I", [[3, 4], [5, 6]]),
        EXPOSURE=("D", [10.0, 20.0]),
        BACKSCAL=("D", [1.0, 0.5]),
        RESPFILE=("8A", ["one.rmf", "none"]),
        GROUPING=("2I", [[1, -1], [1, 1]]),
    )
    first, second = (read_spectrum(path, row=row) for row in (0, 1))
    assert (first.exposure, second.exposure) == (10.0, 20.0)
    assert (first.backscal, second.backscal) == (1.0, 0.5)
    assert (first.respfile, second.respfile) == ("one.rmf", None)
    assert first.grouping is not None
    np.testing.assert_array_equal(first.grouping, [1, -1])


def test_whole_counts_stored_as_reals(tmp_path: Path) -> None:
    path = write_table(tmp_path / "real.pha", {}, CHANNEL=("I", [1, 2]), COUNTS=("E", [3.0, 4.0]))
    counts = read_spectrum(path).counts
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, [3, 4])


def test_unsigned_counts(tmp_path: Path) -> None:
    counts = np.array([3, 65535], dtype=np.uint16)
    hdu = fits.BinTableHDU.from_columns(
        [
            fits.Column("CHANNEL", "I", array=[1, 2]),
            fits.Column("COUNTS", "I", bzero=32768, array=counts),
        ],
        name="SPECTRUM",
    )
    hdu.header["EXPOSURE"], hdu.header["BACKSCAL"] = 1.0, 1.0
    hdu.writeto(tmp_path / "unsigned.pha")
    np.testing.assert_array_equal(read_spectrum(tmp_path / "unsigned.pha").counts, counts)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([3.0, -1.0], r"1 values of COUNTS are negative .* row 2, is -1"),
        ([3.5, 1.0], r"1 values of COUNTS are not integer .* row 1, is 3\.5"),
        ([3.0, np.nan], "COUNTS holds NaN"),
    ],
)
def test_bad_counts(tmp_path: Path, values: list[float], message: str) -> None:
    path = write_table(tmp_path / "bad.pha", {}, CHANNEL=("I", [1, 2]), COUNTS=("E", values))
    with pytest.raises(IcflowError, match=rf"bad\.pha: {message}"):
        read_spectrum(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"EXPOSURE": None}, "the keyword EXPOSURE is missing; add"),
        ({"EXPOSURE": 0.0}, "EXPOSURE is 0.0, not a positive number"),
        ({"EXPOSURE": "long"}, "EXPOSURE is 'long', not a positive number"),
        ({"AREASCAL": -1.0}, "AREASCAL is -1.0, not a positive number"),
        ({"HDUCLAS2": "NET"}, "is background-subtracted"),
    ],
)
def test_bad_keywords(tmp_path: Path, header: dict[str, Any], message: str) -> None:
    path = write_table(tmp_path / "bad.pha", header, CHANNEL=("I", [1, 2]), COUNTS=("J", [1, 2]))
    with pytest.raises(IcflowError, match=rf"bad\.pha: {message}"):
        read_spectrum(path)


def test_rate_is_counts_divided_by_the_exposure(tmp_path: Path) -> None:
    rate = np.array([3, 0, 100_003]) / np.float32(12345.67)
    path = write_table(
        tmp_path / "rate.pha",
        {"EXPOSURE": 12345.67, "AREASCAL": 0.5},
        CHANNEL=("I", [1, 2, 3]),
        RATE=("E", rate),
    )
    spectrum = read_spectrum(path)
    np.testing.assert_array_equal(spectrum.counts, [3, 0, 100_003])
    assert "RATE, which is multiplied by EXPOSURE" in spectrum.notes[0]


def test_rate_that_is_not_counts_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = write_table(tmp_path / "rate.pha", {}, CHANNEL=("I", [1]), RATE=("E", [0.55]))
    with pytest.raises(IcflowError, match=r"rate\.pha: holds RATE instead of COUNTS.*convert"):
        read_spectrum(path)


def test_falling_channels_are_put_in_order(tmp_path: Path) -> None:
    columns = {"CHANNEL": ("I", [3, 2, 1]), "COUNTS": ("J", [1, 2, 4])}
    columns |= {"QUALITY": ("I", [0, 0, 5])}
    spectrum = read_spectrum(write_table(tmp_path / "a.pha", {}, **columns))
    np.testing.assert_array_equal(spectrum.counts, [4, 2, 1])
    np.testing.assert_array_equal(spectrum.quality, [5, 0, 0])
    grouped = write_table(tmp_path / "b.pha", {}, **columns, GROUPING=("I", [1, -1, 1]))
    with pytest.raises(IcflowError, match=r"b\.pha: CHANNEL does not rise, and GROUPING"):
        read_spectrum(grouped)


def test_missing_channels_are_refused(tmp_path: Path) -> None:
    path = write_table(tmp_path / "gap.pha", {}, CHANNEL=("I", [1, 3]), COUNTS=("J", [1, 2]))
    with pytest.raises(IcflowError, match="CHANNEL is not consecutive"):
        read_spectrum(path)


def test_wrong_kind_truncated_missing(tmp_path: Path, reference: Path) -> None:
    with pytest.raises(IcflowError, match=r"be\.arf: not a spectrum but an effective area"):
        read_spectrum(reference / "be.arf")
    with pytest.raises(IcflowError, match=r"absent\.pha: no such file"):
        read_spectrum(tmp_path / "absent.pha")
    whole = (reference / "observation.pha").read_bytes()
    (tmp_path / "short.pha").write_bytes(whole[:20000])
    with pytest.raises(IcflowError, match=r"short\.pha: truncated, .* needs 32768 bytes"):
        read_spectrum(tmp_path / "short.pha")


def test_spectrum_without_counts() -> None:
    with pytest.raises(IcflowError, match=r"dark\.pha: the spectrum holds no counts"):
        check_counts(np.zeros(5, int), "dark.pha")
    check_counts(np.array([0, 1]), "bright.pha")
