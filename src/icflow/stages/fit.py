"""Stage: the fit of one spectrum.

Nothing of the workflow is needed here: model, response and data come from the
command line, as in a session with XSPEC.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from icflow.config import FitModel, Free, Link, ObservedSpectrum
from icflow.engines.base import BACKGROUND, FitResult
from icflow.errors import IcflowError
from icflow.files import write_json
from icflow.models.expression import parse
from icflow.models.library import Parameter
from icflow.models.scenario import complete
from icflow.observation.engine import ObservedEngine
from icflow.ogip.observation import SpectrumFiles, check_companions, read_files
from icflow.settings import FitSpectrumSettings

# Limits of free parameters where the user gives none: XSPEC's hard limits are wider than tables
# and spectra make sense. Keyed by the name of the parameter.
LIMITS = {"kT": (0.1, 30.0), "Redshift": (0.0, 0.3), "norm": (0.0, 1e6), "nH": (0.0, 10.0)}
# Energies of lines: a line that is not among the fitted energies cannot be fitted.
LINES = ("LineE",)


def run(settings: FitSpectrumSettings, spectrum: Path, output: Path | None = None) -> str:
    """Fit one OGIP spectrum; write the result as JSON and return it as a table to read.

    Every parameter that is neither frozen nor linked is free.

    Raises
    ------
    IcflowError
        If the spectrum, its response or the model cannot be used, or the fit fails.
    """
    given = settings.model_fields_set
    model = FitModel(expression=settings.expression, parameters=_parameters(settings))
    complete(parse(settings.expression), model.parameters, "parameters")
    companions = {key: getattr(settings, key) for key in ("rmf", "arf", "background")}
    low, high = settings.energies
    asked = read_files(ObservedSpectrum(spectrum=str(spectrum), **companions))
    files, _, energies = check_companions(asked, low, high, cut="energies" not in given)
    control = settings.model_copy(update={"energies": list(energies)})
    regroup = "group_min" in given
    engine = ObservedEngine([files], control, regroup, settings.atomic_data)
    (result,) = engine.fit(model)
    if result.status != "ok":
        raise IcflowError(f"{spectrum}: {result.status}")
    if output is not None:
        write_json(output, _as_json(result, files, control, engine))
    what = _what(files, settings, energies, engine.n_bins)
    return "\n".join([*what, *_as_text(result, settings, files.behind is not None)])


def _what(
    files: SpectrumFiles, settings: FitSpectrumSettings, energies: Sequence[float], n_bins: int
) -> list[str]:
    """Say what is fitted, what was chosen for the user, and what is odd about it."""
    low, high = energies
    given = settings.model_fields_set
    background = files.behind.path if files.behind is not None else files.background
    if files.spectrum.grouping is not None and "group_min" not in given:
        bins = "grouped as the file says"
    else:
        bins = f"of at least {settings.group_min} counts" if settings.group_min else "ungrouped"
    chosen = "" if "energies" in given else " (by default; --energies chooses others)"
    return [
        f"Spectrum {files.spectrum.path}: {files.spectrum.exposure:g} s",
        f"Response {files.rmf}, area {files.arf or 'none'}, background {background or 'none'}",
        f"Bins {n_bins}, {bins}, {low:g} to {high:g} keV{chosen}",
        *(f"Note: {note}" for note in files.notes),
    ]


def _parameters(settings: FitSpectrumSettings) -> dict[str, float | Link | Free]:
    expression, declared = settings.expression, parse(settings.expression).parameters
    frozen, links, limits = settings.freeze, settings.link, settings.limits
    for option, names in (("--freeze", frozen), ("--link", links), ("--limits", limits)):
        for name in names:
            if name not in declared:
                raise IcflowError(
                    f"{option} {name}: {expression!r} has no such parameter; "
                    f"allowed: {', '.join(declared)}"
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
            parameters[name] = _free(name, parameter, limits.get(name), settings.energies)
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


def _as_json(
    result: FitResult, files: SpectrumFiles, settings: FitSpectrumSettings, engine: ObservedEngine
) -> dict[str, object]:
    def entry(name: str) -> dict[str, object]:
        error = result.errors[name]
        return {
            "value": result.values[name],
            "error": error if error == error else None,
            "free": name in result.free,
            **({"interval": list(result.intervals[name])} if name in result.intervals else {}),
        }

    return {
        "spectrum": files.spectrum.path,
        "exposure": files.spectrum.exposure,
        "rmf": str(files.rmf),
        "arf": None if files.arf is None else str(files.arf),
        "background_spectrum": None if files.behind is None else files.behind.path,
        "expression": settings.expression,
        "energies": list(settings.energies),
        "group_min": settings.group_min if "group_min" in settings.model_fields_set else None,
        "errors": settings.errors,
        "delta": settings.delta,
        "cstat": result.cstat,
        "dof": result.dof,
        "bins": result.bins,
        "converged": result.converged,
        "starts": result.starts,
        "agreeing": result.agreeing,
        "iterations": result.iterations,
        "gradient": result.gradient,
        "at_bound": list(result.at_bound),
        "parameters": {
            name: entry(name) for name in result.values if not name.startswith(BACKGROUND)
        },
        "background": {
            name.removeprefix(BACKGROUND): result.values[name]
            for name in result.values
            if name.startswith(BACKGROUND)
        },
        "notes": list(files.notes),
        "versions": engine.versions(),
    }


def _as_text(result: FitResult, settings: FitSpectrumSettings, behind: bool) -> list[str]:
    """Return a table like XSPEC's ``show free``, line by line; `behind` tells W from C."""
    declared = parse(settings.expression).parameters
    lines = [f"Model {settings.expression}", f"{'parameter':<22}{'unit':<10}{'value':>14}  error"]
    if result.intervals:
        lines[-1] += f"  [C rises by {settings.delta:g}]"
    for name, value in result.values.items():
        unit = declared[name].unit if name in declared else ""
        if name in result.at_bound:
            error = "at its limit"
        elif name in result.free:
            sigma = result.errors[name]
            error = f"+/- {sigma:.4g}" if math.isfinite(sigma) else "not determined"
        else:
            error = "frozen"
        if name in result.intervals:
            error += "  [{:.6g}, {:.6g}]".format(*result.intervals[name])
        lines.append(f"{name:<22}{unit:<10}{value:>14.6g}  {error}")
    state = "converged" if result.converged else "NOT converged"
    lines.append(
        f"{'W' if behind else 'C'}-stat {result.cstat:.2f} for {result.bins} bins, "
        f"{result.dof} degrees of freedom; {state}, {result.agreeing} of {result.starts} starts "
        "agree"
    )
    return lines
