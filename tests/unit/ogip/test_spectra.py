"""Sets of simulated spectra: round trips, bytes, bad input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from icflow.errors import IcflowError
from icflow.ogip.spectra import Recorded, SpectrumSet, read_spectra, write_spectra
from icflow.ogip.spectrum import read_spectrum


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
        columns = ["SPEC_NUM", "INDEX", "CHANNEL", "COUNTS", "ANCRFILE"]
        assert second.columns.names == columns
        np.testing.assert_array_equal(second.data["COUNTS"], original.counts[:, 4:])
    # Other readers take the first module.
    np.testing.assert_array_equal(
        read_spectrum(tmp_path / "set.pha", row=1).counts, original.counts[1, :4]
    )
    second = read_spectrum(f"{tmp_path}/set.pha[SPECTRUM,2]{{2}}")
    np.testing.assert_array_equal(second.counts, original.counts[1, 4:])
    assert (second.exposure, second.instrument) == (2e5, "FPMB")
    assert read_spectrum(f"{tmp_path}/set.pha[2]{{1}}").instrument == "FPMB"
    with pytest.raises(IcflowError, match=r"has no extension EVENTS .*it has SPECTRUM"):
        read_spectrum(f"{tmp_path}/set.pha[EVENTS]")


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
            "TELESCOP": "NuSTAR", "INSTRUME": "FPMA", "TLMIN3": 0, "TLMAX3": 5,
        }  # fmt: skip
        assert {key: header[key] for key in expected} == expected
        assert "DATE" not in header
        np.testing.assert_array_equal(data["SPEC_NUM"], [1, 2, 3])
        np.testing.assert_array_equal(data["CHANNEL"][2], np.arange(6))
        assert data.columns["COUNTS"].format == "6J"
        # As a keyword, XSPEC would look for the same row of the ARF, and go on without area.
        assert "ANCRFILE" not in header
        assert list(data["ANCRFILE"]) == ["none"] * 3


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


def test_rows_of_a_type_two_file(tmp_path: Path) -> None:
    spectra = spectrum_set()
    write_spectra(tmp_path / "set.pha", spectra)
    spectrum = read_spectrum(tmp_path / "set.pha", row=2)
    np.testing.assert_array_equal(spectrum.counts, spectra.counts[2])
    np.testing.assert_array_equal(spectrum.channel, spectra.modules[0].channel)
    spectrum = read_spectrum(f"{tmp_path}/set.pha{{3}}")
    np.testing.assert_array_equal(spectrum.counts, spectra.counts[2])
    with pytest.raises(IcflowError, match=r"holds 3 spectra \(type II\); choose .*1} to .*3}"):
        read_spectrum(tmp_path / "set.pha")
    for path, row in ((f"{tmp_path}/set.pha{{4}}", None), (tmp_path / "set.pha", 3)):
        with pytest.raises(IcflowError, match="has no row 4"):
            read_spectrum(path, row=row)
