"""Redistribution matrices (RMF) and effective areas (ARF), read and written.

The format is OGIP memo CAL/GEN/92-002 (George et al. 1992) with its addendum
92-002a. Values that the file stores in single precision are widened to double,
as XSPEC does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from scipy.sparse import csr_array

from icflow.errors import IcflowError
from icflow.ogip.binary_table import BinaryTable, Ragged, read_tables, write_tables
from icflow.ogip.kinds import describe, is_area, is_bounds, is_matrix
from icflow.typing import AnyArray, Floats, Indices, Integers

# Neighbouring bins are contiguous up to rounding: a few units in the last place
# of single precision, or a thousandth of the bin's width.
_ROUNDING = 5e-7
_WIDTH_FRACTION = 1e-3
# Edges that differ by less, relatively, are the same.
SAME_GRID = 1e-5


class _Binned:
    """Energy bins without gaps."""

    energy_lo: Floats
    energy_hi: Floats

    @property
    def energies(self) -> Floats:
        """Edges of the energy bins, keV, (n_energies + 1,): as XSPEC hands them to models."""
        return np.append(self.energy_lo, self.energy_hi[-1])


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
    """

    energy_lo: Floats
    energy_hi: Floats
    area: Floats
    path: str = ""
    telescope: str = ""
    instrument: str = ""


def read_rmf(path: str | os.PathLike[str]) -> Rmf:
    """Read a redistribution matrix.

    The matrix is in an extension of class RSP_MATRIX, or named MATRIX or
    SPECRESP MATRIX; N_GRP, F_CHAN and N_CHAN may be scalars, arrays of fixed or
    of variable length. The first channel is TLMIN of F_CHAN (a string is
    accepted), else the lowest channel of EBOUNDS. EBOUNDS may list channels in
    any order; energies may fall with the row, the bins are returned increasing.

    Raises
    ------
    IcflowError
        If the file is missing, truncated, not FITS or not an RMF, its energies
        leave gaps, or its values are negative, not finite or outside the channels.
    """
    name = os.fspath(path)
    tables = read_tables(name)
    matrices = list(filter(is_matrix, tables))
    if not matrices:
        raise IcflowError(
            f"{name}: not a redistribution matrix but {describe(tables)}; give an RMF file"
        )
    if len(matrices) > 1:
        raise IcflowError(f"{name}: holds {len(matrices)} matrices; keep one per file")
    table = matrices[0]
    channel, e_min, e_max = _read_ebounds(name, tables)
    energy_lo, energy_hi, order = _read_energies(table)
    first = table.minimum("F_CHAN")
    matrix = _decode(table, int(channel[0]) if first is None else first, channel.size)
    if order is not None:
        matrix = csr_array(matrix[order])
    return Rmf(energy_lo, energy_hi, matrix, channel, e_min, e_max, name, *_origin(table))


def read_arf(path: str | os.PathLike[str]) -> Arf:
    """Read an effective area.

    Raises
    ------
    IcflowError
        If the file is missing, truncated, not FITS or not an ARF, its energies
        leave gaps, or an area is negative or not finite.
    """
    name = os.fspath(path)
    tables = read_tables(name)
    table = next(filter(is_area, tables), None)
    if table is None or any(map(is_matrix, tables)):
        raise IcflowError(f"{name}: not an effective area but {describe(tables)}; give an ARF file")
    energy_lo, energy_hi, order = _read_energies(table)
    area = table.vector("SPECRESP").astype(np.float64)
    if order is not None:
        area = area[order]
    _check_areas(name, area)
    return Arf(energy_lo, energy_hi, area, name, *_origin(table))


def check_same_grid(rmf: Rmf, arf: Arf) -> None:
    """Check that an RMF and an ARF share their energy bins.

    Raises
    ------
    IcflowError
        If the numbers of bins differ, or an edge by more than 1e-5 relative;
        the message names both files.
    """
    advice = "make the ARF for this RMF"
    if rmf.energy_lo.size != arf.energy_lo.size:
        raise IcflowError(
            f"{rmf.path} has {rmf.energy_lo.size} energy bins and {arf.path} has "
            f"{arf.energy_lo.size}; {advice}"
        )
    difference = np.abs(rmf.energies - arf.energies)
    worst = int(np.argmax(difference - SAME_GRID * rmf.energies))
    if difference[worst] > SAME_GRID * rmf.energies[worst]:
        raise IcflowError(
            f"{rmf.path} and {arf.path} have different energy bins ({rmf.energies[worst]:.6g} and "
            f"{arf.energies[worst]:.6g} keV at edge {worst}); {advice}"
        )


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
    if energy_lo[0] < 0 or np.any(energy_hi <= energy_lo):
        raise IcflowError(
            f"{name}: an energy bin is negative or ends where it starts; make the file again"
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


def _read_energies(table: BinaryTable) -> tuple[Floats, Floats, Indices | None]:
    """Return the edges, increasing, and the order of rows that makes them so (None: as is)."""
    energy_lo = table.vector("ENERG_LO").astype(np.float64)
    energy_hi = table.vector("ENERG_HI").astype(np.float64)
    order = None
    if energy_lo.size > 1 and energy_lo[0] > energy_lo[-1]:
        order = np.arange(energy_lo.size)[::-1]
        energy_lo, energy_hi = energy_lo[order], energy_hi[order]
    _check_contiguous(table.path, energy_lo, energy_hi)
    return energy_lo, energy_hi, order


def _read_ebounds(name: str, tables: list[BinaryTable]) -> tuple[Integers, Floats, Floats]:
    table = next(filter(is_bounds, tables), None)
    if table is None:
        raise IcflowError(f"{name}: has no EBOUNDS extension; give a complete RMF file")
    channel = table.vector("CHANNEL").astype(np.int64)
    order = np.argsort(channel, kind="stable")
    channel = channel[order]
    if channel.size == 0 or np.any(np.diff(channel) != 1):
        raise IcflowError(
            f"{name}: the channels of EBOUNDS are not consecutive; give a complete RMF file"
        )
    low = table.vector("E_MIN").astype(np.float64)[order]
    high = table.vector("E_MAX").astype(np.float64)[order]
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise IcflowError(f"{name}: E_MIN or E_MAX of EBOUNDS holds NaN; make the RMF again")
    return channel, np.minimum(low, high), np.maximum(low, high)


def _check_areas(name: str, area: Floats) -> None:
    bad = np.flatnonzero(~(np.isfinite(area) & (area >= 0)))
    if bad.size:
        raise IcflowError(
            f"{name}: {bad.size} effective areas are negative or not finite (the first, row "
            f"{bad[0] + 1}, is {area[bad[0]]}); make the ARF again"
        )


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
    return column.values[_ranges(starts, wanted)]


def _ranges(starts: Integers, lengths: Integers) -> Integers:
    """Return ``starts[i], starts[i] + 1, …`` (`lengths[i]` of them) for every i in turn."""
    before = np.cumsum(lengths) - lengths
    ranges: Integers = np.arange(int(lengths.sum())) + np.repeat(starts - before, lengths)
    return ranges


def _decode(table: BinaryTable, first: int, n_channels: int) -> csr_array:
    """Expand the channel groups of every row into a sparse matrix."""
    path = table.path
    n_grp = table.vector("N_GRP").astype(np.int64)
    if np.any(n_grp < 0):
        raise IcflowError(f"{path}: N_GRP is negative; make the RMF again")
    f_chan, n_chan = (
        _leading(_flat(table.column(name)), n_grp, name, path).astype(np.int64)
        for name in ("F_CHAN", "N_CHAN")
    )
    group_row = np.repeat(np.arange(n_grp.size), n_grp)
    column = f_chan - first
    outside = (column < 0) | (column + n_chan > n_channels)
    if np.any(n_chan < 0) or np.any(outside & (n_chan > 0)):
        raise IcflowError(
            f"{path}: the matrix refers to channels outside {first} to {first + n_channels - 1}, "
            "those of EBOUNDS; make the RMF again, or correct TLMIN of F_CHAN"
        )
    per_row = np.bincount(group_row, n_chan, minlength=n_grp.size).astype(np.int64)
    values = _leading(_flat(table.column("MATRIX")), per_row, "MATRIX", path).astype(np.float64)
    # One comparison finds NaN too: min and max of an array with NaN are NaN.
    if values.size and not (values.min() >= 0 and values.max() < np.inf):
        raise IcflowError(
            f"{path}: the matrix holds values that are negative or not finite; make the RMF again"
        )
    indices = _ranges(column, n_chan).astype(np.int32)
    indptr = np.concatenate(([0], np.cumsum(per_row)))
    matrix = csr_array((values, indices, indptr.astype(np.int32)), shape=(n_grp.size, n_channels))
    matrix.sum_duplicates()
    return matrix


def _encode(matrix: csr_array, first: int) -> tuple[Integers, AnyArray, AnyArray, AnyArray]:
    """Return N_GRP and, one array per row, F_CHAN, N_CHAN and MATRIX."""
    matrix = csr_array(matrix)
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
    hdu = fits.BinTableHDU.from_columns(columns, name=name)
    hdu.header.update(keywords)
    return hdu
