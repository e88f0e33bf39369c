"""Stage: the fit of one spectrum, or of several jointly.

Nothing of the workflow is needed here: model, response and data come from the
command line, as in a session with XSPEC.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from icflow.config import FitModel, Free, Link, ObservedSpectrum
from icflow.config.model import MODULE_NAME
from icflow.engines.embedded.folding import FACTOR
from icflow.errors import IcflowError
from icflow.files import atomic_path, write_json
from icflow.models.expression import parse
from icflow.models.library import Parameter, check_data
from icflow.models.scenario import complete
from icflow.observation import fit_figure
from icflow.observation.engine import ObservedEngine
from icflow.observation.fit_output import Fit, as_json, as_save_file, as_text, check_saved
from icflow.observation.tables import fitted
from icflow.ogip.names import plain
from icflow.ogip.observation import SpectrumFiles, check_companions, read_files
from icflow.publish.figures import style
from icflow.settings import FitSpectrumSettings

DPI = 200  # of bitmaps
# Limits of free parameters where the user gives none: XSPEC's hard limits are wider than tables
# and spectra make sense. Keyed by the name of the parameter.
LIMITS = {"kT": (0.1, 30.0), "Redshift": (0.0, 0.3), "norm": (0.0, 1e6), "nH": (0.0, 10.0)}
# Energies of lines: a line that is not among the fitted energies cannot be fitted.
LINES = ("LineE",)


def run(
    settings: FitSpectrumSettings,
    spectra: Sequence[Path],
    output: Path | None = None,
    save: Path | None = None,
    plot: Path | None = None,
    unfolded: bool = False,
) -> str:
    """Fit OGIP spectra, several jointly, and return the result as a table to read.

    Every parameter that is neither frozen nor linked is free, and so are the
    factors between the first spectrum and the others.

    Parameters
    ----------
    output, save, plot : path, optional
        Files to write: the result as JSON, as a save file of XSPEC, a figure.
    unfolded : bool
        Whether the figure shows the source before the response too.

    Raises
    ------
    IcflowError
        If a spectrum, its response or the model cannot be used, or the fit fails.
    """
    for component in parse(settings.expression).components:
        check_data(component.definition)
    if plot is not None:
        style.check_suffix(plot)
    files, energies = _read(settings, spectra)
    if save is not None:
        check_saved(files)
    fit = _fit(settings, files, energies)
    if output is not None:
        write_json(output, as_json(fit))
    if save is not None:
        with atomic_path(save) as temporary:
            temporary.write_text(as_save_file(fit), encoding="utf-8")
    if plot is not None:
        table = fitted(fit.engine, {fit_figure.NAME: (fit.model, fit.result.values)})
        numbers = f"{fit.statistic} = {fit.result.cstat:.1f}, {fit.result.dof} dof"
        title = f"{settings.expression}\n{numbers}"
        style.write(lambda: fit_figure.draw(table, title, unfolded), DPI, [plot])
    return "\n".join(as_text(fit))


def _fit(
    settings: FitSpectrumSettings, files: Sequence[SpectrumFiles], energies: Sequence[float]
) -> Fit:
    factors = [FACTOR + file.name for file in files[1:]]
    model = FitModel(
        expression=settings.expression, parameters=_parameters(settings, energies, factors)
    )
    complete(parse(settings.expression), model.parameters, "parameters")
    regroup = "group_min" in settings.model_fields_set
    engine = ObservedEngine(files, settings, regroup, settings.atomic_data)
    frozen = {n: np.array([v]) for n, v in settings.freeze.items() if n in factors}
    (result,) = engine.fit(model, frozen=frozen)
    if result.status != "ok":
        raise IcflowError(f"{', '.join(file.spectrum.path for file in files)}: {result.status}")
    return Fit(settings, files, energies, model, engine, result)


# --- what is read ------------------------------------------------------------------------


def _read(
    settings: FitSpectrumSettings, spectra: Sequence[Path]
) -> tuple[list[SpectrumFiles], tuple[float, float]]:
    """Return spectra with their companions, checked, and the energies to fit."""
    chosen = "energies" in settings.model_fields_set
    low, high = settings.energies
    keys = ("rmf", "arf", "background")
    given = {key: _each(getattr(settings, key), len(spectra), key) for key in keys}
    checked = []
    for number, path in enumerate(spectra):
        own = {key: names[number] for key, names in given.items()}
        asked = read_files(ObservedSpectrum(spectrum=str(path), **own))
        checked.append(check_companions(asked, low, high, cut=not chosen))
    names = _names([part.files for part in checked])
    limits = [part.energies for part in checked]
    files = [replace(part.files, name=name) for part, name in zip(checked, names, strict=True)]
    return files, (min(low for low, _ in limits), max(high for _, high in limits))


def _each(given: Sequence[str], number: int, key: str) -> list[str | None]:
    """Return a file for each spectrum: those given, or the one given, or none."""
    if len(given) not in (0, 1, number):
        raise IcflowError(
            f"--{key} is given {len(given)} times for {number} spectra; give it once, or once for "
            "each of them in their order"
        )
    return list(given) if len(given) == number else [given[0] if given else None] * number


def _names(files: Sequence[SpectrumFiles]) -> list[str]:
    """Name spectra by their instruments, or else by their files; a single one has no name."""
    if len(files) == 1:
        return [""]
    instruments = [file.spectrum.instrument for file in files]
    stems = [plain(file.spectrum.path).stem for file in files]
    for names in (instruments, stems):
        made = [re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_") for name in names]
        if len(set(made)) == len(made) and all(map(MODULE_NAME.fullmatch, made)):
            return made
    return [f"S{number}" for number in range(1, len(files) + 1)]


# --- what is fitted ----------------------------------------------------------------------


def _parameters(
    settings: FitSpectrumSettings, energies: Sequence[float], factors: Sequence[str]
) -> dict[str, float | Link | Free]:
    expression, declared = settings.expression, parse(settings.expression).parameters
    frozen, links, limits = settings.freeze, settings.link, settings.limits
    for option, names in (("--freeze", frozen), ("--link", links), ("--limits", limits)):
        allowed = [*declared, *(factors if option == "--freeze" else ())]
        for name in names:
            if name not in allowed:
                raise IcflowError(
                    f"{option} {name}: {expression!r} has no such parameter; "
                    f"allowed: {', '.join(allowed)}"
                )
    for name, target in links.items():
        if target not in declared or target in links or target == name:
            raise IcflowError(
                f"--link {name}={target}: name a parameter that is not linked itself; "
                f"allowed: {', '.join(n for n in declared if n not in links and n != name)}"
            )
    parameters: dict[str, float | Link | Free] = {}
    for name, parameter in declared.items():
        if name in frozen:
            parameters[name] = frozen[name]
        elif name in links:
            parameters[name] = Link(link=links[name])
        else:
            parameters[name] = _free(name, parameter, limits.get(name), energies)
    return parameters


def _free(
    name: str, parameter: Parameter, given: Sequence[float] | None, energies: Sequence[float]
) -> float | Free:
    """Return the limits of a free parameter, or the only value that it can have."""
    own, (hard_low, hard_high) = name.rpartition(".")[2], (parameter.minimum, parameter.maximum)
    if given is None:
        low, high = energies if own in LINES else LIMITS.get(own, (hard_low, hard_high))
        low, high = max(low, hard_low), min(high, hard_high)
    else:
        low, high = given
        if low < hard_low or high > hard_high:
            raise IcflowError(
                f"--limits {name}={low:g}:{high:g}: reaches outside XSPEC's hard limits, "
                f"{hard_low:g} to {hard_high:g}; stay inside"
            )
    return low if low == high else Free(free=[low, high])  # a switch
