"""Numbers that no measurement gives are refused where they are read."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from astropy.io import fits

from icflow.errors import IcflowError
from icflow.ogip import binary_table
from icflow.ogip.response import read_arf, read_rmf
from icflow.ogip.spectrum import read_spectrum

UPSIDE_DOWN = np.where(np.arange(toy.N) == 200, 5.0, toy.LOW)


def area_of_zeros() -> Any:
    table = toy.arf()
    table.data["SPECRESP"] = 0.0
    return table


def column(name: str, value: float) -> Any:
    table = toy.pha(QUALITY=0)
    table.data[name][3] = value
    return table


CASES: dict[str, tuple[Callable[[], list[Any]], Callable[[Path], Any], str]] = {
    "matrix": (
        lambda: toy.rmf(np.zeros((toy.N, toy.N))),
        read_rmf,
        "every element of its matrix is 0",
    ),
    "area": (lambda: [area_of_zeros()], read_arf, "every effective area is 0"),
    "bounds": (
        lambda: toy.rmf(bounds=(UPSIDE_DOWN, UPSIDE_DOWN + 0.1)),
        read_rmf,
        "neither rise nor fall",
    ),
    "exposure": (lambda: [toy.pha(EXPOSURE=1e30)], read_spectrum, "not a positive number"),
    "region": (lambda: [toy.pha(BACKSCAL=1e30)], read_spectrum, "not a positive number"),
    "quality": (lambda: [toy.pha(QUALITY=1e300)], read_spectrum, "not a whole number"),
    "empty": (lambda: [toy.pha(np.empty(0, int))], read_spectrum, "holds no channels"),
    "truth value": (lambda: [toy.pha(EXPOSURE=True)], read_spectrum, "EXPOSURE is True, not a pos"),
    "no scale": (lambda: [toy.pha(AREASCAL="x")], read_spectrum, "AREASCAL is 'x', not a positive"),
    "bounds without width": (
        lambda: toy.rmf(bounds=(toy.LOW, toy.LOW)),
        read_rmf,
        "channels of EBOUNDS have no width",
    ),
    "bounds below zero": (
        lambda: toy.rmf(bounds=(toy.LOW - 50, toy.HIGH - 50)),
        read_rmf,
        "no energies above 0",
    ),
    "negative": (lambda: [column("COUNTS", -1)], read_spectrum, "are negative"),
}


@pytest.mark.parametrize("tables, read, words", CASES.values(), ids=CASES)
def test_refused(
    tmp_path: Path, tables: Callable[[], list[Any]], read: Callable[[Path], Any], words: str
) -> None:
    toy.save(tmp_path / "a.fits", *tables())
    with pytest.raises(IcflowError, match=rf"a\.fits: .*{words}"):
        read(tmp_path / "a.fits")


@pytest.mark.parametrize("unzipped", [True, False])
def test_data_that_are_not_those_of_datasum_are_refused(tmp_path: Path, unzipped: bool) -> None:
    path = tmp_path / "a.pha"
    table = toy.pha()
    table.add_datasum()
    toy.save(path, table)
    read_spectrum(path)
    content = bytearray(path.read_bytes())
    content[-2885] ^= 1
    path.write_bytes(bytes(content) if unzipped else gzip.compress(content))
    with pytest.raises(IcflowError, match=r"not those that its DATASUM was made of.*fchecksum"):
        read_spectrum(path)


def test_a_sum_goes_on_where_another_ended() -> None:
    data = np.random.default_rng(1).integers(0, 256, 4002, np.uint8).tobytes()
    whole = binary_table.datasum(data)
    assert binary_table.datasum(data[2000:], binary_table.datasum(data[:2000])) == whole
    assert binary_table.datasum(b"\xff" * 8) == 0xFFFFFFFF


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(IcflowError, match="pipe: is a pipe or a device, not a file; give a file"):
        read_spectrum(tmp_path / "pipe")
    assert not binary_table.is_fits(tmp_path / "pipe")


def test_what_unfolds_to_more_than_any_spectrum_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binary_table, "MOST_UNZIPPED", 1 << 20)
    (tmp_path / "a.pha").write_bytes(gzip.compress(bytes(2 << 20)))
    with pytest.raises(IcflowError, match=r"a\.pha: unfolds to more than"):
        read_spectrum(tmp_path / "a.pha")


@pytest.mark.parametrize(
    "bounds, words",
    [
        ((toy.LOW, toy.HIGH), None),
        ((toy.LOW[::-1], toy.HIGH[::-1]), "photons of"),
        ((toy.LOW + 5 * (toy.LOW > 20), toy.HIGH + 5 * (toy.LOW > 20)), "have a gap at 20"),
        ((toy.LOW, toy.HIGH + 3), "have an overlap at 4.1 keV"),
        ((toy.LOW - 10, toy.HIGH - 10), "have negative energies, from -9 keV"),
        ((toy.LOW / 2, toy.HIGH / 2), "photons of .* keV mostly lead to channels of"),
    ],
    ids=["right", "fall", "gap", "overlap", "negative", "half"],
)
def test_channels_whose_energies_are_odd(tmp_path: Path, bounds: Any, words: str | None) -> None:
    toy.save(tmp_path / "a.rmf", *toy.rmf(bounds=bounds))
    notes = " ".join(read_rmf(tmp_path / "a.rmf").notes)
    assert (not notes) if words is None else re.search(words, notes), notes


def test_systematic_errors_are_not_left_out_in_silence(tmp_path: Path) -> None:
    errors = fits.Column("SYS_ERR", "E", array=np.full(toy.N, 0.1))
    for table, noted in (
        (toy.pha(columns=[errors]), True),
        (toy.pha(SYS_ERR=0.1), True),
        (toy.pha(SYS_ERR=0), False),
        (toy.pha(), False),
    ):
        toy.save(tmp_path / "a.pha", table)
        assert any("SYS_ERR" in note for note in read_spectrum(tmp_path / "a.pha").notes) == noted


def test_what_stands_twice_is_not_chosen_from(tmp_path: Path) -> None:
    path = tmp_path / "a.pha"
    toy.save(path, toy.pha(TWICE=2.0, ELSE="x"))
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"TWICE   =", b"EXPOSURE="))
    with pytest.raises(IcflowError, match=r"EXPOSURE stands twice, as 10000\.0 and 2\.0"):
        read_spectrum(path)
    # Of names that decide nothing the first is taken.
    path.write_bytes(whole.replace(b"ELSE    =", b"TELESCOP="))
    assert read_spectrum(path).telescope == "MADEUP"
    second = fits.Column("COUNTX", "J", array=np.ones(toy.N))
    toy.save(path, toy.pha(columns=[second]))
    path.write_bytes(path.read_bytes().replace(b"'COUNTX", b"'COUNTS"))
    with pytest.raises(IcflowError, match="has two columns COUNTS"):
        read_spectrum(path)


def test_more_columns_than_tables_have_are_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.pha"
    toy.save(path, toy.pha())
    whole = path.read_bytes()
    path.write_bytes(
        whole.replace(b"TFIELDS =                    2", b"TFIELDS =           2000000000")
    )
    assert path.read_bytes() != whole
    with pytest.raises(IcflowError, match=r"TFIELDS .* is 2000000000, not a size"):
        read_spectrum(path)
