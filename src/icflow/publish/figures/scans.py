"""Figures of scans: rates, changes of rates, and fluxes that a detection needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Table

from icflow.detection.detectors import in_order
from icflow.detection.scan import LEVELS
from icflow.detection.scan_tables import BEST, flux_key, shown, threshold_for
from icflow.errors import IcflowError
from icflow.publish.figures import style
from icflow.settings import ScanSettings
from icflow.typing import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


TITLES = {"false_alarm": "False-alarm rate", "recall": "Recall"}
ALL_TITLES = TITLES | {"bacc": "Balanced accuracy"}
STEP = 0.8  # of the distance of two points, over which the detectors are spread


def draw(settings: ScanSettings, folder: Path) -> Figure:
    """Draw what the kind of the scan asks for.

    Raises
    ------
    IcflowError
        If the table is missing or of other detectors.
    """
    table = _read(folder / "table.csv", settings)
    kinds = {"rates": _rates, "changes": _changes, "fluxes": _fluxes}
    return kinds[settings.scan.figure](settings, table)


def _read(path: Path, settings: ScanSettings) -> Table:
    try:
        table = Table.read(path, format="ascii.csv")
    except OSError as error:
        raise IcflowError(f"{path}: cannot be read ({error.strerror or error})") from None
    missing = set(settings.detectors) - set(table["detector"].tolist())
    if missing:
        raise IcflowError(
            f"{path}: has no rows of {', '.join(sorted(missing))}; make the table again"
        )
    return table


def _rows(table: Table, **wanted: Any) -> Table:
    """Return the rows in which columns have the given values."""
    kept = np.ones(len(table), dtype=bool)
    for name, value in wanted.items():
        kept &= np.asarray(table[name]) == value
    return table[kept]


def _numbers(table: Table, name: str) -> tuple[Floats, Floats, Floats]:
    """Return a column with the ends of its intervals."""
    value, low, high = (
        np.asarray(table[key], dtype=np.float64) for key in (name, f"{name}_lo", f"{name}_hi")
    )
    return value, low, high


def _style(position: int) -> dict[str, Any]:
    """Return how a detector looks; hollow where colours and markers come round again."""
    color = style.SERIES[position % len(style.SERIES)]
    return {
        "color": color,
        "marker": style.MARKERS[position % len(style.MARKERS)],
        "markerfacecolor": color if position < len(style.MARKERS) else "white",
    }


# --- rates against a value ----------------------------------------------------------


def _rates(settings: ScanSettings, table: Table) -> Figure:
    """Draw rates and balanced accuracy (rows) against the value, one column for each series."""
    first = settings.scan.points[0]
    series = list(dict.fromkeys(p.series for p in settings.scan.points if p.series))
    columns = series or [first.series]
    figure, axes = style.grid(
        len(ALL_TITLES), len(columns), style.DOUBLE_COLUMN, 7.6, sharex=True, sharey="row"
    )
    names = in_order(settings.detectors)
    best = _rows(table, threshold_for=BEST)
    values = sorted({float(point.value or 0) for point in settings.scan.points})
    gap = min(np.diff(values)) if len(values) > 1 else 1.0
    for column, wanted in enumerate(columns):
        members = {p.name for p in settings.scan.points if p.series in ("", wanted)}
        for position, name in enumerate(names):
            rows = _rows(best, detector=name)
            rows = rows[[point in members for point in rows["point"]]]
            rows.sort("value")
            shift = (position - 0.5 * (len(names) - 1)) / len(names) * 0.3 * gap
            x = np.asarray(rows["value"], dtype=np.float64) + shift
            for row, quantity in enumerate(ALL_TITLES):
                value, low, high = _numbers(rows, quantity)
                error = np.clip([value - low, high - value], 0, None)
                axes[row, column].errorbar(
                    x, value, error, lw=0.9, elinewidth=0.8,
                    ls=style.DASHES[position % len(style.DASHES)],
                    label=settings.detectors[name].title, **_style(position),
                )  # fmt: skip
        axes[0, column].set_title(wanted[:1].upper() + wanted[1:])
        axes[-1, column].set_xlabel(settings.scan.title)
        axes[-1, column].set_xticks(values, [f"{value:g}" for value in values])
        axes[-1, column].set_xlim(values[0] - 0.25 * gap, values[-1] + 0.25 * gap)
        axes[-1, column].tick_params(axis="x", which="minor", bottom=False, top=False)
    for row, title in enumerate(ALL_TITLES.values()):
        axes[row, 0].set_ylabel(title)
    axes[0, 0].set_ylim(bottom=0)
    axes[1, 0].set_ylim(top=1)
    style.legend_above(figure, axes[0, 0], most=4)
    return figure


# --- changes from the first point ---------------------------------------------------


def _changes(settings: ScanSettings, table: Table) -> Figure:
    """Draw how false-alarm rate and recall differ from those at the first point, which is 0."""
    from matplotlib.ticker import MaxNLocator

    points = settings.scan.points[1:]
    names = in_order(settings.detectors)
    height = 0.8 + 0.1 * (2 + len(names)) * len(points)
    figure, axes = style.grid(1, 2, style.DOUBLE_COLUMN, height, sharey=True)
    thresholds = shown(settings)
    for position, name in enumerate(names):
        rows = _rows(table, threshold_for=thresholds, detector=name)
        shift = (position - 0.5 * (len(names) - 1)) * STEP / len(names)
        for column, quantity in enumerate(TITLES):
            found = [_rows(rows, point=point.name) for point in points]
            value, low, high = (
                np.array(ends)
                for ends in zip(
                    *([float(n[0]) for n in _numbers(row, f"change_{quantity}")] for row in found),
                    strict=True,
                )
            )
            error = np.clip([value - low, high - value], 0, None)
            axes[0, column].errorbar(
                value, np.arange(len(points)) + shift, xerr=error, ls="none", elinewidth=0.9,
                label=settings.detectors[name].title, **_style(position),
            )  # fmt: skip
    for column, title in enumerate(TITLES.values()):
        panel = axes[0, column]
        panel.axvline(0, color=style.GREY, lw=0.7, zorder=0)
        for edge in range(1, len(points)):
            panel.axhline(edge - 0.5, color=style.GREY, lw=0.4, ls=":", zorder=0)
        panel.set_xlabel(f"{title}: change")
        panel.xaxis.set_major_locator(MaxNLocator(5))
        panel.tick_params(axis="y", which="both", left=False, right=False)
    figure.supxlabel(f"Thresholds for {thresholds}", fontsize=7)
    axes[0, 0].set_yticks(np.arange(len(points)), [point.label for point in points])
    axes[0, 0].set_ylim(len(points) - 0.5, -0.5)
    style.legend_above(figure, axes[0, 0], most=4)
    return figure


# --- fluxes that are needed ---------------------------------------------------------


def _fluxes(settings: ScanSettings, table: Table) -> Figure:
    """Draw the flux that is needed against the value: false-alarm rates by rows, levels by columns.

    A flux beyond those that were tried has no point; a band that goes there is open.
    """
    rates = sorted(settings.false_alarms, reverse=True)
    names = in_order(settings.detectors)
    figure, axes = style.grid(
        len(rates), len(LEVELS), style.DOUBLE_COLUMN, 0.7 + 2.4 * len(rates),
        sharex=True, sharey=True,
    )  # fmt: skip
    finite: list[float] = []
    for row, rate in enumerate(rates):
        for column, level in enumerate(LEVELS):
            panel = axes[row, column]
            for position, name in enumerate(names):
                rows = _rows(table, detector=name, threshold_for=threshold_for(rate))
                rows.sort("value")
                value, low, high = (1e12 * n for n in _numbers(rows, flux_key(level)))
                x = np.asarray(rows["value"], dtype=np.float64)
                reached = np.isfinite(value)
                finite += value[reached].tolist()
                panel.plot(
                    x[reached], value[reached], lw=1.0,
                    ls=style.DASHES[position % len(style.DASHES)],
                    label=settings.detectors[name].title, **_style(position),
                )  # fmt: skip
                panel.fill_between(
                    x, low, np.where(np.isfinite(high), high, 1e6), where=np.isfinite(low),
                    color=_style(position)["color"], alpha=0.15, lw=0,
                )  # fmt: skip
            style.note(panel, f"{level:.0%} found, false alarms {rate:.0%}", x=0.96, ha="right")
            panel.set_xscale("log")
            panel.set_yscale("log")
    if finite:
        axes[0, 0].set_ylim(0.5 * min(finite), 2.5 * max(finite))
    _ticks(axes[-1], settings)
    least, most = settings.energies
    figure.supylabel(
        rf"IC flux needed, {least:g}–{most:g} keV (10$^{{-12}}$ erg cm$^{{-2}}$ s$^{{-1}}$)",
        fontsize=8,
    )
    style.legend_above(figure, axes[0, 0], most=4)
    return figure


def _ticks(panels: Sequence[Axes], settings: ScanSettings) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    def plain(value: float, _: int) -> str:
        return f"{value:g}" if f"{value:e}"[0] in "125" else ""

    values = sorted({point.value for point in settings.scan.points if point.value is not None})
    for panel in panels:
        panel.set_xlabel(settings.scan.title)
        panel.set_xticks(values, [f"{value:,g}" for value in values])
        panel.xaxis.set_minor_formatter(NullFormatter())
        if not math.isclose(values[0], values[-1]):
            panel.set_xlim(values[0] / 1.25, values[-1] * 1.25)
        # The panels share the axis.
        panel.yaxis.set_major_formatter(FuncFormatter(plain))
        panel.yaxis.set_minor_formatter(FuncFormatter(plain))
