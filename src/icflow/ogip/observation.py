"""An observed spectrum with the files that belong to it, checked against each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from icflow.config import Observation, ObservedSpectrum
from icflow.errors import IcflowError
from icflow.ogip.binary_table import is_fits
from icflow.ogip.grouping import group_edges, group_min, select_groups
from icflow.ogip.names import FileName, plain
from icflow.ogip.response import Arf, Rmf, check_same_grid, read_arf, read_rmf
from icflow.ogip.spectrum import Spectrum, check_counts, read_background, read_spectrum
from icflow.typing import Integers

# What the configuration writes for the background spectrum that BACKFILE names.
FILE = "file"

# Keywords that say nothing about the origin of a file.
_UNKNOWN = ("", "UNKNOWN", "NONE")


@dataclass(frozen=True)
class SpectrumFiles:
    """One observed spectrum and the files that belong to it.

    Attributes
    ----------
    name : str
        Empty if the observation has one spectrum only.
    key : str
        Where the configuration names it, for errors.
    spectrum : Spectrum
    rmf : Path
    arf, background : Path or None
        The background is a description of its components.
    behind : Spectrum or None
        The background spectrum, where the background is a file.
    """

    name: str
    key: str
    spectrum: Spectrum
    rmf: Path
    arf: Path | None
    background: Path | None
    behind: Spectrum | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file except those that the background names."""
        behind = None if self.behind is None else plain(self.behind.path)
        paths = (Path(self.spectrum.path), self.rmf, self.arf, self.background, behind)
        return tuple(path for path in paths if path is not None)


def read_observation(name: str, observation: Observation) -> list[SpectrumFiles]:
    """Read the spectra of an observation and find their companions.

    Raises
    ------
    IcflowError
        If a spectrum is missing or cannot be used (see `read_spectrum`), names
        files that are not there, or names a background spectrum although no
        background model is given.
    """
    key = f"observations.{name}"
    return [
        _read_spectrum_files(module, f"{key}.spectra.{module}" if module else key, given)
        for module, given in observation.modules().items()
    ]


def _read_spectrum_files(name: str, key: str, given: ObservedSpectrum) -> SpectrumFiles:
    path = Path(given.spectrum)
    try:
        spectrum = read_spectrum(path)
        check_counts(spectrum.counts, str(path))
        if spectrum.backfile is not None and given.background is None:
            raise IcflowError(
                f"{path}: names the background spectrum {spectrum.backfile} in BACKFILE; under "
                f"{key}, write `background: file` to use it, name a description of the background, "
                "or write `background: none` if there is none"
            )
        background, behind = _background(spectrum, given.background, f"{key}.background")
    except IcflowError as error:
        raise IcflowError(f"{key}.spectrum: {error}") from None
    rmf = _given(given.rmf) or companion(path, spectrum.respfile, "RESPFILE", f"{key}.rmf")
    arf = _given(given.arf)
    if given.arf is None and spectrum.ancrfile is not None:
        arf = companion(path, spectrum.ancrfile, "ANCRFILE", f"{key}.arf")
    return SpectrumFiles(name, key, spectrum, rmf, arf, background, behind)


def _background(
    spectrum: Spectrum, given: str | None, key: str
) -> tuple[Path | None, Spectrum | None]:
    """Return the description of the background, or its spectrum: that of BACKFILE, or a FITS file.

    Raises
    ------
    IcflowError
        If there is no BACKFILE, or the background does not belong to the spectrum.
    """
    path = _given(given)
    if given == FILE:
        path = companion(Path(spectrum.path), spectrum.backfile, "BACKFILE", key)
    if path is None or not (given == FILE or is_fits(FileName.of(path).on_disk())):
        return path, None
    return None, read_background(spectrum, path)


def _given(name: str | None) -> Path | None:
    return None if name is None or name.lower() == "none" else Path(name)


def companion(spectrum: Path, name: str | None, keyword: str, option: str) -> Path:
    """Find a file that a spectrum names, beside it or in the working directory.

    Raises
    ------
    IcflowError
        If it names none, or the file is in neither place; `option` is where
        the user can give one.
    """
    if name is None:
        raise IcflowError(f"{spectrum}: {keyword} names no file; give one with {option}")
    for path in (spectrum.parent / name, Path(name)):
        if path.is_file():
            return path
    raise IcflowError(
        f"{spectrum}: {keyword} is {name}, which is neither beside the spectrum nor here; "
        f"give the file with {option}"
    )


def check_companions(files: SpectrumFiles, low: float, high: float) -> Rmf:
    """Check that spectrum, response and energies belong together; return the RMF.

    Parameters
    ----------
    low, high : float
        Energies that are to be fitted, keV.

    Raises
    ------
    IcflowError
        If RMF or ARF belong to another instrument, have other channels or
        other energy bins, or do not cover the energies.
    """
    try:
        rmf = read_rmf(files.rmf)
        _check_origin(files.spectrum, rmf)
        _check_channels(files.spectrum, rmf)
        if files.arf is not None:
            arf = read_arf(files.arf)
            _check_origin(files.spectrum, arf)
            check_same_grid(rmf, arf)
    except IcflowError as error:
        raise IcflowError(f"{files.key}: {error}") from None
    first, last = float(rmf.e_min.min()), float(rmf.e_max.max())
    if low < first or high > last:
        raise IcflowError(
            f"{files.key}: the energies {low:g} to {high:g} keV reach outside {files.rmf}, whose "
            f"channels cover {first:g} to {last:g} keV; set `energies` inside"
        )
    return rmf


def _check_origin(spectrum: Spectrum, response: Rmf | Arf) -> None:
    for keyword, own, other in (
        ("TELESCOP", spectrum.telescope, response.telescope),
        ("INSTRUME", spectrum.instrument, response.instrument),
    ):
        names = [name.strip().upper() for name in (own, other)]
        if names[0] != names[1] and not any(name in _UNKNOWN for name in names):
            raise IcflowError(
                f"{response.path} is a response of another instrument: its {keyword} is {other}, "
                f"that of {spectrum.path} is {own}; give the response that was made for the "
                "spectrum"
            )


def _check_channels(spectrum: Spectrum, rmf: Rmf) -> None:
    own, other = spectrum.channel, rmf.channel
    if own.size != other.size or own[0] != other[0]:
        raise IcflowError(
            f"{spectrum.path} has the channels {own[0]} to {own[-1]}, {rmf.path} {other[0]} to "
            f"{other[-1]}; give the response that was made for the spectrum"
        )


def observed_groups(
    spectrum: Spectrum, rmf: Rmf, low: float, high: float, minimum: int | None
) -> tuple[Integers, Integers]:
    """Return the bins of a spectrum between two energies, as half-open ranges of channels.

    Bins that hold a channel of bad quality are left out, as XSPEC's ``ignore
    bad`` does; quality 2, a last group with too few counts, is used.

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
    grouping = spectrum.grouping if minimum is None else group_min(spectrum.counts, minimum)[0]
    starts, stops = group_edges(grouping, spectrum.counts.size)
    starts, stops = select_groups(starts, stops, rmf.e_min, rmf.e_max, low, high)
    if spectrum.quality is None:
        return starts, stops
    bad = np.isin(spectrum.quality, (0, 2), invert=True)
    before = np.concatenate([[0], np.cumsum(bad)])
    good = before[stops] == before[starts]
    if not good.any():
        raise IcflowError(
            f"{spectrum.path}: every channel between {low:g} and {high:g} keV has bad QUALITY; "
            "choose other energies or extract the spectrum again"
        )
    return starts[good], stops[good]
