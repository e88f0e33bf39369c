"""What PHA files state as a keyword or as a column."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from icflow.errors import IcflowError
from icflow.ogip.binary_table import read_tables
from icflow.ogip.keywords import Row


def row(
    folder: Path, header: dict[str, Any], columns: dict[str, tuple[str, Any]], at: int | None = None
) -> Row:
    """A table with three channels, or the row `at` of one with two spectra."""
    counts = [1, 2, 3] if at is None else [[1, 2, 3], [4, 5, 6]]
    columns = {"COUNTS": ("J" if at is None else "3J", counts), **columns}
    table = fits.BinTableHDU.from_columns(
        [fits.Column(name, form, array=values) for name, (form, values) in columns.items()],
        name="SPECTRUM",
    )
    table.header.update(header)
    table.writeto(folder / "a.pha", overwrite=True)
    return Row(read_tables(folder / "a.pha")[0], at, 3)


def test_keywords_are_single_precision_and_columns_are_not(tmp_path: Path) -> None:
    # XSPEC 12.9.1 reads 23456.7 s as 23456.69921875 s, and an area of 0.7 as 0.699999988.
    spectrum = row(tmp_path, {"EXPOSURE": 23456.7, "AREASCAL": 0.7}, {})
    assert spectrum.positive("EXPOSURE", "add it") == 23456.69921875
    assert spectrum.positive("EXPOSURE", "add it", single=False) == 23456.7
    assert spectrum.scale("AREASCAL", []) == pytest.approx(0.699999988, abs=1e-9)
    spectrum = row(tmp_path, {}, {"EXPOSURE": ("D", [1.0, 23456.7])}, at=1)
    assert spectrum.positive("EXPOSURE", "add it") == 23456.7


def test_a_scale_is_one_number_or_one_for_each_channel(tmp_path: Path) -> None:
    notes: list[str] = []
    assert row(tmp_path, {}, {}).scale("BACKSCAL", notes) is None
    assert row(tmp_path, {}, {"BACKSCAL": ("E", [2.0] * 3)}).scale("BACKSCAL", notes) == 2.0
    varying = row(tmp_path, {}, {"BACKSCAL": ("E", [2.0, 0.0, 4.0])}).scale("BACKSCAL", notes)
    np.testing.assert_array_equal(varying, [2.0, 1.0, 4.0])
    assert notes == [f"{tmp_path}/a.pha: BACKSCAL is 0, which is taken for 1"]
    spectra = {"BACKSCAL": ("3E", [[1.0] * 3, [1.0, 2.0, 3.0]])}
    np.testing.assert_array_equal(row(tmp_path, {}, spectra, 1).scale("BACKSCAL", []), [1, 2, 3])
    assert row(tmp_path, {}, {"BACKSCAL": ("E", [5.0, 7.0])}, 1).scale("BACKSCAL", []) == 7.0
    for value in (-1.0, "wide", float("nan")):
        header = {} if value != value else {"AREASCAL": value}
        columns = {"AREASCAL": ("E", [1.0, value, 1.0])} if value != value else {}
        with pytest.raises(IcflowError, match=r"a\.pha: AREASCAL is .*, not a positive number"):
            row(tmp_path, header, columns).scale("AREASCAL", [])


def test_flags_are_a_column_or_a_keyword(tmp_path: Path) -> None:
    assert row(tmp_path, {"QUALITY": 0}, {}).flags("QUALITY") is None
    np.testing.assert_array_equal(row(tmp_path, {"QUALITY": 5}, {}).flags("QUALITY"), [5, 5, 5])
    column = {"QUALITY": ("I", [0, 1, 2])}
    np.testing.assert_array_equal(row(tmp_path, {}, column).flags("QUALITY"), [0, 1, 2])


def test_names_of_files_are_none_if_they_say_so(tmp_path: Path) -> None:
    header = {"RESPFILE": " a.rmf ", "ANCRFILE": "NONE", "BACKFILE": ""}
    spectrum = row(tmp_path, header, {})
    assert [spectrum.text(key) for key in ("RESPFILE", "ANCRFILE", "BACKFILE", "CORRFILE")] == [
        "a.rmf", None, None, None,
    ]  # fmt: skip
    names = {"RESPFILE": ("8A", ["one.rmf", "two.rmf"])}
    assert row(tmp_path, {}, names, 1).text("RESPFILE") == "two.rmf"


def test_what_varies_with_channel_and_must_not(tmp_path: Path) -> None:
    columns = {"EXPOSURE": ("D", [1.0, 2.0, 3.0])}
    with pytest.raises(IcflowError, match="EXPOSURE varies with channel"):
        row(tmp_path, {}, columns).positive("EXPOSURE", "add it")
