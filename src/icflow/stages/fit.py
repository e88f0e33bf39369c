"""Stage: the fit of one spectrum.

Nothing of the workflow is needed here: model, response and data come from the
command line, as in a session with XSPEC.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from icflow.config import FitModel, Free, Link
from icflow.engines.base import BACKGROUND, FitResult
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.errors import IcflowError
from icflow.files import write_json
from icflow.models.expression import parse
from icflow.models.library import Parameter
from icflow.ogip.observation import companion
from icflow.ogip.spectrum import Spectrum, check_counts, read_spectrum
from icflow.settings import FitSpectrumSettings

# Limits of free parameters where the user gives none: XSPEC's hard limits are wider than tables
# and spectra make sense. Keyed by the name of the parameter.
LIMITS = {"kT": (0.1, 30.0), "Redshift": (0.0, 0.3), "norm": (0.0, 1e6), "nH": (0.0, 10.0)}


def run(settings: FitSpectrumSettings, spectrum: Path, output: Path | None = None) -> str:
    """Fit one OGIP spectrum; write the result as JSON and return it as a table to read.

    Every parameter that is neither frozen nor linked is free.

    Raises
    ------
    IcflowError
        If the spectrum, its response or the model cannot be used, or the fit fails.
    """
    data = read_spectrum(spectrum)
    check_counts(data.counts, str(spectrum))
    rmf = settings.rmf or str(companion(spectrum, data.respfile, "RESPFILE", "--rmf"))
    arf = settings.arf
    if arf is None and data.ancrfile is not None:
        arf = str(companion(spectrum, data.ancrfile, "ANCRFILE", "--arf"))
    engine = EmbeddedEngine([settings.module(rmf, arf, data.exposure)], settings.atomic_data)
    if len(data.counts) != engine.n_channels:
        raise IcflowError(
            f"{spectrum}: has {len(data.counts)} channels, {rmf} has "
            f"{engine.n_channels}; give the response that belongs to the spectrum"
        )
    model = FitModel(expression=settings.expression, parameters=_parameters(settings))
    (result,) = engine.fit(model, settings, data.counts[None], {}, ())
    if result.status != "ok":
        raise IcflowError(f"{spectrum}: {result.status}")
    if output is not None:
        write_json(output, _as_json(result, spectrum, data, settings, engine))
    return _as_text(result, settings)


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
            parameters[name] = _free(name, parameter, limits.get(name))
    return parameters


def _free(name: str, parameter: Parameter, given: Sequence[float] | None) -> float | Free:
    low, high = given or LIMITS.get(name.rpartition(".")[2], (parameter.minimum, parameter.maximum))
    low, high = max(low, parameter.minimum), min(high, parameter.maximum)
    if low == high:
        return low  # a switch
    return Free(free=[low, high])


def _as_json(
    result: FitResult,
    path: Path,
    data: Spectrum,
    settings: FitSpectrumSettings,
    engine: EmbeddedEngine,
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
        "spectrum": str(path),
        "exposure": data.exposure,
        "expression": settings.expression,
        "energies": list(settings.energies),
        "group_min": settings.group_min,
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
        "versions": engine.versions(),
    }


def _as_text(result: FitResult, settings: FitSpectrumSettings) -> str:
    """Return a table like XSPEC's ``show free``."""
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
        f"C-stat {result.cstat:.2f} for {result.bins} bins, {result.dof} degrees of freedom; "
        f"{state}, {result.agreeing} of {result.starts} starts agree"
    )
    return "\n".join(lines)
