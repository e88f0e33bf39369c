"""Figures of scans: rates, changes of rates, and fluxes that a detection needs."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from icflow.detection.detectors import in_order
from icflow.detection.quality import TITLES
from icflow.detection.scan import LEVELS, RATES
from icflow.detection.scan_tables import BEST, flux_key, shown, threshold_for
from icflow.errors import IcflowError
from icflow.layout import SCAN_CSV
from icflow.publish.figures import style
from icflow.settings import ScanSettings
from icflow.tables import floats
from icflow.typing import Floats

if TYPE_CHECKING:
    from astropy.table import Table

# Letters that fit below all columns of a matrix, and the longest line below one.
LETTERS, LONGEST = 84, 14
NO_BREAK = "\N{NO-BREAK SPACE}"
# The numbers that are darkest and brightest in the panels of a matrix.
MATRIX = {"bacc": (0.5, 1.0), "false_alarm": (0.5, 0.0)}
# Ends of axes that are not left to the numbers.
ENDS = {"false_alarm": {"bottom": 0.0}, "recall": {"top": 1.0}}
CHANGES = ("false_alarm", "recall")  # that are drawn
STEP = 0.8  # of the distance of two points, over which the detectors are spread


def draw(settings: ScanSettings, folder: Path) -> style.Figure:
    """Draw what the kind of the scan asks for.

    Raises
    ------
    IcflowError
        If the table is missing or of other detectors.
    """
    table = _read(folder / SCAN_CSV, settings)
    kinds: dict[str, Callable[[ScanSettings, Table], style.Figure]] = {
        "rates": partial(_against_value, RATES),
        "accuracy": partial(_against_value, ("bacc",)),
        "changes": _changes,
        "fluxes": _fluxes,
        "matrix": _matrix,
    }
    return kinds[settings.scan.figure](settings, table)


def _read(path: Path, settings: ScanSettings) -> Table:
    from astropy.table import Table

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


def _numbers(table: Table, name: str) -> Floats:
    """Return a column with the ends of its intervals, (3, n)."""
    return np.stack([floats(table, key) for key in (name, f"{name}_lo", f"{name}_hi")])


def _look(settings: ScanSettings, position: int, name: str) -> style.Look:
    """Return how a detector looks; hollow where colours and markers come round again."""
    look = style.look(position) | {"label": settings.detectors[name].title}
    filled = position < len(style.MARKERS)
    return look | {"markerfacecolor": look["color"] if filled else "white"}


def _spread(position: int, number: int, width: float) -> float:
    """Return by how much a detector is moved, so that the error bars of all stay apart."""
    return (position - 0.5 * (number - 1)) / number * width


# --- numbers against a value --------------------------------------------------------


def _against_value(quantities: Sequence[str], settings: ScanSettings, table: Table) -> style.Figure:
    """Draw numbers (rows) against the value, one column for each series."""
    points = settings.scan.points
    columns = list(dict.fromkeys(p.series for p in points if p.series)) or [points[0].series]
    size = (len(quantities), len(columns), style.DOUBLE_COLUMN, 1.0 + 2.2 * len(quantities))
    figure, axes = style.grid(*size, sharex=True, sharey="row")
    names = in_order(settings.detectors)
    best = _rows(table, threshold_for=BEST)
    values = sorted({float(point.value or 0) for point in points})
    gap = min(np.diff(values)) if len(values) > 1 else 1.0
    for panels, series in zip(axes.T, columns, strict=True):
        members = {point.name for point in points if point.series in ("", series)}
        for position, name in enumerate(names):
            rows = _rows(best, detector=name)
            rows = rows[[point in members for point in rows["point"]]]
            rows.sort("value")
            x = floats(rows, "value") + _spread(position, len(names), 0.3 * gap)
            look = _look(settings, position, name)
            for panel, quantity in zip(panels, quantities, strict=True):
                style.error_bars(panel, x, _numbers(rows, quantity), lw=0.9, **look)
        panels[0].set_title(style.capital(series))
        panels[-1].set_xlabel(settings.scan.title)
        panels[-1].set_xticks(values, [f"{value:g}" for value in values])
        panels[-1].set_xlim(values[0] - 0.25 * gap, values[-1] + 0.25 * gap)
        panels[-1].tick_params(axis="x", which="minor", bottom=False, top=False)
    for panels, quantity in zip(axes, quantities, strict=True):
        panels[0].set_ylabel(TITLES[quantity])
        panels[0].set_ylim(**ENDS.get(quantity, {}))
        for panel in panels:
            if quantity == "bacc":
                panel.axhline(0.5, color=style.GREY, lw=0.6, zorder=0)
    style.legend_above(figure, axes[0, 0], most=4)
    return figure


# --- changes from the first point ---------------------------------------------------


def _changes(settings: ScanSettings, table: Table) -> style.Figure:
    """Draw how false-alarm rate and recall differ from those at the first point, which is 0."""
    points = settings.scan.points[1:]
    names = in_order(settings.detectors)
    height = 0.8 + 0.1 * (2 + len(names)) * len(points)
    figure, axes = style.grid(1, len(CHANGES), style.DOUBLE_COLUMN, height, sharey=True)
    thresholds = shown(settings)
    rows = np.arange(len(points))
    for position, name in enumerate(names):
        own = _rows(table, threshold_for=thresholds, detector=name)
        by_point = [_rows(own, point=point.name)[:1] for point in points]
        y = rows + _spread(position, len(names), STEP)
        look = _look(settings, position, name) | {"ls": "none", "elinewidth": 0.9}
        for panel, quantity in zip(axes[0], CHANGES, strict=True):
            change = np.hstack([_numbers(row, f"change_{quantity}") for row in by_point])
            panel.errorbar(change[0], y, xerr=style.lengths(change), **look)
    for panel, quantity in zip(axes[0], CHANGES, strict=True):
        _mark_changes(panel, TITLES[quantity], len(points))
    figure.supxlabel(f"Thresholds for {thresholds}", fontsize=7)
    axes[0, 0].set_yticks(rows, [point.label for point in points])
    axes[0, 0].set_ylim(len(points) - 0.5, -0.5)
    style.legend_above(figure, axes[0, 0], most=4)
    return figure


def _mark_changes(panel: style.Axes, title: str, points: int) -> None:
    """Draw the line of no change, and lines between the points."""
    from matplotlib.ticker import MaxNLocator

    panel.axvline(0, color=style.GREY, lw=0.7, zorder=0)
    for edge in range(1, points):
        panel.axhline(edge - 0.5, color=style.GREY, lw=0.4, ls=":", zorder=0)
    panel.set_xlabel(f"{title}: change")
    panel.xaxis.set_major_locator(MaxNLocator(5))
    panel.tick_params(axis="y", which="both", left=False, right=False)


# --- detectors by points ------------------------------------------------------------


def _matrix(settings: ScanSettings, table: Table) -> style.Figure:
    """Draw balanced accuracy and false alarms as numbers: rows are detectors, columns points."""
    points, names = settings.scan.points, in_order(settings.detectors)
    rows = _rows(table, threshold_for=shown(settings))
    height = 1.3 + 0.26 * 2 * len(names)
    figure, axes = style.grid(len(MATRIX), 1, style.DOUBLE_COLUMN, height, sharex=True)
    for panel, (quantity, (worst, best)) in zip(axes[:, 0], MATRIX.items(), strict=True):
        values = np.array(
            [
                [_rows(rows, detector=name, point=point.name)[quantity][0] for point in points]
                for name in names
            ],
            dtype=float,
        )
        # Without IC there is no accuracy.
        goodness = np.nan_to_num(np.clip((values - worst) / (best - worst), 0, 1))
        panel.imshow(goodness, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            color = style.BLACK if goodness[row, column] > 0.5 else "white"
            text = f"{value:.3f}" if math.isfinite(value) else "–"
            look: style.Look = {"ha": "center", "va": "center", "fontsize": 7, "color": color}
            panel.text(column, row, text, **look)
        panel.set_yticks(range(len(names)), [settings.detectors[name].title for name in names])
        panel.set_title(TITLES[quantity])
        panel.tick_params(which="both", length=0)
    width = min(LETTERS // len(points), LONGEST)
    labels = [_wrapped(point.label, width) for point in points]
    axes[-1, 0].set_xticks(range(len(points)), labels, fontsize=6)
    axes[-1, 0].set_xlabel(settings.scan.title)
    return figure


def _wrapped(label: str, width: int) -> str:
    """Break a label into lines, but no number from its unit."""
    kept = re.sub(r"(?<=\d) ", NO_BREAK, label)
    return "\n".join(textwrap.wrap(kept, width, break_long_words=False))


# --- fluxes that are needed ---------------------------------------------------------


def _fluxes(settings: ScanSettings, table: Table) -> style.Figure:
    """Draw the flux that is needed against the value: false-alarm rates by rows, levels by columns.

    A flux beyond those that were tried has no point; a band that goes there is open. The legend
    says of which detectors all are.
    """
    rates = sorted(settings.false_alarms, reverse=True)
    size = (len(rates), len(LEVELS), style.DOUBLE_COLUMN, 0.7 + 2.4 * len(rates))
    figure, axes = style.grid(*size, sharex=True, sharey=True)
    names = in_order(settings.detectors)
    drawn: dict[str, list[float]] = {name: [] for name in names}
    for panels, rate in zip(axes, rates, strict=True):
        rows = _rows(table, threshold_for=threshold_for(rate))
        rows.sort("value")
        for panel, level in zip(panels, LEVELS, strict=True):
            for position, name in enumerate(names):
                own, look = _rows(rows, detector=name), _look(settings, position, name)
                drawn[name] += _needed(panel, own, flux_key(level), look)
            style.note(panel, _asked(level, rate), x=0.96, ha="right")
            panel.set_xscale("log")
            panel.set_yscale("log")
    for line, name in zip(axes[0, 0].lines, names, strict=True):
        if not drawn[name]:
            line.set_label(f"{line.get_label()} (beyond all tried)")
    if fluxes := list(chain(*drawn.values())):
        axes[0, 0].set_ylim(0.5 * min(fluxes), 2.5 * max(fluxes))
    _ticks(axes[-1], settings)
    least, most = settings.energies
    unit = r"10$^{-12}$ erg cm$^{-2}$ s$^{-1}$"
    figure.supylabel(f"IC flux needed, {least:g}–{most:g} keV ({unit})", fontsize=8)
    style.legend_above(figure, axes[0, 0], most=4)
    return figure


def _asked(level: float, rate: float) -> str:
    return f"{style.whole_percent(level)} found, false alarms {style.whole_percent(rate)}"


def _needed(panel: style.Axes, rows: Table, key: str, look: style.Look) -> list[float]:
    """Draw the flux that a detector needs; return those that were reached, 1e-12 erg/cm²/s."""
    x, (value, low, high) = floats(rows, "value"), 1e12 * _numbers(rows, key)
    reached = np.isfinite(value)
    panel.plot(x[reached], value[reached], lw=1.0, **look)
    band: style.Look = {"where": np.isfinite(low), "color": look["color"], "alpha": 0.15}
    panel.fill_between(x, low, np.where(np.isfinite(high), high, 1e6), lw=0, **band)
    return [float(flux) for flux in value[reached]]


def _ticks(panels: Sequence[style.Axes], settings: ScanSettings) -> None:
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
