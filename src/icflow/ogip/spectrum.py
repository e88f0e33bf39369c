"""One observed spectrum: PHA files of type I, and single rows of those of type II.

The format is OGIP memo OGIP/92-007 (Arnaud, George & Tennant). The bytes
written depend on the content alone: no dates.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits

from icflow.errors import IcflowError
from icflow.ogip.binary_table import BinaryTable, read_tables, write_tables
from icflow.ogip.kinds import describe, is_spectrum
from icflow.typing import AnyArray, Integers


class PhaKeywords:
    """The header of a PHA file, from what every spectrum states."""

    channel: Integers
    exposure: float
    respfile: str | None
    ancrfile: str | None
    telescope: str
    instrument: str

    def keywords(self) -> dict[str, Any]:
        """Return the keywords that OGIP/92-007 asks for, of a spectrum without background."""
        return {
            "TELESCOP": self.telescope or "UNKNOWN",
            "INSTRUME": self.instrument or "UNKNOWN",
            "FILTER": "NONE",
            "EXPOSURE": float(self.exposure),
            "AREASCAL": 1.0,
            "BACKSCAL": 1.0,
            "CORRSCAL": 0.0,
            "BACKFILE": "none",
            "CORRFILE": "none",
            "RESPFILE": self.respfile or "none",
            "ANCRFILE": self.ancrfile or "none",
            "HDUCLASS": "OGIP",
            "HDUCLAS1": "SPECTRUM",
            "HDUCLAS2": "TOTAL",
            "HDUCLAS3": "COUNT",
            "HDUVERS": "1.2.1",
            "CHANTYPE": "PI",
            "DETCHANS": int(self.channel.size),
            "POISSERR": True,
            "STAT_ERR": 0,
            "SYS_ERR": 0,
        }


@dataclass(frozen=True)
class Spectrum(PhaKeywords):
    """One observed spectrum.

    Attributes
    ----------
    channel : ndarray of int64, (n_channels,)
        Channel numbers, consecutive, in the file's own counting.
    counts : ndarray of int64, (n_channels,)
        Counts per channel.
    exposure : float
        Exposure, s.
    path : str
        The file that it was read from.
    backscal, areascal : float
        OGIP scale factors of region and area.
    respfile, ancrfile, backfile : str or None
        RMF, ARF and background file as the header names them; None if ``none``.
    grouping, quality : ndarray of int64, (n_channels,), or None
        OGIP flags: grouping 1 starts a bin, -1 continues it; quality 0 is good.
    telescope, instrument : str
        Keywords TELESCOP and INSTRUME.
    """

    channel: Integers
    counts: Integers
    exposure: float
    path: str = ""
    backscal: float = 1.0
    areascal: float = 1.0
    respfile: str | None = None
    ancrfile: str | None = None
    backfile: str | None = None
    grouping: Integers | None = None
    quality: Integers | None = None
    telescope: str = ""
    instrument: str = ""


def check_counts(counts: AnyArray, source: str) -> None:
    """Check that a spectrum holds counts.

    Raises
    ------
    IcflowError
        If all `counts` are zero; `source` names the spectrum.
    """
    if not np.any(counts):
        raise IcflowError(f"{source}: the spectrum holds no counts; choose another spectrum")


def read_spectrum(path: str | os.PathLike[str], row: int | None = None) -> Spectrum:
    """Read a type I spectrum, or one row (from 0) of a type II file.

    Raises
    ------
    IcflowError
        If the file is missing, truncated, not FITS or not a spectrum; holds
        RATE instead of COUNTS, or is background-subtracted; counts are
        negative, not integer or not finite; EXPOSURE or BACKSCAL is missing.
    """
    name = os.fspath(path)
    table = spectrum_tables(name)[0]
    _check_kind(table)
    counts = table.column("COUNTS")
    if not isinstance(counts, np.ndarray):
        raise IcflowError(f"{name}: COUNTS has rows of different lengths; write one spectrum each")
    if counts.ndim == 2:
        row = _check_row(name, row, counts.shape[0])
        counts = counts[row]
    elif row is not None:
        raise IcflowError(f"{name}: holds one spectrum (type I); do not give a row")
    return Spectrum(
        channel=_read_channels(table, counts.size, row),
        counts=_whole_counts(name, counts),
        exposure=positive(table, "EXPOSURE", row, None, "add the exposure in seconds"),
        path=name,
        backscal=positive(table, "BACKSCAL", row, None, "add it (1.0 if no region scale applies)"),
        areascal=positive(table, "AREASCAL", row, 1.0, "correct it"),
        respfile=_file(table, "RESPFILE", row),
        ancrfile=_file(table, "ANCRFILE", row),
        backfile=_file(table, "BACKFILE", row),
        grouping=_flags(table, "GROUPING", counts.size, row),
        quality=_flags(table, "QUALITY", counts.size, row),
        telescope=table.text("TELESCOP") or "",
        instrument=table.text("INSTRUME") or "",
    )


def write_spectrum(path: str | os.PathLike[str], spectrum: Spectrum) -> None:
    """Write a type I PHA file; its bytes depend on `spectrum` alone (its path aside)."""
    columns = [
        fits.Column("CHANNEL", "J", array=spectrum.channel),
        fits.Column(
            "COUNTS", _integer_format(spectrum.counts), unit="count", array=spectrum.counts
        ),
    ]
    for key, flags in (("QUALITY", spectrum.quality), ("GROUPING", spectrum.grouping)):
        if flags is not None:
            columns.append(fits.Column(key, "I", array=flags))
    hdu = fits.BinTableHDU.from_columns(columns, name="SPECTRUM")
    hdu.header.update(
        spectrum.keywords()
        | {
            "AREASCAL": float(spectrum.areascal),
            "BACKSCAL": float(spectrum.backscal),
            "BACKFILE": spectrum.backfile or "none",
        }
    )
    for key, flags in (("QUALITY", spectrum.quality), ("GROUPING", spectrum.grouping)):
        if flags is None:
            hdu.header[key] = 0
    channel_limits(hdu.header, 1, spectrum.channel)
    write_tables(path, [hdu])


# --- parts -------------------------------------------------------------------------


def channel_limits(header: fits.Header, column: int, channel: Integers) -> None:
    """Say which channel numbers a column may hold."""
    header[f"TLMIN{column}"] = int(channel[0])
    header[f"TLMAX{column}"] = int(channel[-1])


def _integer_format(values: Integers) -> str:
    return "J" if values.size == 0 or values.max() < 2**31 else "K"


def spectrum_tables(name: str) -> list[BinaryTable]:
    """Read the tables of a file that hold spectra, at least one."""
    tables = read_tables(name)
    spectra = [table for table in tables if is_spectrum(table)]
    if not spectra:
        raise IcflowError(f"{name}: not a spectrum but {describe(tables)}; give a PHA file")
    return spectra


def _check_kind(table: BinaryTable) -> None:
    if not table.has("COUNTS"):
        if table.has("RATE"):
            raise IcflowError(
                f"{table.path}: holds RATE instead of COUNTS, which C-stat cannot use; convert it "
                "to counts (multiply by EXPOSURE, e.g. with ftcalc or grppha)"
            )
        raise IcflowError(f"{table.path}: has no COUNTS column; give a PHA file with counts")
    if (table.text("HDUCLAS2") or "").upper() == "NET":
        raise IcflowError(
            f"{table.path}: is background-subtracted (HDUCLAS2 = NET), which C-stat cannot use; "
            "give the total spectrum and describe the background"
        )


def _check_row(name: str, row: int | None, n_rows: int) -> int:
    if row is None and n_rows != 1:
        raise IcflowError(
            f"{name}: holds {n_rows} spectra (type II); choose a row, 0 to {n_rows - 1}"
        )
    row = row or 0
    if not 0 <= row < n_rows:
        raise IcflowError(f"{name}: has no row {row}; choose one from 0 to {n_rows - 1}")
    return row


def _whole_counts(name: str, counts: AnyArray) -> Integers:
    if not np.isfinite(counts).all():
        raise IcflowError(f"{name}: COUNTS holds NaN or infinity; extract the spectrum again")
    for bad, what in ((counts < 0, "negative"), (counts != np.rint(counts), "not integer")):
        rows = np.flatnonzero(bad)
        if rows.size:
            raise IcflowError(
                f"{name}: {rows.size} values of COUNTS are {what} (the first, row {rows[0] + 1}, "
                f"is {counts[rows[0]]}); give the total spectrum, neither background-subtracted "
                "nor scaled"
            )
    return counts.astype(np.int64)


def _read_channels(table: BinaryTable, n_channels: int, row: int | None) -> Integers:
    if not table.has("CHANNEL"):
        first = table.minimum("COUNTS") if row is None else None
        return np.arange(n_channels, dtype=np.int64) + (1 if first is None else first)
    channel = table.column("CHANNEL")
    if not isinstance(channel, np.ndarray):
        raise IcflowError(f"{table.path}: CHANNEL has rows of different lengths; write it again")
    channel = (channel[row] if row is not None and channel.ndim == 2 else channel).astype(np.int64)
    if channel.size != n_channels or np.any(np.diff(channel) != 1):
        raise IcflowError(
            f"{table.path}: CHANNEL is not consecutive; write every channel once, in order"
        )
    return channel


def _scalar(table: BinaryTable, key: str, row: int | None) -> Any:
    """Return a keyword, or the column of that name (its row, or its only value)."""
    if not table.has(key):
        return table.header.get(key)
    values = table.vector(key, text=True)
    if row is not None:
        return values[row].item()
    if np.unique(values).size > 1:
        raise IcflowError(
            f"{table.path}: {key} varies with channel, which is not supported; use one value"
        )
    return values[0].item()


def positive(
    table: BinaryTable, key: str, row: int | None, default: float | None, advice: str
) -> float:
    """Return a keyword, or the column of that name, that has to be a positive number."""
    value = _scalar(table, key, row)
    if value is None and default is not None:
        return default
    if value is None:
        raise IcflowError(f"{table.path}: the keyword {key} is missing; {advice}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise IcflowError(f"{table.path}: {key} is {value!r}, not a positive number; {advice}")
    return number


def _file(table: BinaryTable, key: str, row: int | None) -> str | None:
    value = _scalar(table, key, row)
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
    return None if text.strip().lower() in ("", "none") else text.strip()


def _flags(table: BinaryTable, key: str, n_channels: int, row: int | None) -> Integers | None:
    """Return GROUPING or QUALITY, a column or one keyword for all channels; None if it is 0."""
    if table.has(key):
        values = table.column(key)
        if not isinstance(values, np.ndarray):
            raise IcflowError(f"{table.path}: {key} has rows of different lengths; write it again")
        if row is not None:
            values = np.broadcast_to(values[row], (n_channels,))
        return values.astype(np.int64)
    constant = table.number(key)
    return np.full(n_channels, int(constant), np.int64) if constant else None
