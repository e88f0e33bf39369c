"""One observed spectrum: PHA files of type I, and single rows of those of type II.

The format is OGIP memo OGIP/92-007 (Arnaud, George & Tennant). The bytes
written depend on the content alone: no dates.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from icflow.errors import IcflowError
from icflow.files import reading
from icflow.ogip.binary_table import (
    AGAIN,
    BinaryTable,
    read_tables,
    whole_numbers,
    write_tables,
)
from icflow.ogip.keywords import MOST, Row, Scale
from icflow.ogip.kinds import describe, is_spectrum
from icflow.ogip.names import FileName, row_of
from icflow.typing import AnyArray, Floats, Integers

if TYPE_CHECKING:  # slow to import, and needed by those who write alone
    from astropy.io import fits


def _in_header(name: str | None) -> str:
    """Return a name as a FITS header can hold it, which is ASCII alone: else none."""
    return name if name and name.isascii() else "none"


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
            "RESPFILE": _in_header(self.respfile),
            "ANCRFILE": _in_header(self.ancrfile),
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
        The file that it was read from, with the row where it holds several.
    backscal : float, ndarray of float64, (n_channels,), or None
        OGIP scale factor of the region; None if the file does not say.
    areascal : float or ndarray of float64, (n_channels,)
        OGIP scale factor of the area.
    respfile, ancrfile, backfile : str or None
        RMF, ARF and background file as the header names them; None if ``none``.
    grouping, quality : ndarray of int64, (n_channels,), or None
        OGIP flags: grouping 1 starts a bin, -1 continues it; quality 0 is good.
    telescope, instrument : str
        Keywords TELESCOP and INSTRUME.
    detchans : int or None
        Channels of the detector, where the file lists another number of them.
    notes : tuple of str
        What is odd about the file, a sentence each.
    """

    channel: Integers
    counts: Integers
    exposure: float
    path: str = ""
    backscal: Scale | None = 1.0
    areascal: Scale = 1.0
    respfile: str | None = None
    ancrfile: str | None = None
    backfile: str | None = None
    grouping: Integers | None = None
    quality: Integers | None = None
    telescope: str = ""
    instrument: str = ""
    detchans: int | None = None
    notes: tuple[str, ...] = ()

    def _listing(self, part: slice) -> Spectrum:
        """Return the spectrum with a part of its channels."""

        def own(values: Any) -> Any:
            return values[part] if isinstance(values, np.ndarray) else values

        return replace(
            self,
            channel=self.channel[part],
            counts=self.counts[part],
            backscal=own(self.backscal),
            areascal=own(self.areascal),
            grouping=own(self.grouping),
            quality=own(self.quality),
        )

    def padded(self, channel: Integers) -> Spectrum:
        """Return the spectrum with all channels of a response, those not listed of QUALITY 1.

        Parameters
        ----------
        channel : ndarray of int, (n_all,)
            Consecutive numbers that include those of the spectrum.
        """
        first, n_all = int(self.channel[0] - channel[0]), int(channel.size)
        if (first, n_all) == (0, self.channel.size):
            return self

        def filled(values: Any, missing: float) -> Any:
            if not isinstance(values, np.ndarray):
                return values
            whole = np.full(n_all, missing, values.dtype)
            whole[first : first + values.size] = values
            return whole

        quality = np.zeros(self.channel.size, np.int64) if self.quality is None else self.quality
        return replace(
            self,
            channel=channel,
            counts=filled(self.counts, 0),
            backscal=filled(self.backscal, 1),
            areascal=filled(self.areascal, 1),
            grouping=filled(self.grouping, 1),
            quality=filled(quality, 1),
        )


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
    """Read a type I spectrum, or one row of a type II file.

    A name such as ``two.pha{2}`` says which row, from 1, as in XSPEC, and ``both.pha[2]{1}``
    which extension, of the second module where spectra were simulated of two.

    Parameters
    ----------
    row : int, optional
        The row, from 0, where the name does not say.

    Raises
    ------
    IcflowError
        If the file is missing, truncated, not FITS or not a spectrum; is
        background-subtracted; counts are negative, not integer or not finite;
        EXPOSURE is missing.
    """
    name = FileName.of(path)
    with reading(name.on_disk(), "a whole spectrum", AGAIN):
        return _read_row(path, name, row if name.number is None else name.number - 1)


def _read_row(path: str | os.PathLike[str], name: FileName, row: int | None) -> Spectrum:
    table, *others = name.select(spectrum_tables(name.on_disk()))
    _check_kind(table)
    column = "COUNTS" if table.has("COUNTS") else "RATE"
    values = table.column(column)
    if not isinstance(values, np.ndarray):
        raise IcflowError(f"{name.path}: {column} has rows of different lengths; write one each")
    if values.ndim == 2:
        number = None if row is None else row + 1
        more = "; first rows of other modules: " + _in_others(others, "{1}") if others else ""
        row = row_of(str(replace(name, number=None)), number, values.shape[0], "spectra", more)
        values = values[row]
    elif row is not None:
        raise IcflowError(f"{name.path}: holds one spectrum (type I); do not give a row")
    told = []
    if others:
        there = _in_others(others, "" if row is None else f"{{{row + 1}}}")
        told = [
            f"{name.path}: has spectra in {len(others) + 1} extensions, of which this is the "
            f"first; beside it: {there}"
        ]
    return _spectrum(os.fspath(path), Row(table, row, values.size), values, told)


def _in_others(others: Sequence[BinaryTable], row: str) -> str:
    """Return the names of what further extensions hold, in a row where they have some."""
    return ", ".join(f"{table.path}[{table.hdu}]{row}" for table in others)


def _spectrum(path: str, row: Row, values: AnyArray, told: Sequence[str]) -> Spectrum:
    """Return the spectrum of a row; its channels, if they fall, put in order."""
    table, notes = row.table, [*told, *_odd(row)]
    if not values.size:
        raise IcflowError(f"{row.path}: holds no channels; extract the spectrum again")
    exposure = row.positive("EXPOSURE", advice="add the exposure in seconds")
    if not table.has("COUNTS"):
        values = _counts_of_rate(row.path, values, exposure)
        notes.append(f"{row.path}: holds RATE, which is multiplied by EXPOSURE")
    channel, order = _read_channels(row)
    grouping = row.flags("GROUPING")
    if grouping is not None and np.any(np.diff(order) != 1):
        raise IcflowError(
            f"{row.path}: CHANNEL does not rise, and GROUPING tells bins by what stands before; "
            "write the rows in the order of their channels"
        )
    backscal, areascal = row.scale("BACKSCAL", notes), row.scale("AREASCAL", notes)
    detchans = int(table.number("DETCHANS") or 0) or None

    def ordered(flags: Any) -> Any:
        return flags[order] if isinstance(flags, np.ndarray) else flags

    return Spectrum(
        channel=channel,
        counts=ordered(_whole_counts(row.path, values)),
        exposure=exposure,
        path=path,
        backscal=ordered(backscal),
        areascal=1.0 if areascal is None else ordered(areascal),
        respfile=row.text("RESPFILE"),
        ancrfile=row.text("ANCRFILE"),
        backfile=row.text("BACKFILE"),
        grouping=grouping,
        quality=ordered(row.flags("QUALITY")),
        telescope=table.text("TELESCOP") or "",
        instrument=table.text("INSTRUME") or "",
        detchans=None if detchans == channel.size else detchans,
        notes=tuple(notes),
    )


def _odd(row: Row) -> list[str]:
    """Return what is odd about the header and changes nothing."""
    notes, header = [], row.table.header
    if header.get("POISSERR") is False:
        notes.append(f"{row.path}: POISSERR is F; the counts are taken for Poisson counts")
    if row.text("CORRFILE") is not None and row.table.number("CORRSCAL"):
        notes.append(f"{row.path}: CORRFILE names a correction, which is not applied")
    if _any(row, "SYS_ERR"):
        notes.append(f"{row.path}: SYS_ERR gives systematic errors, which C-stat does not know of")
    return notes


def _any(row: Row, key: str) -> bool:
    """Tell whether a keyword that is a number, or a column of that name, is anything but 0."""
    values, stated = row.channels(key), row.table.header.get(key)
    if values is not None:
        return bool(np.any(values))
    return isinstance(stated, int | float) and stated != 0


def read_background(source: Spectrum, path: str | os.PathLike[str]) -> Spectrum:
    """Read the background spectrum that belongs to a source, in the channels of the source.

    Its GROUPING and QUALITY are not looked at: those of the source hold for both.
    Channels go by position, as in XSPEC, or by number where either lists a part of them.

    Raises
    ------
    IcflowError
        As `read_spectrum`; if it lacks channels of the source, or BACKSCAL is
        missing in either: without it nobody knows how to scale.
    """
    background = read_spectrum(path)
    for spectrum in (source, background):
        if spectrum.backscal is None:
            raise IcflowError(
                f"{spectrum.path}: the keyword BACKSCAL is missing, and the background is scaled "
                "by it; add it (the area of the region, in the same unit in both files)"
            )
    own, other = background.channel, source.channel
    if own.size == other.size and own[0] == other[0]:
        return background
    numbers = f"{background.path} has the channels {own[0]} to {own[-1]}, {source.path} {other[0]}"
    partial = own.size != other.size or any(s.detchans for s in (background, source))
    if not partial:
        note = f"{numbers} to {other[-1]}; they go by position, as in XSPEC"
        return replace(background, channel=other, notes=(*background.notes, note))
    if own[0] > other[0] or own[-1] < other[-1]:
        raise IcflowError(
            f"{numbers} to {other[-1]}; give the background that was extracted with the spectrum"
        )
    note = f"{numbers} to {other[-1]}; those of the spectrum are used"
    first = int(other[0] - own[0])
    return replace(
        background._listing(slice(first, first + other.size)),
        notes=(*background.notes, note),
    )


def write_spectrum(path: str | os.PathLike[str], spectrum: Spectrum) -> None:
    """Write a type I PHA file; its bytes depend on `spectrum` alone (its path aside)."""
    from astropy.io import fits

    columns = [
        fits.Column("CHANNEL", "J", array=spectrum.channel),
        fits.Column(
            "COUNTS", _integer_format(spectrum.counts), unit="count", array=spectrum.counts
        ),
    ]
    for key, flags in (("QUALITY", spectrum.quality), ("GROUPING", spectrum.grouping)):
        if flags is not None:
            columns.append(fits.Column(key, "I", array=flags))
    for key, scale in (("AREASCAL", spectrum.areascal), ("BACKSCAL", spectrum.backscal)):
        if isinstance(scale, np.ndarray):
            columns.append(fits.Column(key, "D", array=scale))
    hdu = fits.BinTableHDU.from_columns(columns, name="SPECTRUM")
    hdu.header.update(spectrum.keywords() | {"BACKFILE": spectrum.backfile or "none"})
    for key, scale in (("AREASCAL", spectrum.areascal), ("BACKSCAL", spectrum.backscal)):
        del hdu.header[key]
        if isinstance(scale, float):
            hdu.header[key] = scale
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
    if not (table.has("COUNTS") or table.has("RATE")):
        raise IcflowError(f"{table.path}: has no COUNTS column; give a PHA file with counts")
    if (table.text("HDUCLAS2") or "").upper() == "NET":
        raise IcflowError(
            f"{table.path}: is background-subtracted (HDUCLAS2 = NET), which C-stat cannot use; "
            "give the total spectrum and describe the background"
        )


def _counts_of_rate(name: str, rate: AnyArray, exposure: float) -> Floats:
    """Return counts that were divided by the exposure and written in single precision."""
    product = rate.astype(np.float64) * exposure
    counts: Floats = np.rint(product)
    finite = np.isfinite(product)
    if not finite.all() or np.any(np.abs(product - counts) > 0.01 + 1e-6 * np.abs(counts)):
        raise IcflowError(
            f"{name}: holds RATE instead of COUNTS, and RATE times EXPOSURE is not whole, which "
            "C-stat cannot use; convert the spectrum that was extracted, in counts"
        )
    return counts


def _whole_counts(name: str, counts: AnyArray) -> Integers:
    if not (np.abs(counts) < MOST).all():
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


def _read_channels(row: Row) -> tuple[Integers, Integers]:
    """Return the channel numbers, rising, and where each stands in the file."""
    table, n_channels = row.table, row.n_channels
    if not table.has("CHANNEL"):
        order = np.arange(n_channels, dtype=np.int64)
        first = table.minimum("COUNTS") if row.row is None and table.has("COUNTS") else None
        return order + (1 if first is None else first), order
    channel = table.column("CHANNEL")
    if not isinstance(channel, np.ndarray):
        raise IcflowError(f"{table.path}: CHANNEL has rows of different lengths; write it again")
    if row.row is not None and channel.ndim == 2:
        channel = channel[row.row]
    channel = whole_numbers(channel, f"{table.path}: CHANNEL")
    order = np.argsort(channel, kind="stable")
    if channel.size != n_channels or np.any(np.diff(channel[order]) != 1):
        raise IcflowError(
            f"{table.path}: CHANNEL is not consecutive; write every channel once, in order"
        )
    return channel[order], order
