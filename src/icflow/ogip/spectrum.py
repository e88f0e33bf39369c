"""PHA spectra: one observed spectrum (type I) and sets of simulated ones (type II).

The format is OGIP memo OGIP/92-007 (Arnaud, George & Tennant). A set of
simulated spectra is a type II file, one row per spectrum, which any X-ray tool
opens; the true parameters are extra columns, the settings of the simulation
header keywords. The bytes written depend on the content alone: no dates.
"""

from __future__ import annotations

import itertools
import math
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy.io import fits

from icflow.errors import IcflowError
from icflow.files import atomic_path
from icflow.ogip.table import Table, describe, is_spectrum, read_tables
from icflow.typing import AnyArray, DrawnCounts, Floats, Integers

# Columns of a type II file that are not true parameters.
_STANDARD_COLUMNS = ("SPEC_NUM", "INDEX", "CHANNEL", "COUNTS")
# Keywords that describe the table itself; all others hold metadata.
_STRUCTURE = re.compile(
    r"XTENSION|BITPIX|NAXIS\d*|[PG]COUNT|TFIELDS|EXTNAME|EXTVER|"
    r"(TTYPE|TFORM|TUNIT|TNULL|TSCAL|TZERO|TDISP|TDIM|TLMIN|TLMAX)\d+|CHECKSUM|DATASUM"
)
_METADATA_KEY = re.compile(r"[A-Z][A-Z0-9_-]*")


@dataclass(frozen=True)
class Spectrum:
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


@dataclass(frozen=True)
class Recorded:
    """What the simulated spectra of one module share.

    Attributes
    ----------
    channel : ndarray of int64, (n_channels,)
        Channel numbers.
    exposure : float
        Exposure, s.
    respfile, ancrfile : str or None
        RMF and ARF.
    telescope, instrument : str
        Keywords TELESCOP and INSTRUME.
    module : str
        Name of the module; empty for a single one.
    """

    channel: Integers
    exposure: float
    respfile: str | None = None
    ancrfile: str | None = None
    telescope: str = "UNKNOWN"
    instrument: str = "UNKNOWN"
    module: str = ""


@dataclass(frozen=True)
class SpectrumSet:
    """Simulated spectra of one dataset that share responses and exposures.

    Attributes
    ----------
    counts : ndarray of int32, (n_spectra, n_channels)
        Counts per channel; the channels of several modules stand one after another.
    index : ndarray of int64, (n_spectra,)
        Index of each spectrum in its dataset.
    truth : dict of ndarray of float64, (n_spectra,)
        True parameters by name, e.g. ``apec.kT``.
    modules : tuple of Recorded
        Channels, exposure and responses of each module.
    dataset, scenario : str
        Names in the configuration.
    metadata : dict
        Header keywords (upper case): text, integers or floats.

    Raises
    ------
    IcflowError
        If the lengths of the arrays do not match.
    """

    counts: DrawnCounts
    index: Integers
    truth: dict[str, Floats]
    modules: tuple[Recorded, ...]
    dataset: str
    scenario: str
    metadata: dict[str, str | float | int] = field(default_factory=dict)

    @property
    def bounds(self) -> list[slice]:
        """Where the channels of each module stand in `counts`."""
        stops = np.cumsum([module.channel.size for module in self.modules]).tolist()
        return [slice(*ends) for ends in itertools.pairwise([0, *stops])]

    @property
    def exposures(self) -> Floats:
        """Exposure of every channel of `counts`, s."""
        sizes = [module.channel.size for module in self.modules]
        return np.repeat([float(module.exposure) for module in self.modules], sizes)

    def __post_init__(self) -> None:
        lengths = {"index": self.index.size} | {k: v.size for k, v in self.truth.items()}
        for name, length in lengths.items():
            if length != self.counts.shape[0]:
                raise IcflowError(
                    f"dataset {self.dataset}: {self.counts.shape[0]} spectra, but {length} values "
                    f"of {name}; give one per spectrum"
                )
        numbers = sum(module.channel.size for module in self.modules)
        if numbers != self.counts.shape[1]:
            raise IcflowError(
                f"dataset {self.dataset}: spectra of {self.counts.shape[1]} channels, but "
                f"{numbers} channel numbers; give one per channel"
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


# --- one spectrum ----------------------------------------------------------------


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
    table = _spectrum_tables(name)[0]
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
        exposure=_positive(table, "EXPOSURE", row, None, "add the exposure in seconds"),
        path=name,
        backscal=_positive(table, "BACKSCAL", row, None, "add it (1.0 if no region scale applies)"),
        areascal=_positive(table, "AREASCAL", row, 1.0, "correct it"),
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
        _header(
            spectrum.telescope,
            spectrum.instrument,
            spectrum.exposure,
            spectrum.channel,
            spectrum.respfile,
            spectrum.ancrfile,
            spectrum.backfile,
            spectrum.backscal,
            spectrum.areascal,
        )
    )
    for key, flags in (("QUALITY", spectrum.quality), ("GROUPING", spectrum.grouping)):
        if flags is None:
            hdu.header[key] = 0
    _limits(hdu.header, 1, spectrum.channel)
    with atomic_path(path) as temporary:
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(temporary, overwrite=True)


# --- sets of simulated spectra -----------------------------------------------------


def write_spectra(path: str | os.PathLike[str], spectra: SpectrumSet) -> None:
    """Write a type II PHA file with the true parameters as columns.

    Every module has an extension ``SPECTRUM``, told apart by EXTVER and MODULE if there are
    several; the first of them holds the true parameters and the metadata.

    Raises
    ------
    IcflowError
        If a parameter or a keyword has a name that the file cannot hold.
    """
    name = os.fspath(path)
    with warnings.catch_warnings():
        # Dots in column names ("apec.kT") and HIERARCH keywords are legal and wanted.
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        hdus = []
        for number, module in enumerate(spectra.modules):
            truth = {} if number else spectra.truth
            counts = spectra.counts[:, spectra.bounds[number]]
            rows = _rows(spectra.index, module.channel, counts, truth)
            hdu = fits.BinTableHDU(rows, name="SPECTRUM")
            if len(spectra.modules) > 1:
                hdu.ver = number + 1
            hdu.header["TUNIT4"] = "count"
            _limits(hdu.header, 3, module.channel)
            hdu.header.update(_set_header(spectra, module))
            _add_metadata(name, hdu.header, {} if number else spectra.metadata)
            hdus.append(hdu)
        with atomic_path(path) as temporary:
            fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(temporary, overwrite=True)


def _rows(
    index: Integers, channel: Integers, counts: DrawnCounts, truth: Mapping[str, Floats]
) -> AnyArray:
    """Return the rows of the table of one module."""
    n_spectra, n_channels = counts.shape
    # Two bytes per channel number halve the size of the column, which repeats in each row.
    number = ">i2" if np.all(np.abs(channel) < 2**15) else ">i4"
    rows = np.zeros(
        n_spectra,
        dtype=[
            ("SPEC_NUM", ">i4"),
            ("INDEX", ">i8"),
            ("CHANNEL", number, (n_channels,)),
            ("COUNTS", ">i4", (n_channels,)),
            *((key, ">f8") for key in truth),
        ],
    )
    rows["SPEC_NUM"] = np.arange(1, n_spectra + 1)
    rows["INDEX"] = index
    rows["CHANNEL"] = channel
    rows["COUNTS"] = counts
    for key, values in truth.items():
        rows[key] = values
    return rows


def read_spectra(path: str | os.PathLike[str]) -> SpectrumSet:
    """Read a type II PHA file that `write_spectra` wrote.

    Raises
    ------
    IcflowError
        If the file is missing, truncated, not FITS, or not such a set.
    """
    name = os.fspath(path)
    tables = _spectrum_tables(name)
    first = tables[0]
    parts = [_read_module(table) for table in tables]
    for _, _, index in parts[1:]:
        if not np.array_equal(index, parts[0][2]):
            raise IcflowError(
                f"{name}: its modules hold different spectra; simulate the dataset again"
            )
    reserved = set(_header("", "", 1.0, np.arange(1), None, None, None, 1.0, 1.0)) | _SET_KEYS
    return SpectrumSet(
        counts=np.concatenate([counts for _, counts, _ in parts], axis=1),
        index=parts[0][2],
        truth={
            key: first.vector(key).astype(np.float64, copy=False)
            for key in first.names
            if key not in _STANDARD_COLUMNS
        },
        modules=tuple(module for module, _, _ in parts),
        dataset=first.text("DATASET") or "",
        scenario=first.text("SCENARIO") or "",
        metadata={
            key: value
            for key, value in first.header.items()
            if key not in reserved and not _STRUCTURE.fullmatch(key)
        },
    )


def _read_module(table: Table) -> tuple[Recorded, DrawnCounts, Integers]:
    """Return what the table of one module holds: its header, counts and indices."""
    name = table.path
    if (table.text("HDUCLAS4") or "").upper() != "TYPE:II" or not table.has("INDEX"):
        raise IcflowError(
            f"{name}: not a set of simulated spectra (OGIP type II with an INDEX column); "
            "simulate the dataset again"
        )
    counts, channel = table.column("COUNTS"), table.column("CHANNEL")
    if not (isinstance(counts, np.ndarray) and isinstance(channel, np.ndarray)):
        raise IcflowError(f"{name}: spectra of different lengths; simulate the dataset again")
    counts, channel = (array.reshape(table.n_rows, -1) for array in (counts, channel))
    recorded = Recorded(
        channel=channel[0].astype(np.int64) if table.n_rows else np.arange(channel.shape[1]),
        exposure=_positive(table, "EXPOSURE", None, None, "simulate the dataset again"),
        respfile=table.text("RESPFILE"),
        ancrfile=table.text("ANCRFILE"),
        telescope=table.text("TELESCOP") or "",
        instrument=table.text("INSTRUME") or "",
        module=table.text("MODULE") or "",
    )
    index = table.vector("INDEX").astype(np.int64, copy=False)
    return recorded, counts.astype(np.int32, copy=False), index


# --- headers -----------------------------------------------------------------------

_SET_KEYS = {"HDUCLAS4", "QUALITY", "GROUPING", "DATASET", "SCENARIO", "MODULE"}


def _header(
    telescope: str,
    instrument: str,
    exposure: float,
    channel: Integers,
    respfile: str | None,
    ancrfile: str | None,
    backfile: str | None,
    backscal: float,
    areascal: float,
) -> dict[str, Any]:
    """Return the keywords that OGIP/92-007 asks for."""
    return {
        "TELESCOP": telescope or "UNKNOWN",
        "INSTRUME": instrument or "UNKNOWN",
        "FILTER": "NONE",
        "EXPOSURE": float(exposure),
        "AREASCAL": float(areascal),
        "BACKSCAL": float(backscal),
        "CORRSCAL": 0.0,
        "BACKFILE": backfile or "none",
        "CORRFILE": "none",
        "RESPFILE": respfile or "none",
        "ANCRFILE": ancrfile or "none",
        "HDUCLASS": "OGIP",
        "HDUCLAS1": "SPECTRUM",
        "HDUCLAS2": "TOTAL",
        "HDUCLAS3": "COUNT",
        "HDUVERS": "1.2.1",
        "CHANTYPE": "PI",
        "DETCHANS": int(channel.size),
        "POISSERR": True,
        "STAT_ERR": 0,
        "SYS_ERR": 0,
    }


def _set_header(spectra: SpectrumSet, module: Recorded) -> dict[str, Any]:
    header = _header(
        module.telescope,
        module.instrument,
        module.exposure,
        module.channel,
        module.respfile,
        module.ancrfile,
        None,
        1.0,
        1.0,
    )
    header |= {"HDUCLAS4": "TYPE:II", "QUALITY": 0, "GROUPING": 0}
    header |= {"DATASET": spectra.dataset, "SCENARIO": spectra.scenario}
    return header | ({"MODULE": module.module} if module.module else {})


def _add_metadata(name: str, header: fits.Header, metadata: Mapping[str, Any]) -> None:
    for key, value in metadata.items():
        if not _METADATA_KEY.fullmatch(key) or key in header:
            raise IcflowError(
                f"{name}: {key!r} cannot be a header keyword; use capital letters, digits, "
                "- and _, and no keyword of the OGIP standard"
            )
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            raise IcflowError(f"{name}: the keyword {key} is {value!r}; give text or a number")
        if isinstance(value, float) and not math.isfinite(value):
            raise IcflowError(f"{name}: the keyword {key} is {value}; give a finite number")
        try:
            header[key if len(key) <= 8 else f"HIERARCH {key}"] = value
            str(header)
        except ValueError as error:
            raise IcflowError(
                f"{name}: the keyword {key} does not fit into a FITS header ({error}); shorten it"
            ) from None


def _limits(header: fits.Header, column: int, channel: Integers) -> None:
    header[f"TLMIN{column}"] = int(channel[0])
    header[f"TLMAX{column}"] = int(channel[-1])


def _integer_format(values: Integers) -> str:
    return "J" if values.size == 0 or values.max() < 2**31 else "K"


# --- reading parts -----------------------------------------------------------------


def _spectrum_tables(name: str) -> list[Table]:
    tables = read_tables(name)
    spectra = [table for table in tables if is_spectrum(table)]
    if not spectra:
        raise IcflowError(f"{name}: not a spectrum but {describe(tables)}; give a PHA file")
    return spectra


def _check_kind(table: Table) -> None:
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


def _read_channels(table: Table, n_channels: int, row: int | None) -> Integers:
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


def _scalar(table: Table, key: str, row: int | None) -> Any:
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


def _positive(table: Table, key: str, row: int | None, default: float | None, advice: str) -> float:
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


def _file(table: Table, key: str, row: int | None) -> str | None:
    value = _scalar(table, key, row)
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
    return None if text.strip().lower() in ("", "none") else text.strip()


def _flags(table: Table, key: str, n_channels: int, row: int | None) -> Integers | None:
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
