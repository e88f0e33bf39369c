"""Panels that show a best fit: folded, residuals and unfolded, from a table of the spectrum.

The table is that of `icflow.observation.tables.fitted`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from icflow.publish.figures import style
from icflow.publish.figures.example_spectra import (
    Component,
    backgrounds,
    is_background,
    last_component,
)
from icflow.tables import floats, strings
from icflow.typing import Booleans, Floats, Integers

if TYPE_CHECKING:
    from astropy.table import Table

GROUP_RATIO = 1.04  # upper over lower energy of a drawn bin
DECADES = 4.2  # of count rate that are drawn below the brightest bin
PLASMAS = (
    ("Plasma", style.BLUE, "-"),
    ("Second plasma", style.SKY, "--"),
    ("Second plasma", style.GREEN, ":"),
)
INVERSE_COMPTON = (0, (5, 1, 1, 1, 1, 1))
# The source is drawn bolder than the background, later modules finer than the first.
BOLD, FINE = 1.3, 0.8
FLUX = r"$E^2 N(E)$ (keV cm$^{-2}$ s$^{-1}$)"


class Bins:
    """Channels joined for drawing, within each module and not across gaps.

    Parameters
    ----------
    least : int
        Counts in a bin, where there are so many before the next gap.
    """

    def __init__(self, table: Table, least: int = 0) -> None:
        self.low, self.high = floats(table, "energy_lo"), floats(table, "energy_hi")
        self.module = np.array(strings(table, "module"))
        self.names = list(dict.fromkeys(self.module.tolist()))
        starts: list[int] = []
        for name in self.names:
            here = np.flatnonzero(self.module == name)
            begins = style.log_groups(self.low[here], self.high[here], GROUP_RATIO)
            # A gap in energy begins a new bin.
            gaps = np.flatnonzero(self.low[here][1:] > self.high[here][:-1] * (1 + 1e-6)) + 1
            begins = np.unique(np.concatenate([begins, gaps]))
            filled = _filled(floats(table, "counts")[here], begins, set(gaps.tolist()), least)
            starts += (here[0] + filled).tolist()
        self.starts = np.array(starts)
        self.stops = np.append(self.starts[1:], len(self.low))
        self.edges = np.column_stack([self.low[self.starts], self.high[self.stops - 1]])
        exposures = table.meta["exposure"]
        exposure = np.array([float(exposures[name]) for name in self.module[self.starts]])
        # From counts to a rate, counts/s/keV.
        self.scale = 1 / (exposure * np.diff(self.edges, axis=1)[:, 0])
        self.centre = np.sqrt(self.edges[:, 0] * self.edges[:, 1])
        self.range = (float(self.low.min()), float(self.high.max()))

    def sum(self, values: Floats) -> Floats:
        """Sum a quantity of the channels over each bin."""
        return np.asarray(np.add.reduceat(values, self.starts))

    def of(self, name: str) -> Booleans:
        """Tell which bins belong to a module."""
        return np.asarray(self.module[self.starts] == name)

    def stairs(self, name: str) -> Floats:
        """Return the edges of the bins of a module, for `Axes.stairs`."""
        here = self.of(name)
        return np.append(self.edges[here, 0], self.edges[here, 1][-1])

    def points(
        self, axes: style.Axes, values: Floats, errors: Floats, which: Booleans, **keywords: Any
    ) -> None:
        """Draw values with their errors in some of the bins, modules told apart by markers."""
        for number, name in enumerate(self.names):
            here = which & self.of(name)
            look: style.Look = {"fmt": style.MARKERS[number], "color": style.BLACK, "capsize": 0}
            look |= {"mfc": style.BLACK if number == 0 else "white"}
            if "label" in keywords:
                look["label"] = f"{keywords['label']} {name}".strip()
            axes.errorbar(self.centre[here], values[here], errors[here], **keywords | look)


class Fitted:
    """The best fit of one model beside the data, in counts of each bin."""

    def __init__(self, table: Table, parts: Sequence[Component], bins: Bins) -> None:
        self.bins, self.parts = bins, parts
        self.source = [p for p in self.parts if not is_background(p.column.partition("/")[2])]
        self.counts = bins.sum(floats(table, "counts"))
        self.expected = {p.column: bins.sum(floats(table, p.column)) for p in self.parts}
        size = bins.stops - bins.starts
        # Energy² × photons/cm²/s/keV of the source before the response.
        self.emitted = {
            p.column: bins.sum(floats(table, p.column.replace("/", "/unfolded/", 1))) / size
            for p in self.source
        }

    @cached_property
    def total(self) -> Floats:
        """All components together."""
        return np.asarray(sum(self.expected.values()))

    @cached_property
    def folded(self) -> Floats:
        """The components of the source together."""
        return np.asarray(sum(self.expected[p.column] for p in self.source))


def _filled(counts: Floats, begins: Integers, gaps: set[int], least: int) -> Integers:
    """Join bins until they hold enough counts, or a gap follows."""
    kept = [int(begins[0])]
    for begin in begins[1:].tolist():
        if begin in gaps or counts[kept[-1] : begin].sum() >= least:
            kept.append(begin)
    if len(kept) > 1 and kept[-1] not in gaps and counts[kept[-1] :].sum() < least:
        kept.pop()
    return np.array(kept)


def components(table: Table, model: str) -> list[Component]:
    """Return the components of a model, their columns ``MODEL/TERM`` and ``MODEL/background.*``."""
    prefix = f"{model}/"
    names = [
        name.removeprefix(prefix)
        for name in table.colnames
        if name.startswith(prefix) and not name.startswith(f"{prefix}unfolded/")
    ]
    parts, plasmas = [], 0
    for name in names:
        if is_background(name):
            parts += backgrounds([name])
        elif last_component(name) == table.meta.get("ic", ""):
            parts.append(Component(name, "Inverse Compton", style.IC, INVERSE_COMPTON))
        else:
            parts.append(Component(name, *PLASMAS[min(plasmas, len(PLASMAS) - 1)]))
            plasmas += 1
    return [part._replace(column=prefix + part.column) for part in parts]


def draw_folded(axes: style.Axes, model: Fitted) -> None:
    """Draw count rates: data, components folded with the response, and their sum."""
    bins = model.bins
    rate, error = model.counts * bins.scale, np.sqrt(model.counts) * bins.scale
    everywhere = np.ones(rate.size, dtype=bool)
    bins.points(axes, rate, error, everywhere, ms=1.8, lw=0.6, zorder=4, label="Data")
    best_fit: style.Look = {"color": style.BLACK, "lw": 0.7, "baseline": None, "zorder": 3}
    for number, module in enumerate(bins.names):
        here, edges = bins.of(module), bins.stairs(module)
        for part in model.parts:
            width = FINE if is_background(part.column.partition("/")[2]) else BOLD
            look = part.look | {"lw": width if number == 0 else 0.5 * width, "zorder": 2}
            look["label"] = part.title if number == 0 else None
            axes.stairs((model.expected[part.column] * bins.scale)[here], edges, **look)
        label = "Best fit" if number == 0 else None
        axes.stairs((model.total * bins.scale)[here], edges, label=label, **best_fit)
    axes.set_yscale("log")
    highest = float(rate.max())
    axes.set_ylim(highest / 10**DECADES, highest * 3)


def draw_residuals(axes: style.Axes, model: Fitted) -> None:
    """Draw data less the best fit, in units of the square root of what is expected."""
    residual = (model.counts - model.total) / np.sqrt(np.maximum(model.total, 1e-9))
    everywhere = np.ones(residual.size, dtype=bool)
    model.bins.points(axes, residual, np.ones(residual.size), everywhere, ms=1.6, lw=0.5)
    axes.axhline(0, color=style.GREY, lw=0.7)
    reach = max(4.2, 1.1 * float(np.abs(residual).max()) + 1)
    axes.set_ylim(-reach, reach)


def draw_unfolded(axes: style.Axes, model: Fitted) -> None:
    """Draw the source as emitted; points are data over folded times unfolded model."""
    bins = model.bins
    total = np.asarray(sum(model.emitted.values()))
    rest = model.counts - (model.total - model.folded)
    scale = total / np.maximum(model.folded, 1e-12)
    error = np.sqrt(np.maximum(model.counts, 1.0)) * scale
    seen = rest * scale > error
    bins.points(axes, rest * scale, error, seen, ms=1.8, lw=0.6, zorder=4)
    limit = np.maximum(rest, 0) * scale + 2 * error
    for module in bins.names:
        faint = bins.of(module) & ~seen
        look: style.Look = {"ls": "", "marker": "v", "color": style.GREY, "ms": 2.2, "zorder": 1}
        axes.plot(bins.centre[faint], limit[faint], **look)
    first, edges = bins.of(bins.names[0]), bins.stairs(bins.names[0])
    for part in model.source:
        axes.stairs(model.emitted[part.column][first], edges, lw=BOLD, **part.look)
    axes.stairs(total[first], edges, color=style.BLACK, lw=0.7, baseline=None, zorder=3)
    axes.set_yscale("log")
    top = float(total.max())
    lowest = min([float(total[first].min()), top / 30])
    axes.set_ylim(max(lowest / 5, top / 1e5), top * 2.5)
