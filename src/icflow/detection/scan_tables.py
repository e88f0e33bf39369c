"""The table of a scan, from the evaluations of its points, as CSV and Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from astropy import units
from astropy.table import Table

from icflow import tables
from icflow.detection import scan
from icflow.detection.detectors import in_order
from icflow.detection.differences import signed
from icflow.detection.metrics import ENDS, Estimate
from icflow.detection.scan import Measured, Point, ScoredSpectra, Weights
from icflow.detection.table1 import interval
from icflow.settings import ScanSettings

BEST = "balanced accuracy"


def threshold_for(false_alarm: float | None) -> str:
    """Return what a threshold is chosen for: the balanced accuracy, or a false-alarm rate."""
    return BEST if false_alarm is None else f"false alarms {false_alarm:g}"


def shown(settings: ScanSettings) -> str:
    """Return the thresholds that table and figure show; the CSV file has all.

    Where populations are compared it is one for a false-alarm rate: that of the
    highest balanced accuracy is one for the population that it was chosen with.
    """
    changes = settings.scan.figure == "changes"
    return threshold_for(max(settings.false_alarms)) if changes else BEST


def flux_key(level: float) -> str:
    """Return the name of the flux from which on a fraction of the spectra is called IC."""
    return f"flux_{level:g}"


# --- the comparison -----------------------------------------------------------------


def compare(
    settings: ScanSettings, points: Mapping[str, Point]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Compare the points of a scan.

    Parameters
    ----------
    settings : ScanSettings
    points : mapping of str to Point
        The evaluation of each.

    Returns
    -------
    table : DataFrame
        One row for each point, detector and way to choose the threshold.
    curves : DataFrame
        The fraction of spectra called IC against the IC flux, for each of these.
    """
    weights = Weights(settings.seed, settings.bootstrap)
    rows, curves = [], []
    for name in in_order(settings.detectors):
        for target in (None, *settings.false_alarms):
            for row, curve in _rows(settings, points, name, target, weights):
                key = {k: row[k] for k in ("point", "value", "detector", "threshold_for")}
                rows.append(row)
                curves.append(curve.assign(**key))
    # By point first, as a reader looks it up.
    order = {point.name: position for position, point in enumerate(settings.scan.points)}
    table = pd.DataFrame(rows).sort_values("point", key=lambda p: p.map(order), kind="stable")
    return table, pd.concat(curves, ignore_index=True)


def _rows(
    settings: ScanSettings,
    points: Mapping[str, Point],
    detector: str,
    target: float | None,
    weights: Weights,
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Give the row of each point for a detector with one kind of threshold, and its curve."""
    measured = {p: scan.measure(point, detector, target, weights) for p, point in points.items()}
    first = measured[settings.scan.points[0].name]
    for point in settings.scan.points:
        spectra, here = points[point.name], measured[point.name]
        fluxes, curve = _fluxes(spectra.ic, detector, here, weights)
        estimates = {key: Estimate.of(values) for key, values in here.draws.items()}
        estimates |= {f"change_{key}": c for key, c in scan.changes(here, first).items()}
        row = {
            "point": point.name,
            "label": point.label,
            "series": point.series,
            "value": math.nan if point.value is None else point.value,
            "detector": detector,
            "title": settings.detectors[detector].title,
            "threshold_for": threshold_for(target),
            "threshold": float(here.thresholds[0]),
            "n_thermal": spectra.thermal.size,
            "n_ic": spectra.ic.size,
        }
        for key, estimate in (estimates | fluxes).items():
            row |= {f"{key}{ENDS[part]}": number for part, number in asdict(estimate).items()}
        yield row, curve


def _fluxes(
    spectra: ScoredSpectra, detector: str, measured: Measured, weights: Weights
) -> tuple[dict[str, Estimate], pd.DataFrame]:
    """Return the fluxes that a detector needs, and its efficiency against the flux."""
    flux = spectra.flux
    if not flux.size or not (np.isfinite(flux) & (flux > 0)).all() or flux.min() == flux.max():
        undefined = Estimate(math.nan, math.nan, math.nan)
        nothing = pd.DataFrame(columns=["flux", "efficiency", "lo", "hi"], dtype=float)
        return {flux_key(level): undefined for level in scan.LEVELS}, nothing
    grid, called = scan.efficiency(spectra, detector, measured.thresholds, weights.of(spectra))
    low, high = scan.band(called)
    curve = pd.DataFrame({"flux": grid, "efficiency": called[0], "lo": low, "hi": high})
    return {
        flux_key(level): scan.flux_estimate(scan.needed(grid, called, level))
        for level in scan.LEVELS
    }, curve


def curve_table(curves: pd.DataFrame, settings: ScanSettings) -> Table:
    """Return the curves as a table with units, rounded."""
    table = Table(meta={"energies": list(settings.energies)})
    for name in ("point", "value", "detector", "threshold_for"):
        table[name] = np.array(curves[name], dtype=float if name == "value" else str)
    table["flux"] = tables.rounded(curves["flux"], 5) * units.erg / units.cm**2 / units.s
    for name in ("efficiency", "lo", "hi"):
        table[name] = np.round(curves[name].to_numpy(), 4)
    return table


# --- as text ------------------------------------------------------------------------


def markdown(table: pd.DataFrame, settings: ScanSettings) -> str:
    """Return what matters most in Markdown; the CSV file has all."""
    form = _flux_table if settings.scan.figure == "fluxes" else _rate_table
    return form(table, settings)


def _rate_table(table: pd.DataFrame, settings: ScanSettings) -> str:
    first = settings.scan.points[0]
    columns = ["Point", "Detector", "False alarms", "change", "Recall", "change", "Bal. accuracy"]
    rows = [
        [
            row["label"],
            row["title"],
            *(
                cell
                for name in ("false_alarm", "recall")
                for cell in (
                    interval(_estimate(row, name)),
                    "" if row["point"] == first.name else _change(row, name),
                )
            ),
            interval(_estimate(row, "bacc")),
        ]
        for _, row in table[table["threshold_for"] == shown(settings)].iterrows()
    ]
    return tables.markdown(pd.DataFrame(rows, columns=columns), words=2) + (
        f"\n\n{settings.scan.title}. Thresholds for {shown(settings)} on the validation spectra; "
        f"changes from “{first.label}”, of the same sources where the points share them, "
        f"**bold** where the interval leaves out zero. Intervals hold 68.3 % of "
        f"{settings.bootstrap:,} resamplings.\n"
    )


def _flux_table(table: pd.DataFrame, settings: ScanSettings) -> str:
    levels = [name for name in table if f"{name}_lo" in table and name.startswith("flux_")]
    fractions = [float(name.removeprefix("flux_")) for name in levels]
    columns = ["Point", "Detector", "Threshold for", "False alarms"]
    columns += [f"Flux found in {100 * fraction:g} %" for fraction in fractions]
    rows = [
        [
            row["label"],
            row["title"],
            row["threshold_for"],
            interval(_estimate(row, "false_alarm")),
            *(flux(row, name) for name in levels),
        ]
        for _, row in table[table["threshold_for"] != BEST].iterrows()
    ]
    low, high = settings.energies
    return tables.markdown(pd.DataFrame(rows, columns=columns), words=3) + (
        f"\n\n{settings.scan.title}. IC flux, {low:g} to {high:g} keV (10⁻¹² erg/cm²/s), from "
        "which on that fraction of the spectra is called IC, with thresholds that the validation "
        f"spectra without IC set. Intervals hold 68.3 % of {settings.bootstrap:,} resamplings of "
        "test and validation spectra.\n"
    )


def _estimate(row: Mapping[str, Any], name: str) -> dict[str, float]:
    return {part: row[f"{name}{end}"] for part, end in ENDS.items()}


def _change(row: Mapping[str, Any], name: str) -> str:
    return signed(_estimate(row, f"change_{name}"), bold=True, undefined="–")


def flux(row: Mapping[str, Any], name: str) -> str:
    """Return a flux with its interval in units of 1e-12 erg/cm²/s."""
    numbers = [float(number) for number in _estimate(row, name).values()]
    value, low, high = ("> tried" if math.isinf(x) else f"{x * 1e12:.2g}" for x in numbers)
    if math.isnan(numbers[0]):
        return "undefined"
    return value if math.isinf(numbers[0]) else f"{value} ({low}–{high})"
