"""Stage: the table of a scan, from the evaluations of its points."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units
from astropy.table import Table

from icflow.detection import scan, scan_tables
from icflow.detection.detectors import in_order
from icflow.detection.metrics import Estimate
from icflow.detection.quality import estimate
from icflow.detection.scan import Measured, Point, Spectra, Weights
from icflow.errors import IcflowError
from icflow.files import write_text
from icflow.settings import ScanSettings
from icflow.tables import floats, read_table, rounded, strings, write_table
from icflow.typing import Booleans, Floats

FLUX = "truth.ic_flux"


def run(settings: ScanSettings, points: Mapping[str, Path], output: Path) -> None:
    """Compare the points of a scan.

    Parameters
    ----------
    settings : ScanSettings
    points : mapping of str to path
        For each point the folder of its evaluation: ``scores.ecsv`` and
        ``validation.ecsv``.
    output : path
        Folder that gets ``table.csv``, one row for each point, detector and way
        to choose the threshold; ``table.md``, the same in short; and
        ``curves.ecsv``, the fraction of spectra called IC against the IC flux.

    Raises
    ------
    IcflowError
        If the evaluation of a point is missing, or not of these detectors.
    """
    names = in_order(settings.detectors)
    weights = Weights(settings.seed, settings.bootstrap)
    read = {}
    for point in settings.scan.points:
        if point.name not in points:
            raise IcflowError(f"no evaluation of the point {point.name} was given; add its folder")
        read[point.name] = _read(points[point.name], names, settings.sources)
    rows, curves = [], []
    for name in names:
        for target in (None, *settings.false_alarms):
            measured = {
                point: scan.measure(spectra, name, target, weights)
                for point, spectra in read.items()
            }
            first = measured[settings.scan.points[0].name]
            for point in settings.scan.points:
                spectra, here = read[point.name], measured[point.name]
                row: dict[str, Any] = {
                    "point": point.name,
                    "label": point.label,
                    "series": point.series,
                    "value": math.nan if point.value is None else point.value,
                    "detector": name,
                    "title": settings.detectors[name].title,
                    "threshold_for": scan_tables.threshold_for(target),
                    "threshold": float(here.thresholds[0]),
                    "n_thermal": spectra.thermal.size,
                    "n_ic": spectra.ic.size,
                }
                for key, values in here.draws.items():
                    row |= _columns(key, estimate(values))
                for key, change in scan.changes(here, first).items():
                    row |= _columns(f"change_{key}", change)
                fluxes, curve = _fluxes(spectra.ic, name, here, weights)
                for key, flux in fluxes.items():
                    row |= _columns(key, flux)
                rows.append(row)
                curves += [{**_key(row), **line} for line in curve]
    # By point first, as a reader looks it up.
    order = {point.name: position for position, point in enumerate(settings.scan.points)}
    rows.sort(key=lambda row: order[row["point"]])
    write_text(output / "table.csv", scan_tables.csv(rows))
    write_text(output / "table.md", scan_tables.markdown(rows, settings))
    write_table(output / "curves.ecsv", _curve_table(curves, settings))


def _key(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("point", "value", "detector", "threshold_for")}


def _columns(name: str, found: Estimate) -> dict[str, float]:
    value, low, high = asdict(found).values()
    return {name: value, f"{name}_lo": low, f"{name}_hi": high}


def _fluxes(
    spectra: Spectra, detector: str, measured: Measured, weights: Weights
) -> tuple[dict[str, Estimate], list[dict[str, float]]]:
    """Return the fluxes that a detector needs, and its efficiency against the flux."""
    flux = spectra.flux
    if not flux.size or not (np.isfinite(flux) & (flux > 0)).all() or flux.min() == flux.max():
        undefined = Estimate(math.nan, math.nan, math.nan)
        return {scan_tables.flux_key(level): undefined for level in scan.LEVELS}, []
    grid, found = scan.efficiency(spectra, detector, measured.thresholds, weights.of(spectra))
    low, high = scan.band(found)
    curve = [
        {"flux": float(x), "efficiency": float(y), "lo": float(a), "hi": float(b)}
        for x, y, a, b in zip(grid, found[0], low, high, strict=True)
    ]
    return {
        scan_tables.flux_key(level): scan.flux_estimate(scan.needed(grid, found, level))
        for level in scan.LEVELS
    }, curve


def _curve_table(curves: list[dict[str, Any]], settings: ScanSettings) -> Table:
    names = ("point", "value", "detector", "threshold_for", "flux", "efficiency", "lo", "hi")
    texts = ("point", "detector", "threshold_for")
    table = Table(
        {
            name: np.array([line[name] for line in curves], dtype=str if name in texts else float)
            for name in names
        },
        meta={"energies": list(settings.energies)},
    )
    for name in ("efficiency", "lo", "hi"):
        table[name] = np.round(table[name], 4)
    table["flux"] = rounded(table["flux"], 5)
    table["flux"].unit = units.erg / units.cm**2 / units.s
    return table


# --- reading ------------------------------------------------------------------------


def _read(folder: Path, detectors: list[str], sources: Mapping[str, str]) -> Point:
    """Return the spectra and thresholds of one evaluation."""
    folder = Path(folder)
    columns = ("dataset", "index", "is_ic", *detectors)
    scores = read_table(folder / "scores.ecsv", columns)
    validation = read_table(folder / "validation.ecsv", columns)
    thresholds = scores.meta.get("thresholds", {})
    missing = [name for name in detectors if name not in thresholds]
    if missing:
        raise IcflowError(
            f"{folder / 'scores.ecsv'}: has no threshold of {', '.join(missing)}; evaluate it again"
        )
    is_ic = _class(scores)
    return Point(
        thermal=_spectra(scores, ~is_ic, detectors, sources),
        ic=_spectra(scores, is_ic, detectors, sources),
        calibration=_spectra(validation, ~_class(validation), detectors, sources),
        thresholds={name: float(thresholds[name]) for name in detectors},
    )


def _class(table: Table) -> Booleans:
    return np.asarray(table["is_ic"], dtype=bool)


def _spectra(
    table: Table, rows: Booleans, detectors: list[str], sources: Mapping[str, str]
) -> Spectra:
    datasets = np.array(strings(table, "dataset"))[rows]
    unknown = set(datasets.tolist()) - set(sources)
    if unknown:
        raise IcflowError(
            f"an evaluation holds the dataset {', '.join(sorted(unknown))}, which no point of the "
            "scan names; evaluate it again"
        )

    def column(name: str) -> Floats:
        return floats(table, name)[rows]

    return Spectra(
        sources=scan.sources_of(datasets, np.asarray(table["index"])[rows], sources),
        scores={name: column(name) for name in detectors},
        flux=column(FLUX) if FLUX in table.colnames else np.full(int(rows.sum()), math.nan),
    )
