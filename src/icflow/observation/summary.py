"""The verdict on an observation, and the numbers behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from icflow.engines.embedded.deviations import DEVIATE, deviates_in
from icflow.models import inverse_compton
from icflow.models.expression import parse
from icflow.observation import words
from icflow.observation.fits import CHECKED, Check
from icflow.observation.scores import OBSERVED
from icflow.observation.simulations import UNFIT
from icflow.ogip.observation import statistic_of
from icflow.tables import finite

if TYPE_CHECKING:
    from icflow.observation.analysis import Analysis

# A given redshift or column density is doubted when fitting it lowers C by more than this:
# 3.5 sigma for one parameter.
DOUBTFUL = 12.0
LEVELS = ("68", "90")  # of the intervals that are told


def summarise(analysis: Analysis) -> dict[str, Any]:
    """Return the content of ``summary.json``."""
    settings, observe = analysis.settings, analysis.observe
    decides = analysis.scores[observe.decides]
    roles = {role: getattr(observe, role) for role in ("thermal", "with_ic", "both")}
    # No model: one that neither 2T, nor 1T+IC, nor both together describes.
    unfit = max(analysis.goodness[name] for name in roles.values()) < UNFIT
    decision = "IC" if decides.false_alarm < observe.false_alarm else "no IC"
    fluxes = {name: _flux(analysis, name) for name in analysis.limits}
    summary: dict[str, Any] = {
        "name": settings.name,
        "verdict": "",
        "decision": "no model fits" if unfit else decision,
        "false_alarm": decides.false_alarm,
        "false_alarm_limit": observe.false_alarm,
        "ic_added": {"delta_cstat": float(max(analysis.spectra[OBSERVED].added[0], 0.0))},
        "ic_flux": {"model": observe.both, **fluxes[observe.both]},
        "ic_flux_by_model": fluxes,
        "systematics": _systematics(analysis),
        "magnetic_field": _field(analysis, fluxes[observe.both]),
        "cstat": {name: fit.cstat for name, fit in analysis.fits.items()},
        "fits": {name: _fit(analysis, name) for name in analysis.fits},
        "detectors": _detectors(analysis),
        "checks": _checks(analysis),
        "observation": _inputs(analysis),
        "models": roles | {"ic": observe.ic},
        "simulations": observe.simulations,
        "seed": settings.seed,
        "versions": analysis.engine.versions(),
    }
    summary["warnings"] = words.warnings(summary)
    endless = [name for name, limits in analysis.limits.items() if limits.endless]
    summary["warnings"] += words.without_end(endless)
    summary["notes"] = words.calibrated(summary)
    summary["notes"] += [note for module in analysis.modules for note in module.notes]
    summary["notes"] += words.few_behind(analysis.engine.behind_per_bin, "`group_min`")
    unexplained = analysis.engine.unexplained
    summary["notes"] += words.unexplained(unexplained, analysis.statistic, "`energies`")
    summary["verdict"] = words.verdict(summary)
    return summary


def _flux(analysis: Analysis, name: str) -> dict[str, Any]:
    limits, scale = analysis.limits[name], analysis.flux_per_norm(name)
    return {
        "energies": list(analysis.observe.ic_energies),
        "unit": "erg/cm^2/s",
        "value": limits.best * scale,
        **{f"interval_{level}": [e * scale for e in limits.intervals[level]] for level in LEVELS},
        **{f"upper_limit_{level}": limit * scale for level, limit in limits.upper.items()},
        "rise_of_cstat": limits.rises,
        "norm": limits.best,
    }


def _systematics(analysis: Analysis) -> dict[str, Any] | None:
    """Return what is wrong with calibration and background, and limits of IC if nothing were.

    ``likeliest`` is what the fit of the model with both has settled, in the standard deviations
    that are given. ``without`` says nothing of IC where its fit is one that hardly any simulated
    spectrum has: something is wrong then.
    """
    systematics, right = analysis.observe.systematics, analysis.if_right
    if systematics is None or right is None:
        return None
    scale, fit = analysis.flux_per_norm(analysis.observe.both), analysis.fits[analysis.observe.both]
    errors = deviates_in(fit.errors)
    return {
        "given": systematics.model_dump(mode="json", exclude_none=True),
        "likeliest": {
            name: {"value": value, "error": finite(errors[name])}
            for name, value in deviates_in(fit.values).items()
        },
        "without": {
            "model": analysis.observe.both,
            "cstat": right.fit.cstat,
            "dof": right.fit.dof,
            "goodness": right.goodness,
            "describes": right.goodness >= UNFIT,
            **{f"upper_limit_{lv}": limit * scale for lv, limit in right.limits.upper.items()},
        },
    }


def _field(analysis: Analysis, flux: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the magnetic field that radio emission and the IC flux imply."""
    radio, (low, high) = analysis.observation.radio, analysis.observe.ic_energies
    if radio is None:
        return None
    fields = {
        name: inverse_compton.magnetic_field(
            radio, flux[key], (low, high), analysis.observation.redshift
        )
        for name, key in (
            ("value", "value"),
            ("lower_limit_90", "upper_limit_90"),
            ("lower_limit_3_sigma", "upper_limit_3_sigma"),
        )
    }
    return {"unit": "uG"} | {name: finite(field) for name, field in fields.items()}


def _fit(analysis: Analysis, name: str) -> dict[str, Any]:
    fit, model = analysis.fits[name], analysis.models[name]
    declared = parse(model.expression).parameters

    def interval(parameter: str) -> list[float | None] | None:
        ends = analysis.intervals[name].get(parameter)
        if ends is None:
            return None
        low, high = analysis.engine.range_of(model, parameter)
        return [None if ends[0] <= low else ends[0], None if ends[1] >= high else ends[1]]

    return {
        "expression": model.expression,
        "cstat": fit.cstat,
        "dof": fit.dof,
        "bins": fit.bins,
        "converged": fit.converged,
        "goodness": analysis.goodness[name],
        "parameters": {
            parameter: {
                "value": value,
                "error": fit.errors[parameter] if fit.errors[parameter] > 0 else None,
                "interval_90": interval(parameter),
                "unit": declared[parameter].unit if parameter in declared else "",
                "free": parameter in fit.free,
                "at_limit": parameter in fit.at_bound,
            }
            for parameter, value in fit.values.items()
            if not parameter.startswith(DEVIATE)
        },
    }


def _detectors(analysis: Analysis) -> dict[str, Any]:
    """Return what detectors say, the statistic in their titles called by its name."""
    scores = {detector: score.as_json() for detector, score in analysis.scores.items()}
    return {
        detector: score | {"title": words.with_statistic(score["title"], analysis.statistic)}
        for detector, score in scores.items()
    }


def _checks(analysis: Analysis) -> list[dict[str, Any]]:
    return [
        {"spectrum": module.name, "statistic": statistic_of([module]), **_as_json(check)}
        for module in analysis.modules
        for check in analysis.checks[module.name]
    ]


def _as_json(check: Check) -> dict[str, Any]:
    numbers = asdict(check) | {"error": finite(check.error)}
    del numbers["kind"]
    doubtful = check.delta_cstat > DOUBTFUL
    return {"parameter": CHECKED[check.kind], **numbers, "doubtful": doubtful}


def _inputs(analysis: Analysis) -> dict[str, Any]:
    engine, observation = analysis.engine, analysis.observation
    return {
        "spectra": [
            {
                "name": module.name,
                "file": module.spectrum.path,
                "rmf": str(module.rmf),
                "arf": None if module.arf is None else str(module.arf),
                "background": module.background_file,
                "grouped": module.spectrum.grouping is not None and observation.group_min is None,
                "exposure": module.spectrum.exposure,
                "telescope": module.spectrum.telescope,
                "instrument": module.spectrum.instrument,
            }
            for module in analysis.modules
        ],
        "redshift": observation.redshift,
        "nH": observation.nH,
        "energies": list(analysis.settings.energies),
        "counts": int(engine.source_counts[engine.used_channels()].sum()),
        "bins": engine.n_bins,
        "statistic": analysis.statistic,
        "group_min": analysis.settings.group_min,
    }
