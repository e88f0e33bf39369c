"""Binary tables of FITS files, decoded column by column from their bytes.

Not by astropy, because an RMF holds variable-length arrays, which it turns into
one Python object per row, because it drops keywords such as ``TLMIN4 = '0'`` (a
string, as in NuSTAR's RMF), and because it takes longer to import than a
spectrum to read. What is written goes through astropy. References: FITS Standard 4.0, section 7.3.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from icflow.errors import IcflowError
from icflow.files import atomic_path, reading
from icflow.ogip.headers import Header, read_headers
from icflow.typing import AnyArray, Integers

if TYPE_CHECKING:  # slow to import, and needed by those who write alone
    from astropy.io import fits

_ZIPPED = b"\x1f\x8b"
# TFORM codes that OGIP files use: FITS code -> big-endian numpy type.
_TYPES = {
    **dict.fromkeys("AL", "S1"),
    **dict.fromkeys("BX", "u1"),
    **dict.fromkeys("JP", ">i4"),
    **dict.fromkeys("KQ", ">i8"),
    **{"I": ">i2", "E": ">f4", "D": ">f8", "C": ">c8", "M": ">c16"},
}
# What to do about a file that is not whole.
AGAIN = "fetch or write the file again"
# More than a gzipped file of spectra holds: what unfolds to more is none.
MOST_UNZIPPED = 2 << 30  # bytes
# Tables of more bytes stay on disk, and are read in pieces.
LARGE, PIECE = 64 << 20, 8 << 20
# By the standard.
MOST_COLUMNS = 999
_FORM = re.compile(r"(\d*)([LXBIJKAEDCMPQ])([LBIJKEDA]?)")


@dataclass(frozen=True)
class Ragged:
    """A column of arrays of different lengths.

    Attributes
    ----------
    values : ndarray
        All arrays, one after another in the order of the rows.
    lengths : ndarray of int64, (n_rows,)
        Length of each row's array.
    """

    values: AnyArray
    lengths: Integers


@dataclass(frozen=True)
class _Column:
    """How a column is stored: in the row, and in the heap if its arrays vary in length."""

    number: int
    offset: int
    stored: np.dtype[Any]
    variable: np.dtype[Any] | None

    @property
    def is_text(self) -> bool:
        return (self.variable or self.stored).base.kind == "S"


@dataclass(frozen=True)
class OnDisk:
    """Bytes of a large table, left in their file and read piece by piece."""

    path: str
    start: int
    size: int

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, piece: slice) -> bytes:
        first, last, _ = piece.indices(self.size)
        with open(self.path, "rb") as file:
            file.seek(self.start + first)
            data = file.read(last - first)
        if len(data) < last - first:
            raise IcflowError(f"{self.path}: became shorter while it was read; {AGAIN}")
        return data


@dataclass(frozen=True)
class BinaryTable:
    """One binary table: its header and its bytes (rows, then the heap), and its number."""

    path: str
    name: str
    header: Mapping[str, Any]
    data: bytes | OnDisk
    hdu: int = 0

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return self._size("NAXIS2")

    @property
    def hduclass(self) -> tuple[str, str]:
        """Keywords HDUCLAS1 and HDUCLAS2, in upper case, empty when absent."""
        first, second = (self.text(key) or "" for key in ("HDUCLAS1", "HDUCLAS2"))
        return first.upper(), second.upper()

    def text(self, key: str) -> str | None:
        """Return a keyword as text without padding; None if absent or ``none``."""
        value = str(self.header.get(key, "")).strip()
        return None if value.lower() in ("", "none") else value

    def number(self, key: str) -> float | None:
        """Return a keyword as a number, also where it is stored as a string."""
        value = self.header.get(key)
        if value is None or isinstance(value, bool):
            return None
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise IcflowError(
                f"{self.path}: the keyword {key} of extension {self.name} is {value!r}; "
                "a number is expected"
            )
        return number

    def has(self, name: str) -> bool:
        """Tell whether the table has this column (upper and lower case are the same)."""
        return name.upper() in self._columns

    @property
    def names(self) -> list[str]:
        """Names of the columns, as written in the file."""
        return [
            str(self.header.get(f"TTYPE{n}", "")).strip()
            for n in range(1, self._size("TFIELDS") + 1)
        ]

    def minimum(self, name: str) -> int | None:
        """Return TLMIN of a column, the lowest value that it may hold; None if absent."""
        value = self.number(f"TLMIN{self._column(name).number}")
        return None if value is None else int(value)

    def unit(self, name: str) -> str:
        """Return the unit of a column, empty if the file gives none."""
        return str(self.header.get(f"TUNIT{self._column(name).number}", "")).strip()

    def column(self, name: str, *, text: bool = False) -> AnyArray | Ragged:
        """Return a column, byte order that of the machine; `text` allows one of strings.

        Returns
        -------
        ndarray or Ragged
            Shape (n_rows,) for scalars, (n_rows, k) for arrays of fixed length,
            `Ragged` for arrays of variable length.

        Raises
        ------
        IcflowError
            If there is no such column, its bytes are not in the file, or it
            holds no numbers.
        """
        column = self._column(name)
        if column.is_text and not text:
            raise IcflowError(
                f"{self.path}: the column {name} of extension {self.name} holds no numbers; "
                "fetch or write the file again"
            )
        if column.variable is not None:
            return self._ragged(name, self._stored(column, 0, self.n_rows), column)
        if isinstance(self.data, bytes):
            return self.rows(name, 0, self.n_rows)
        length = max(1, PIECE // max(1, self._size("NAXIS1")))
        values = np.empty((0,))
        for first in range(0, self.n_rows, length):
            piece = self.rows(name, first, min(first + length, self.n_rows))
            if first == 0:
                values = np.empty((self.n_rows, *piece.shape[1:]), piece.dtype)
            values[first : first + len(piece)] = piece
        return values

    def is_fixed(self, name: str) -> bool:
        """Tell whether every row of a column is as long as any other."""
        return self._column(name).variable is None

    def rows(self, name: str, first: int, stop: int) -> AnyArray:
        """Return some rows of a column of scalars or arrays of fixed length, as `column`."""
        column = self._column(name)
        return self._scaled(self._stored(column, first, stop), column)

    def _stored(self, column: _Column, first: int, stop: int) -> AnyArray:
        """Return some rows of a column as they are stored."""
        width = self._size("NAXIS1")
        row = np.dtype(
            {
                "names": ["column"],
                "formats": [column.stored],
                "offsets": [column.offset],
                "itemsize": width,
            }
        )
        if isinstance(self.data, bytes):
            return np.ndarray(stop - first, row, self.data, first * width)["column"]
        data = self.data[first * width : stop * width]
        return np.ndarray(stop - first, row, data)["column"]

    def vector(self, name: str, *, text: bool = False) -> AnyArray:
        """Return a column of scalars, shape (n_rows,); refuse arrays.

        Raises
        ------
        IcflowError
            As `column`, and if the column holds arrays.
        """
        values = self.column(name, text=text)
        if isinstance(values, Ragged) or values.ndim != 1:
            raise IcflowError(
                f"{self.path}: the column {name} of extension {self.name} holds arrays; "
                "one value per row is expected"
            )
        return values

    def integers(self, name: str) -> Integers:
        """Return a column of whole numbers, shape (n_rows,).

        Raises
        ------
        IcflowError
            As `vector`, and if a value is not whole.
        """
        return whole_numbers(self.vector(name), f"{self.path}: the column {name} of {self.name}")

    def _size(self, key: str) -> int:
        value = self.header.get(key)
        most = MOST_COLUMNS if key == "TFIELDS" else math.inf
        if not isinstance(value, int) or not 0 <= value <= most:
            raise IcflowError(
                f"{self.path}: the keyword {key} of extension {self.name} is {value!r}, not a "
                "size; fetch or write the file again"
            )
        return value

    @cached_property
    def _columns(self) -> dict[str, _Column]:
        columns: dict[str, _Column] = {}
        offset = 0
        for number, name in enumerate(self.names, start=1):
            form = str(self.header.get(f"TFORM{number}", "")).strip()
            match = _FORM.match(form)
            if match is None:
                raise IcflowError(
                    f"{self.path}: the column {name} of extension {self.name} has the format "
                    f"{form!r}, which is not FITS; write the file again"
                )
            stored, variable = _storage(int(match[1] or 1), match[2], match[3])
            if stored.itemsize and name and name.upper() in columns:
                raise IcflowError(
                    f"{self.path}: the extension {self.name} has two columns {name}; write the "
                    "file again with one"
                )
            if stored.itemsize:
                columns[name.upper()] = _Column(number, offset, stored, variable)
            offset += stored.itemsize
        if offset != self._size("NAXIS1"):
            raise IcflowError(
                f"{self.path}: the columns of extension {self.name} take {offset} bytes a row, its "
                f"header says {self._size('NAXIS1')}; fetch or write the file again"
            )
        return columns

    def _column(self, name: str) -> _Column:
        if name.upper() not in self._columns:
            raise IcflowError(
                f"{self.path}: extension {self.name} has no column {name} "
                f"(it has {', '.join(self.names)})"
            )
        return self._columns[name.upper()]

    def _ragged(self, name: str, descriptors: AnyArray, column: _Column) -> Ragged:
        assert column.variable is not None
        rows = self.n_rows * self._size("NAXIS1")
        heap = self._size("THEAP") if "THEAP" in self.header else rows
        lengths = descriptors[:, 0].astype(np.int64)
        starts = heap + descriptors[:, 1].astype(np.int64)
        stops = starts + lengths * column.variable.itemsize
        filled = lengths > 0
        if np.any(lengths < 0) or np.any((starts[filled] < 0) | (stops[filled] > len(self.data))):
            raise IcflowError(
                f"{self.path}: the column {name} of extension {self.name} points outside the "
                "file; fetch or write the file again"
            )
        data = self.data[:]
        arrays = [
            np.frombuffer(data, column.variable, int(length), int(start))
            for length, start in zip(lengths, starts, strict=True)
            if length
        ]
        values = np.concatenate(arrays) if arrays else np.empty(0, column.variable)
        return Ragged(self._scaled(values, column), lengths)

    def _scaled(self, values: AnyArray, column: _Column) -> AnyArray:
        """Apply TSCAL and TZERO (unsigned integers are stored with them)."""
        scale = self.number(f"TSCAL{column.number}")
        zero = self.number(f"TZERO{column.number}")
        native = values.astype(values.dtype.newbyteorder("="), copy=False)
        if scale in (None, 1.0) and not zero:
            return native
        scaled = native * (1.0 if scale is None else scale) + (zero or 0.0)
        integral = native.dtype.kind in "iu" and scale in (None, 1.0)
        return scaled.astype(np.int64) if integral else scaled


def _storage(repeat: int, code: str, element: str) -> tuple[np.dtype[Any], np.dtype[Any] | None]:
    """Return what a format (``16E``, ``PJ``) stores in a row, and in the heap."""
    if code == "A":
        return np.dtype(f"S{repeat}"), None
    if code in "PQ":  # length and start of each row's array
        return np.dtype((_TYPES[code], (2 * repeat,))), np.dtype(_TYPES[element or "B"])
    number = (repeat + 7) // 8 if code == "X" else repeat
    return np.dtype(_TYPES[code] if number == 1 else (_TYPES[code], (number,))), None


def ranges(starts: Integers, lengths: Integers) -> Integers:
    """Return ``starts[i], starts[i] + 1, …`` (`lengths[i]` of them) for every i in turn."""
    before = np.cumsum(lengths) - lengths
    numbers: Integers = np.arange(int(lengths.sum())) + np.repeat(starts - before, lengths)
    return numbers


def whole_numbers(values: AnyArray, what: str) -> Integers:
    """Return values that have to be whole numbers of four bytes; `what` names them in errors.

    Raises
    ------
    IcflowError
        If one is not.
    """
    numbers = values.astype(np.float64)
    bad = ~(np.abs(numbers) < 2.0**31) | (numbers != np.rint(numbers))
    if np.any(bad):
        raise IcflowError(f"{what} holds {numbers[bad][0]:g}, not a whole number; correct it")
    return numbers.astype(np.int64)


def read_tables(path: str | Path) -> list[BinaryTable]:
    """Read every binary table of a FITS file, plain or gzipped.

    Raises
    ------
    IcflowError
        If the file is missing, unreadable, not FITS, shorter than its headers
        say, or not what its DATASUM says.
    """
    name = str(path)
    if not Path(path).exists():
        raise IcflowError(f"{name}: no such file; give the path of an existing FITS file")
    with reading(path, "a complete FITS file", AGAIN), _open(path) as file:
        # All headers first: nothing is read of a file that is no longer FITS further behind.
        headers = list(read_headers(file))
        return [
            _read_table(file, name, header, number)
            for number, header in enumerate(headers)
            if header.is_table
        ]


def read_first_table(path: str | Path) -> BinaryTable:
    """Read the first binary table of a FITS file and nothing behind it.

    Raises
    ------
    IcflowError
        As `read_tables`, and if there is none.
    """
    with reading(path, "a complete FITS file", AGAIN), _open(path) as file:
        for number, header in enumerate(read_headers(file)):
            if header.is_table:
                return _read_table(file, str(path), header, number)
    raise IcflowError(f"{path}: holds no table; {AGAIN}")


def is_fits(path: str | Path) -> bool:
    """Tell whether a file is a FITS file, plain or gzipped, by its first bytes."""
    try:
        if not Path(path).is_file():
            return False
        with open(path, "rb") as file:
            first = file.read(6)
        if first.startswith(_ZIPPED):
            with gzip.open(path) as unzipped:
                first = unzipped.read(6)
        return first == b"SIMPLE"
    except (OSError, EOFError, ValueError, zlib.error):
        return False


def write_tables(path: str | os.PathLike[str], tables: Sequence[fits.BinTableHDU]) -> None:
    """Write a FITS file of binary tables, whole or not at all."""
    from astropy.io import fits

    with atomic_path(path) as temporary:
        fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(temporary, overwrite=True)


def _read_table(file: IO[bytes], path: str, header: Header, number: int) -> BinaryTable:
    keywords, name, start = header.keywords, header.name, header.start
    size = int(keywords["NAXIS1"]) * int(keywords["NAXIS2"]) + int(keywords["PCOUNT"])
    there = max(0, file.seek(0, os.SEEK_END) - start)
    if not 0 <= size <= there:
        raise IcflowError(
            f"{path}: truncated, the extension {name} needs {size} bytes and {there} are there; "
            f"{AGAIN}"
        )
    data: bytes | OnDisk = OnDisk(path, start, size)
    if size < LARGE or isinstance(file, io.BytesIO):
        file.seek(start)
        data = file.read(size)
    table = BinaryTable(path, name, keywords, data, number)
    stated = table.text("DATASUM")
    if stated is not None and stated != str(_datasum_of(data)):
        raise IcflowError(
            f"{path}: the data of the extension {name} are not those that its DATASUM was made of: "
            f"the file is damaged, or was edited by a tool that left DATASUM alone; {AGAIN}, or "
            "correct the keyword (`fchecksum FILE update+ datasum+`)"
        )
    return table


def _datasum_of(data: bytes | OnDisk) -> int:
    total = 0
    for first in range(0, len(data), PIECE):
        total = datasum(data[first : first + PIECE], total)
    return total


def datasum(data: bytes, before: int = 0) -> int:
    """Return the sum that the keyword DATASUM holds (FITS Standard 4.0, section 4.4.2.7).

    Parameters
    ----------
    before : int
        That of the data before; these are a multiple of four bytes then.
    """
    words = np.frombuffer(data + bytes(-len(data) % 4), ">u4")
    total = before + int(words.sum(dtype=np.uint64))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def _open(path: str | Path) -> IO[bytes]:
    """Open a file, in memory if it is gzipped."""
    file = open(path, "rb")  # noqa: SIM115 - whoever reads it closes it
    if file.read(2) != _ZIPPED:
        file.seek(0)
        return file
    with file, gzip.open(path) as unzipped:
        content = unzipped.read(MOST_UNZIPPED + 1)
    if len(content) > MOST_UNZIPPED:
        raise IcflowError(
            f"{path}: unfolds to more than {MOST_UNZIPPED >> 30} GiB, which no such file holds; "
            "gunzip it if it is meant"
        )
    return io.BytesIO(content)
