"""Figure 7: latents against the labels that they are trained to equal."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from icflow import settings as settings_of
from icflow.config import Config
from icflow.errors import IcflowError
from icflow.layout import Layout
from icflow.publish.figures import style
from icflow.publish.figures.base import (
    FigureData,
    FigureKind,
    constrained,
    folds,
    label_order,
    many,
)
from icflow.tables import floats, read_table, stack, strings
from icflow.typing import Floats

BINS = 40
# Half the width between the quartiles of a Gaussian, in standard deviations.
QUARTILE = 0.6744897501960817


PER_ROW = 4


def _inputs(config: Config, results: Layout) -> list[Path]:
    return [results.scores(constrained(config), fold) for fold in folds(config)]


def draw(data: FigureData) -> style.Figure:
    """Draw one panel per label: two-dimensional histogram and 1:1 line."""
    names = label_order(data.autoencoder)
    columns = ["part", *(f"{kind}_{name}" for name in names for kind in ("latent", "label"))]
    table = stack([read_table(path, columns)[columns] for path in data.paths])
    table = table[np.array(strings(table, "part")) == "holdout"]
    if len(table) == 0:
        raise IcflowError(f"{data.paths[0]}: has no held-out spectra; score the network again")
    figure, axes = style.panels(len(names), PER_ROW, (1.85, 0.0))
    for panel, name in zip(axes.flat, names, strict=False):
        _panel(panel, floats(table, f"label_{name}"), floats(table, f"latent_{name}"), name)
    return figure


def _panel(axes: style.Axes, truth: Floats, latent: Floats, name: str) -> None:
    from matplotlib.colors import LogNorm

    usable = np.isfinite(truth) & np.isfinite(latent)
    truth, latent = truth[usable], latent[usable]
    quantity = style.label(name).removeprefix("redshift ")
    axes.set_xlabel(f"Label {quantity}", labelpad=2)
    axes.set_ylabel(f"Latent {quantity}", labelpad=1)
    if truth.size == 0:
        style.note(axes, "no labels")
        return
    low, high = limits(truth, latent)
    counts, x, y = np.histogram2d(truth, latent, BINS, [[low, high], [low, high]])
    cells = np.where(counts > 0, counts, np.nan).T
    norm = LogNorm(vmin=1, vmax=max(counts.max(), 2))
    axes.pcolormesh(x, y, cells, cmap="viridis_r", rasterized=True, norm=norm)
    axes.plot([low, high], [low, high], color=style.VERMILLION, lw=1.0, ls="--")
    axes.set(xlim=(low, high), ylim=(low, high), box_aspect=1)
    bias, scatter = bias_and_scatter(truth, latent)
    text = f"bias {style.signed(bias)}\nscatter {scatter:.2g}"
    # The text must stay legible where cells lie below it.
    style.note(axes, text, bbox={"fc": "white", "ec": "none", "alpha": 0.8, "pad": 1})


def limits(truth: Floats, latent: Floats) -> tuple[float, float]:
    """Return axis limits that show all labels and nearly all latents."""
    low = min(float(truth.min()), float(np.quantile(latent, 0.005)))
    high = max(float(truth.max()), float(np.quantile(latent, 0.995)))
    margin = 0.04 * (high - low) or 0.5
    return low - margin, high + margin


def bias_and_scatter(truth: Floats, latent: Floats) -> tuple[float, float]:
    """Return the median of latent − label, and its robust standard deviation.

    The scatter is half the distance of the quartiles over that of a Gaussian of
    unit standard deviation, so that few outliers do not decide it.
    """
    first, middle, third = np.quantile(latent - truth, [0.25, 0.5, 0.75])
    return float(middle), float(third - first) / (2 * QUARTILE)


def _caption(config: Config) -> str:
    network = constrained(config)
    training = settings_of.train(config, network, 0).training
    return (
        f"Latents of the network {network!r} against the labels of spectra of the "
        f"dataset {config.detection.training} that the network did not train on, "
        f"{many(training.folds_trained, 'fold')} together (training: {training.spectra:,} spectra, "
        f"{training.epochs:,} epochs). Colour: number of spectra per cell, logarithmic, darker for "
        "more; dashed: equality. Bias: median of latent minus label; scatter: standard deviation "
        "from the quartiles."
    )


FIGURE = FigureKind(
    sections=("autoencoder",),
    inputs=_inputs,
    draw=draw,
    caption=_caption,
    alt=(
        "Two-dimensional histograms of each latent against its label (temperature, metallicity, "
        "redshift, norm) for held-out spectra, with the line of equality, bias and scatter."
    ),
)
