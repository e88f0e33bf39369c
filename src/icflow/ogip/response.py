"""Redistribution matrices (RMF) and effective areas (ARF), read and written.

The format is OGIP memo CAL/GEN/92-002 (George et al. 1992) with its addendum
92-002a. Values that the file stores in single precision are widened to double,
as XSPEC does.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from icflow.cache import Arrays, cached
from icflow.errors import IcflowError
from icflow.files import LARGE, canonical_json, reading, remembered_sha256
from icflow.folders import cache_folder
from icflow.ogip.binary_table import (
    AGAIN,
    BinaryTable,
    Ragged,
    ranges,
    read_tables,
    whole_numbers,
    write_tables,
)
from icflow.ogip.kinds import describe, is_area, is_bounds, is_matrix
from icflow.ogip.names import FileName, row_of
from icflow.typing import AnyArray, Booleans, Floats, Indices, Integers

if TYPE_CHECKING:  # slow to import, and needed by those who write alone
    from astropy.io import fits
    from scipy.sparse import csr_array

# Neighbouring bins are contiguous up to rounding: a few units in the last place
# of single precision, or a thousandth of the bin's width.
_ROUNDING = 5e-7
_WIDTH_FRACTION = 1e-3
# Edges that differ by less, relatively, are the same.
SAME_GRID = 1e-5
# A row of a redistribution adds up to 1 at most; here, and in its header, there is room for errors.
MOST_SUM = 1.2
# Negative elements are rounding and noise of whoever made the matrix up to this fraction of it.
NEGATIVE = 0.05
# A first bin from 0 keV starts at this fraction of its end, as in XSPEC: models do not know 0.
FROM_ZERO = 1e-3
# More than the area of any telescope, cm².
MOST_AREA = 1e8
# Energies that all lie above this, keV, are no X-rays, but eV that are not said to be.
NO_X_RAYS = 150.0
# Units of areas, and of what begins so (cm**2 ct/photon).
SQUARE_CM = {"cm2": 1.0, "m2": 1e4, "mm2": 1e-2}
# Peaks of the matrix that mostly lie further than this factor from their photons are worth a note.
FAR = 1.25
KEV = {"": 1.0, "kev": 1.0, "ev": 1e-3, "mev": 1e3, "gev": 1e6}


def _sparse(*parts: Any, **more: Any) -> csr_array:
    """Return a sparse matrix; what makes one is slow to import, and the start needs none."""
    from scipy.sparse import csr_array

    return csr_array(*parts, **more)


# What is kept of an RMF: its fields that are numbers and words, and the parts of its matrix.
_NUMBERS = ("energy_lo", "energy_hi", "channel", "e_min", "e_max")
_WORDS = ("telescope", "instrument", "full", "plain", "notes")
_SPARSE = ("data", "indices", "indptr")


class _Binned:
    """Energy bins without gaps."""

    energy_lo: Floats
    energy_hi: Floats

    @property
    def energies(self) -> Floats:
        """Edges of the energy bins, keV, (n_energies + 1,): as XSPEC hands them to models."""
        return np.append(self.energy_lo, self.energy_hi[-1])


class _Parts(NamedTuple):
    """What a sparse matrix is made of."""

    data: Floats
    indices: Integers
    indptr: Integers
    shape: tuple[int, int]


class _Whole:
    """A field that takes a sparse matrix or its parts, which are put together when it is read.

    A check of a file needs no matrix, nor the time to import what makes one.
    """

    def __get__(self, rmf: Rmf, owner: type[Rmf]) -> csr_array:
        given = vars(rmf)["matrix"]
        if isinstance(given, _Parts):
            given = vars(rmf)["matrix"] = _sparse(given[:-1], shape=given.shape)
        return given

    def __set__(self, rmf: Rmf, given: csr_array | _Parts) -> None:
        vars(rmf)["matrix"] = given


@dataclass(frozen=True)
class Rmf(_Binned):
    """A redistribution matrix: the probability of each channel at each energy.

    Attributes
    ----------
    energy_lo, energy_hi : ndarray of float64, (n_energies,)
        Edges of the model's energy bins, keV, increasing.
    matrix : csr_array of float64, (n_energies, n_channels)
        Response; cm² are included if the file is a full response (RSP).
    channel : ndarray of int64, (n_channels,)
        Channel numbers, as the spectrum's file counts them (from 0 or from 1).
    e_min, e_max : ndarray of float64, (n_channels,)
        Nominal energies of the channels, keV.
    path : str
        The file that it was read from.
    telescope, instrument : str
        Keywords TELESCOP and INSTRUME.
    full : bool
        Whether it holds the effective area too.
    plain : bool
        Whether XSPEC takes the file for the same: it reads the first of several matrices alone,
        takes all energies for keV, and counts channels from 1 where TLMIN is missing.
    notes : tuple of str
        What is odd about the file, a sentence each.
    digest : str
        SHA-256 of the matrix, where it is at hand; see `digest_of`.
    """

    energy_lo: Floats
    energy_hi: Floats
    matrix: csr_array
    channel: Integers
    e_min: Floats
    e_max: Floats
    path: str = ""
    telescope: str = ""
    instrument: str = ""
    full: bool = False
    plain: bool = True
    notes: tuple[str, ...] = ()
    digest: str = ""

    @property
    def n_elements(self) -> int:
        """How many elements the matrix holds, which is counted without putting it together."""
        return len(vars(self)["matrix"].data)

    def into(self, channels: Booleans) -> Floats:
        """Return what of each energy bin leads into some channels, without putting it together.

        Parameters
        ----------
        channels : ndarray of bool, (n_channels,)

        Returns
        -------
        ndarray, (n_energies,)
        """
        parts = vars(self)["matrix"]
        sums = np.append(0.0, np.cumsum(parts.data * channels[parts.indices]))
        return np.asarray(sums[parts.indptr[1:]] - sums[parts.indptr[:-1]])

    def rows(self, chosen: Booleans) -> Rmf:
        """Return the matrix of some energy bins, shape of `chosen` (n_energies,)."""
        return replace(
            self,
            energy_lo=self.energy_lo[chosen],
            energy_hi=self.energy_hi[chosen],
            matrix=_sparse(self.matrix[np.flatnonzero(chosen)]),
            digest="",
        )


Rmf.matrix = _Whole()


@dataclass(frozen=True)
class Arf(_Binned):
    """An effective area.

    Attributes
    ----------
    energy_lo, energy_hi : ndarray of float64, (n_energies,)
        Edges of the energy bins, keV, increasing.
    area : ndarray of float64, (n_energies,)
        Effective area, cm².
    path : str
        The file that it was read from.
    telescope, instrument : str
        Keywords TELESCOP and INSTRUME.
    plain : bool
        Whether XSPEC takes the file for the same: it takes all energies for keV.
    notes : tuple of str
        What is odd about the file, a sentence each.
    """

    energy_lo: Floats
    energy_hi: Floats
    area: Floats
    path: str = ""
    telescope: str = ""
    instrument: str = ""
    plain: bool = True
    notes: tuple[str, ...] = ()


def read_rmf(path: str | os.PathLike[str]) -> Rmf:
    """Read a redistribution matrix.

    The matrix is in an extension of class RSP_MATRIX, or named MATRIX or
    SPECRESP MATRIX; N_GRP, F_CHAN and N_CHAN may be scalars, arrays of fixed or
    of variable length. The first channel is TLMIN of F_CHAN (a string is
    accepted), else the lowest channel of EBOUNDS. EBOUNDS may list channels in
    any order; energies may fall with the row, the bins are returned increasing.
    Several matrices (CAL/GEN/92-002b) are added, coarser ones in the bins of the
    first; ``resp.rmf{2}`` is the second alone. What a large file holds is kept
    in the cache, mapped into memory by all that read it.

    Raises
    ------
    IcflowError
        If the file is missing, truncated, not FITS or not an RMF, its energies
        leave gaps, or its values are not finite, too negative or outside the channels.
    """
    name = FileName.of(path)
    file = name.on_disk()
    with reading(file, "a whole RMF", AGAIN):
        if not Path(file).is_file() or os.stat(file).st_size < LARGE:
            return _rmf(path, name, read_tables(file))
        key = {
            "table": "rmf, with what is odd about EBOUNDS",
            "file": remembered_sha256(file, cache_folder() / "digests.json"),
            "part": [name.extension, name.version, name.number],
        }
        kept = cached(key, lambda: _as_arrays(_rmf(path, name, read_tables(file)), name.path))
        return _from_arrays(kept, path, name.path)


def _as_arrays(rmf: Rmf, file: str) -> Arrays:
    """Return all that an RMF holds, to be kept; `file` stands in its notes."""
    matrix = rmf.matrix
    words = {name: getattr(rmf, name) for name in _WORDS}
    words |= {"shape": list(matrix.shape), "digest": digest_of(matrix), "file": file}
    return {
        **{name: getattr(rmf, name) for name in _NUMBERS},
        **{name: getattr(matrix, name) for name in _SPARSE},
        "words": np.frombuffer(canonical_json(words).encode(), np.uint8),
    }


def _from_arrays(kept: Arrays, path: str | os.PathLike[str], file: str) -> Rmf:
    """Return the RMF that `_as_arrays` took apart, read from a path of its own."""
    words = json.loads(kept["words"].tobytes())
    shape, before = tuple(words.pop("shape")), words.pop("file")
    notes = tuple(note.replace(before, file) for note in words.pop("notes"))
    matrix = _Parts(**{name: kept[name] for name in _SPARSE}, shape=shape)
    fields: dict[str, Any] = {name: kept[name] for name in _NUMBERS} | words
    return Rmf(**fields | {"matrix": matrix}, path=os.fspath(path), notes=notes)


def digest_of(matrix: csr_array) -> str:
    """Return the SHA-256 of a sparse matrix."""
    digest = hashlib.sha256(str(tuple(matrix.shape)).encode())
    for name in _SPARSE:
        digest.update(np.ascontiguousarray(getattr(matrix, name)).data)
    return digest.hexdigest()


def _rmf(path: str | os.PathLike[str], name: FileName, tables: list[BinaryTable]) -> Rmf:
    chosen = name.select(tables)
    matrices = list(filter(is_matrix, chosen))
    if not matrices:
        raise IcflowError(
            f"{path}: not a redistribution matrix but {describe(chosen)}; give an RMF file"
        )
    if name.number is not None:
        if not 1 <= name.number <= len(matrices):
            raise IcflowError(
                f"{path}: extensions with a matrix: {len(matrices)}; correct the number"
            )
        matrices = [matrices[name.number - 1]]
    notes: list[str] = []
    channel, e_min, e_max = _read_ebounds(name.path, tables, notes)
    energy_lo, energy_hi, _ = _read_energies(matrices[0], notes)
    grid = energy_lo, energy_hi
    matrix = sum(_read_matrix(table, channel, grid, notes) for table in matrices)
    if not np.any(matrix.data):
        raise IcflowError(f"{name.path}: every element of its matrix is 0; make the RMF again")
    _compare_with_bounds(name.path, matrix, grid, (e_min, e_max), notes)
    if len(matrices) > 1:
        notes.append(
            f"{name.path}: the sum of its {len(matrices)} matrices is used; "
            f"{name.path}{{1}} would be the first alone, which is what XSPEC takes"
        )
    return Rmf(
        energy_lo,
        energy_hi,
        _sparse(matrix),
        channel,
        e_min,
        e_max,
        os.fspath(path),
        *_origin(matrices[0]),
        full=_holds_area(matrices[0], matrix, notes),
        plain=_is_plain(matrices, tables, int(channel[0])),
        notes=tuple(notes),
    )


def _is_plain(matrices: list[BinaryTable], tables: list[BinaryTable], first: int) -> bool:
    """Tell whether XSPEC takes an RMF for the same; see `Rmf`."""
    bounds = next(filter(is_bounds, tables))
    return (
        len(matrices) == 1
        and (first == 1 or matrices[0].minimum("F_CHAN") is not None)
        and _are_keV(matrices[0], "ENERG_LO", "ENERG_HI")
        and _are_keV(bounds, "E_MIN", "E_MAX")
    )


def _read_matrix(
    table: BinaryTable,
    channel: Integers,
    grid: tuple[Floats, Floats],
    notes: list[str],
) -> csr_array:
    """Return one matrix of a file, its rows those of the energies of the first."""
    low, high, order = _read_energies(table, [])
    first = table.minimum("F_CHAN")
    if first is not None and first != channel[0]:
        notes.append(
            f"{table.path}: TLMIN of F_CHAN is {first}, though EBOUNDS begin with channel "
            f"{channel[0]}; channel {first} of the matrix is taken for the first, as in XSPEC"
        )
    matrix = _decode(table, int(channel[0]) if first is None else first, channel.size, notes)
    if order is not None:
        matrix = _sparse(matrix[order])
    pairs = list(zip((low, high), grid, strict=True))
    if all(a.size == b.size and np.allclose(a, b, rtol=SAME_GRID, atol=0) for a, b in pairs):
        return matrix
    return _spread(table.path, matrix, (low, high), grid)


def _spread(
    path: str, matrix: csr_array, own: tuple[Floats, Floats], grid: tuple[Floats, Floats]
) -> csr_array:
    """Return a matrix of coarse energy bins in finer ones: the row of each holds in all of it.

    XRISM's split matrices are such, the second coarser than the first.
    """
    (low, high), (fine_low, fine_high) = own, grid
    row = np.searchsorted(low, 0.5 * (fine_low + fine_high), side="right") - 1
    inside = (row >= 0) & (0.5 * (fine_low + fine_high) < high[row])
    row = row[inside]
    within = fine_low[inside] >= low[row] * (1 - SAME_GRID)
    within &= fine_high[inside] <= high[row] * (1 + SAME_GRID)
    if not within.all():
        raise IcflowError(
            f"{path}: the energy bins of its matrices cross, so they cannot be added; name the one "
            f"to use, {path}{{1}} the first"
        )
    place = np.flatnonzero(inside)
    chosen = _sparse((np.ones(row.size), (place, row)), shape=(fine_low.size, low.size))
    return _sparse(chosen @ matrix)


def _holds_area(table: BinaryTable, matrix: csr_array, notes: list[str]) -> bool:
    """Tell whether a matrix holds the effective area, by its header and by its numbers."""
    kind = (table.text("HDUCLAS3") or "").upper()
    said = kind == "FULL" or (not kind and table.name.upper() == "SPECRESP MATRIX")
    most = float(matrix.sum(axis=1).max(initial=0.0))
    if said and most <= MOST_SUM:
        notes.append(
            f"{table.path}: its header says that it holds the effective area, but its rows add up "
            f"to {most:.3g} at most; it is taken for a redistribution alone"
        )
    if not said and most > MOST_SUM:
        notes.append(
            f"{table.path}: its rows add up to {most:.3g}, more than the 1 of a redistribution; "
            "if it holds the effective area, use it without ARF"
        )
    return said and most > MOST_SUM


def read_arf(path: str | os.PathLike[str]) -> Arf:
    """Read an effective area, or one row of a type II file: ``two.arf{2}`` is the second.

    Raises
    ------
    IcflowError
        If the file is missing, truncated, not FITS or not an ARF, its energies
        leave gaps, an area is negative or not finite, or a type II file is given
        without the row.
    """
    name = FileName.of(path)
    with reading(name.on_disk(), "a whole ARF", AGAIN):
        return _arf(path, name, _area_table(name))


def _arf(path: str | os.PathLike[str], name: FileName, table: BinaryTable) -> Arf:
    row = _row_of_areas(table, name.number)
    notes: list[str] = []
    energy_lo, energy_hi, order = _read_energies(table, notes, row)
    unit = _square_cm(table, notes)
    area = _of_row(table, "SPECRESP", row).astype(np.float64) * unit
    if area.size != energy_lo.size:
        raise IcflowError(
            f"{name.path}: has {area.size} effective areas for {energy_lo.size} energy bins; make "
            "the ARF again"
        )
    if order is not None:
        area = area[order]
    _check_areas(name.path, area)
    return Arf(
        energy_lo,
        energy_hi,
        area,
        os.fspath(path),
        *_origin(table),
        plain=unit == 1 and _are_keV(table, "ENERG_LO", "ENERG_HI"),
        notes=tuple(notes),
    )


def _square_cm(table: BinaryTable, notes: list[str]) -> float:
    """Return the unit of areas in cm², which it is where the file gives none that is known."""
    unit = table.unit("SPECRESP")
    name = re.sub(r"[\s*^]", "", unit.lower())
    for start, factor in SQUARE_CM.items():
        if name.startswith(start):
            return factor
    if name:
        notes.append(f"{table.path}: SPECRESP is in {unit!r}, which is taken for cm²")
    return 1.0


def area_of_row(path: Path, number: int | None) -> Path:
    """Return the name of the area that goes with a row, from 1, of a type II spectrum.

    Where the name says no row, that is the same row of a type II ARF, as in XSPEC; an ordinary
    ARF, without which XSPEC goes on, goes with all of them.
    """
    name = FileName.of(path)
    if number is None or name.number is not None or not Path(name.on_disk()).is_file():
        return path
    return Path(f"{path}{{{number}}}") if _is_type_ii(_area_table(name)) else path


def _area_table(name: FileName) -> BinaryTable:
    """Read the table of an ARF."""
    tables = read_tables(name.on_disk())
    table = next(filter(is_area, name.select(tables)), None)
    if table is None or any(map(is_matrix, tables)):
        raise IcflowError(
            f"{name.path}: not an effective area but {describe(tables)}; give an ARF file"
        )
    return table


def _is_type_ii(table: BinaryTable) -> bool:
    """Tell whether an ARF has an effective area in each row."""
    column = table.column("SPECRESP")
    return isinstance(column, Ragged) or column.ndim > 1


def _row_of_areas(table: BinaryTable, number: int | None) -> int | None:
    """Return the row, from 0, that is asked for by a number from 1; None for a type I file."""
    if _is_type_ii(table):
        return row_of(table.path, number, table.n_rows, "areas")
    if number is not None:
        raise IcflowError(f"{table.path}: holds one area (type I); leave {{{number}}} out")
    return None


def _of_row(table: BinaryTable, name: str, row: int | None) -> AnyArray:
    """Return a column, or what it holds in one row."""
    if row is None:
        return table.vector(name)
    column = _flat(table.column(name))
    start = int(column.lengths[:row].sum())
    return column.values[start : start + int(column.lengths[row])]


def write_arf(
    path: str | os.PathLike[str],
    energy_lo: Floats,
    energy_hi: Floats,
    area: Floats,
    *,
    telescope: str = "UNKNOWN",
    instrument: str = "UNKNOWN",
) -> None:
    """Write an effective area (energies in keV, area in cm²), bytes fixed by the input.

    Raises
    ------
    IcflowError
        If an area is negative or not finite, or the energies leave gaps.
    """
    name = os.fspath(path)
    _check_contiguous(name, energy_lo, energy_hi)
    _check_areas(name, area)
    columns = [
        _real("ENERG_LO", energy_lo, "keV"),
        _real("ENERG_HI", energy_hi, "keV"),
        _real("SPECRESP", area, "cm**2"),
    ]
    keywords = _keywords("SPECRESP", "1.1.0", telescope, instrument)
    write_tables(name, [_extension("SPECRESP", columns, keywords)])


def write_rmf(path: str | os.PathLike[str], rmf: Rmf) -> None:
    """Write a redistribution matrix, bytes fixed by the input.

    Runs of stored elements become the channel groups; zeros that the sparse
    matrix stores are kept.
    """
    from astropy.io import fits

    name = os.fspath(path)
    _check_contiguous(name, rmf.energy_lo, rmf.energy_hi)
    n_channels, first = int(rmf.channel.size), int(rmf.channel[0])
    last = first + n_channels - 1
    n_grp, f_chan, n_chan, values = _encode(rmf.matrix, first)
    integer = "I" if last + 1 < 2**15 else "J"
    groups = [
        _real("ENERG_LO", rmf.energy_lo, "keV"),
        _real("ENERG_HI", rmf.energy_hi, "keV"),
        fits.Column("N_GRP", integer, array=n_grp),
        fits.Column("F_CHAN", f"P{integer}()", array=f_chan),
        fits.Column("N_CHAN", f"P{integer}()", array=n_chan),
        fits.Column("MATRIX", f"P{_real_format(rmf.matrix.data)}()", array=values),
    ]
    bounds = [
        fits.Column("CHANNEL", "J", array=rmf.channel),
        _real("E_MIN", rmf.e_min, "keV"),
        _real("E_MAX", rmf.e_max, "keV"),
    ]
    of_groups = {
        "TLMIN4": (first, "first channel"),
        "TLMAX4": (last, "last channel"),
        **_keywords("RSP_MATRIX", "1.3.0", rmf.telescope, rmf.instrument),
        "HDUCLAS3": "REDIST",
        "CHANTYPE": "PI",
        "DETCHANS": n_channels,
        "LO_THRES": 0.0,
    }
    of_bounds = {
        **_keywords("EBOUNDS", "1.2.0", rmf.telescope, rmf.instrument),
        "CHANTYPE": "PI",
        "DETCHANS": n_channels,
        "TLMIN1": first,
        "TLMAX1": last,
    }
    extensions = ("MATRIX", groups, of_groups), ("EBOUNDS", bounds, of_bounds)
    write_tables(name, [_extension(*extension) for extension in extensions])


# --- energies and channels -------------------------------------------------------


def _check_contiguous(name: str, energy_lo: Floats, energy_hi: Floats) -> None:
    if not (np.isfinite(energy_lo).all() and np.isfinite(energy_hi).all()):
        raise IcflowError(f"{name}: ENERG_LO or ENERG_HI holds NaN or infinity; make it again")
    if energy_lo.size == 0:
        raise IcflowError(f"{name}: holds no energy bins; make it again")
    if energy_lo[0] < 0 or np.any(energy_hi < energy_lo) or not np.any(energy_hi > energy_lo):
        raise IcflowError(
            f"{name}: an energy bin is negative or ends before it starts; make the file again"
        )
    step = energy_lo[1:] - energy_hi[:-1]
    width = energy_hi[:-1] - energy_lo[:-1]
    bad = np.flatnonzero(np.abs(step) > _ROUNDING * energy_hi[:-1] + _WIDTH_FRACTION * width)
    if bad.size:
        worst = int(bad[0])
        raise IcflowError(
            f"{name}: the energy bins {'leave a gap' if step[worst] > 0 else 'overlap'} at "
            f"{energy_hi[worst]:.6g} keV; a contiguous grid is needed"
        )


def _origin(table: BinaryTable) -> tuple[str, str]:
    """Return telescope and instrument."""
    return table.text("TELESCOP") or "", table.text("INSTRUME") or ""


def _read_energies(
    table: BinaryTable, notes: list[str], row: int | None = None
) -> tuple[Floats, Floats, Indices | None]:
    """Return the edges, increasing, and the order of rows that makes them so (None: as is).

    Those of one `row` (from 0) of a type II file stand in it.
    """
    energy_lo, energy_hi = (_in_keV(table, name, row) for name in ("ENERG_LO", "ENERG_HI"))
    order = None
    if energy_lo.size > 1 and energy_lo[0] > energy_lo[-1]:
        order = np.arange(energy_lo.size)[::-1]
        energy_lo, energy_hi = energy_lo[order], energy_hi[order]
    _check_contiguous(table.path, energy_lo, energy_hi)
    if energy_lo[0] > NO_X_RAYS:
        raise IcflowError(
            f"{table.path}: its energies reach from {energy_lo[0]:g} to {energy_hi[-1]:g} keV, "
            "which are no X-rays; if they are in eV, write `eV` into TUNIT of ENERG_LO, ENERG_HI, "
            "E_MIN and E_MAX"
        )
    if energy_lo[0] == 0:
        wide = int(np.argmax(energy_hi > 0))
        start = FROM_ZERO * energy_hi[wide]
        energy_lo, energy_hi = np.maximum(energy_lo, start), np.maximum(energy_hi, start)
        notes.append(
            f"{table.path}: its first bin starts at 0 keV, where models are infinite; it is taken "
            f"to start at {start:.3g} keV"
        )
    return energy_lo, energy_hi, order


def _in_keV(table: BinaryTable, name: str, row: int | None = None) -> Floats:
    """Return a column of energies in keV, which they are where the file gives no unit."""
    unit = table.unit(name)
    if unit.lower() not in KEV:
        raise IcflowError(
            f"{table.path}: the column {name} of {table.name} is in {unit!r}; write energies in "
            "keV, eV or MeV"
        )
    return np.asarray(_of_row(table, name, row).astype(np.float64) * KEV[unit.lower()])


def _are_keV(table: BinaryTable, *names: str) -> bool:
    """Tell whether energies are in keV as they stand in the file."""
    return all(KEV[table.unit(name).lower()] == 1 for name in names)


def _read_ebounds(
    name: str, tables: list[BinaryTable], notes: list[str]
) -> tuple[Integers, Floats, Floats]:
    table = next(filter(is_bounds, tables), None)
    if table is None:
        raise IcflowError(f"{name}: has no EBOUNDS extension; give a complete RMF file")
    channel = table.integers("CHANNEL")
    order = np.argsort(channel, kind="stable")
    channel = channel[order]
    if channel.size == 0 or np.any(np.diff(channel) != 1):
        raise IcflowError(
            f"{name}: the channels of EBOUNDS are not consecutive; give a complete RMF file"
        )
    low, high = (_in_keV(table, edge)[order] for edge in ("E_MIN", "E_MAX"))
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise IcflowError(f"{name}: E_MIN or E_MAX of EBOUNDS holds NaN; make the RMF again")
    low, high = np.minimum(low, high), np.maximum(low, high)
    step = np.diff(low + high)
    if np.any(step > 0) == np.any(step <= 0) and step.size:
        raise IcflowError(
            f"{name}: the energies of EBOUNDS neither rise nor fall from channel to channel; make "
            "the RMF again"
        )
    _check_bounds(name, low, high, notes)
    return channel, low, high


def _check_bounds(name: str, low: Floats, high: Floats, notes: list[str]) -> None:
    """Check the energies of channels, which say which ones are fitted, and nothing else."""
    width = high - low
    if not np.any(width > 0) or high.max() <= 0:
        raise IcflowError(
            f"{name}: the channels of EBOUNDS have no width, or no energies above 0; make the RMF "
            "again"
        )
    odd = []
    if not np.all(width > 0):
        odd.append(f"{int((width <= 0).sum())} channels without width")
    if low.min() < 0:
        odd.append(f"negative energies, from {low.min():g} keV")
    rising = np.argsort(low + high, kind="stable")
    step = low[rising][1:] - high[rising][:-1]
    room = _ROUNDING * high.max() + _WIDTH_FRACTION * width[rising][:-1]
    odd += [
        f"{what} at {high[rising][int(np.argmax(bad))]:.6g} keV"
        for what, bad in (("a gap", step > room), ("an overlap", step < -room))
        if bad.any()
    ]
    if odd:
        notes.append(
            f"{name}: EBOUNDS have {', '.join(odd)}; which channels lie between the energies "
            "of a fit is as they say"
        )


def _compare_with_bounds(
    name: str,
    matrix: csr_array,
    grid: tuple[Floats, Floats],
    bounds: tuple[Floats, Floats],
    notes: list[str],
) -> None:
    """Note where photons do not lead to channels of about their energies."""
    photon, channel = (0.5 * (low + high) for low, high in (grid, bounds))
    peak = channel[np.asarray(matrix.argmax(axis=1)).ravel()]
    there = (photon > bounds[0].min()) & (photon < bounds[1].max()) & (peak > 0)
    there &= np.asarray(matrix.max(axis=1).todense()).ravel() > 0
    peak, photon = peak[there], photon[there]
    off = np.abs(np.log(peak / photon))
    if off.size and np.median(off) > np.log(FAR):
        most = int(np.argmax(off))
        notes.append(
            f"{name}: photons of {photon[most]:.3g} keV mostly lead to channels of "
            f"{peak[most]:.3g} keV; check its EBOUNDS, and ENERG_LO and ENERG_HI of its matrix"
        )


def _check_areas(name: str, area: Floats) -> None:
    bad = np.flatnonzero(~((area >= 0) & (area < MOST_AREA)))
    if bad.size:
        raise IcflowError(
            f"{name}: {bad.size} effective areas are negative or not finite (the first, row "
            f"{bad[0] + 1}, is {area[bad[0]]}); make the ARF again"
        )
    if not area.any():
        raise IcflowError(f"{name}: every effective area is 0; make the ARF again")


# --- the matrix ------------------------------------------------------------------


def _flat(column: AnyArray | Ragged) -> Ragged:
    """Return any column as rows of arrays."""
    if isinstance(column, Ragged):
        return column
    width = 1 if column.ndim == 1 else column.shape[1]
    return Ragged(column.reshape(-1), np.full(column.shape[0], width, np.int64))


def _leading(column: Ragged, wanted: Integers, what: str, path: str) -> AnyArray:
    """Return the first `wanted` elements of every row, one after another."""
    if np.any(column.lengths < wanted):
        row = int(np.flatnonzero(column.lengths < wanted)[0])
        raise IcflowError(
            f"{path}: row {row + 1} of the matrix needs {wanted[row]} elements of {what} and has "
            f"{column.lengths[row]}; make the RMF again"
        )
    if np.array_equal(column.lengths, wanted):
        return column.values
    starts = np.cumsum(column.lengths) - column.lengths
    return column.values[ranges(starts, wanted)]


def _decode(table: BinaryTable, first: int, n_channels: int, notes: list[str]) -> csr_array:
    """Expand the channel groups of every row into a sparse matrix."""
    path = table.path
    n_grp = table.integers("N_GRP")
    if np.any(n_grp < 0):
        raise IcflowError(f"{path}: N_GRP is negative; make the RMF again")
    f_chan, n_chan = (
        whole_numbers(_leading(_flat(table.column(name)), n_grp, name, path), f"{path}: {name}")
        for name in ("F_CHAN", "N_CHAN")
    )
    group_row = np.repeat(np.arange(n_grp.size), n_grp)
    column = f_chan - first
    outside = (column < 0) | (column + n_chan > n_channels)
    if np.any(n_chan < 0) or np.any(outside & (n_chan > 0)):
        raise IcflowError(
            f"{path}: the matrix refers to channels outside {first} to {first + n_channels - 1}, "
            "which TLMIN of F_CHAN and EBOUNDS give; make the RMF again, or correct TLMIN"
        )
    per_row = np.bincount(group_row, n_chan, minlength=n_grp.size).astype(np.int64)
    values = _leading(_flat(table.column("MATRIX")), per_row, "MATRIX", path).astype(np.float64)
    _check_elements(path, values, notes)
    indices = ranges(column, n_chan).astype(np.int32)
    indptr = np.concatenate(([0], np.cumsum(per_row)))
    matrix = _sparse((values, indices, indptr.astype(np.int32)), shape=(n_grp.size, n_channels))
    matrix.sum_duplicates()
    return matrix


def _check_elements(path: str, values: Floats, notes: list[str]) -> None:
    # One comparison finds NaN too: min and max of an array with NaN are NaN.
    if values.size == 0 or (values.min() >= 0 and values.max() < MOST_AREA):
        return
    negative = values < 0
    if not (
        np.all(np.abs(values) < MOST_AREA) and -values[negative].sum() <= NEGATIVE * values.sum()
    ):
        raise IcflowError(
            f"{path}: the matrix holds values that are negative, more than {NEGATIVE:.0%} of it, "
            "or not finite; make the RMF again"
        )
    notes.append(
        f"{path}: {int(negative.sum())} matrix elements are slightly negative (the lowest "
        f"{values.min():.3g}); they are used as they are"
    )


def _encode(matrix: csr_array, first: int) -> tuple[Integers, AnyArray, AnyArray, AnyArray]:
    """Return N_GRP and, one array per row, F_CHAN, N_CHAN and MATRIX."""
    matrix = _sparse(matrix)
    matrix.sort_indices()
    rows = matrix.shape[0]
    n_grp = np.zeros(rows, np.int64)
    f_chan, n_chan, values = (np.empty(rows, object) for _ in range(3))
    for row in range(rows):
        part = slice(matrix.indptr[row], matrix.indptr[row + 1])
        columns = matrix.indices[part]
        values[row] = matrix.data[part]
        begins = np.flatnonzero(np.diff(columns, prepend=-2) != 1)
        n_grp[row] = begins.size
        f_chan[row] = first + columns[begins]
        n_chan[row] = np.diff(begins, append=columns.size)
    return n_grp, f_chan, n_chan, values


# --- writing ---------------------------------------------------------------------


def _real_format(values: Floats) -> str:
    """Single precision where it loses nothing (as OGIP files do), else double."""
    with np.errstate(over="ignore"):
        exact = np.array_equal(values.astype(np.float32).astype(np.float64), values)
    return "E" if exact else "D"


def _real(name: str, values: Floats, unit: str) -> fits.Column:
    from astropy.io import fits

    values = np.asarray(values, np.float64)
    return fits.Column(name, _real_format(values), unit=unit, array=values)


def _keywords(kind: str, version: str, telescope: str, instrument: str) -> dict[str, Any]:
    """Return the keywords that CAL/GEN/92-002 asks for in every extension."""
    return {
        "TELESCOP": telescope or "UNKNOWN",
        "INSTRUME": instrument or "UNKNOWN",
        "FILTER": "NONE",
        "HDUCLASS": "OGIP",
        "HDUCLAS1": "RESPONSE",
        "HDUCLAS2": kind,
        "HDUVERS": version,
    }


def _extension(
    name: str, columns: list[fits.Column], keywords: Mapping[str, Any]
) -> fits.BinTableHDU:
    from astropy.io import fits

    hdu = fits.BinTableHDU.from_columns(columns, name=name)
    hdu.header.update(keywords)
    return hdu
