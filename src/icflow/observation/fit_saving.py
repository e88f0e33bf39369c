"""A fit of spectra as a save file that XSPEC loads, with the files that it needs besides.

Components of a background are further sources, as nuskybgd makes them. XSPEC wants a file for each
response: those that are described (an identity, an area by nodes), and those that XSPEC would read
otherwise than icflow does, are written beside the save file, under names that begin like its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from icflow.engines.base import BACKGROUND
from icflow.engines.xspec.inputs import identity
from icflow.errors import IcflowError
from icflow.files import write_text
from icflow.models import saving
from icflow.models.background import BackgroundComponent, read_background
from icflow.models.save_file import OWN_BINS
from icflow.observation.fit_output import FitRecord
from icflow.ogip.matching import matched
from icflow.ogip.names import plain
from icflow.ogip.observation import SpectrumFiles
from icflow.ogip.response import Rmf, read_arf, read_rmf, write_arf, write_rmf
from icflow.typing import Floats


def check_saved(files: Sequence[SpectrumFiles], path: Path) -> None:
    """Check that XSPEC can read the names that a save file would hold, and that none is replaced.

    Raises
    ------
    IcflowError
        If one has a blank in it, where XSPEC splits names, or is a name of what may be written.
    """
    for file in files:
        for read in map(plain, _names(file)):
            beside = read.resolve().parent == path.resolve().parent
            if beside and read.name.startswith(f"{path.stem}-") and read.suffix in (".rmf", ".arf"):
                raise IcflowError(
                    f"{read}: is read, and responses are written beside {path} under such names; "
                    "choose another name for the save file"
                )
    for name in map(str, (path, *(name for file in files for name in _names(file)))):
        if re.search(r"\s", name):
            raise IcflowError(
                f"{name}: XSPEC splits names of files at blanks, and cannot load this one from a "
                "save file; rename it"
            )


def _names(file: SpectrumFiles) -> Iterator[Path | str]:
    """Yield the names that the save file holds of a spectrum."""
    yield from (file.spectrum.path, file.rmf)
    if file.arf is not None:
        yield file.arf
    if file.behind is not None:
        yield file.behind.path
    if file.background is not None:
        for component in read_background(file.background):
            yield from component.files


def save(fit: FitRecord, path: Path) -> None:
    """Write a fit as a save file, and the responses that it needs besides.

    Raises
    ------
    IcflowError
        If a background component wants an identity that its response cannot have.
    """
    settings = fit.settings
    regrouped = "group_min" in settings.model_fields_set
    spectra = [
        _fitted(fit, file, folding.factor, path)
        for file, folding in zip(fit.files, fit.engine.engine.foldings, strict=True)
    ]
    content = saving.SavedFit(
        settings.expression,
        fit.model.parameters,
        fit.result.values,
        spectra,
        # As asked for: XSPEC leaves out a channel that ends where the last one of all does.
        settings.energies,
        settings.cross_normalisation,
        settings.atomic_data,
        comment=OWN_BINS.format(settings.group_min) if regrouped else "",
    )
    write_text(path, saving.save_file(content))


def _fitted(fit: FitRecord, file: SpectrumFiles, factor: str, path: Path) -> saving.SavedSpectrum:
    """Return a spectrum with its responses, those written that XSPEC would not read right."""
    stem = f"{path.stem}-{file.name}" if file.name else path.stem
    start = path.with_name(stem)
    rmf, name, arf = read_rmf(file.rmf), str(file.rmf), None
    if not rmf.plain:
        name = _write_rmf(start, "source", rmf)
    if file.arf is not None:
        own, arf = read_arf(file.arf), str(file.arf)
        area, _ = matched(rmf, own, fit.energies)
        if not (own.plain and area is own):
            arf = _write_arf(start, "source", rmf, area.area)
    components = () if file.background is None else read_background(file.background)
    return saving.SavedSpectrum(
        file.spectrum.path,
        name,
        arf,
        None if file.behind is None else file.behind.path,
        fit.result.values.get(factor, 1.0),
        [_component(fit, file, part, (name, rmf), start) for part in components],
    )


def _component(
    fit: FitRecord,
    file: SpectrumFiles,
    part: BackgroundComponent,
    source: tuple[str, Rmf],
    start: Path,
) -> saving.SavedComponent:
    """Return a component of the background, its responses as files.

    Parameters
    ----------
    source : tuple
        Name and content of the RMF of the spectrum.
    start : Path
        What names of written files begin with.
    """
    name, rmf = source
    if part.redistribution == "identity":
        name = _write_rmf(start, "identity", identity(rmf, part.name))
    elif isinstance(part.redistribution, Path):
        rmf, name = read_rmf(part.redistribution), str(part.redistribution)
        if not rmf.plain:
            name = _write_rmf(start, part.name, rmf)
    arf = str(part.area) if isinstance(part.area, Path) else None
    if part.area is not None and not _is_read_right(part.area, rmf):
        arf = _write_arf(start, part.name, rmf, part.effective_area(rmf.energies))
    prefix = f"{file.name}." if file.name else ""
    factor = fit.result.values[f"{BACKGROUND}{prefix}{part.name}"]
    limits = part.limits(fit.settings.background_range)
    return saving.SavedComponent(part.name, part.expression, part.values, name, arf, factor, limits)


def _is_read_right(area: object, rmf: Rmf) -> bool:
    """Tell whether XSPEC reads an area as icflow does: row by row, from a file."""
    if not isinstance(area, Path):
        return False
    arf = read_arf(area)
    return arf.plain and arf.area.size == rmf.energy_lo.size


def _write_rmf(start: Path, what: str, rmf: Rmf) -> str:
    path = start.with_name(f"{start.name}-{what}.rmf")
    write_rmf(path, rmf)
    return str(path)


def _write_arf(start: Path, what: str, rmf: Rmf, area: Floats) -> str:
    path = start.with_name(f"{start.name}-{what}.arf")
    origin = {"telescope": rmf.telescope or "UNKNOWN", "instrument": rmf.instrument or "UNKNOWN"}
    write_arf(path, rmf.energy_lo, rmf.energy_hi, area, **origin)
    return str(path)
