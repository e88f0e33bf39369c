"""Binary tables of FITS files, decoded column by column from their bytes.

astropy finds the extensions and reads the headers; the rows are decoded here,
because an RMF holds variable-length arrays, which astropy turns into one Python
object per row, and because astropy drops keywords such as ``TLMIN4 = '0'`` (a
string, as in NuSTAR's RMF). References: FITS Standard 4.0, section 7.3.
"""

from __future__ import annotations

import gzip
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from icflow.errors import IcflowError
from icflow.typing import AnyArray, Integers

# TFORM codes that OGIP files use: FITS code -> big-endian numpy type.
_TYPES = {
    "L": "S1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8",
    "E": ">f4", "D": ">f8", "A": "S1", "X": "u1", "C": ">c8", "M": ">c16",
    "P": ">i4", "Q": ">i8",
}  # fmt: skip
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
    """Where a column lies in a row, and how it is stored."""

    number: int
    offset: int
    width: int
    dtype: np.dtype[Any]
    repeat: int
    variable: np.dtype[Any] | None


@dataclass(frozen=True)
class Table:
    """One binary table: its header and its bytes (rows, then the heap)."""

    path: str
    name: str
    header: Mapping[str, Any]
    data: bytes

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
            return float(value)
        except (TypeError, ValueError):
            raise IcflowError(
                f"{self.path}: the keyword {key} of extension {self.name} is {value!r}; "
                "a number is expected"
            ) from None

    def has(self, name: str) -> bool:
        """Tell whether the table has this column (upper and lower case are the same)."""
        return name.upper() in self._columns()

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
        if (column.variable or column.dtype).kind == "S" and not text:
            raise IcflowError(
                f"{self.path}: the column {name} of extension {self.name} holds no numbers; "
                "fetch or write the file again"
            )
        width = self._size("NAXIS1")
        rows = np.frombuffer(self.data, np.uint8, self.n_rows * width).reshape(self.n_rows, width)
        raw = np.ascontiguousarray(rows[:, column.offset : column.offset + column.width])
        values = raw.view(column.dtype)
        if column.variable is not None:
            return self._ragged(name, values.reshape(self.n_rows, 2), column)
        values = values.reshape(self.n_rows, -1)
        if column.repeat == 1 or column.dtype.kind == "S":
            values = values[:, 0]
        return self._scaled(values, column)

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

    def _size(self, key: str) -> int:
        value = self.header.get(key)
        if not isinstance(value, int) or value < 0:
            raise IcflowError(
                f"{self.path}: the keyword {key} of extension {self.name} is {value!r}, not a "
                "size; fetch or write the file again"
            )
        return value

    def _columns(self) -> dict[str, _Column]:
        columns: dict[str, _Column] = {}
        offset = 0
        for position, name in enumerate(self.names, start=1):
            form = str(self.header.get(f"TFORM{position}", "")).strip()
            match = _FORM.match(form)
            if match is None:
                raise IcflowError(
                    f"{self.path}: the column {name} of extension {self.name} has the format "
                    f"{form!r}, which is not FITS; write the file again"
                )
            repeat = int(match[1]) if match[1] else 1
            code = match[2]
            variable = None
            if code == "A":
                dtype, width = np.dtype(f"S{max(repeat, 1)}"), repeat
            elif code == "X":
                dtype, width = np.dtype("u1"), (repeat + 7) // 8
            elif code in "PQ":
                dtype = np.dtype(_TYPES[code])
                width = 2 * dtype.itemsize * repeat
                variable = np.dtype(_TYPES[match[3] or "B"])
            else:
                dtype = np.dtype(_TYPES[code])
                width = dtype.itemsize * repeat
            if width:
                columns[name.upper()] = _Column(position, offset, width, dtype, repeat, variable)
            offset += width
        if offset != self._size("NAXIS1"):
            raise IcflowError(
                f"{self.path}: the columns of extension {self.name} take {offset} bytes a row, its "
                f"header says {self._size('NAXIS1')}; fetch or write the file again"
            )
        return columns

    def _column(self, name: str) -> _Column:
        columns = self._columns()
        if name.upper() not in columns:
            raise IcflowError(
                f"{self.path}: extension {self.name} has no column {name} "
                f"(it has {', '.join(self.names)})"
            )
        return columns[name.upper()]

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
        arrays = [
            np.frombuffer(self.data, column.variable, int(length), int(start))
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


def read_tables(path: str | Path) -> list[Table]:
    """Read every binary table of a FITS file, plain or gzipped.

    Raises
    ------
    IcflowError
        If the file is missing, unreadable, not FITS, or shorter than its
        headers say.
    """
    name = str(path)
    if not Path(path).is_file():
        raise IcflowError(f"{name}: no such file; give the path of an existing FITS file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(path, memmap=False, lazy_load_hdus=False) as hdus:
                found = [
                    (hdu.name, _keywords(hdu.header), hdu.fileinfo())
                    for hdu in hdus
                    if isinstance(hdu, fits.BinTableHDU)
                ]
        with _open(path) as file:
            tables = []
            for extension, header, info in found:
                file.seek(info["datLoc"])
                size = int(header["NAXIS1"]) * int(header["NAXIS2"]) + int(header["PCOUNT"])
                tables.append(Table(name, extension, header, file.read(size)))
                if len(tables[-1].data) < size:
                    raise IcflowError(
                        f"{name}: truncated, the extension {extension} needs {size} bytes and "
                        f"{len(tables[-1].data)} are there; fetch or write the file again"
                    )
    except IcflowError:
        raise
    except PermissionError:
        raise IcflowError(f"{name}: cannot be read; check its permissions") from None
    except (OSError, EOFError, ValueError, KeyError, TypeError, fits.VerifyError) as error:
        raise IcflowError(
            f"{name}: not a complete FITS file ({str(error).split(',')[0].strip()}); "
            "fetch or write the file again"
        ) from None
    return tables


def _keywords(header: fits.Header) -> dict[str, Any]:
    """Return a header's keywords and values, without commentary.

    Cards that break the FITS standard (a quote that is not closed, say) are
    common in real files and are left out: what needs them says that it is missing.
    """
    keywords: dict[str, Any] = {}
    for card in header.cards:
        try:
            if card.keyword not in ("", "COMMENT", "HISTORY"):
                keywords.setdefault(card.keyword, card.value)
        except fits.VerifyError:
            continue
    return keywords


def _open(path: str | Path) -> Any:
    with open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if zipped else open(path, "rb")


def describe(tables: list[Table]) -> str:
    """Say in words what kind of OGIP file this is, for errors."""
    if any(is_matrix(table) for table in tables):
        return "a redistribution matrix (RMF)"
    if any(is_area(table) for table in tables):
        return "an effective area (ARF)"
    if any(is_spectrum(table) for table in tables):
        return "a spectrum (PHA)"
    names = ", ".join(table.name or "unnamed" for table in tables)
    return f"a FITS file with the tables {names}" if names else "a FITS file without tables"


def is_matrix(table: Table) -> bool:
    """Tell whether a table is a redistribution matrix (OGIP CAL/GEN/92-002)."""
    first, second = table.hduclass
    known = ("MATRIX", "SPECRESP MATRIX")
    return (first == "RESPONSE" and second == "RSP_MATRIX") or table.name.upper() in known


def is_area(table: Table) -> bool:
    """Tell whether a table is an effective area (OGIP CAL/GEN/92-002)."""
    return table.hduclass == ("RESPONSE", "SPECRESP") or table.name.upper() == "SPECRESP"


def is_spectrum(table: Table) -> bool:
    """Tell whether a table is a PHA spectrum (OGIP/92-007)."""
    return table.hduclass[0] == "SPECTRUM" or table.name.upper() == "SPECTRUM"
