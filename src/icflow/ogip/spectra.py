"""Simulated spectra of one dataset: PHA files of type II, one row per spectrum.

The format is OGIP memo OGIP/92-007 (Arnaud, George & Tennant), which any X-ray
tool opens. The true parameters are extra columns, the settings of the
simulation header keywords. The bytes written depend on the content alone: no
dates.
"""

from __future__ import annotations

import itertools
import math
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from icflow.errors import IcflowError
from icflow.files import atomic_path, reading
from icflow.ogip.binary_table import BinaryTable, OnDisk, datasum
from icflow.ogip.headers import BLOCK
from icflow.ogip.keywords import Row
from icflow.ogip.spectrum import PhaKeywords, channel_limits, spectrum_tables
from icflow.typing import AnyArray, DrawnCounts, Floats, Integers

if TYPE_CHECKING:  # slow to import, and needed by those who write alone
    from astropy.io import fits

# Spectra that are read at once of a large set.
PIECE = 1000
# Columns of a type II file that are not true parameters.
# XSPEC reads a keyword ANCRFILE of a type II file as the same row of the ARF, which an ordinary ARF
# has not, and goes on without area; as a column it names the file.
AREA = "ANCRFILE"
_STANDARD_COLUMNS = ("SPEC_NUM", "INDEX", "CHANNEL", "COUNTS", AREA)
# Keywords that describe the table itself; all others hold metadata.
_STRUCTURE = re.compile(
    r"XTENSION|BITPIX|NAXIS\d*|[PG]COUNT|TFIELDS|EXTNAME|EXTVER|"
    r"(TTYPE|TFORM|TUNIT|TNULL|TSCAL|TZERO|TDISP|TDIM|TLMIN|TLMAX)\d+|CHECKSUM|DATASUM"
)
_METADATA_KEY = re.compile(r"[A-Z][A-Z0-9_-]*")


@dataclass(frozen=True)
class Recorded(PhaKeywords):
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


class CountsOnDisk:
    """Counts of a large set of spectra, left in their file: rows are read as they are asked for.

    Parameters
    ----------
    tables : sequence of BinaryTable
        One for each module, checked.

    Attributes
    ----------
    shape : tuple of int
        (n_spectra, n_channels), as of an array.
    """

    def __init__(self, tables: Sequence[BinaryTable]) -> None:
        self._tables = tables
        one = min(1, tables[0].n_rows)
        n_channels = sum(table.rows("COUNTS", 0, one).size for table in tables)
        self.shape = (tables[0].n_rows, n_channels)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, rows: int | slice) -> DrawnCounts:
        """Return one spectrum, shape (n_channels,), or some that follow one another.

        Raises
        ------
        IcflowError
            If counts are no integers.
        """
        some = rows if isinstance(rows, slice) else slice(rows, rows + 1)
        first, stop, _ = some.indices(len(self))
        parts = [table.rows("COUNTS", first, stop) for table in self._tables]
        counts = np.concatenate([_flat(part) for part in parts], axis=1)
        _check_drawn(self._tables[0].path, counts)
        drawn = counts.astype(np.int32, copy=False)
        return drawn if isinstance(rows, slice) else drawn[0]


def _flat(counts: AnyArray) -> AnyArray:
    """Return counts as rows of channels, of which there may be one."""
    return counts.reshape(len(counts), counts.size // max(1, len(counts)))


def _check_drawn(name: str, counts: AnyArray) -> None:
    """Check that counts are integers: whoever uses a spectrum refuses one of negative counts."""
    if counts.dtype.kind not in "iu" or (counts.size and counts.max() >= 2**31):
        raise IcflowError(f"{name}: COUNTS holds no counts; simulate the dataset again")


@dataclass(frozen=True)
class SpectrumSet:
    """Simulated spectra of one dataset that share responses and exposures.

    Attributes
    ----------
    counts : ndarray of int32, (n_spectra, n_channels), or CountsOnDisk
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

    counts: DrawnCounts | CountsOnDisk
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

    def pieces(self) -> Iterator[slice]:
        """Yield all rows, so many at a time as are read at once."""
        for first in range(0, len(self.index), PIECE):
            yield slice(first, min(first + PIECE, len(self.index)))

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


def write_spectra(path: str | os.PathLike[str], spectra: SpectrumSet) -> None:
    """Write a type II PHA file with the true parameters as columns.

    Every module has an extension ``SPECTRUM``, told apart by EXTVER and MODULE if there are
    several; the first of them holds the true parameters and the metadata.

    Raises
    ------
    IcflowError
        If a parameter or a keyword has a name that the file cannot hold.
    """
    write_pieces(path, [spectra], len(spectra.index))


def write_pieces(
    path: str | os.PathLike[str], pieces: Iterable[SpectrumSet], n_spectra: int
) -> None:
    """Write one set of spectra that comes in pieces, in memory for a piece; see `write_spectra`.

    The file is whole, or not there, when the last piece has been written.

    Parameters
    ----------
    pieces : iterable of SpectrumSet
        At least one; all of the same modules, parameters and metadata.
    n_spectra : int
        Spectra of all pieces together.
    """
    from astropy.io import fits

    tables: list[_Table] = []
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(fits.PrimaryHDU().header.tostring().encode("ascii"))
        for spectra in pieces:
            tables = tables or _tables(os.fspath(path), spectra, n_spectra)
            for number, table in enumerate(tables):
                truth = {} if number else spectra.truth
                counts = spectra.counts[:][:, spectra.bounds[number]]
                rows = _rows(spectra.index, spectra.modules[number], counts, truth)
                table.append(file, rows)
        for table in tables:
            table.finish(file)
        file.truncate(tables[-1].end)


@dataclass
class _Table:
    """The table of one module while its rows are written.

    Attributes
    ----------
    start, data, end : int
        Bytes of the file where its header and its rows begin, and where the next table begins.
    rows, total : int
        How many rows there are, and the sum of their bytes but for `rest`.
    rest : bytes
        What is left of them by a sum of words of four bytes.
    """

    header: fits.Header
    start: int
    data: int
    end: int
    rows: int = 0
    total: int = 0
    rest: bytes = b""

    @classmethod
    def at(cls, start: int, header: fits.Header, n_rows: int) -> _Table:
        header["NAXIS2"] = n_rows
        header["DATASUM"] = ("0", "of the rows of this table")
        data = start + len(header.tostring())
        return cls(header, start, data, data + -(-header["NAXIS1"] * n_rows // BLOCK) * BLOCK)

    def append(self, file: IO[bytes], rows: AnyArray) -> None:
        rows["SPEC_NUM"] = np.arange(1, len(rows) + 1) + self.rows
        written = rows.tobytes()
        file.seek(self.data + self.rows * rows.itemsize)
        file.write(written)
        summed = self.rest + written
        words = len(summed) - len(summed) % 4
        self.total, self.rest = datasum(summed[:words], self.total), summed[words:]
        self.rows += len(rows)

    def finish(self, file: IO[bytes]) -> None:
        self.header["DATASUM"] = str(datasum(self.rest, self.total))
        file.seek(self.start)
        file.write(self.header.tostring().encode("ascii"))


def _tables(name: str, spectra: SpectrumSet, n_spectra: int) -> list[_Table]:
    """Return the empty tables of all modules, with the headers that a first piece gives."""
    from astropy.io import fits

    tables: list[_Table] = []
    start = BLOCK
    with warnings.catch_warnings():
        # Dots in column names ("apec.kT") and HIERARCH keywords are legal and wanted.
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        for number, module in enumerate(spectra.modules):
            none = np.zeros((0, module.channel.size), np.int32)
            truth = {} if number else {key: values[:0] for key, values in spectra.truth.items()}
            hdu = fits.BinTableHDU(_rows(spectra.index[:0], module, none, truth), name="SPECTRUM")
            if len(spectra.modules) > 1:
                hdu.ver = number + 1
            hdu.header["TUNIT4"] = "count"
            channel_limits(hdu.header, 3, module.channel)
            hdu.header.update(_header(spectra, module))
            _add_metadata(name, hdu.header, {} if number else spectra.metadata)
            tables.append(_Table.at(start, hdu.header, n_spectra))
            start = tables[-1].end
    return tables


def _rows(
    index: Integers, module: Recorded, counts: DrawnCounts, truth: Mapping[str, Floats]
) -> AnyArray:
    """Return the rows of the table of one module."""
    channel, area = module.channel, str(module.keywords()[AREA])
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
            (AREA, f"S{len(area)}"),
            *((key, ">f8") for key in truth),
        ],
    )
    rows["INDEX"] = index
    rows["CHANNEL"] = channel
    rows["COUNTS"] = counts
    rows[AREA] = area
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
    with reading(name, "a whole set of simulated spectra", "simulate the dataset again"):
        return _spectra(name, spectrum_tables(name))


def _spectra(name: str, tables: list[BinaryTable]) -> SpectrumSet:
    first = tables[0]
    parts = [_read_module(table) for table in tables]
    for _, index in parts[1:]:
        if not np.array_equal(index, parts[0][1]):
            raise IcflowError(
                f"{name}: its modules hold different spectra; simulate the dataset again"
            )
    spectra = SpectrumSet(
        counts=_counts(tables),
        index=parts[0][1],
        truth={
            key: first.vector(key).astype(np.float64, copy=False)
            for key in first.names
            if key not in _STANDARD_COLUMNS
        },
        modules=tuple(module for module, _ in parts),
        dataset=first.text("DATASET") or "",
        scenario=first.text("SCENARIO") or "",
    )
    reserved = _header(spectra, spectra.modules[0])
    metadata = {
        key: value
        for key, value in first.header.items()
        if key not in reserved and not _STRUCTURE.fullmatch(key)
    }
    return replace(spectra, metadata=metadata)


def _read_module(table: BinaryTable) -> tuple[Recorded, Integers]:
    """Return what the table of one module holds besides counts: its header and indices."""
    name = table.path
    if (table.text("HDUCLAS4") or "").upper() != "TYPE:II" or not table.has("INDEX"):
        raise IcflowError(
            f"{name}: not a set of simulated spectra (OGIP type II with an INDEX column); "
            "simulate the dataset again"
        )
    if not (table.is_fixed("COUNTS") and table.is_fixed("CHANNEL")):
        raise IcflowError(f"{name}: spectra of different lengths; simulate the dataset again")
    channel = table.rows("CHANNEL", 0, min(1, table.n_rows))
    recorded = Recorded(
        channel=channel.reshape(-1).astype(np.int64),
        exposure=Row(table, None, 0).positive(
            "EXPOSURE", advice="simulate the dataset again", single=False
        ),
        respfile=table.text("RESPFILE"),
        ancrfile=Row(table, 0, 0).text(AREA) if table.n_rows else None,
        telescope=table.text("TELESCOP") or "",
        instrument=table.text("INSTRUME") or "",
        module=table.text("MODULE") or "",
    )
    return recorded, table.vector("INDEX").astype(np.int64, copy=False)


def _counts(tables: Sequence[BinaryTable]) -> DrawnCounts | CountsOnDisk:
    """Return the counts of all modules; those of large sets stay in the file."""
    stored = CountsOnDisk(tables)
    return stored if any(isinstance(table.data, OnDisk) for table in tables) else stored[:]


def _header(spectra: SpectrumSet, module: Recorded) -> dict[str, Any]:
    header = module.keywords() | {"HDUCLAS4": "TYPE:II", "QUALITY": 0, "GROUPING": 0}
    del header[AREA]  # a column
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
