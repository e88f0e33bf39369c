"""Stage: the background of every spectrum of an XSPEC save file, as a background file.

nuskybgd leaves such a file: several sources for each spectrum, each with a model and a response of
its own. What is linked becomes a number, because a background file holds one spectrum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from icflow.errors import IcflowError
from icflow.models.background import BackgroundComponent, of_each, write_background
from icflow.models.save_file import SavedModel, SavedSpectrum, SaveFile, hand_set, read_save_file
from icflow.ogip.response import SAME_GRID, Rmf, read_rmf
from icflow.ogip.spectrum import read_spectrum


def run(saved: Path, output: Path, source: Sequence[str] = ()) -> Iterator[str]:
    """Write the background file of each spectrum, and yield what was written.

    Parameters
    ----------
    source : sequence of str
        Names of the models that are not background, the unnamed one as its source, 1; by default
        that one alone.

    Raises
    ------
    IcflowError
        If the save file or a file that it names cannot be read, a model is not in the model
        library, or there is no background.
    """
    file = read_save_file(saved)
    models = _background_models(file, source)
    spectra = list(file.spectra.values())
    paths = of_each(output, [Path(spectrum.name) for spectrum in spectra])
    read = [_components(file, spectrum, models) for spectrum in spectra]
    for spectrum, path, components in zip(spectra, paths, read, strict=True):
        head = [
            f"Background of {spectrum.name}, as {saved.name} holds it. Abundances and cross",
            "sections of the configuration (atomic_data) have to be those of the save file: "
            + ", ".join(file.settings.values()),
        ]
        write_background(path, f"{spectrum.name}, from {saved.name}", components, head)
        yield f"{path}: background of {spectrum.name}: {', '.join(c.name for c in components)}"
    if not all(model.name for model in models):
        yield (
            "Note: the unnamed model of source 1 is taken for background, as `source`; "
            "if it is not, name it with --source too, as 1"
        )
    for number in file.without_model():
        yield (
            f"Note: source {number} has a response and no model; if it should have one, {saved} is "
            "not whole"
        )
    if file.settings:
        yield (
            f"{saved} was written with "
            f"{', '.join(f'{key} {value}' for key, value in file.settings.items())}: "
            "atomic_data of the configuration has to say the same"
        )


def _background_models(file: SaveFile, source: Sequence[str]) -> list[SavedModel]:
    """Return the models of the background."""
    names = {name or str(model.source): model for name, model in file.models.items()}
    for name in source:
        if name not in names:
            allowed = ", ".join(names)
            raise IcflowError(f"--source {name}: {file.path} has no such model; allowed: {allowed}")
    models = [m for name, m in names.items() if (name not in source if source else m.name)]
    if not models:
        raise IcflowError(
            f"{file.path}: holds no model of a background, `model 2:NAME …`; give the save file "
            "of a fit with background models, or say with --source which models are not background"
        )
    return models


def _components(
    file: SaveFile, spectrum: SavedSpectrum, models: Sequence[SavedModel]
) -> list[BackgroundComponent]:
    """Return the background components of one spectrum."""
    header = read_spectrum(file.find(spectrum.name))
    own = hand_set(spectrum.responses, 1, header.respfile)
    # Without a response of its own, XSPEC gives a spectrum no source 1; that of source 2 will do.
    reference = own or next(iter(spectrum.responses.values()), None)
    if reference is None:
        raise IcflowError(f"{file.path}: {spectrum.name} has no response; load one and save again")
    components = []
    for model in models:
        response = own if model.source == 1 else hand_set(spectrum.responses, model.source, None)
        if response is None:
            continue
        area = hand_set(spectrum.areas, model.source, header.ancrfile if model.source == 1 else "")
        expression, values = file.values(model, spectrum.group)
        components.append(
            BackgroundComponent(
                name=model.name or "source",
                expression=expression,
                values=values,
                redistribution=_redistribution(file.find(response), file.find(reference)),
                area=file.find(area).absolute() if area else None,
            )
        )
    if not components:
        raise IcflowError(
            f"{file.path}: no model of a background has a response for {spectrum.name}; load "
            "responses (`response 2:1 FILE`) and save again"
        )
    return components


def _redistribution(response: Path, own: Path) -> str | Path:
    """Return how a background file names a response."""
    if response == own or (response.is_file() and own.is_file() and response.samefile(own)):
        return "source"
    rmf = read_rmf(response)
    return "identity" if _is_identity(rmf, read_rmf(own)) else response.absolute()


def _is_identity(rmf: Rmf, own: Rmf) -> bool:
    """Tell whether channels are energy bins, those of the response of the spectrum."""
    n = len(rmf.channel)
    if not len(rmf.energy_lo) == len(own.energy_lo) == n:
        return False
    same = np.allclose(rmf.energies, own.energies, rtol=SAME_GRID, atol=0)
    return bool(same and rmf.matrix.nnz == n and np.all(rmf.matrix.diagonal() == 1))
