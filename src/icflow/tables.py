"""Tables: reading and writing them, their numbers as text, and as Markdown and CSV.

What the stages hand to each other are ECSV tables, which keep units and metadata:
tables of astropy, or plain columns where all there is to do is to write them. What
is made for readers (confusion matrices, Table 1, scans) is put together as a data
frame of pandas, numbers with intervals as text.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from icflow import ecsv
from icflow.ecsv import Columns
from icflow.errors import IcflowError
from icflow.files import atomic_path, reading
from icflow.typing import AnyArray, Floats, Integers

if TYPE_CHECKING:  # slow to import, and few need it: kept out of the start of the workflow
    import pandas as pd
    from astropy.table import Table

_LATEX_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "Δ": r"$\Delta$",
    **{letter: "\\" + letter for letter in "&%$#_{}"},
}


_MATHEMATICS = re.compile(r"(\$[^$]+\$)")

# What to do about a table that is not whole.
AGAIN = "delete it and run the workflow again"
_NO_CHECKSUM = b"0" * 64
_CHECKSUM = re.compile(rb"^# .*checksum: '?([0-9a-f]{64})", re.MULTILINE)


# --- files --------------------------------------------------------------------------


def read_table(path: str | os.PathLike[str], columns: Iterable[str] = (), **of: str | int) -> Table:
    """Read an ECSV table and check that it has certain columns.

    Parameters
    ----------
    **of
        What it should be of, as its metadata say, ``dataset="test_2T"``; what they do not say is
        not checked.

    Raises
    ------
    IcflowError
        If the file is missing, is not whole, lacks a column, or is of something else.
    """
    from astropy.table import Table

    with reading(path, "a whole ECSV table", AGAIN):
        _check_seal(path, Path(path).read_bytes())
        table = Table.read(Path(path), format="ascii.ecsv")
    table.meta.pop("checksum", None)
    for what, name in of.items():
        if table.meta.get(what, name) != name:
            raise IcflowError(
                f"{path}: is of {what} {table.meta[what]}, and was to be of {what} {name}; {AGAIN}"
            )
    _check_columns(path, columns, table.colnames)
    return table


def write_table(path: str | os.PathLike[str], table: Table | Columns) -> None:
    """Write an ECSV table atomically; the bytes depend on the table alone.

    Its metadata end with the SHA-256 of the file as it is with 64 zeros in that place.
    """
    with atomic_path(path) as temporary:
        if isinstance(table, Columns):
            meta = {**table.meta, "checksum": _NO_CHECKSUM.decode()}
            content = ecsv.text(replace(table, meta=meta)).encode()
        else:
            sealed = table.copy(copy_data=False)
            sealed.meta["checksum"] = _NO_CHECKSUM.decode()
            sealed.write(temporary, format="ascii.ecsv", overwrite=True)
            content = temporary.read_bytes()
        checksum = hashlib.sha256(content).hexdigest().encode()
        temporary.write_bytes(content.replace(_NO_CHECKSUM, checksum, 1))


def _check_seal(path: str | os.PathLike[str], content: bytes) -> None:
    """Check that a table is as it was written, if it says how: tables of others do not."""
    match = _CHECKSUM.search(content)
    if match is None:
        return
    sealed = content[: match.start(1)] + _NO_CHECKSUM + content[match.end(1) :]
    if hashlib.sha256(sealed).hexdigest().encode() != match[1]:
        raise IcflowError(f"{path}: not as it was written, but damaged or edited; {AGAIN}")


def read_csv(
    path: str | os.PathLike[str],
    columns: Iterable[str] = (),
    *,
    separator: str = ",",
    undefined: Sequence[str] = ("nan",),
) -> pd.DataFrame:
    """Read a CSV table and check that it has certain columns.

    Parameters
    ----------
    path : path
        The file.
    columns : iterable of str
        Columns that it must have.
    separator : str
        What stands between two cells.
    undefined : sequence of str
        Cells that stand for NaN.

    Raises
    ------
    IcflowError
        If the file is missing, is not a table, or lacks a column.
    """
    import pandas as pd

    with reading(path, "a table", "make it again"):
        frame = pd.read_csv(path, sep=separator, keep_default_na=False, na_values=list(undefined))
    _check_columns(path, columns, frame.columns)
    return frame


def _check_columns(
    path: str | os.PathLike[str], columns: Iterable[str], present: Iterable[str]
) -> None:
    missing = [name for name in columns if name not in set(present)]
    if missing:
        raise IcflowError(
            f"{path}: lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; {AGAIN}"
        )


# --- columns and rows ---------------------------------------------------------------


def floats(table: Table, name: str) -> Floats:
    """Return a column as plain numbers, NaN where it is masked."""
    column = table[name]
    values = np.array(np.ma.getdata(column), dtype=float)
    values[np.ma.getmaskarray(column)] = np.nan
    return values


def strings(table: Table, name: str) -> list[str]:
    """Return a column as text, empty where it is masked."""
    return [str(value) for value in np.ma.filled(table[name].astype(str), "")]


def parameters(table: Table) -> list[str]:
    """Return the names of the free parameters in a table of fits, links left out.

    Raises
    ------
    IcflowError
        If the table does not say which these are.
    """
    free = table.meta.get("free")
    missing = [name for name in free or () if name not in table.colnames]
    if free is None or missing:
        raise IcflowError(
            f"the fits {table.meta.get('fit', '')} do not say what was free, or lack it; fit again"
        )
    return list(free)


def stack(tables: Sequence[Table]) -> Table:
    """Put the rows of tables (shards of one whole) one after the other.

    The metadata is that of the first table.
    """
    if len(tables) == 1:
        return tables[0]
    from astropy.table import vstack
    from astropy.utils.metadata import MergeConflictWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MergeConflictWarning)
        whole = vstack(list(tables), join_type="exact", metadata_conflicts="silent")
    whole.meta = tables[0].meta
    return whole


def rows_of(index: Integers, wanted: Integers, what: str) -> Integers:
    """Return the rows that hold the wanted spectra, in the wanted order.

    Parameters
    ----------
    index : (m,) int
        Spectrum indices of the rows of a table.
    wanted : (n,) int
        Spectrum indices to find.
    what : str
        Name of the table, for the error.

    Raises
    ------
    IcflowError
        If a wanted spectrum has no row, or more than one.
    """
    index, wanted = np.asarray(index, dtype=np.int64), np.asarray(wanted, dtype=np.int64)
    order = np.argsort(index, kind="stable")
    left = np.searchsorted(index[order], wanted, side="left")
    found = np.searchsorted(index[order], wanted, side="right") - left
    if np.any(found != 1):
        first = int(wanted[np.flatnonzero(found != 1)[0]])
        number = "no row" if not np.any(index == first) else "several rows"
        raise IcflowError(
            f"{what}: {number} for spectrum {first} ({int(np.sum(found != 1))} such spectra); "
            f"{AGAIN}"
        )
    rows: Integers = order[left]
    return rows


# --- numbers ------------------------------------------------------------------------


def rounded(values: Sequence[float] | AnyArray, digits: int) -> Floats:
    """Return numbers with so many significant digits, as the shortest text gives them.

    Parameters
    ----------
    values : (n,) numbers
        In single or double precision.
    digits : int
        Nine keep what a fit is good for, seven what single precision holds.

    Returns
    -------
    (n,) float
    """
    numbers = np.asarray(values, dtype=np.float64).tolist()
    return np.array([float(f"{value:.{digits}g}") for value in numbers], dtype=np.float64)


def finite(value: float) -> float | None:
    """Return a number as JSON takes it, which knows neither NaN nor infinity."""
    return value if math.isfinite(value) else None


def decimal(value: float | None, digits: int) -> str:
    """Return a number with so many decimals, ``nan`` where it is undefined.

    It is rounded as `csv` writes it first, so that a page and its table agree on halves.
    """
    return "nan" if value is None or math.isnan(value) else f"{float(f'{value:.6g}'):.{digits}f}"


# --- text ---------------------------------------------------------------------------


def csv(frame: pd.DataFrame) -> str:
    """Return a data frame as CSV without its index, ``nan`` where undefined.

    Parameters
    ----------
    frame : DataFrame
        Of texts, integers and floating-point numbers, of which six digits are written.
    """
    texts = frame.map(lambda cell: f"{cell:.6g}" if isinstance(cell, float) else cell)
    text: str = texts.to_csv(index=False, na_rep="nan", lineterminator="\n")
    return text


def markdown(frame: pd.DataFrame, words: int = 1) -> str:
    """Return a data frame of texts as a Markdown table without its index.

    Parameters
    ----------
    frame : DataFrame
        Of texts; several columns may have the same name.
    words : int
        So many leading columns hold words, aligned to the left. The others hold
        numbers, aligned to the right.

    Returns
    -------
    str
        Without a line break at its end.
    """
    header = [str(name) for name in frame.columns]
    rules = ["---" if column < words else "---:" for column in range(len(header))]
    rows = [[str(cell).replace("|", r"\|") for cell in row] for row in frame.to_numpy()]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rules, *rows))


def latex_text(text: str) -> str:
    """Return text in which LaTeX finds nothing special but mathematics, as figures do."""
    # As matplotlib, which takes one dollar too many for a dollar, and all others with it.
    parts = _MATHEMATICS.split(text) if text.count("$") % 2 == 0 else [text]
    plain = ["".join(_LATEX_SPECIAL.get(letter, letter) for letter in part) for part in parts[::2]]
    return "".join(a + b for a, b in zip(plain, [*parts[1::2], ""], strict=True))
