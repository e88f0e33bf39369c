"""Simulated spectra with their components: Figure 1, of a cluster, and one of each test dataset."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from icflow.config import Config
from icflow.errors import IcflowError
from icflow.models.expression import parse
from icflow.publish.figures import style
from icflow.publish.figures.base import FigureData, FigureKind, chosen_here, shown_module
from icflow.tables import floats, read_table
from icflow.typing import Floats

if TYPE_CHECKING:
    from astropy.table import Table

ENERGIES = (3.0, 120.0)  # keV
GROUP_RATIO = 1.02  # upper over lower energy of a drawn bin
BOUNDS = ("energy_lo", "energy_hi", "counts")

_BACKGROUND = "background."
# Colours and dashes of the paper: what belongs to the background is brown.
_BACKGROUNDS = {
    "continuum": ("Instrumental continuum", style.BROWN, ":"),
    "lines": ("Instrumental lines, solar", style.BROWN, "-."),
    "aperture": ("Aperture CXB", style.BROWN, "-"),
    "focused": ("Focused CXB", style.BROWN, "--"),
    "file": ("Background", style.BROWN, "-"),
}
_PLASMA = "Plasma"
_PLASMAS = (("Hotter plasma", style.RED, "-"), ("Cooler plasma", style.BLUE, (0, (6, 1.5))))
_NON_THERMAL = ((style.GREEN, (0, (5, 1, 1, 1, 1, 1))), (style.PURPLE, (0, (1, 1))))
_DATA, _TOTAL, _IC = "Simulated data", "Expected total", "Inverse Compton"
# The legend reads by columns: data, source, background.
_ORDER = [
    *(_DATA, _TOTAL, *(title for title, _, _ in _PLASMAS), _PLASMA, _IC),
    *(title for title, _, _ in _BACKGROUNDS.values()),
]


class Component(NamedTuple):
    """A component of a spectrum: its column in a table, and how it is drawn."""

    column: str
    title: str
    color: str
    dashes: Any

    @property
    def look(self) -> style.Look:
        """How its line looks."""
        return {"color": self.color, "ls": self.dashes, "baseline": None}


def shown(config: Config) -> list[str]:
    """Return the dataset of Figure 1: that of the cluster, or the first test dataset."""
    return [config.figures.cluster or config.detection.test[0]]


def draw(data: FigureData) -> style.Figure:
    """Draw data and expected components of one spectrum per panel.

    The inputs are tables with the columns ``energy_lo, energy_hi`` (keV),
    ``counts`` (simulated) and one of expected counts per channel for each
    component: ``source``, the additive terms of the model, and
    ``background.*``; the metadata give ``exposure`` (s), ``scenario`` and the
    ``truth``.
    """
    size = (1, len(data.paths), style.DOUBLE_COLUMN, 3.4)
    figure, axes = style.grid(*size, sharex=True, sharey=True)
    panels = zip(axes[0], data.paths, strict=True)
    rates = [_panel(panel, path, read_table(path, BOUNDS)) for panel, path in panels]
    lowest = min(float(rate[rate > 0].min(initial=1.0)) for rate in rates)
    highest = max(float(rate.max()) for rate in rates)
    style.energy_ticks(axes[0, 0], *ENERGIES)
    axes[0, 0].set_yscale("log")
    axes[0, 0].set_ylim(lowest / 100, highest * 3)
    axes[0, 0].set_ylabel(style.RATE)
    entries = style.entries(axes[0])
    titles = sorted(entries, key=lambda title: _ORDER.index(title) if title in _ORDER else 99)
    handles = [entries[title] for title in titles]
    figure.legend(handles, titles, loc="outside upper center", ncols=-(-len(titles) // 2))
    return figure


def _panel(axes: style.Axes, path: Path, table: Table) -> Floats:
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
    points: style.Look = {"color": style.BLACK, "ms": 2, "lw": 0.6, "capsize": 0, "zorder": 3}
    axes.errorbar(np.sqrt(edges[:-1] * edges[1:]), counts, error, fmt=".", label=_DATA, **points)
    backgrounds = [floats(table, name) for name in table.colnames if is_background(name)]
    total = Component("", _TOTAL, style.BLACK, "-")
    summed = rate(floats(table, "source") + sum(backgrounds))
    axes.stairs(summed, edges, lw=0.6, zorder=2, label=_TOTAL, **total.look)
    for component in components(table):
        values, label = rate(floats(table, component.column)), component.title
        width = 0.9 if is_background(component.column) else 1.4
        axes.stairs(values, edges, lw=width, zorder=2, label=label, **component.look)
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
    return f"{title}\n$kT$ = {', '.join(f'{kT:.3g}' for kT in heats)} keV"


def components(table: Table) -> list[Component]:
    """Return the components of a table: plasmas, other terms of the source, backgrounds.

    Plasmas are ordered from hot to cool where the table's ``truth`` gives their
    temperatures.
    """
    truth = table.meta.get("truth", {})
    names = [name for name in table.colnames if name not in (*BOUNDS, "channel", "source")]
    terms = [name for name in names if not is_background(name)]
    plasmas = sorted(
        filter(_is_plasma, terms), key=lambda name: -truth.get(f"{last_component(name)}.kT", 0.0)
    )
    looks = [_PLASMAS[min(position, len(_PLASMAS) - 1)] for position in range(len(plasmas))]
    if len(looks) == 1:
        looks = [(_PLASMA, *looks[0][1:])]
    drawn = [Component(name, *look) for name, look in zip(plasmas, looks, strict=True)]
    for position, name in enumerate(name for name in terms if name not in plasmas):
        component = last_component(name)
        title = _IC if component.startswith("powerlaw") else component
        drawn.append(Component(name, title, *style.cycle(_NON_THERMAL, position)))
    return drawn + backgrounds(filter(is_background, names))


def is_background(name: str) -> bool:
    """Tell whether a column, or a component, is one of the background."""
    return name.startswith(_BACKGROUND)


def backgrounds(names: Iterable[str]) -> list[Component]:
    """Return components of the background, ``background.NAME``."""
    kinds = [name.removeprefix(_BACKGROUND) for name in names]
    looks = [_BACKGROUNDS.get(kind, (kind.capitalize(), style.GREY, ":")) for kind in kinds]
    return [Component(_BACKGROUND + k, *look) for k, look in zip(kinds, looks, strict=True)]


def last_component(term: str) -> str:
    """Return the additive component of a term: ``apec_3`` of ``TBabs*apec_3``."""
    return re.split(r"[*()]+", term.rstrip(")"))[-1]


def _is_plasma(term: str) -> bool:
    return bool(re.match(r"b?v*apec|mekal|v+mekal|equil", last_component(term), re.IGNORECASE))


def _truth(config: Config, name: str) -> str:
    """Return what a dataset fixes, as a clause: nothing that its scenario draws."""
    fixed = {
        parameter: value
        for parameter, value in config.datasets[name].parameters.items()
        if isinstance(value, int | float)
    }
    return ", ".join(f"{parameter} {value:g}" for parameter, value in fixed.items())


def _drawn(config: Config, names: Sequence[str]) -> str:
    return (
        f"{config.modules[0].exposure / 1e3:,.0f} ks, rebinned to bins of "
        f"{100 * (GROUP_RATIO - 1):.0f} % in energy. Points: simulated counts with Poisson errors. "
        "Lines: expected rates, folded with the response: black, the total; "
        f"{_source(config, names)}; brown, the backgrounds." + shown_module(config)
    )


def _source(config: Config, names: Sequence[str]) -> str:
    """Name the colours of the components of some datasets."""
    numbers, others = set(), []
    for name in names:
        terms = parse(config.simulated(name).expression).terms
        components = [term.additive.name for term in terms]
        thermal = [component for component in components if _is_plasma(component)]
        numbers.add(len(thermal))
        others += [component for component in components if component not in thermal]
    several, alone = max(numbers) > 1, 1 in numbers
    kinds = [kind for kind, here in (("hotter", several), ("only", alone)) if here]
    words = [f"red, the {' or '.join(kinds)} plasma"] if kinds else []
    if several:
        words.append("blue, the cooler one")
    if others:
        non_thermal = all(component.startswith("powerlaw") for component in others)
        words.append(f"green, {'inverse Compton' if non_thermal else 'other'} emission")
    return "; ".join(words)


def _caption(config: Config) -> str:
    (name,) = shown(config)
    scenario, fixed = config.datasets[name].scenario, _truth(config, name)
    what = f"{name} ({scenario}{': ' * bool(fixed)}{fixed})"
    return f"A simulated spectrum of {what}, {_drawn(config, [name])}{chosen_here(config)}"


def _caption_examples(config: Config) -> str:
    scenarios = " and ".join(config.datasets[name].scenario for name in config.detection.test)
    return (
        f"Simulated spectra number {config.figures.example} of the test datasets ({scenarios}), "
        f"{_drawn(config, config.detection.test)}"
    )


FIGURE = FigureKind(
    inputs=lambda config, results: [results.components(name) for name in shown(config)],
    draw=draw,
    caption=_caption,
    alt=(
        "Count rate against energy from 3 to 120 keV on logarithmic axes for a simulated spectrum "
        "of a cluster. The hotter plasma dominates at low energies and falls steeply, the cooler "
        "one falls faster still; the four background components, in brown, take over above some "
        "20 keV."
    ),
)
EXAMPLES = FigureKind(
    inputs=lambda config, results: [results.components(name) for name in config.detection.test],
    draw=draw,
    caption=_caption_examples,
    alt=(
        "Count rate against energy from 3 to 120 keV on logarithmic axes for a simulated spectrum "
        "of each scenario. Thermal emission dominates at low energies and falls steeply; the "
        "background takes over above some 20 keV; inverse Compton emission, where present, lies "
        "well below the thermal one, falls less steeply and meets it where both are far below the "
        "background."
    ),
    title="Example spectra",
)
