"""Columns of FITS tables, decoded from their bytes."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from icflow.errors import IcflowError
from icflow.ogip.binary_table import BinaryTable, Ragged, read_tables, write_tables


def extension(name: str = "DATA", **columns: tuple[str, Any]) -> fits.BinTableHDU:
    return fits.BinTableHDU.from_columns(
        [fits.Column(key, form, array=values) for key, (form, values) in columns.items()],
        name=name,
    )


def written(path: Path, **columns: tuple[str, Any]) -> BinaryTable:
    write_tables(path, [extension(**columns)])
    (table,) = read_tables(path)
    return table


@pytest.mark.parametrize(
    ("form", "values"),
    [
        ("B", np.array([0, 255], np.uint8)),
        ("I", np.array([-3, 2], np.int16)),
        ("J", np.array([-70000, 2], np.int32)),
        ("K", np.array([2**40, 2], np.int64)),
        ("E", np.array([0.1, 2], np.float32)),
        ("D", np.array([0.1, 2], np.float64)),
        ("3E", np.arange(6, dtype=np.float32).reshape(2, 3)),
    ],
)
def test_numbers_come_back_in_the_order_of_the_machine(
    tmp_path: Path, form: str, values: np.ndarray
) -> None:
    table = written(tmp_path / "a.fits", before=("5A", ["x", "y"]), value=(form, values))
    column = table.column("VALUE")
    assert isinstance(column, np.ndarray)
    assert column.dtype == values.dtype and column.dtype.isnative
    np.testing.assert_array_equal(column, values)
    assert table.has("value") and not table.has("other")
    assert table.names == ["before", "value"]
    assert table.n_rows == 2


def test_arrays_of_different_lengths(tmp_path: Path) -> None:
    arrays = np.array([np.array([1, 2, 3]), np.array([], int), np.array([4])], dtype=object)
    column = written(tmp_path / "a.fits", value=("PJ()", arrays)).column("value")
    assert isinstance(column, Ragged)
    assert column.values.tolist() == [1, 2, 3, 4]
    assert column.lengths.tolist() == [3, 0, 1]


def test_unsigned_and_scaled_numbers(tmp_path: Path) -> None:
    hdu = extension(u=("I", [-32768, 32767]), s=("I", [0, 3]))
    path = tmp_path / "a.fits"
    write_tables(path, [hdu])
    with fits.open(path, mode="update", do_not_scale_image_data=True) as hdus:
        hdus[1].header.update({"TZERO1": 32768, "TSCAL2": 0.5, "TZERO2": 1.0})
    (table,) = read_tables(path)
    unsigned = table.vector("u")
    assert unsigned.dtype == np.int64
    assert unsigned.tolist() == [0, 65535]
    assert table.vector("s").tolist() == [1.0, 2.5]


def test_text_only_where_it_is_expected(tmp_path: Path) -> None:
    table = written(tmp_path / "a.fits", word=("4A", ["none", "b"]), bits=("X", [[True], [False]]))
    assert table.vector("word", text=True).tolist() == [b"none", b"b"]
    with pytest.raises(IcflowError, match=r"a\.fits: the column word .* holds no numbers"):
        table.vector("word")


def test_arrays_where_one_value_is_expected(tmp_path: Path) -> None:
    table = written(tmp_path / "a.fits", value=("2J", [[1, 2]]))
    with pytest.raises(IcflowError, match=r"the column value .* holds arrays"):
        table.vector("value")
    with pytest.raises(IcflowError, match=r"has no column other \(it has value\)"):
        table.column("other")


def test_table_without_rows(tmp_path: Path) -> None:
    table = written(tmp_path / "a.fits", value=("J", np.array([], np.int32)))
    assert table.vector("value").shape == (0,)


def test_keywords(tmp_path: Path) -> None:
    hdu = extension(value=("J", [1]))
    hdu.header.update({"A": " x ", "B": "none", "C": "4", "D": True, "TLMIN1": "0", "E": "x"})
    write_tables(tmp_path / "a.fits", [hdu])
    (table,) = read_tables(tmp_path / "a.fits")
    assert [table.text(key) for key in ("A", "B", "Z")] == ["x", None, None]
    assert [table.number(key) for key in ("C", "D", "Z")] == [4.0, None, None]
    assert table.minimum("value") == 0
    with pytest.raises(IcflowError, match=r"the keyword E .* is 'x'; a number is expected"):
        table.number("E")


def test_zipped_files_are_read_and_cut_ones_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    write_tables(path, [extension(value=("D", np.arange(2000.0)))])
    content = path.read_bytes()
    (tmp_path / "a.fits.gz").write_bytes(gzip.compress(content))
    (table,) = read_tables(tmp_path / "a.fits.gz")
    assert table.vector("value")[-1] == 1999
    path.write_bytes(content[:8000])
    with pytest.raises(IcflowError, match=r"a\.fits: (truncated|not a complete FITS file)"):
        read_tables(path)
    with pytest.raises(IcflowError, match=r"no such file"):
        read_tables(tmp_path / "b.fits")
