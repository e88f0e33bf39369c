"""What a fit of spectra found: as a table to read and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from icflow.config import FitModel, Free
from icflow.engines.base import BACKGROUND, FitResult
from icflow.models.expression import parse
from icflow.observation import words
from icflow.observation.engine import ObservedEngine
from icflow.ogip.observation import SpectrumFiles, statistic_of
from icflow.settings import FitSpectrumSettings
from icflow.tables import finite


@dataclass(frozen=True)
class FitRecord:
    """A fit, with what it is a fit of.

    Attributes
    ----------
    settings : FitSpectrumSettings
        As given: what was not is chosen by default.
    energies : sequence of float
        Lowest and highest that are fitted, keV.
    """

    settings: FitSpectrumSettings
    files: Sequence[SpectrumFiles]
    energies: Sequence[float]
    model: FitModel
    engine: ObservedEngine
    result: FitResult

    @property
    def statistic(self) -> str:
        """Its name: W for spectra with background spectra, C for others."""
        return statistic_of(self.files)


# --- words -------------------------------------------------------------------------------


def as_text(fit: FitRecord) -> list[str]:
    """Return what was fitted, and a table like XSPEC's ``show free``, line by line."""
    settings, result = fit.settings, fit.result
    declared = parse(settings.expression).parameters
    lines = [f"Model {settings.expression}", f"{'parameter':<22}{'unit':<10}{'value':>14}  error"]
    if result.intervals:
        held = f"{100 * math.erf(math.sqrt(settings.delta / 2)):.3g} % averaged"
        rise = f"{fit.statistic} rises by {settings.delta:g}"
        lines[-1] += f"  [{held if settings.errors == 'marginal' else rise}]"
    for name, value in result.values.items():
        unit = declared[name].unit if name in declared else ""
        lines.append(f"{name:<22}{unit:<10}{value:>14.6g}  {_error(result, name)}")
    state = "converged" if result.converged else "NOT converged"
    lines.append(
        f"{fit.statistic}-stat {result.cstat:.2f} for {result.bins} bins, {result.dof} degrees of "
        f"freedom; {state}, {result.agreeing} of {result.starts} starts agree"
    )
    return [*_what(fit), *lines]


def _what(fit: FitRecord) -> list[str]:
    """Say what is fitted, what was chosen for the user, and what is odd about it."""
    settings, lines = fit.settings, []
    for file in fit.files:
        name = f" ({file.name})" if file.name else ""
        lines += [
            f"Spectrum {file.spectrum.path}{name}: {file.spectrum.exposure:g} s",
            f"Response {file.rmf}, area {file.arf or 'none'}, "
            f"background {file.background_file or 'none'}",
        ]
    given = settings.model_fields_set
    grouped = [file.spectrum.grouping is not None for file in fit.files]
    if "group_min" not in given and any(grouped):
        bins = "grouped as the file says" if all(grouped) else "grouped as far as the files say"
    else:
        bins = f"of at least {settings.group_min} counts" if settings.group_min else "ungrouped"
    low, high = fit.energies
    chosen = "" if "energies" in given else " (by default; --energies chooses others)"
    return [
        *lines,
        f"Bins {fit.engine.n_bins}, {bins}, {low:g} to {high:g} keV{chosen}",
        *_limits(fit),
        *(f"Note: {note}" for note in notes_on(fit)),
    ]


def notes_on(fit: FitRecord) -> list[str]:
    """Return what is odd about the spectra and the fit, a sentence each."""
    result = fit.result
    notes = [
        *(note for file in fit.files for note in file.notes),
        *words.few_behind(fit.engine.behind_per_bin, "--group-min"),
        *words.unexplained(fit.engine.unexplained, fit.statistic, "--energies"),
        *words.lone_start(result.agreeing, result.starts, fit.statistic, "--starts"),
        *words.no_average(fit.settings.errors, result),
    ]
    return list(dict.fromkeys(notes))


def _limits(fit: FitRecord) -> list[str]:
    """Say which limits of free parameters are narrower than XSPEC's without being asked for."""
    declared = parse(fit.settings.expression).parameters
    narrow = [
        f"{name} {setting.free[0]:g} to {setting.free[1]:g}"
        for name, setting in fit.model.parameters.items()
        if isinstance(setting, Free)
        and name not in fit.settings.limits
        and list(setting.free) != [declared[name].minimum, declared[name].maximum]
    ]
    return [f"Limits by default: {', '.join(narrow)} (--limits chooses others)"] if narrow else []


def _error(result: FitResult, name: str) -> str:
    sigma = result.errors[name]
    if name in result.at_bound:
        error = "at its limit"
    elif name in result.free:
        error = f"+/- {sigma:.4g}" if math.isfinite(sigma) else "not determined"
    else:
        error = "frozen"
    if name in result.intervals:
        error += "  [{:.6g}, {:.6g}]".format(*result.intervals[name])
    return error


# --- JSON --------------------------------------------------------------------------------


def as_json(fit: FitRecord) -> dict[str, Any]:
    """Return all that is known of a fit."""
    settings, result = fit.settings, fit.result
    spectra = [_spectrum(file) for file in fit.files]
    own = ("expression", "errors", "delta")
    found = ("cstat", "dof", "bins", "converged", "starts", "agreeing", "iterations", "gradient")
    return {
        # What there is one of stands at the top too.
        **(spectra[0] if len(spectra) == 1 else {}),
        "spectra": spectra,
        **{key: getattr(settings, key) for key in own},
        "energies": list(fit.energies),
        "group_min": settings.group_min if "group_min" in settings.model_fields_set else None,
        "statistic": fit.statistic,
        **{key: getattr(result, key) for key in found},
        "at_bound": list(result.at_bound),
        "parameters": {
            name: _parameter(result, name)
            for name in result.values
            if not name.startswith(BACKGROUND)
        },
        "background": {
            name.removeprefix(BACKGROUND): value
            for name, value in result.values.items()
            if name.startswith(BACKGROUND)
        },
        "free": list(result.free),
        "covariance": [[finite(x) for x in row] for row in result.covariance.tolist()],
        "notes": notes_on(fit),
        "versions": fit.engine.versions(),
    }


def _spectrum(file: SpectrumFiles) -> dict[str, Any]:
    return {
        "name": file.name,
        "spectrum": file.spectrum.path,
        "exposure": file.spectrum.exposure,
        "rmf": str(file.rmf),
        "arf": None if file.arf is None else str(file.arf),
        "background_spectrum": None if file.behind is None else file.behind.path,
        "notes": list(file.notes),
    }


def _parameter(result: FitResult, name: str) -> dict[str, Any]:
    return {
        "value": result.values[name],
        "error": finite(result.errors[name]),
        "free": name in result.free,
        **({"interval": list(result.intervals[name])} if name in result.intervals else {}),
    }
