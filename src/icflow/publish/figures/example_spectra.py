"""Figure 1: one simulated spectrum of each test dataset, with its components."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Table

from icflow.config import Config
from icflow.errors import IcflowError
from icflow.publish.figures import style
from icflow.publish.figures.base import FigureKind, FigureSettings
from icflow.tables import floats, read_table
from icflow.typing import Floats

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ENERGIES = (3.0, 120.0)  # keV
GROUP_RATIO = 1.02  # upper over lower energy of a drawn bin
BOUNDS = ("energy_lo", "energy_hi", "counts")

BACKGROUND = {
    "background.continuum": ("Instrumental continuum", style.GREY, "-"),
    "background.lines": ("Instrumental lines, solar", style.ORANGE, "-"),
    "background.aperture": ("Aperture CXB", style.GREEN, "--"),
    "background.focused": ("Focused CXB", style.PURPLE, "-."),
}
_PLASMAS = (("Plasma", style.BLUE, "-"), ("Cooler plasma", style.SKY, "--"))
_NON_THERMAL = (style.VERMILLION, style.YELLOW)
_DATA, _TOTAL, _IC = "Simulated data", "Expected total", "Inverse Compton"
# The legend reads by columns: data, source, background.
_ORDER = [_DATA, _TOTAL, *(title for title, _, _ in _PLASMAS), _IC,
          *(title for title, _, _ in BACKGROUND.values())]  # fmt: skip


def inputs(config: Config) -> list[str]:
    """Return the component tables of the test datasets."""
    return [f"figures/data/components-{name}.ecsv" for name in config.detection.test]


def draw(settings: FigureSettings, paths: Sequence[Path]) -> Figure:
    """Draw data and expected components of one spectrum per panel.

    Parameters
    ----------
    settings : FigureSettings
    paths : sequence of path
        Tables with the columns ``energy_lo, energy_hi`` (keV), ``counts``
        (simulated) and one of expected counts per channel for each component:
        ``source``, the additive terms of the model, and ``background.*``; the
        metadata give ``exposure`` (s), ``scenario`` and the ``truth``.
    """
    figure, axes = style.grid(1, len(paths), style.DOUBLE_COLUMN, 3.4, sharex=True, sharey=True)
    tables = [read_table(path, BOUNDS) for path in paths]
    rates = [
        _panel(panel, path, table)
        for panel, path, table in zip(axes[0], paths, tables, strict=True)
    ]
    lowest = min(float(rate[rate > 0].min(initial=1.0)) for rate in rates)
    highest = max(float(rate.max()) for rate in rates)
    style.energy_ticks(axes[0, 0], *ENERGIES)
    axes[0, 0].set_yscale("log")
    axes[0, 0].set_ylim(lowest / 100, highest * 3)
    axes[0, 0].set_ylabel(style.RATE)
    entries: dict[str, Artist] = {}
    for panel in axes[0]:
        handles, titles = panel.get_legend_handles_labels()
        entries |= dict(zip(titles, handles, strict=True))
    titles = sorted(entries, key=lambda title: _ORDER.index(title) if title in _ORDER else 99)
    figure.legend([entries[title] for title in titles], titles, loc="outside upper center", ncols=5)
    return figure


def _panel(axes: Axes, path: Path, table: Table) -> Floats:
    """Draw one spectrum and return the rates of its bins."""
    low, high = floats(table, "energy_lo"), floats(table, "energy_hi")
    inside = (low >= ENERGIES[0]) & (high <= ENERGIES[1])
    if not inside.any() or "exposure" not in table.meta:
        raise IcflowError(
            f"{path}: needs channels between {ENERGIES[0]:g} and {ENERGIES[1]:g} keV and the "
            "exposure in its metadata; make it again"
        )
    low, high = low[inside], high[inside]
    starts = style.log_groups(low, high, GROUP_RATIO)
    edges = style.stairs_edges(low, high, starts)
    scale = 1 / (float(table.meta["exposure"]) * np.diff(edges))

    def rate(values: Floats) -> Floats:
        return np.add.reduceat(values[inside], starts) * scale

    counts = rate(floats(table, "counts"))
    error = np.sqrt(counts * scale)
    centres = np.sqrt(edges[:-1] * edges[1:])
    axes.errorbar(
        centres, counts, error, fmt=".", color=style.BLACK, ms=2, lw=0.6, capsize=0, zorder=3,
        label=_DATA,
    )  # fmt: skip
    total = floats(table, "source") + sum(
        floats(table, name) for name in table.colnames if name.startswith("background.")
    )
    axes.stairs(
        rate(total), edges, color=style.BLACK, lw=0.6, zorder=2, label=_TOTAL,
        baseline=None,
    )  # fmt: skip
    for name, title, color, dashes in components(table):
        axes.stairs(
            rate(floats(table, name)), edges, color=color, ls=dashes, lw=1.0, label=title,
            zorder=2, baseline=None,
        )  # fmt: skip
    style.note(axes, _title(table), x=0.96, ha="right", fontsize=8)
    axes.set_xlabel(style.ENERGY)
    return counts


def _title(table: Table) -> str:
    """Return the name of the scenario, and the temperatures if the table gives them."""
    truth = table.meta.get("truth", {})
    heats = sorted((value for name, value in truth.items() if name.endswith(".kT")), reverse=True)
    title = str(table.meta.get("scenario", ""))
    if not heats:
        return title
    return f"{title}\n$kT$ = {', '.join(f'{kT:.1f}' for kT in heats)} keV"


def components(table: Table) -> list[tuple[str, str, str, Any]]:
    """Return column, title, colour and line style of each component of a table.

    Plasmas are ordered from hot to cool where the table's ``truth`` gives their
    temperatures.
    """
    truth = table.meta.get("truth", {})
    terms = [
        name
        for name in table.colnames
        if name not in (*BOUNDS, "channel", "source") and not name.startswith("background.")
    ]
    temperature = {name: truth.get(f"{last_component(name)}.kT") for name in terms}
    plasmas = [name for name in terms if _is_plasma(name)]
    plasmas.sort(key=lambda name: -(temperature[name] or 0.0))
    found: list[tuple[str, str, str, Any]] = []
    for position, name in enumerate(plasmas):
        found.append((name, *_PLASMAS[min(position, len(_PLASMAS) - 1)]))
    others = [name for name in terms if name not in plasmas]
    for position, name in enumerate(others):
        component = last_component(name)
        title = _IC if component.startswith("powerlaw") else component
        found.append((name, title, _NON_THERMAL[position % len(_NON_THERMAL)], "-"))
    for name in table.colnames:
        if name.startswith("background."):
            title, color, dashes = BACKGROUND.get(
                name, (name.removeprefix("background.").capitalize(), style.GREY, ":")
            )
            found.append((name, title, color, dashes))
    return found


def last_component(term: str) -> str:
    """Return the additive component of a term: ``apec_3`` of ``TBabs*apec_3``."""
    return re.split(r"[*()]+", term.rstrip(")"))[-1]


def _is_plasma(term: str) -> bool:
    return bool(re.match(r"b?v*apec|mekal|v+mekal|equil", last_component(term), re.IGNORECASE))


def caption(config: Config) -> str:
    """Return the caption with the settings."""
    scenarios = " and ".join(config.datasets[name].scenario for name in config.detection.test)
    return (
        f"Simulated spectra number {config.figures.example} of the test datasets ({scenarios}), "
        f"{config.instrument.exposure / 1e3:,.0f} ks, rebinned to bins of {GROUP_RATIO - 1:.0%} in "
        "energy. Points: simulated counts with Poisson errors. Lines: expected rates of the "
        "source's components, folded with the response, and of the background's components."
    )


FIGURE = FigureKind(
    sections=(),
    inputs=inputs,
    draw=draw,
    caption=caption,
    alt=(
        "Count rate against energy from 3 to 120 keV on logarithmic axes for a simulated spectrum "
        "of each scenario. Thermal emission dominates at low energies and falls steeply; the "
        "background takes over above a few tens of keV; inverse Compton emission, where present, "
        "is a flat component well below the thermal one at low energies."
    ),
)
