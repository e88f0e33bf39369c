"""Figure 4: training and validation losses against epoch, all folds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table

from icflow.config import Config
from icflow.publish.figures import style
from icflow.publish.figures.base import FigureKind, FigureSettings, folds, many, network_order
from icflow.tables import floats, read_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = ("epoch", "train_loss", "train_misfit", "train_constraint", "selection_loss")
# Column, title, colour, line style. The total comes last, to lie on top.
CURVES = (
    ("train_constraint", "Training, constraint", style.GREEN, ":"),
    ("train_misfit", "Training, reconstruction", style.SKY, "--"),
    ("train_loss", "Training, total", style.BLUE, "-"),
    ("selection_loss", "Validation, total", style.VERMILLION, "-"),
)


def inputs(config: Config) -> list[str]:
    """Return the histories of all networks and folds."""
    return [
        f"networks/{network}/fold-{fold}/history.ecsv"
        for network in config.autoencoder.networks
        for fold in folds(config)
    ]


def draw(settings: FigureSettings, paths: Sequence[Path]) -> Figure:
    """Draw one panel per network, one set of curves per fold."""
    assert settings.autoencoder is not None
    networks = settings.autoencoder.networks
    figure, axes = style.grid(1, len(networks), style.DOUBLE_COLUMN, 2.7)
    names = network_order(settings.autoencoder)
    for panel, name in zip(axes[0], names, strict=True):
        histories = [
            read_table(path, COLUMNS) for path in paths if Path(path).parent.parent.name == name
        ]
        weight = networks[name].constraint
        _panel(panel, histories, weight)
        style.note(
            panel,
            f"{name.upper()}, constraint weight {weight:g}",
            x=0.5,
            ha="center",
            fontsize=8,
        )
    for panel, name in zip(axes[0], names, strict=True):
        # Losses of one kind have one unit, and so one axis.
        like = [p for p, other in zip(axes[0], names, strict=True)
                if networks[other].kind == networks[name].kind]  # fmt: skip
        if panel is like[0]:
            unit = f" ({style.SQUARED_RATE})" if networks[name].kind == "convolutional" else ""
            panel.set_ylabel(f"Loss{unit}")
            _share(like)
    style.legend_above(figure, axes[0, 0])
    return figure


def _share(panels: Sequence[Axes]) -> None:
    """Give panels the same logarithmic axis, with room for a note at the top."""
    for panel in panels:
        panel.set_yscale("log")
        panel.tick_params(labelleft=panel is panels[0])
    limits = [panel.get_ylim() for panel in panels]
    bottom, top = min(low for low, _ in limits), max(high for _, high in limits)
    for panel in panels:
        panel.set_ylim(bottom, top * (top / bottom) ** 0.12)


def _panel(axes: Axes, histories: Sequence[Table], weight: float) -> None:
    from matplotlib.ticker import MaxNLocator

    for number, history in enumerate(histories):
        epoch = floats(history, "epoch")
        for column, title, color, dashes in CURVES:
            values = floats(history, column)
            if column == "train_constraint":
                # The part of the loss: the constraint with its weight.
                values = values * weight
            # A logarithmic axis has no place for 0, which an absent constraint gives.
            values = np.where(values > 0, values, np.nan)
            axes.plot(
                epoch, values, color=color, ls=dashes, lw=0.9, alpha=0.8,
                label=title if number == 0 else None,
            )  # fmt: skip
        chosen = floats(history, "selection_loss")
        if np.isfinite(chosen).any():
            best = int(np.nanargmin(chosen))
            axes.plot(
                epoch[best], chosen[best], "o", mfc="none", color=style.BLACK, ms=4.5, zorder=5,
                ls="none", label="Chosen epoch" if number == 0 else None,
            )  # fmt: skip
    axes.set_xlabel("Epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def caption(config: Config) -> str:
    """Return the caption with the settings."""
    training = config.autoencoder.training
    return (
        f"Loss against epoch for {many(training.folds_trained, 'fold')} of {training.folds}, "
        f"{training.spectra:,} spectra, batches of {training.batch}. Solid: total loss of the "
        "training and of the validation spectra; dashed: its reconstruction part (mean squared "
        "error; of dense networks the mean of ln(1 + Poisson deviance)); dotted: its constraint "
        "part (weight times mean absolute difference of latents and labels). Circles: the epoch of "
        "lowest validation loss, whose weights are kept. The "
        "constraint, of labels scaled to 0–1, is a pure number that the loss adds as it is."
    )


FIGURE = FigureKind(
    sections=("autoencoder",),
    inputs=inputs,
    draw=draw,
    caption=caption,
    alt=(
        "Training and validation loss on a logarithmic axis against epoch, one panel per network "
        "and one set of curves per fold, with the reconstruction and constraint parts of the "
        "training loss and a circle at the epoch that was chosen."
    ),
)
