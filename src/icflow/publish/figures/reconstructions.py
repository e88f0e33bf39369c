"""Spectra and what the autoencoder makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from icflow.config import Config
from icflow.errors import IcflowError
from icflow.publish.figures import base, style
from icflow.publish.figures.base import FigureData, FigureKind, shown_module
from icflow.tables import floats, read_table, strings
from icflow.typing import Floats

if TYPE_CHECKING:
    from astropy.table import Table

COLUMNS = ("dataset", "index", "energy", "rate", "reconstruction")
GROUP_RATIO = 1.02  # upper over lower energy of a drawn bin


def draw(data: FigureData) -> style.Figure:
    """Draw input and reconstruction above their difference, one column per test dataset."""
    settings, modules = data.settings, data.settings.modules
    assert settings.datasets is not None and modules is not None
    table = read_table(data.paths[0], COLUMNS)
    names, span = data.detection.test, data.detection.score_energies
    ratios = {"height_ratios": [2.2, 1]}
    figure, axes = style.grid(
        2, len(names), style.DOUBLE_COLUMN, 3.6, sharex=True, sharey="row", **ratios
    )
    datasets, index = np.array(strings(table, "dataset")), np.asarray(table["index"])
    for (upper, lower), name in zip(axes.T, names, strict=True):
        here = (datasets == name) & (index == settings.figures.example)
        if not here.any():
            raise IcflowError(
                f"{data.paths[0]}: has no reconstruction of spectrum {settings.figures.example} "
                f"of the dataset {name}; score the network again"
            )
        _Spectrum(table[here]).draw(upper, lower, modules[0].exposure)
        error = _power_of_ten(_error(table[here], *span))
        title = f"{settings.datasets[name].scenario}\n$R_a$ = {error}"
        style.note(upper, title, x=0.96, ha="right", fontsize=8)
        for panel in (upper, lower):
            for edge in span:
                panel.axvline(edge, color=style.GREY, lw=0.6, ls=":")
    axes[0, 0].set_ylabel(style.RATE)
    drawn = style.entries(list(axes[:, 0]))
    figure.legend(drawn.values(), drawn, loc="outside upper center", ncols=len(drawn))
    axes[1, 0].set_ylabel("Difference\n" + r"(counts s$^{-1}$ keV$^{-1}$)")
    figure.align_ylabels()
    return figure


class _Spectrum:
    """A spectrum of the first module and its reconstruction, in channels of equal width."""

    def __init__(self, table: Table) -> None:
        if "module" in table.colnames:
            table = table[np.asarray(table["module"]) == 0]
        self.energy, self.rate, self.model = (
            floats(table, key) for key in ("energy", "rate", "reconstruction")
        )
        self.half = 0.5 * float(np.median(np.diff(self.energy)))
        low, high = self.energy - self.half, self.energy + self.half
        self.starts = style.log_groups(low, high, GROUP_RATIO)
        self.edges = style.stairs_edges(low, high, self.starts)
        self.width = np.diff(self.edges)

    def group(self, values: Floats) -> Floats:
        """Return the mean rate in each group of channels."""
        return np.asarray(np.add.reduceat(values * 2 * self.half, self.starts) / self.width)

    def draw(self, upper: style.Axes, lower: style.Axes, exposure: float) -> None:
        """Draw both, and below their difference with the Poisson noise of the input."""
        edges, rate = self.edges, self.group(self.rate)
        upper.stairs(rate, edges, color=style.BLACK, lw=0.9, baseline=None, label="Input")
        model: style.Look = {"color": style.VERMILLION, "baseline": None}
        label = "Reconstruction"
        upper.stairs(self.group(self.model), edges, lw=1.0, ls="--", label=label, **model)
        noise = np.sqrt(rate / (exposure * self.width))
        band: style.Look = {"fill": True, "color": "#D0D0D0", "label": "Poisson noise"}
        lower.stairs(noise, edges, baseline=-noise, **band)
        lower.stairs(self.group(self.rate - self.model), edges, lw=0.8, **model)
        lower.axhline(0, color=style.BLACK, lw=0.5)
        upper.set_yscale("log")
        style.energy_ticks(lower, float(edges[0]), float(edges[-1]))
        lower.set_xlabel(style.ENERGY)


def _error(table: Table, low: float, high: float) -> float:
    """Return the mean squared difference between two energies, of all modules."""
    energy, rate, model = (floats(table, key) for key in ("energy", "rate", "reconstruction"))
    scored = (energy >= low) & (energy <= high)
    return float(np.mean((rate - model)[scored] ** 2))


def _power_of_ten(number: float) -> str:
    if not number > 0:
        return f"{number:g}"
    mantissa, exponent = f"{number:.1e}".split("e")
    return rf"{mantissa}$\times$10$^{{{int(exponent)}}}$"


def _caption(config: Config) -> str:
    network, (low, high) = base.constrained(config), config.detection.score_energies
    return (
        f"Test spectra number {config.figures.example} and their reconstructions by the first fold "
        f"of the network {network!r}, rebinned to bins of {100 * (GROUP_RATIO - 1):.0f} % in "
        "energy, with their differences (input minus reconstruction) below; the grey band is the "
        "Poisson noise of the input. Rₐ, the mean squared difference, is taken between the dotted "
        f"lines, {low:g} to {high:g} keV, in channels as they are, (counts s⁻¹ keV⁻¹)²."
        + shown_module(config, "Rₐ is that of all modules")
    )


FIGURE = FigureKind(
    sections=("modules", "datasets", "detection"),
    inputs=base.examples,
    draw=draw,
    caption=_caption,
    alt=(
        "Count rate against energy of a thermal and an inverse Compton test spectrum, each with "
        "the autoencoder's reconstruction drawn over it, and below the difference of the two "
        "compared with the band of Poisson noise."
    ),
    title="Reconstructions",
)
