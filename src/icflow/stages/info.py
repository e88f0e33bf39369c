"""Stage: what OGIP files hold and what is odd about them, or what is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import icflow
from icflow.engines.registry import ENGINES
from icflow.engines.xspec import version as xspec
from icflow.errors import IcflowError
from icflow.models.library import definitions, version
from icflow.networks.devices import device_name
from icflow.ogip.binary_table import BinaryTable, read_tables
from icflow.ogip.bins import bins_of_flags
from icflow.ogip.keywords import Scale
from icflow.ogip.kinds import describe, is_area, is_matrix, is_spectrum
from icflow.ogip.names import FileName, beside
from icflow.ogip.response import read_arf, read_rmf
from icflow.ogip.spectrum import Spectrum, read_spectrum
from icflow.provenance import package_versions
from icflow.resources import RESOURCES, find
from icflow.stages import cache
from icflow.typing import Floats

# Rows of a type II file that are told of.
MOST_ROWS = 5
# Versions that are told of.
SHOWN = ("python", "numpy", "scipy", "astropy", "numba", "torch", "xspectrampoline")


def run(files: Sequence[Path]) -> Iterator[str]:
    """Yield lines on what each file holds; one that cannot be used says why.

    Without files they tell of versions, data, caches, engines and the GPU.

    Raises
    ------
    IcflowError
        If a file is missing or not FITS.
    """
    if not files:
        yield from _installed()
    for path in files:
        tables = read_tables(FileName.of(path).on_disk())
        yield f"{path}: {describe(tables)}"
        try:
            for line in _reader(tables)(path, tables):
                yield f"  {line}"
        except IcflowError as error:
            yield f"  Cannot be used: {error}"


def _installed() -> Iterator[str]:
    """Yield what there is on this machine, a line each."""
    own = Path(icflow.__file__).parent
    yield f"icflow: {icflow.__version__} in {own}"
    versions = package_versions()
    yield "Versions: " + ", ".join(f"{name} {versions[name]}" for name in SHOWN if name in versions)
    for name in ENGINES:
        yield f"Engine {name}: {_engine(name)}"
    yield f"GPU: {device_name()}"
    for name in RESOURCES:
        yield f"Data {name}: {_data(name)}"
    yield from (f"Kept: {line}" for line in cache.run().splitlines())


def _data(name: str) -> str:
    """Say where a file is that can be fetched, and whether it has its size."""
    path, size = find(name), RESOURCES[name].size
    if path is None:
        return "not there; run `icflow fetch`"
    there = path.stat().st_size
    if there == size:
        return str(path)
    return f"{path}, {there} of {size} bytes: delete it and run `icflow fetch`"


def _engine(name: str) -> str:
    """Say what makes an engine run, or why it cannot."""
    if name == "xspec":
        version_of_xspec, reason = xspec.ask()
        if version_of_xspec:
            return f"XSPEC {version_of_xspec} in {xspec.xspec_python()}"
        return f"not here ({reason})"
    try:
        definitions()
        return f"model functions of {version()}"
    except IcflowError as error:
        return f"not here ({error})"


def _reader(
    tables: Sequence[BinaryTable],
) -> Callable[[Path, Sequence[BinaryTable]], Iterator[str]]:
    """Return what tells of a file, by the kinds of its tables."""
    for kind, reader in ((is_matrix, _matrix), (is_area, _area), (is_spectrum, _spectra)):
        if any(map(kind, tables)):
            return reader
    return lambda path, tables: iter(())


def _matrix(path: Path, tables: Sequence[BinaryTable]) -> Iterator[str]:
    rmf = read_rmf(path)
    yield f"Instrument: {_words(rmf.telescope, rmf.instrument)}"
    yield f"Matrix: {rmf.matrix.shape[0]} energy bins, {_range(rmf.energies)}"
    edges = np.array([rmf.e_min.min(), rmf.e_max.max()])
    yield f"Channels: {rmf.channel[0]} to {rmf.channel[-1]}, {_range(edges)}"
    yield f"Effective area: {'in the matrix' if rmf.full else 'not in the matrix, an ARF has it'}"
    yield from _notes(rmf.notes)


def _area(path: Path, tables: Sequence[BinaryTable]) -> Iterator[str]:
    arf = read_arf(path)
    yield f"Instrument: {_words(arf.telescope, arf.instrument)}"
    yield f"Effective area: {arf.area.size} energy bins, {_range(arf.energies)}"
    yield f"Largest area: {arf.area.max():.6g} cm2"
    yield from _notes(arf.notes)


def _spectra(path: Path, tables: Sequence[BinaryTable]) -> Iterator[str]:
    name = FileName.of(path)
    chosen = list(filter(is_spectrum, name.select(tables)))
    if len(chosen) > 1:
        yield f"Extensions: {len(chosen)} with spectra, of several modules or observations"
    for table in chosen:
        own = name if len(chosen) == 1 else replace(name, extension=str(table.hdu))
        if own != name:
            module = table.text("MODULE")
            yield f"{own}: MODULE {module}" if module else str(own)
        yield from _rows(own, table)


def _rows(name: FileName, table: BinaryTable) -> Iterator[str]:
    """Yield lines on the spectrum of an extension, or on its first ones, and how they are named."""
    column = table.column("COUNTS" if table.has("COUNTS") else "RATE")
    several = isinstance(column, np.ndarray) and column.ndim == 2 and name.number is None
    if not several:
        yield from _spectrum(read_spectrum(str(name)))
        return
    last = f"{name}{{{table.n_rows}}}"
    yield f"Spectra: {table.n_rows} (type II), {name}{{1}} to {last}"
    for row in range(min(table.n_rows, MOST_ROWS)):
        yield f"{name}{{{row + 1}}}"
        yield from (f"  {line}" for line in _spectrum(read_spectrum(f"{name}{{{row + 1}}}")))
    if table.n_rows > MOST_ROWS:
        yield f"… and so on, to {last}"


def _spectrum(spectrum: Spectrum) -> Iterator[str]:
    channel, counts = spectrum.channel, spectrum.counts
    yield f"Instrument: {_words(spectrum.telescope, spectrum.instrument)}"
    yield f"Counts: {int(counts.sum())} in {spectrum.exposure:.10g} s"
    of = "" if spectrum.detchans is None else f" of {spectrum.detchans}"
    yield f"Channels: {channel[0]} to {channel[-1]}, {channel.size}{of}"
    starts, _, quality = bins_of_flags(spectrum.grouping, spectrum.quality, channel.size)
    grouped = "no GROUPING" if spectrum.grouping is None else "by GROUPING"
    yield f"Bins: {starts.size} {grouped}, {int(np.count_nonzero(quality))} of bad quality"
    if spectrum.quality is not None:
        values, numbers = np.unique(spectrum.quality, return_counts=True)
        yield "QUALITY: " + ", ".join(
            f"{number} channels {value}" for value, number in zip(values, numbers, strict=True)
        )
    yield f"AREASCAL: {_scale(spectrum.areascal)}, BACKSCAL: {_scale(spectrum.backscal)}"
    for keyword, file in (
        ("RESPFILE", spectrum.respfile),
        ("ANCRFILE", spectrum.ancrfile),
        ("BACKFILE", spectrum.backfile),
    ):
        there = None if file is None else beside(Path(spectrum.path), file)
        place = "" if file is None else " (missing)" if there is None else f" ({there})"
        yield f"{keyword}: {file or 'none'}{place}"
    yield from _notes(spectrum.notes)


def _scale(scale: Scale | None) -> str:
    if isinstance(scale, np.ndarray):
        return f"{scale.min():.6g} to {scale.max():.6g} by channel"
    return "missing" if scale is None else f"{scale:.6g}"


def _words(*names: str) -> str:
    return " ".join(name for name in names if name) or "not said"


def _range(edges: Floats) -> str:
    return f"{edges[0]:.6g} to {edges[-1]:.6g} keV"


def _notes(notes: Sequence[str]) -> Iterator[str]:
    yield from (f"Note: {note}" for note in notes)
