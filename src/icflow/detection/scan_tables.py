"""The table of a scan in the forms in which it is read: CSV and Markdown."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from csv import DictWriter
from typing import Any

from icflow.detection.table1 import bar, escape_bar, interval
from icflow.settings import ScanSettings

Row = Mapping[str, Any]

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


def csv(rows: Sequence[Row]) -> str:
    """Return all rows as CSV, ``nan`` where undefined, ``inf`` for a flux beyond those tried."""
    file = io.StringIO()
    writer = DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _plain(value) for key, value in row.items()})
    return file.getvalue()


def _plain(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def markdown(rows: Sequence[Row], settings: ScanSettings) -> str:
    """Return what matters most in Markdown; the CSV file has all."""
    if settings.scan.figure == "fluxes":
        return _flux_table(rows, settings)
    return _rate_table(rows, settings)


def _rate_table(rows: Sequence[Row], settings: ScanSettings) -> str:
    header = ["Point", "Detector", "False alarms", "change", "Recall", "change", "Bal. accuracy"]
    lines = [bar(header), bar(["---", "---", *["---:"] * 5])]
    first = settings.scan.points[0]
    for row in rows:
        if row["threshold_for"] != shown(settings):
            continue
        compared = row["point"] != first.name
        cells = [escape_bar(row["label"]), escape_bar(row["title"])]
        for name in ("false_alarm", "recall"):
            cells += [
                interval(_estimate(row, name)),
                signed(_estimate(row, f"change_{name}")) if compared else "",
            ]
        lines.append(bar([*cells, interval(_estimate(row, "bacc"))]))
    return "\n".join(lines) + (
        f"\n\n{settings.scan.title}. Thresholds for {shown(settings)} on the validation spectra; "
        f"changes from “{first.label}”, of the same sources where the points share them, "
        f"**bold** where the interval leaves out zero. Intervals hold 68.3 % of "
        f"{settings.bootstrap:,} resamplings.\n"
    )


def _flux_table(rows: Sequence[Row], settings: ScanSettings) -> str:
    levels = [name.removeprefix("flux_") for name in rows[0] if name.startswith("flux_")]
    levels = [level for level in levels if not level.endswith(("_lo", "_hi"))]
    header = ["Point", "Detector", "Threshold for", "False alarms"]
    header += [f"Flux found in {float(level):.0%}" for level in levels]
    lines = [bar(header), bar(["---", "---", "---", *["---:"] * (1 + len(levels))])]
    for row in rows:
        if row["threshold_for"] == BEST:
            continue
        cells = [escape_bar(row["label"]), escape_bar(row["title"]), row["threshold_for"]]
        cells.append(interval(_estimate(row, "false_alarm")))
        cells += [flux(_estimate(row, f"flux_{level}")) for level in levels]
        lines.append(bar(cells))
    low, high = settings.energies
    return "\n".join(lines) + (
        f"\n\n{settings.scan.title}. IC flux, {low:g} to {high:g} keV (10⁻¹² erg/cm²/s), from "
        "which on that fraction of the spectra is called IC, with thresholds that the validation "
        f"spectra without IC set. Intervals hold 68.3 % of {settings.bootstrap:,} resamplings of "
        "test and validation spectra.\n"
    )


def _estimate(row: Row, name: str) -> dict[str, float]:
    return {"value": row[name], "lo": row[f"{name}_lo"], "hi": row[f"{name}_hi"]}


def signed(change: Mapping[str, float]) -> str:
    """Return a change with its interval, bold where that leaves out zero."""
    value, low, high = (change[key] for key in ("value", "lo", "hi"))
    if math.isnan(value):
        return "–"
    text = "{} ({} to {})".format(
        *(f"{number:+.3f}".replace("-", "−") for number in (value, low, high))
    )
    return text if low <= 0 <= high else f"**{text}**"


def flux(found: Mapping[str, float]) -> str:
    """Return a flux with its interval in units of 1e-12 erg/cm²/s."""
    value, low, high = (
        "> tried" if math.isinf(number) else f"{number * 1e12:.2g}"
        for number in (found["value"], found["lo"], found["hi"])
    )
    if math.isnan(found["value"]):
        return "undefined"
    return value if math.isinf(found["value"]) else f"{value} ({low}–{high})"
