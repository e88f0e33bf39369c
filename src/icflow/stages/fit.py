"""Commands for one spectrum: what a model predicts, and how it fits.

Nothing of the workflow is needed here: model, response and data come from the
command line, as in a session with XSPEC.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from astropy import units
from astropy.table import Table

from icflow.config import AtomicData, FitControl, FitModel, Free, Instrument, Link
from icflow.engines.base import BACKGROUND, FitResult
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.errors import IcflowError
from icflow.files import write_json
from icflow.models.expression import parse
from icflow.models.library import Parameter
from icflow.ogip.observation import companion
from icflow.ogip.spectrum import Spectrum, check_counts, read_spectrum
from icflow.tables import write_table

# Limits of free parameters where the user gives none: XSPEC's hard limits are wider than tables
# and spectra make sense. Keyed by the name of the parameter.
LIMITS = {"kT": (0.1, 30.0), "Redshift": (0.0, 0.3), "norm": (0.0, 1e6), "nH": (0.0, 10.0)}


def predict(
    expression: str,
    values: Mapping[str, float],
    rmf: Path,
    arf: Path | None,
    exposure: float,
    background: Path | None,
    atomic_data: AtomicData,
    output: Path,
) -> None:
    """Write the expected counts of a model: ``channel, energy_lo, energy_hi, counts``."""
    engine = EmbeddedEngine([_instrument(rmf, arf, exposure, background)], atomic_data)
    counts = engine.predict(expression, dict(values))
    response = engine.foldings[0].response.rmf
    table = Table(
        {
            "channel": response.channel,
            "energy_lo": response.e_min * units.keV,
            "energy_hi": response.e_max * units.keV,
            "counts": counts * units.count,
        },
        meta={
            "expression": expression,
            "exposure": exposure,
            "values": dict(values),
            **engine.versions(),
        },
    )
    write_table(output, table)


def fit(
    spectrum: Path,
    expression: str,
    frozen: Mapping[str, float],
    links: Mapping[str, str],
    limits: Mapping[str, tuple[float, float]],
    rmf: Path | None,
    arf: Path | None,
    control: FitControl,
    background: Path | None,
    atomic_data: AtomicData,
    output: Path | None,
) -> str:
    """Fit one OGIP spectrum; write the result as JSON and return it as a table to read.

    Every parameter that is neither frozen nor linked is free.
    """
    data = read_spectrum(spectrum)
    check_counts(data.counts, str(spectrum))
    found_rmf = rmf or companion(spectrum, data.respfile, "RESPFILE", "--rmf")
    found_arf = arf
    if arf is None and data.ancrfile is not None:
        found_arf = companion(spectrum, data.ancrfile, "ANCRFILE", "--arf")
    engine = EmbeddedEngine(
        [_instrument(found_rmf, found_arf, data.exposure, background)], atomic_data
    )
    if len(data.counts) != engine.n_channels:
        raise IcflowError(
            f"{spectrum}: has {len(data.counts)} channels, {found_rmf} has "
            f"{engine.n_channels}; give the response that belongs to the spectrum"
        )
    model = FitModel(expression=expression, parameters=_settings(expression, frozen, links, limits))
    (result,) = engine.fit(model, control, data.counts[None], {}, ())
    if result.status != "ok":
        raise IcflowError(f"{spectrum}: {result.status}")
    if output is not None:
        write_json(output, _as_json(result, spectrum, data, expression, control, engine))
    return _as_text(result, expression, control)


def _instrument(
    rmf: Path, arf: Path | None, exposure: float, background: Path | None
) -> Instrument:
    return Instrument(
        rmf=str(rmf),
        arf=None if arf is None else str(arf),
        exposure=exposure,
        background=None if background is None else str(background),
    )


def _settings(
    expression: str,
    frozen: Mapping[str, float],
    links: Mapping[str, str],
    limits: Mapping[str, tuple[float, float]],
) -> dict[str, float | Link | Free]:
    declared = parse(expression).parameters
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
    settings: dict[str, float | Link | Free] = {}
    for name, parameter in declared.items():
        if name in frozen:
            settings[name] = frozen[name]
        elif name in links:
            settings[name] = Link(link=links[name])
        else:
            settings[name] = _free(name, parameter, limits.get(name))
    return settings


def _free(name: str, parameter: Parameter, given: tuple[float, float] | None) -> float | Free:
    low, high = given or LIMITS.get(name.rpartition(".")[2], (parameter.minimum, parameter.maximum))
    low, high = max(low, parameter.minimum), min(high, parameter.maximum)
    if low == high:
        return low  # a switch
    return Free(free=[low, high])


def _as_json(
    result: FitResult,
    path: Path,
    data: Spectrum,
    expression: str,
    control: FitControl,
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
        "expression": expression,
        "energies": list(control.energies),
        "group_min": control.group_min,
        "errors": control.errors,
        "delta": control.delta,
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


def _as_text(result: FitResult, expression: str, control: FitControl) -> str:
    """Return a table like XSPEC's ``show free``."""
    declared = parse(expression).parameters
    lines = [f"Model {expression}", f"{'parameter':<22}{'unit':<10}{'value':>14}  error"]
    if result.intervals:
        lines[-1] += f"  [C rises by {control.delta:g}]"
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
