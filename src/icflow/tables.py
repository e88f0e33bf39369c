"""Reading and writing the ECSV tables that the stages hand to each other."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from astropy.table import Table, vstack
from astropy.utils.metadata import MergeConflictWarning

from icflow.errors import IcflowError
from icflow.files import atomic_path
from icflow.typing import Floats, Integers


def read_table(path: str | os.PathLike[str], columns: Iterable[str] = ()) -> Table:
    """Read an ECSV table and check that it has certain columns.

    Raises
    ------
    IcflowError
        If the file is missing, is not whole, or lacks a column.
    """
    try:
        table = Table.read(Path(path), format="ascii.ecsv")
    except OSError as error:
        raise IcflowError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # The reader raises whatever it trips over first.
        reason = " ".join(str(error).split())[:200]
        raise IcflowError(
            f"{path}: not a whole ECSV table ({reason}); delete it and run the workflow again"
        ) from None
    missing = [name for name in columns if name not in table.colnames]
    if missing:
        raise IcflowError(
            f"{path}: lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
            "delete it and run the workflow again"
        )
    return table


def write_table(path: str | os.PathLike[str], table: Table) -> None:
    """Write an ECSV table atomically; the bytes depend on the table alone."""
    with atomic_path(path) as temporary:
        table.write(temporary, format="ascii.ecsv", overwrite=True)


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
            "delete it and run the workflow again"
        )
    rows: Integers = order[left]
    return rows
