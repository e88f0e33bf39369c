"""Losses of the training and selection spectra against epoch, all folds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from icflow.config import Config
from icflow.layout import Layout
from icflow.publish.figures import style
from icflow.publish.figures.base import FigureData, FigureKind, folds, many, network_order
from icflow.tables import floats, read_table

if TYPE_CHECKING:
    from astropy.table import Table

COLUMNS = ("epoch", "train_loss", "train_misfit", "train_constraint", "selection_loss")
# Column, title, colour, line style. The total comes last, to lie on top.
CURVES = (
    ("train_constraint", "Training, constraint", style.GREEN, ":"),
    ("train_misfit", "Training, reconstruction", style.SKY, "--"),
    ("train_loss", "Training, total", style.BLUE, "-"),
    ("selection_loss", "Selection, total", style.VERMILLION, "-."),
)


def _inputs(config: Config, results: Layout) -> list[Path]:
    return [
        results.history(network, fold)
        for network in config.autoencoder.networks
        for fold in folds(config)
    ]


def draw(data: FigureData) -> style.Figure:
    """Draw one panel per network, one set of curves per fold."""
    networks = data.autoencoder.networks
    names = network_order(data.autoencoder)
    figure, axes = style.grid(1, len(names), style.DOUBLE_COLUMN, 2.7)
    panels = dict(zip(names, axes[0], strict=True))
    histories: dict[str, list[Table]] = {name: [] for name in names}
    for path in data.paths:
        histories[path.parent.parent.name].append(read_table(path, COLUMNS))
    for name, panel in panels.items():
        weight = networks[name].constraint
        _panel(panel, histories[name], weight)
        text = f"{name.upper()}, constraint weight {weight:g}"
        style.note(panel, text, x=0.5, ha="center", fontsize=8)
    # Losses of one kind have one unit, and so one axis.
    for kind in dict.fromkeys(networks[name].kind for name in names):
        like = [panel for name, panel in panels.items() if networks[name].kind == kind]
        unit = f" ({style.SQUARED_RATE})" if kind == "published" else ""
        like[0].set_ylabel(f"Loss{unit}")
        _share(like)
    style.legend_above(figure, axes[0, 0])
    return figure


def _share(panels: Sequence[style.Axes]) -> None:
    """Give panels the same logarithmic axis, with room for a note at the top."""
    for panel in panels:
        panel.set_yscale("log")
        panel.tick_params(labelleft=panel is panels[0])
    limits = [panel.get_ylim() for panel in panels]
    bottom, top = min(low for low, _ in limits), max(high for _, high in limits)
    for panel in panels:
        panel.set_ylim(bottom, top * (top / bottom) ** 0.12)


def _panel(axes: style.Axes, histories: Sequence[Table], weight: float) -> None:
    from matplotlib.ticker import MaxNLocator

    for number, history in enumerate(histories):
        # The folds share the entries of the legend.
        named = number == 0
        epoch = floats(history, "epoch")
        for column, title, color, dashes in CURVES:
            # The part of the loss that is the constraint has its weight.
            values = floats(history, column) * (weight if column == "train_constraint" else 1)
            # A logarithmic axis has no place for 0, which an absent constraint gives.
            values = np.where(values > 0, values, np.nan)
            look: style.Look = {"color": color, "ls": dashes, "label": title if named else None}
            axes.plot(epoch, values, lw=0.9, alpha=0.8, **look)
        chosen = floats(history, "selection_loss")
        if np.isfinite(chosen).any():
            best = int(np.nanargmin(chosen))
            look = {"color": style.BLACK, "ls": "none"}
            look["label"] = "Chosen epoch" if named else None
            axes.plot(epoch[best], chosen[best], "o", mfc="none", ms=4.5, zorder=5, **look)
    axes.set_xlabel("Epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _caption(config: Config) -> str:
    training = config.autoencoder.training
    return (
        f"Loss against epoch for {many(training.folds_trained, 'fold')} of {training.folds}, "
        f"{training.spectra:,} spectra, batches of {training.batch}. Total loss of the training "
        "spectra (solid) and of the selection spectra (dash-dotted), which choose the epoch; of "
        "the former its reconstruction part (dashed: mean squared error; of dense networks the "
        "mean of ln(1 + Poisson deviance)) and its constraint part (dotted: weight times mean "
        "absolute difference of latents and labels). Circles: the epoch of lowest selection loss, "
        "whose weights are kept. The constraint, of labels scaled to 0–1, is a pure number that "
        "the loss adds as it is."
    )


FIGURE = FigureKind(
    sections=("autoencoder",),
    inputs=_inputs,
    draw=draw,
    caption=_caption,
    alt=(
        "Loss of the training and of the selection spectra on a logarithmic axis against epoch, "
        "one panel per network and one set of curves per fold, with the reconstruction and "
        "constraint parts of the training loss and a circle at the epoch that was chosen."
    ),
    title="Losses",
)
