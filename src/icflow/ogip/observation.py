"""An observed spectrum with the files that belong to it, checked against each other.

`icflow fit` and `icflow observe` read their spectra here, by the same checks.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from icflow.config import Observation, ObservedSpectrum
from icflow.errors import IcflowError
from icflow.ogip.binary_table import is_fits
from icflow.ogip.bins import GOOD, bins_of_counts, bins_of_flags, used_channels
from icflow.ogip.grouping import noticed_groups
from icflow.ogip.matching import check_origin, matched, on_channels
from icflow.ogip.names import FileName, beside, plain
from icflow.ogip.noticed import check_covered, noticed_channels
from icflow.ogip.response import Rmf, area_of_row, read_arf, read_rmf
from icflow.ogip.spectrum import Spectrum, check_counts, read_background, read_spectrum
from icflow.typing import Booleans, Integers


@dataclass(frozen=True)
class SpectrumFiles:
    """One observed spectrum and the files that belong to it.

    Attributes
    ----------
    name : str
        Empty if the observation has one spectrum only.
    key : str
        Where the configuration names it, for errors; empty on the command line.
    spectrum : Spectrum
    rmf : Path
    arf, background : Path or None
        The background is a description of its components.
    behind : Spectrum or None
        The background spectrum, where the background is a file.
    notes : tuple of str
        What is odd about it, a sentence each.
    """

    name: str
    key: str
    spectrum: Spectrum
    rmf: Path
    arf: Path | None
    background: Path | None
    behind: Spectrum | None = None
    notes: tuple[str, ...] = ()

    @property
    def background_file(self) -> str | None:
        """The background spectrum, or the description of the background."""
        if self.behind is not None:
            return self.behind.path
        return None if self.background is None else str(self.background)

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file except those that the background names."""
        paths = (self.spectrum.path, self.rmf, self.arf, self.background_file)
        return tuple(plain(path) for path in paths if path is not None)


def statistic_of(spectra: Sequence[SpectrumFiles]) -> str:
    """Return the name of the statistic: W with background spectra, C without, or both."""
    behind = [spectrum.behind is not None for spectrum in spectra]
    return "W" if all(behind) else "W + C" if any(behind) else "C"


# More than any response covers, keV.
EVERYTHING = 0.0, 1e9
# What the user writes for the background spectrum that BACKFILE names.
FILE = "file"


class Checked(NamedTuple):
    """A spectrum that belongs to its response, on the channels of which it is.

    The energies are those that channels cover, of the ones that are to be fitted.
    """

    files: SpectrumFiles
    rmf: Rmf
    energies: tuple[float, float]


def read_observation(name: str, observation: Observation) -> list[SpectrumFiles]:
    """Read the spectra of an observation and find their companions.

    Raises
    ------
    IcflowError
        As `read_files`, and `check_distinct`.
    """
    key = f"observations.{name}"
    files = [
        read_files(given, module, f"{key}.spectra.{module}" if module else key)
        for module, given in observation.modules().items()
    ]
    check_distinct(files, f"{key}: ")
    return files


def check_distinct(files: Sequence[SpectrumFiles], where: str = "") -> None:
    """Check that no spectrum is fitted twice, which would make errors too small.

    Raises
    ------
    IcflowError
        If two hold the same counts in every channel; `where` begins the sentence.
    """
    for first, second in itertools.combinations([file.spectrum for file in files], 2):
        if _same_counts(first, second):
            raise IcflowError(
                f"{where}{first.path} and {second.path} hold the same counts in every channel; "
                "give each spectrum once"
            )


def _same_counts(spectrum: Spectrum, other: Spectrum) -> bool:
    return spectrum.exposure == other.exposure and np.array_equal(spectrum.counts, other.counts)


def read_files(given: ObservedSpectrum, name: str = "", key: str = "") -> SpectrumFiles:
    """Read a spectrum and find its companions.

    Parameters
    ----------
    given : ObservedSpectrum
        The spectrum, and its companions where its header is not to say.
    name : str
        Of several spectra.
    key : str
        Where the configuration names it; empty on the command line.

    Raises
    ------
    IcflowError
        If the spectrum is missing or cannot be used (see `read_spectrum`), names
        files that are not there, or, in a configuration that does not say what the
        background is, a background spectrum: on the command line it is used.
    """
    path = Path(given.spectrum)
    notes: list[str] = []
    option = f"{key}." if key else "--"
    try:
        spectrum = read_spectrum(path)
        check_counts(spectrum.counts, str(path))
        notes += spectrum.notes
        chosen = given.background
        if spectrum.backfile is not None and chosen is None:
            if key:
                raise IcflowError(_which_background(spectrum, key))
            chosen = FILE
        background, behind = _background(spectrum, chosen, f"{option}background", notes)
    except IcflowError as error:
        raise IcflowError(f"{key}.spectrum: {error}" if key else str(error)) from None
    rmf, arf = _given(given.rmf), _given(given.arf)
    if rmf is None:
        rmf = companion(path, spectrum.respfile, "RESPFILE", f"{option}rmf", notes)
    if given.arf is None and spectrum.ancrfile is not None:
        arf = companion(path, spectrum.ancrfile, "ANCRFILE", f"{option}arf", notes)
        arf = area_of_row(arf, FileName.of(path).number)
    return SpectrumFiles(name, key, spectrum, rmf, arf, background, behind, tuple(notes))


def _which_background(spectrum: Spectrum, key: str) -> str:
    """Say that a spectrum comes with a background spectrum, and what can be done."""
    return (
        f"{spectrum.path}: names the background spectrum {spectrum.backfile} in BACKFILE; under "
        f"{key}, write `background: file` to use it, name a description of the background, or "
        "write `background: none` if there is none"
    )


def _background(
    spectrum: Spectrum, given: str | None, option: str, notes: list[str]
) -> tuple[Path | None, Spectrum | None]:
    """Return the description of the background, or its spectrum: that of BACKFILE, or a FITS file.

    Raises
    ------
    IcflowError
        If there is no BACKFILE, or the background does not belong to the spectrum.
    """
    path = _given(given)
    if given == FILE:
        path = companion(Path(spectrum.path), spectrum.backfile, "BACKFILE", option, notes)
    if path is None or not (given == FILE or is_fits(FileName.of(path).on_disk())):
        return path, None
    behind = read_background(spectrum, path)
    check_origin(spectrum, behind)
    if _same_counts(behind, spectrum):
        raise IcflowError(
            f"{spectrum.path}: has the same counts in every channel as its background, {path}; "
            f"give the spectrum of a background with {option}"
        )
    notes += behind.notes
    return None, behind


def _given(name: str | None) -> Path | None:
    return None if name is None or name.lower() == "none" else Path(name)


def companion(
    spectrum: Path, name: str | None, keyword: str, option: str, notes: list[str]
) -> Path:
    """Find a file that a spectrum names, beside it or in the working directory.

    Parameters
    ----------
    notes : list of str
        Where to add that it is not where the header says.

    Raises
    ------
    IcflowError
        If it names none, or the file is in neither place; `option` is where
        the user can give one.
    """
    if name is None:
        raise IcflowError(f"{spectrum}: {keyword} names no file; give one with {option}")
    path = beside(spectrum, name)
    if path is None:
        raise IcflowError(
            f"{spectrum}: {keyword} is {name}, which is neither beside the spectrum nor here; "
            f"give the file with {option}"
        )
    if Path(name).is_absolute() and plain(path) != plain(name):
        notes.append(f"{spectrum}: {keyword} is {name}, which is not there; {path} is used")
    return path


def check_companions(files: SpectrumFiles, low: float, high: float, cut: bool = False) -> Checked:
    """Check that spectrum, response and energies belong together.

    Parameters
    ----------
    low, high : float
        Energies that are to be fitted, keV.
    cut : bool
        Whether energies that no channel covers are left out, rather than refused.

    Raises
    ------
    IcflowError
        If RMF or ARF belong to another instrument, have other channels or
        other energy bins, or do not cover the energies.
    """
    key = files.key or files.spectrum.path
    notes = list(files.notes)
    try:
        rmf = read_rmf(files.rmf)
        check_origin(files.spectrum, rmf)
        spectrum = on_channels(files.spectrum, rmf)
        first, last = float(rmf.e_min.min()), float(rmf.e_max.max())
        if cut and (low >= last or high <= first):
            raise IcflowError(
                f"{files.rmf} has channels from {first:g} to {last:g} keV, and none between the "
                f"{low:g} and {high:g} keV that are fitted by default; choose with --energies"
            )
        low, high = (max(low, first), min(high, last)) if cut else (low, high)
        noticed_channels(rmf.e_min, rmf.e_max, low, high)
        notes += _not_used(files.spectrum, spectrum, rmf, low, high)
        notes += [*rmf.notes, *_check_area(files, rmf, low, high)]
    except IcflowError as error:
        raise IcflowError(f"{key}: {error}" if files.key else str(error)) from None
    option = "`energies`" if files.key else "--energies"
    check_covered(low, high, (first, last), f"{files.rmf}", option, f"{key}: ")
    behind = None if files.behind is None else files.behind.padded(rmf.channel)
    files = replace(files, spectrum=spectrum, behind=behind, notes=tuple(notes))
    return Checked(files, rmf, (low, high))


def _not_used(listed: Spectrum, spectrum: Spectrum, rmf: Rmf, low: float, high: float) -> list[str]:
    """Say which channels between two energies are not there, or not used."""
    notes = []
    inside = noticed_channels(rmf.e_min, rmf.e_max, low, high)
    absent = ~np.isin(spectrum.channel, listed.channel)
    bad = inside & ~absent & ~used_channels(spectrum, regroup=spectrum.grouping is None)
    between = f"between {low:g} and {high:g} keV"
    if absent.any():
        notes.append(
            f"{spectrum.path}: lists the channels {listed.channel[0]} to {listed.channel[-1]} of "
            f"{absent.size}; {int((inside & absent).sum())} {between} are not there"
        )
    if bad.any():
        notes.append(
            f"{spectrum.path}: {int(bad.sum())} channels {between} are of bad QUALITY and left out"
        )
    return notes


def _check_area(files: SpectrumFiles, rmf: Rmf, low: float, high: float) -> list[str]:
    """Check the effective area of a spectrum; return what is odd about it."""
    if files.arf is None:
        alone = f"{files.rmf} is used without effective area, which is taken for 1 cm²"
        return [] if rmf.full else [alone]
    arf = read_arf(files.arf)
    check_origin(files.spectrum, arf)
    return [*arf.notes, *matched(rmf, arf, (low, high))[1]]


def _between(
    spectrum: Spectrum, groups: tuple[Integers, Integers], rmf: Rmf, low: float, high: float
) -> Booleans:
    """Tell which groups of the file lie between two energies."""
    try:
        return noticed_groups(*groups, rmf.e_min, rmf.e_max, low, high)
    except IcflowError:
        if spectrum.grouping is None:
            raise
    raise IcflowError(
        f"{spectrum.path}: every bin of its GROUPING reaches outside of {low:g} to {high:g} keV; "
        "choose other energies, or bins of your own with group_min"
    )


def observed_groups(
    spectrum: Spectrum, rmf: Rmf, low: float, high: float, minimum: int | None
) -> tuple[Integers, Integers]:
    """Return the bins of a spectrum between two energies, as half-open ranges of channels.

    Bins of the file's GROUPING are those of XSPEC after ``ignore bad`` and
    ``ignore **-low high-**``. Others are made of the good channels between the
    energies, of which none is lost: to make bins first and leave out those that
    hold a limit, as grppha and XSPEC do, drops empty channels rather than those
    with counts, and norms come out too high where there are few.

    Parameters
    ----------
    low, high : float
        Energies, keV.
    minimum : int or None
        Least number of counts in a bin; None takes the GROUPING of the file.

    Raises
    ------
    IcflowError
        If no bin is left.
    """
    if minimum is None:
        starts, stops, quality = bins_of_flags(
            spectrum.grouping, spectrum.quality, spectrum.counts.size
        )
        good = quality == GOOD
        if good.any():
            good &= _between(spectrum, (starts, stops), rmf, low, high)
        starts, stops = starts[good], stops[good]
    else:
        inside = noticed_channels(rmf.e_min, rmf.e_max, low, high)
        inside &= used_channels(spectrum, regroup=True)
        held = int(spectrum.counts[inside].sum())
        if inside.any() and held < minimum:
            raise IcflowError(
                f"the energies {low:g} to {high:g} keV select no channel in bins of at least "
                f"{minimum} counts: {spectrum.path} holds {held} there; lower group_min"
            )
        starts, stops = bins_of_counts(spectrum.counts, inside, minimum)
    if not starts.size:
        raise IcflowError(
            f"{spectrum.path}: every channel between {low:g} and {high:g} keV has bad QUALITY; "
            "choose other energies or extract the spectrum again"
        )
    return starts, stops
