"""How every detector depends on the spectrum: on its parameters, and on what they mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from icflow.detection.columns import TRUTH, columns_of
from icflow.detection.detectors import in_order
from icflow.detection.metrics import Estimate
from icflow.detection.quality import TITLES
from icflow.errors import IcflowError
from icflow.publish.figures import judged, style
from icflow.publish.figures.base import FigureData, ends
from icflow.publish.figures.dependence import bin_edges, in_bins, observables
from icflow.tables import floats
from icflow.typing import Booleans, Floats

if TYPE_CHECKING:
    from astropy.table import Table

COLORS = {
    "recall": style.VERMILLION,
    "precision": style.BLUE,
    "bacc": style.BLACK,
    "false_alarm": style.GREY,
}


@dataclass(frozen=True)
class Axis:
    """A quantity to bin by.

    Attributes
    ----------
    label : str
    values : (n,) float
        NaN for spectra of a class that has no such quantity.
    edges : (bins + 1,) float
    logarithmic : bool
    """

    label: str
    values: Floats
    edges: Floats
    logarithmic: bool = False


def parameters(table: Table, is_ic: Booleans, bins: int) -> list[Axis]:
    """Return redshift, temperature, metallicity and norm, in equal bins."""
    return [
        Axis(style.label(name), values, bin_edges(values[is_ic], bins))
        for name, values in observables(table).items()
    ]


def physics(table: Table, is_ic: Booleans, bins: int) -> list[Axis]:
    """Return IC flux, IC-to-thermal ratio and spread of temperatures, in bins of equal numbers."""
    quantities = []
    if {f"{TRUTH}ic_flux", f"{TRUTH}thermal_flux"} <= set(table.colnames):
        flux, thermal = (floats(table, f"{TRUTH}{name}_flux") for name in ("ic", "thermal"))
        flux = np.where(is_ic & (flux > 0), flux, np.nan)
        ratio = np.divide(flux, thermal, out=np.full_like(flux, np.nan), where=thermal > 0)
        unit = "10$^{-12}$ erg cm$^{-2}$ s$^{-1}$"
        quantities = [(f"IC flux ({unit})", 1e12 * flux), ("IC flux / thermal flux", ratio)]
    axes = [
        Axis(label, values, equal_numbers(values, bins), logarithmic=True)
        for label, values in quantities
        if np.isfinite(values).any()
    ]
    difference = np.where(is_ic, np.nan, spread(table))
    if np.isfinite(difference).any():
        edges = equal_numbers(difference, bins)
        axes.append(Axis(r"$\Delta kT$ without IC (keV)", difference, edges))
    return axes


def spread(table: Table) -> Floats:
    """Return the difference of the hottest and the coolest plasma, NaN for a single one."""
    names = [n for n in table.colnames if n.startswith(TRUTH) and n.endswith(".kT")]
    if not names:
        return np.full(len(table), np.nan)
    heats = np.stack([floats(table, name) for name in names])
    several = np.isfinite(heats).sum(axis=0) > 1
    hottest, coolest = np.fmax.reduce(heats), np.fmin.reduce(heats)
    return np.asarray(np.where(several, hottest - coolest, np.nan))


def equal_numbers(values: Floats, bins: int) -> Floats:
    """Return edges of bins that hold equal numbers of values, fewer bins if many are equal."""
    finite = values[np.isfinite(values)]
    edges = np.unique(np.quantile(finite, np.linspace(0, 1, bins + 1)))
    return edges if edges.size > 1 else bin_edges(finite, 1)


def _draw(axes_of: Callable[[Table, Booleans, int], list[Axis]], data: FigureData) -> style.Figure:
    """Draw a row of panels for each detector and a column for each quantity."""
    detectors = data.detection.detectors
    names = in_order(detectors)
    table, is_ic = data.scores(names, "decision")
    columns = axes_of(table, is_ic, data.bins)
    if not columns:
        raise IcflowError(
            f"{data.paths[0]}: has no true quantities to bin by; take the figure "
            f"{data.settings.name} out of the targets for scenarios without plasma"
        )
    height = 0.92 * len(names) + 0.75
    figure, axes = style.grid(
        len(names), len(columns), style.DOUBLE_COLUMN, height, sharex="col", sharey="row"
    )
    for panels, name in zip(axes, names, strict=True):
        decision = np.asarray(table[columns_of(name).decision], dtype=bool)
        for panel, axis in zip(panels, columns, strict=True):
            binned = in_bins(axis.values, axis.edges, decision, is_ic, f"{name}:{axis.label}")
            _panel(panel, axis, binned)
        panels[0].set_ylabel(_wrapped(detectors[name].title))
    for panel, axis in zip(axes[-1], columns, strict=True):
        panel.set_xlabel(style.capital(axis.label))
        panel.set_xlim(*_limits(axis))
        if axis.logarithmic:
            style.log_axis(panel)
    style.legend_above(figure, axes[0, 0])
    return figure


def _wrapped(title: str) -> str:
    """Return a title in lines short enough for a low panel."""
    lines = [""]
    for word in re.findall(r"(?:\$[^$]*\$|\S)+", title):  # mathematics is one word
        if lines[-1] and len(lines[-1]) + len(word) > 12:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def _centres(axis: Axis) -> Floats:
    """Return the median of the values in each bin, its middle where there are none."""
    middles = 0.5 * (axis.edges[:-1] + axis.edges[1:])
    for number, (low, high) in enumerate(zip(axis.edges[:-1], axis.edges[1:], strict=True)):
        inside = axis.values[(axis.values >= low) & (axis.values <= high)]
        if inside.size:
            middles[number] = np.median(inside)
    return middles


def _limits(axis: Axis) -> tuple[float, float]:
    """Return the range to show: all bins; on a logarithmic axis, the centres and a margin."""
    if not axis.logarithmic:
        return float(axis.edges[0]), float(axis.edges[-1])
    centres = _centres(axis)
    return float(centres.min() / 1.3), float(centres.max() * 1.3)


def _panel(axes: style.Axes, axis: Axis, binned: Mapping[str, Sequence[Estimate]]) -> None:
    centres = _centres(axis)
    for position, (metric, color) in enumerate(COLORS.items()):
        value, low, high = ends(binned[metric])
        look = style.look(position) | {"color": color}
        axes.fill_between(centres, low, high, color=color, alpha=0.2, lw=0)
        axes.plot(centres, value, label=TITLES[metric], lw=0.9, ms=2.2, **look)
    axes.axhline(0.5, color=style.GREY, lw=0.4, zorder=0)
    axes.set_ylim(-0.05, 1.05)


def draw_parameters(data: FigureData) -> style.Figure:
    """Draw all detectors against the parameters that Figure 8 has."""
    return _draw(parameters, data)


def draw_physics(data: FigureData) -> style.Figure:
    """Draw all detectors against fluxes and temperatures."""
    return _draw(physics, data)


_COMMON = (
    "Bands hold 68.3 % of the bootstrap resamplings within each class and bin; the precision is "
    "that at the prevalence of the whole test set. Points are missing where a bin leaves a "
    "quantity undefined."
)

PARAMETERS = judged.kind(
    draw=draw_parameters,
    caption=lambda config: (
        "Recall, precision, balanced accuracy and false-alarm rate of every detector (rows) "
        "against the true redshift, temperature, metallicity and norm, in "
        f"{config.figures.bins} equal bins, as in Figure 8. {_COMMON}"
    ),
    alt=(
        "A row of panels for each detector: recall, precision, balanced accuracy and false-alarm "
        "rate in bins of redshift, temperature, metallicity and norm, with bands."
    ),
    title="Dependence on the parameters",
)
PHYSICS = judged.kind(
    draw=draw_physics,
    caption=lambda config: (
        "Recall, precision, balanced accuracy and false-alarm rate of every detector (rows) "
        "against the true flux of the inverse Compton emission, its ratio to the flux of the "
        "plasma, both without absorption at "
        f"{config.observe.ic_energies[0]:g} to {config.observe.ic_energies[1]:g} keV, and the "
        "difference of the temperatures of spectra without inverse Compton emission, in "
        f"{config.figures.bins} bins of equal numbers of spectra, at their medians. A class "
        f"without the quantity counts as a whole in every bin. {_COMMON}"
    ),
    alt=(
        "A row of panels for each detector: recall, precision, balanced accuracy and false-alarm "
        "rate in bins of inverse Compton flux, its ratio to the thermal flux, and the temperature "
        "difference of two plasmas, with bands."
    ),
    title="Dependence on fluxes and temperatures",
)
