"""PHA files of type I and II: round trips, bytes, bad input."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from icflow.errors import IcflowError
from icflow.ogip.spectrum import (
    Recorded,
    Spectrum,
    SpectrumSet,
    check_counts,
    read_spectra,
    read_spectrum,
    write_spectra,
    write_spectrum,
)


def recorded(channel: np.ndarray, module: str = "", exposure: float = 1e6) -> Recorded:
    rmf = "resources/responses/nustar_fpma.rmf"
    return Recorded(channel, exposure, rmf, None, "NuSTAR", module or "FPMA", module)


def spectrum_set(n_spectra: int = 3, n_channels: int = 6, **changes: Any) -> SpectrumSet:
    """A small set with two true parameters."""
    generator = np.random.default_rng(1)
    values: dict[str, Any] = {
        "counts": generator.poisson(5, (n_spectra, n_channels)).astype(np.int32),
        "index": np.arange(n_spectra) + 4711,
        "truth": {
            "apec.kT": generator.uniform(1, 10, n_spectra),
            "apec_3.norm": generator.uniform(0, 1, n_spectra),
        },
        "modules": (recorded(np.arange(n_channels)),),
        "dataset": "training",
        "scenario": "2T",
        "metadata": {"ENGINE": "embedded", "SEED": 7, "CROSS_SECTIONS": "vern", "SCALE": 0.1},
    }
    return SpectrumSet(**(values | changes))


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


# --- type I ----------------------------------------------------------------------


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
        exposure=12345.678,
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


def test_rows_of_a_type_two_file(tmp_path: Path) -> None:
    spectra = spectrum_set()
    write_spectra(tmp_path / "set.pha", spectra)
    spectrum = read_spectrum(tmp_path / "set.pha", row=2)
    np.testing.assert_array_equal(spectrum.counts, spectra.counts[2])
    np.testing.assert_array_equal(spectrum.channel, spectra.modules[0].channel)
    with pytest.raises(IcflowError, match=r"holds 3 spectra \(type II\); choose a row, 0 to 2"):
        read_spectrum(tmp_path / "set.pha")
    with pytest.raises(IcflowError, match="has no row 3"):
        read_spectrum(tmp_path / "set.pha", row=3)


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
        ({"BACKSCAL": None}, "the keyword BACKSCAL is missing; add"),
        ({"AREASCAL": -1.0}, "AREASCAL is -1.0, not a positive number"),
        ({"HDUCLAS2": "NET"}, "is background-subtracted"),
    ],
)
def test_bad_keywords(tmp_path: Path, header: dict[str, Any], message: str) -> None:
    path = write_table(tmp_path / "bad.pha", header, CHANNEL=("I", [1, 2]), COUNTS=("J", [1, 2]))
    with pytest.raises(IcflowError, match=rf"bad\.pha: {message}"):
        read_spectrum(path)


def test_rate_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = write_table(tmp_path / "rate.pha", {}, CHANNEL=("I", [1]), RATE=("E", [0.5]))
    with pytest.raises(IcflowError, match=r"rate\.pha: holds RATE instead of COUNTS.*convert"):
        read_spectrum(path)


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


# --- type II ---------------------------------------------------------------------


def test_set_round_trip(tmp_path: Path) -> None:
    original = spectrum_set()
    write_spectra(tmp_path / "set.pha", original)
    copy = read_spectra(tmp_path / "set.pha")
    for name in ("counts", "index", "truth", "dataset", "scenario", "metadata"):
        np.testing.assert_equal(getattr(copy, name), getattr(original, name), name)
    np.testing.assert_equal(as_dicts(copy), as_dicts(original))
    assert copy.counts.dtype == np.int32
    assert list(copy.truth) == ["apec.kT", "apec_3.norm"]


def as_dicts(spectra: SpectrumSet) -> list[dict[str, Any]]:
    return [vars(module) for module in spectra.modules]


def two_modules() -> SpectrumSet:
    modules = recorded(np.arange(4), "FPMA"), recorded(np.arange(1, 3), "FPMB", exposure=2e5)
    return spectrum_set(modules=modules)


def test_several_modules_are_extensions_of_one_file(tmp_path: Path) -> None:
    original = two_modules()
    write_spectra(tmp_path / "set.pha", original)
    copy = read_spectra(tmp_path / "set.pha")
    np.testing.assert_array_equal(copy.counts, original.counts)
    np.testing.assert_equal(as_dicts(copy), as_dicts(original))
    np.testing.assert_equal(copy.truth, original.truth)
    assert copy.metadata == original.metadata
    assert copy.bounds == [slice(0, 4), slice(4, 6)]
    np.testing.assert_array_equal(copy.exposures, [1e6] * 4 + [2e5] * 2)
    with fits.open(tmp_path / "set.pha") as hdus:
        hdus.verify("exception")
        assert [(hdu.name, hdu.ver) for hdu in hdus[1:]] == [("SPECTRUM", 1), ("SPECTRUM", 2)]
        second = hdus["SPECTRUM", 2]
        header = {key: second.header[key] for key in ("EXPOSURE", "INSTRUME", "MODULE", "TLMIN3")}
        assert header == {"EXPOSURE": 2e5, "INSTRUME": "FPMB", "MODULE": "FPMB", "TLMIN3": 1}
        assert second.columns.names == ["SPEC_NUM", "INDEX", "CHANNEL", "COUNTS"]
        np.testing.assert_array_equal(second.data["COUNTS"], original.counts[:, 4:])
    # Other readers take the first module.
    np.testing.assert_array_equal(
        read_spectrum(tmp_path / "set.pha", row=1).counts, original.counts[1, :4]
    )


def test_modules_of_different_spectra(tmp_path: Path) -> None:
    write_spectra(tmp_path / "set.pha", two_modules())
    with fits.open(tmp_path / "set.pha", mode="update") as hdus:
        hdus[2].data["INDEX"] += 1
    with pytest.raises(IcflowError, match=r"set\.pha: its modules hold different spectra"):
        read_spectra(tmp_path / "set.pha")


def test_set_is_an_ogip_file(tmp_path: Path) -> None:
    write_spectra(tmp_path / "set.pha", spectrum_set())
    with fits.open(tmp_path / "set.pha") as hdus:
        hdus.verify("exception")
        header, data = hdus["SPECTRUM"].header, hdus["SPECTRUM"].data
        expected = {
            "HDUCLASS": "OGIP", "HDUCLAS1": "SPECTRUM", "HDUCLAS2": "TOTAL", "HDUCLAS3": "COUNT",
            "HDUCLAS4": "TYPE:II", "CHANTYPE": "PI", "DETCHANS": 6, "POISSERR": True,
            "EXPOSURE": 1e6, "AREASCAL": 1.0, "BACKSCAL": 1.0, "BACKFILE": "none",
            "ANCRFILE": "none", "TELESCOP": "NuSTAR", "INSTRUME": "FPMA", "TLMIN3": 0, "TLMAX3": 5,
        }  # fmt: skip
        assert {key: header[key] for key in expected} == expected
        assert "DATE" not in header
        np.testing.assert_array_equal(data["SPEC_NUM"], [1, 2, 3])
        np.testing.assert_array_equal(data["CHANNEL"][2], np.arange(6))
        assert data.columns["COUNTS"].format == "6J"


def test_same_set_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_spectra(tmp_path / "a.pha", spectrum_set())
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    write_spectra(tmp_path / "b.pha", spectrum_set())
    assert (tmp_path / "a.pha").read_bytes() == (tmp_path / "b.pha").read_bytes()


def test_large_channel_numbers(tmp_path: Path) -> None:
    channel = np.array([40000, 40001, 40002])
    write_spectra(tmp_path / "set.pha", spectrum_set(n_channels=3, modules=(recorded(channel),)))
    np.testing.assert_array_equal(read_spectra(tmp_path / "set.pha").modules[0].channel, channel)


def test_one_spectrum_and_one_channel(tmp_path: Path) -> None:
    for n_spectra, n_channels in ((1, 6), (3, 1), (1, 1)):
        original = spectrum_set(n_spectra, n_channels)
        write_spectra(tmp_path / "set.pha", original)
        copy = read_spectra(tmp_path / "set.pha")
        np.testing.assert_array_equal(copy.counts, original.counts)
        np.testing.assert_equal(as_dicts(copy), as_dicts(original))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"index": np.arange(2)}, "3 spectra, but 2 values of index"),
        ({"truth": {"apec.kT": np.ones(4)}}, r"3 spectra, but 4 values of apec\.kT"),
        ({"modules": (recorded(np.arange(5)),)}, "spectra of 6 channels, but 5 channel numbers"),
    ],
)
def test_mismatched_lengths(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(IcflowError, match=message):
        spectrum_set(**changes)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("exposure", 1.0, "cannot be a header keyword"),
        ("EXPOSURE", 1.0, "cannot be a header keyword"),
        ("FLAG", True, "give text or a number"),
        ("SCALE", np.inf, "give a finite number"),
        ("NOTE", "two\nlines", "does not fit into a FITS header"),
    ],
)
def test_metadata_that_a_header_cannot_hold(
    tmp_path: Path, key: str, value: Any, message: str
) -> None:
    with pytest.raises(IcflowError, match=message):
        write_spectra(tmp_path / "set.pha", spectrum_set(metadata={key: value}))
    assert list(tmp_path.iterdir()) == []


def test_long_metadata(tmp_path: Path) -> None:
    metadata = {"COMMENTED": "x" * 40, "NOTE": "y" * 200, "XSPECVER": "12.15.0"}
    write_spectra(tmp_path / "set.pha", spectrum_set(metadata=metadata))
    assert read_spectra(tmp_path / "set.pha").metadata == metadata


def test_files_that_are_no_set(tmp_path: Path, reference: Path) -> None:
    with pytest.raises(IcflowError, match=r"observation\.pha: not a set of simulated spectra"):
        read_spectra(reference / "observation.pha")
    write_spectra(tmp_path / "set.pha", spectrum_set(n_channels=4000))
    content = (tmp_path / "set.pha").read_bytes()
    (tmp_path / "short.pha").write_bytes(content[: len(content) // 2])
    with pytest.raises(IcflowError, match=r"short\.pha: truncated"):
        read_spectra(tmp_path / "short.pha")
