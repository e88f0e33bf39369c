"""A fit of spectra with all that is chosen for the user: which files, what is free, which limits.

`icflow fit` and `icflow.Model.fit` are both this.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np

from icflow.config import FitModel, Free, Link, ObservedSpectrum
from icflow.config.fits import Errors
from icflow.config.model import MODULE_NAME
from icflow.engines.base import FitResult
from icflow.engines.embedded.folding import FACTOR
from icflow.errors import IcflowError
from icflow.models.expression import parse
from icflow.models.library import Parameter, check_data
from icflow.models.scenario import complete
from icflow.observation.engine import ObservedEngine
from icflow.observation.fit_output import FitRecord
from icflow.ogip.binary_table import is_fits
from icflow.ogip.names import plain
from icflow.ogip.observation import SpectrumFiles, check_companions, check_distinct, read_files
from icflow.settings import FitSpectrumSettings
from icflow.typing import Floats

# Limits of free parameters where the user gives none: XSPEC's hard limits are wider than tables
# and spectra make sense. Keyed by the name of the parameter.
LIMITS = {"kT": (0.1, 30.0), "Redshift": (0.0, 0.3), "norm": (0.0, 1e6), "nH": (0.0, 10.0)}
# Energies of lines: a line that is not among the fitted energies cannot be fitted.
LINES = ("LineE",)


def fit(
    settings: FitSpectrumSettings, files: Sequence[SpectrumFiles], energies: Sequence[float]
) -> FitRecord:
    """Fit spectra that `together` has checked.

    Raises
    ------
    IcflowError
        If the model cannot be used, or the fit fails.
    """
    model, engine = prepare(settings, files, energies)
    (result,) = engine.fit(model, frozen=_frozen_factors(settings, files))
    if result.status != "ok":
        raise IcflowError(f"{', '.join(file.spectrum.path for file in files)}: {result.status}")
    return FitRecord(settings, files, energies, model, engine, result)


def prepare(
    settings: FitSpectrumSettings, files: Sequence[SpectrumFiles], energies: Sequence[float]
) -> tuple[FitModel, ObservedEngine]:
    """Return the model with its limits, and the engine that fits it to the spectra.

    Every parameter that is neither frozen nor linked is free, and so are the
    factors between the first spectrum and the others.
    """
    model = model_of(settings, energies, [FACTOR + file.name for file in files[1:]])
    regroup = "group_min" in settings.model_fields_set
    return model, ObservedEngine(files, settings, regroup, settings.atomic_data)


def model_of(
    settings: FitSpectrumSettings, energies: Sequence[float], factors: Sequence[str] = ()
) -> FitModel:
    """Return the model with every parameter fixed, linked or free within limits.

    Parameters
    ----------
    factors : sequence of str
        Between spectra, which may be frozen too.

    Raises
    ------
    IcflowError
        If a name is no parameter, or a value or limit is outside XSPEC's hard limits.
    """
    parameters = _parameters(settings, energies, factors)
    complete(parse(settings.expression), parameters, "parameters")
    return FitModel(expression=settings.expression, parameters=parameters)


def with_intervals(fit: FitRecord, errors: Errors, delta: float) -> FitResult:
    """Return a fit again, with intervals of the free parameters for a rise of C by `delta`."""
    engine = copy(fit.engine)
    engine.control = fit.settings.model_copy(update={"errors": errors, "delta": delta})
    (result,) = engine.fit(fit.model, frozen=_frozen_factors(fit.settings, fit.files))
    return result


def _frozen_factors(
    settings: FitSpectrumSettings, files: Sequence[SpectrumFiles]
) -> dict[str, Floats]:
    """Return the factors between spectra that are kept at a value."""
    factors = [FACTOR + file.name for file in files[1:]]
    return {n: np.array([v]) for n, v in settings.freeze.items() if n in factors}


def check_expression(expression: str) -> None:
    """Check that a model can be parsed, and that its data are there."""
    for component in parse(expression).components:
        check_data(component.definition)


# --- what is read ------------------------------------------------------------------------


def read(
    settings: FitSpectrumSettings, spectra: Sequence[Path]
) -> tuple[list[SpectrumFiles], tuple[float, float]]:
    """Return spectra with their companions, checked, and the energies to fit.

    Raises
    ------
    IcflowError
        If a spectrum or its response cannot be used.
    """
    for path in map(plain, spectra if len(spectra) > 1 else ()):
        if path.is_file() and not is_fits(path):
            raise IcflowError(
                f"{path}: is not a FITS file, so no spectrum; each file of --rmf, --arf and "
                "--background needs the option before it"
            )
    keys = ("rmf", "arf", "background")
    given = {key: _each(getattr(settings, key), len(spectra), key) for key in keys}
    asked = [
        read_files(
            ObservedSpectrum(
                spectrum=str(path), **{key: names[number] for key, names in given.items()}
            )
        )
        for number, path in enumerate(spectra)
    ]
    return together(settings, asked)


def together(
    settings: FitSpectrumSettings, asked: Sequence[SpectrumFiles]
) -> tuple[list[SpectrumFiles], tuple[float, float]]:
    """Check spectra that are fitted jointly; return them by name, and the energies to fit.

    Energies that were not chosen are cut to those that they have.
    """
    check_distinct(asked)
    chosen = "energies" in settings.model_fields_set
    low, high = settings.energies
    checked = [check_companions(files, low, high, cut=not chosen) for files in asked]
    names = names_of([part.files for part in checked])
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


def names_of(files: Sequence[SpectrumFiles]) -> list[str]:
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
    given = (("--freeze", frozen), ("--link", links), ("--limits", limits))
    for option, names in (*given, ("--start", settings.start)):
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
        elif parameter.switch:
            parameters[name] = _switch(name, parameter, limits, settings.start)
        else:
            limit = limits_of(name, parameter, limits.get(name), energies)
            parameters[name] = _free(name, limit, settings.start.get(name))
    return parameters


def _switch(name: str, parameter: Parameter, *given: Mapping[str, object]) -> float:
    """Return the value of a switch that is not given; it has neither limits nor start."""
    if any(name in names for names in given):
        raise IcflowError(f"{name}: is a switch; give its value with --freeze {name}=")
    return parameter.default


def limits_of(
    name: str, parameter: Parameter, given: Sequence[float] | None, energies: Sequence[float]
) -> tuple[float, float]:
    """Return the limits of a free parameter: given, or those by default."""
    own, (hard_low, hard_high) = name.rpartition(".")[2], (parameter.minimum, parameter.maximum)
    if given is None:
        low, high = energies if own in LINES else LIMITS.get(own, (hard_low, hard_high))
        return max(low, hard_low), min(high, hard_high)
    low, high = given
    if low < hard_low or high > hard_high:
        raise IcflowError(
            f"--limits {name}={low:g}:{high:g}: reaches outside XSPEC's hard limits, "
            f"{hard_low:g} to {hard_high:g}; stay inside"
        )
    return low, high


def _free(name: str, limits: tuple[float, float], start: float | None) -> float | Free:
    """Return what a parameter is that may be anywhere between its limits."""
    low, high = limits
    if low == high:
        return low
    if start is not None and not low <= start <= high:
        raise IcflowError(
            f"--start {name}={start:g}: lies outside its limits, {low:g} to {high:g}; widen these "
            "with --limits, or start inside"
        )
    return Free(free=[low, high], start=start)
