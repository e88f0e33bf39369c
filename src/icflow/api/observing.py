"""Is there inverse Compton emission in a spectrum? What `icflow observe` says, as an object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icflow.api.arguments import mapping, number, python_words
from icflow.api.arguments import path as path_of
from icflow.api.instrument import Name
from icflow.api.spectrum import Spectrum, as_spectra, common_choice
from icflow.config import overlay, validate
from icflow.config.reading import read_tree
from icflow.layout import SUMMARY
from icflow.observation import page, words
from icflow.observation.fitting import names_of
from icflow.observation.whole import run
from icflow.ogip.observation import FILE, SpectrumFiles
from icflow.project import CONFIG, check_files
from icflow.publish.figures import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Verdict:
    """What an observation says about IC; `observe` makes it, from a folder.

    Attributes
    ----------
    folder : Path
        Where the tables and the page are: ``summary.json``, ``observation.pdf`` and others.
    summary : dict
        The content of ``summary.json``: ``verdict``, ``decision``, ``false_alarm``, ``ic_flux``
        (erg/cm²/s) and so on.
    """

    def __init__(self, folder: Name) -> None:
        self.folder = Path(path_of(folder, "folder"))
        self.summary: dict[str, Any] = page.read_summary(self.folder / SUMMARY)

    @property
    def decision(self) -> str:
        """``IC``, ``no IC`` or ``no model fits``."""
        return str(self.summary["decision"])

    @property
    def false_alarm(self) -> float:
        """How probable the score of the deciding detector is without IC."""
        return float(self.summary["false_alarm"])

    @property
    def warnings(self) -> list[str]:
        """What to look into, a sentence each."""
        return list(self.summary["warnings"])

    def page(self) -> Figure:
        """Return the page: spectrum, best fits, limits, scores and the verdict, as a figure."""
        with style.context():
            return page.draw(self.folder)

    def __repr__(self) -> str:
        return words.printed(self.summary)

    def _repr_html_(self) -> str:
        sentences = "".join(f"<li>{escape(sentence)}</li>" for sentence in self.warnings)
        return f"<p><b>{escape(str(self.summary['verdict']))}</b></p><ul>{sentences}</ul>"


@python_words()
def observe(
    spectra: Spectrum | Name | Sequence[Spectrum | Name],
    *,
    redshift: Any,
    nH: Any,
    name: str = "observation",
    folder: Name | None = None,
    radio: Mapping[str, float] | None = None,
    config: Name | Mapping[str, Any] | None = None,
) -> Verdict:
    """Look for inverse Compton emission in an observation of a galaxy cluster.

    Fits and simulations take minutes.

    Parameters
    ----------
    spectra : Spectrum or path, or list of these
        Several are fitted jointly.
    redshift : float
        Of the source, frozen in all fits.
    nH : float or Quantity
        Galactic column density, 1e22 cm⁻², frozen too.
    name : str
        Of the source, on the page.
    folder : path, optional
        Folder to write; by default ``observe/NAME`` here.
    radio : mapping, optional
        ``flux_density`` (mJy), ``frequency`` (MHz) and ``spectral_index``, for the magnetic field.
    config : path or mapping, optional
        What differs from the default configuration, such as
        ``{"observe": {"simulations": 100}}``; a file, or the same as a mapping.

    Returns
    -------
    Verdict

    Raises
    ------
    IcflowError
        If a spectrum or a setting cannot be used, or a fit is impossible.

    Examples
    --------
    >>> import icflow
    >>> icflow.observe("spec.pha", redshift=0.023, nH=0.01, name="../Coma")
    Traceback (most recent call last):
    icflow.errors.IcflowError: observe: observations has the name '../Coma'; names may ...
    """
    check_files()
    chosen = as_spectra(spectra)
    entry = {
        "redshift": number(redshift, None, "redshift"),
        "nH": number(nH, "1e22 cm-2", "nH"),
        **({} if radio is None else {"radio": dict(mapping(radio, "radio"))}),
        **_spectra(chosen),
    }
    tree = read_tree(CONFIG)
    if config is not None:
        own = config if isinstance(config, Mapping) else read_tree(path_of(config, "config"))
        tree = overlay(tree, dict(own))
    checked = validate(overlay(tree, {"observations": {name: entry}}), "observe")
    place = Path("observe", name) if folder is None else Path(path_of(folder, "folder"))
    run(checked, name, place)
    return Verdict(place)


def _spectra(chosen: Sequence[Spectrum]) -> dict[str, Any]:
    """Return what a configuration says of spectra."""
    files = [spectrum.files for spectrum in chosen]
    names = names_of(files)
    each = {name: _files(one) for name, one in zip(names, files, strict=True)}
    return common_choice(chosen) | (each[""] if list(each) == [""] else {"spectra": each})


def _files(files: SpectrumFiles) -> dict[str, str]:
    same = files.behind is not None and files.spectrum.backfile == files.behind.path
    return {
        "spectrum": files.spectrum.path,
        "rmf": str(files.rmf),
        "arf": "none" if files.arf is None else str(files.arf),
        "background": FILE if same else files.background_file or "none",
    }
