"""Save files of XSPEC, read as a model and its spectra."""

from __future__ import annotations

import re
from dataclasses import replace

from icflow.api.arguments import path as path_of
from icflow.api.arguments import python_words
from icflow.api.instrument import DEFAULT, Name
from icflow.api.model import Model
from icflow.api.spectrum import Spectrum, read_spectrum
from icflow.errors import IcflowError
from icflow.models.save_file import SavedModel, SavedSpectrum, SaveFile, read_save_file

_OUTSIDE = re.compile(r"\*\*-(\d+\.\d*) (\d+\.\d*)-\*\*")


@python_words()
def read_xcm(path: Name) -> tuple[Model, list[Spectrum]]:
    """Read what ``save all`` of XSPEC, or `icflow.Fit.save`, has written.

    Parameters
    ----------
    path : path
        Save file.

    Returns
    -------
    model : Model
        That of source 1 in the first data group: parameters that were frozen have their values,
        others are free within their limits and start at theirs.
    spectra : list of Spectrum
        With the files and the energies that the save file names, and the bins that
        `icflow.Fit.save` notes in it; models of further sources, such as a described background,
        are left out, and a note says so.

    Raises
    ------
    IcflowError
        If the file cannot be read, or holds no model of the source.

    Examples
    --------
    >>> import icflow
    >>> fit = icflow.Model("powerlaw", {"powerlaw.PhoIndex": (1, 3)}).fit("spec.pha")
    >>> fit.save("fit.xcm")
    >>> model, (spectrum,) = icflow.read_xcm("fit.xcm")
    >>> abs(model.fit(spectrum).cstat - fit.cstat) < 0.01
    True
    """
    saved = read_save_file(path_of(path, "path"))
    source = next((model for model in saved.models.values() if model.source == 1), None)
    if source is None:
        raise IcflowError(f"{saved.path}: holds no model of source 1; save it with its model")
    spectra = [_spectrum(saved, one) for _, one in sorted(saved.spectra.items())]
    return _model(saved, source), spectra


def _model(saved: SaveFile, source: SavedModel) -> Model:
    group = saved.groups(source)[0]
    expression, values = saved.values(source, group)
    parameters: dict[str, object] = {}
    for (name, value), limits in zip(values.items(), source.limits, strict=False):
        free = {"free": list(limits), "start": value} if limits is not None else value
        parameters[name] = free
    names = list(values)
    for linked, target in saved.links(source).items():
        parameters[names[linked]] = names[target]
    return Model(
        expression.text,
        parameters,
        abundances=saved.settings.get("abund", "angr"),
        cross_sections=saved.settings.get("xsect", "vern"),
    )


def _spectrum(saved: SaveFile, one: SavedSpectrum) -> Spectrum:
    """Return a spectrum with the companions that were set by hand, and those of its header."""
    by_hand = (one.responses.get(1), one.areas.get(1), one.background)
    rmf, arf, background = (
        name if name is None or name.lower() == "none" else saved.find(name) for name in by_hand
    )
    spectrum = read_spectrum(
        saved.find(one.name),
        rmf=rmf,
        arf=arf,
        background=background,
        group_min=saved.group_min,
    )
    energies = _energies(one.ignored)
    if energies is not None and energies != DEFAULT:
        low, high = energies
        covered = float(spectrum.edges.min()), float(spectrum.edges.max())
        spectrum = spectrum.using(energies=(max(low, covered[0]), min(high, covered[1])))
    others = [model.name for model in saved.models.values() if model.source != 1]
    if others:
        note = (
            f"{saved.path}: the models of further sources ({', '.join(others)}) are left out; "
            "`icflow background import` writes them as a background"
        )
        spectrum = replace(spectrum, notes=(*spectrum.notes, note))
    left = [words for words in one.ignored if words != "bad"]
    if energies is None and left:
        note = (
            f"{saved.path}: ignores the channels {' '.join(left)} of {one.name}, which is not "
            "followed; choose energies with using(energies=...)"
        )
        spectrum = replace(spectrum, notes=(*spectrum.notes, note))
    return spectrum


def _energies(ignored: list[str]) -> tuple[float, float] | None:
    """Return what ``ignore **-3.0 80.0-**`` leaves, keV; None where it is written otherwise."""
    match = _OUTSIDE.fullmatch(" ".join(ignored))
    return None if match is None else (float(match[1]), float(match[2]))
