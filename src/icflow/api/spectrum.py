"""A spectrum with the files that belong to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from os import PathLike
from typing import Any

import numpy as np

from icflow.api.arguments import energies as energies_of
from icflow.api.arguments import in_python, listed, optional_path, python_words, whole
from icflow.api.arguments import path as path_of
from icflow.api.instrument import Instrument, Name
from icflow.config import ObservedSpectrum
from icflow.errors import IcflowError
from icflow.ogip.observation import EVERYTHING, SpectrumFiles, check_companions, read_files
from icflow.ogip.response import read_rmf
from icflow.typing import Counts, Floats


@dataclass(frozen=True, repr=False, eq=False)
class Spectrum:
    """An observed spectrum, its response and its background, and what of it is fitted.

    `read_spectrum` makes it.

    Attributes
    ----------
    files : SpectrumFiles
        The spectrum and the paths of its companions.
    energies : list of float, or None
        Lowest and highest energy that is fitted, keV; None for 3 to 80 keV where there are
        channels.
    group_min : int or None
        Least counts in a bin; None for the bins of the file.
    notes : tuple of str
        What is odd about the files, a sentence each.
    """

    files: SpectrumFiles
    energies: Sequence[float] | None = None
    group_min: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """The file."""
        return self.files.spectrum.path

    @property
    def counts(self) -> Counts:
        """Counts per channel, shape (n_channels,)."""
        return self.files.spectrum.counts

    @property
    def exposure(self) -> float:
        """Exposure, s."""
        return self.files.spectrum.exposure

    @property
    def edges(self) -> Floats:
        """Nominal limits of the channels, keV, shape (n_channels, 2)."""
        rmf = read_rmf(self.files.rmf)
        return np.column_stack([rmf.e_min, rmf.e_max])

    @property
    def instrument(self) -> Instrument:
        """Response, exposure and described background, to simulate spectra like this one."""
        files = self.files
        return Instrument(files.rmf, files.arf, self.exposure, files.background)

    def using(
        self,
        *,
        energies: Any = None,
        group_min: int | None = None,
        background: Name | None = None,
    ) -> Spectrum:
        """Return the same spectrum with another choice; what is not given stays.

        Parameters
        ----------
        energies, group_min, background
            As of `read_spectrum`.

        Examples
        --------
        >>> import icflow
        >>> icflow.read_spectrum("spec.pha").using(group_min=20).group_min
        20
        """
        files = self.files
        if background is not None:
            files = _read(
                self.path,
                str(files.rmf),
                "none" if files.arf is None else str(files.arf),
                path_of(background, "background"),
            )
        if group_min is not None:
            group_min = whole(group_min, "group_min", 0, "a whole number of counts, 0 for none")
        return replace(
            self,
            files=files,
            energies=self.energies if energies is None else energies_of(energies),
            group_min=self.group_min if group_min is None else group_min,
        )

    def __repr__(self) -> str:
        return f"<icflow.Spectrum {'; '.join(f'{k} {v}' for k, v in self._rows())}>"

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th>{k}</th><td>{escape(v)}</td></tr>" for k, v in self._rows())
        return f"<table>{rows}</table>"

    def _rows(self) -> list[tuple[str, str]]:
        files = self.files
        chosen = (
            "by default" if self.energies is None else "{:g} to {:g} keV".format(*self.energies)
        )
        bins = "of the file" if self.group_min is None else f"of at least {self.group_min} counts"
        return [
            ("spectrum", self.path),
            ("counts", f"{int(self.counts.sum())} in {self.exposure:g} s"),
            ("response", f"{files.rmf}, {files.arf or 'no area'}"),
            ("background", files.background_file or "none"),
            ("energies", chosen),
            ("bins", bins),
        ]


@python_words()
def read_spectrum(
    path: Name,
    *,
    rmf: Name | None = None,
    arf: Name | None = None,
    background: Name | None = None,
    energies: Any = None,
    group_min: int | None = None,
) -> Spectrum:
    """Read an OGIP spectrum and the files that belong to it.

    Parameters
    ----------
    path : path
        PHA file, of type I or a row of type II (``two.pha{2}``).
    rmf, arf, background : path, optional
        Companions; by default those that the header names (RESPFILE, ANCRFILE, BACKFILE), beside
        the spectrum or here. A background is a spectrum, or a description of its components
        (YAML); ``"none"`` is none.
    energies : pair of float or Quantity, optional
        Lowest and highest energy to fit, keV; by default 3 to 80 where there are channels.
    group_min : int, optional
        Least counts in a bin, 0 for single channels; by default the GROUPING of the file, if it
        has one.

    Returns
    -------
    Spectrum

    Raises
    ------
    IcflowError
        If a file is missing or cannot be used, the files do not belong together, or the
        energies reach outside the response.

    Examples
    --------
    >>> import icflow
    >>> spectrum = icflow.read_spectrum("spec.pha", energies=(2, 30), group_min=20)
    >>> spectrum
    <icflow.Spectrum spectrum spec.pha; counts 462937 in 10000 s; response resp.rmf, area.arf; ...>
    """
    if not isinstance(path, (str, PathLike)):
        raise IcflowError(f"a spectrum is {path!r}; give the name of a PHA file")
    companions = {"rmf": rmf, "arf": arf, "background": background}
    given = [optional_path(value, name) for name, value in companions.items()]
    spectrum = Spectrum(_read(path_of(path, "spectrum"), *given))
    chosen = spectrum.using(energies=energies, group_min=group_min)
    low, high = chosen.energies or EVERYTHING
    checked = check_companions(spectrum.files, low, high, cut=chosen.energies is None)
    notes = tuple(in_python(note) for note in checked.files.notes)
    # A fit looks again, at the energies that it has then.
    return replace(chosen, files=replace(checked.files, notes=spectrum.files.notes), notes=notes)


def as_spectra(spectra: Any) -> list[Spectrum]:
    """Return spectra, read where files are named.

    Raises
    ------
    IcflowError
        If there is none, or something else among them.
    """
    given = listed(spectra)
    read = [read_spectrum(one) if isinstance(one, (str, PathLike)) else one for one in given]
    if not read or not all(isinstance(one, Spectrum) for one in read):
        raise IcflowError(f"spectra is {spectra!r}; give spectra that read_spectrum returns")
    return read


def common_choice(spectra: Sequence[Spectrum]) -> dict[str, Any]:
    """Return the energies and the least counts in a bin that were chosen for all spectra.

    Raises
    ------
    IcflowError
        If they are not the same for all.
    """
    choice: dict[str, Any] = {}
    for key in ("energies", "group_min"):
        asked = {repr(getattr(spectrum, key)): getattr(spectrum, key) for spectrum in spectra}
        if len(asked) > 1:
            raise IcflowError(
                f"the spectra have different {key}, {' and '.join(asked)}; give all of them the "
                f"same with using({key}=...)"
            )
        (value,) = asked.values()
        if value is not None:
            choice[key] = value
    return choice


def _read(path: str, rmf: str | None, arf: str | None, background: str | None) -> SpectrumFiles:
    return read_files(ObservedSpectrum(spectrum=path, rmf=rmf, arf=arf, background=background))
