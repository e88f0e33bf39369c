"""Figure 3: spectra and what the autoencoder makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table

from icflow.config import Config
from icflow.errors import IcflowError
from icflow.publish.figures import style
from icflow.publish.figures.base import FigureKind, FigureSettings, network_order
from icflow.tables import floats, read_table, strings
from icflow.typing import AnyArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("dataset", "index", "energy", "rate", "reconstruction")
GROUP_RATIO = 1.02  # upper over lower energy of a drawn bin


def inputs(config: Config) -> list[str]:
    """Return the example reconstructions of the first fold of the constrained network."""
    return [f"scores/{constrained(config)[0]}/fold-0-reconstructions.ecsv"]


def constrained(config: Config) -> list[str]:
    """Return the networks as published whose latents are constrained; all, if none is."""
    networks = config.autoencoder.networks
    names = network_order(config.autoencoder)
    names = [name for name in names if networks[name].kind == "convolutional"] or names
    return [name for name in names if networks[name].constraint > 0] or names


def draw(settings: FigureSettings, paths: Sequence[Path]) -> Figure:
    """Draw input and reconstruction above their difference, one column per test dataset."""
    table = read_table(paths[0], COLUMNS)
    assert settings.detection is not None
    names = settings.detection.test
    figure, axes = style.grid(
        2, len(names), style.DOUBLE_COLUMN, 3.6,
        sharex=True, sharey="row", height_ratios=[2.2, 1],
    )  # fmt: skip
    datasets, index = np.array(strings(table, "dataset")), np.asarray(table["index"])
    for column, name in enumerate(names):
        here = (datasets == name) & (index == settings.figures.example)
        if not here.any():
            raise IcflowError(
                f"{paths[0]}: has no reconstruction of spectrum {settings.figures.example} of the "
                f"dataset {name}; score the network again"
            )
        _column(axes[:, column], table[here], settings, name)
    axes[0, 0].set_ylabel(style.RATE)
    axes[1, 0].set_ylabel("Difference\n" + r"(counts s$^{-1}$ keV$^{-1}$)")
    figure.align_ylabels()
    return figure


def _column(panels: AnyArray, table: Table, settings: FigureSettings, name: str) -> None:
    assert settings.detection is not None
    assert settings.instrument is not None
    assert settings.datasets is not None
    energy, rate, model = (floats(table, key) for key in ("energy", "rate", "reconstruction"))
    half = 0.5 * np.median(np.diff(energy))
    low, high = energy - half, energy + half
    starts = style.log_groups(low, high, GROUP_RATIO)
    edges = style.stairs_edges(low, high, starts)
    width = np.diff(edges)

    def group(values: np.ndarray) -> np.ndarray:
        return np.asarray(np.add.reduceat(values * 2 * half, starts) / width)

    upper: Axes = panels[0]
    lower: Axes = panels[1]
    upper.stairs(group(rate), edges, color=style.BLACK, lw=0.9, baseline=None, label="Input")
    upper.stairs(
        group(model), edges, color=style.VERMILLION, lw=1.0, ls="--", baseline=None,
        label="Reconstruction",
    )  # fmt: skip
    noise = np.sqrt(group(rate) / (settings.instrument.exposure * width))
    lower.stairs(noise, edges, baseline=-noise, fill=True, color="#D0D0D0", label="Poisson noise")
    lower.stairs(group(rate - model), edges, color=style.VERMILLION, lw=0.8, baseline=None)
    lower.axhline(0, color=style.BLACK, lw=0.5)
    span = settings.detection.score_energies
    scored = (energy >= span[0]) & (energy <= span[1])
    error = float(np.mean((rate - model)[scored] ** 2))
    title = f"{settings.datasets[name].scenario}\n$R_a$ = {_power_of_ten(error)}"
    style.note(upper, title, x=0.96, ha="right", fontsize=8)
    for axes in panels:
        for edge in span:
            axes.axvline(edge, color=style.GREY, lw=0.6, ls=":")
    upper.set_yscale("log")
    upper.legend(loc="lower left")
    lower.legend(loc="lower right", handlelength=1.2)
    style.energy_ticks(lower, float(low[0]), float(high[-1]))
    lower.set_xlabel(style.ENERGY)


def _power_of_ten(number: float) -> str:
    if not number > 0:
        return f"{number:g}"
    mantissa, exponent = f"{number:.1e}".split("e")
    return rf"{mantissa}$\times$10$^{{{int(exponent)}}}$"


def caption(config: Config) -> str:
    """Return the caption with the settings."""
    low, high = config.detection.score_energies
    return (
        f"Test spectra number {config.figures.example} and their reconstructions by the first fold "
        f"of the network {constrained(config)[0]!r}, rebinned to {GROUP_RATIO - 1:.0%} in energy, "
        "with their differences below; the grey band is the Poisson noise of the input. "
        f"Rₐ, the mean squared difference, is taken between the dotted lines, {low:g} to "
        f"{high:g} keV, in channels as they are, (counts s⁻¹ keV⁻¹)²."
    )


FIGURE = FigureKind(
    sections=("instrument", "datasets", "detection"),
    inputs=inputs,
    draw=draw,
    caption=caption,
    alt=(
        "Count rate against energy of a thermal and an inverse Compton test spectrum, each with "
        "the autoencoder's reconstruction drawn over it, and below the difference of the two "
        "compared with the band of Poisson noise."
    ),
)
