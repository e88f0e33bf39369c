"""Confusion matrices: Figure 6, of the published methods, and of all detectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from icflow.config import Config
from icflow.detection import confusion
from icflow.detection.published import PUBLISHED
from icflow.publish.figures import base, style
from icflow.publish.figures.base import FigureData, FigureKind

PER_ROW = 4


def draw_published(data: FigureData) -> style.Figure:
    """Draw the matrices of the published methods; of all detectors, if there is none of them."""
    detectors = base.read_metrics(data.paths[0])["detectors"]
    return _draw({n: e for n, e in detectors.items() if n in PUBLISHED} or detectors)


def draw(data: FigureData) -> style.Figure:
    """Draw the matrices of all detectors."""
    return _draw(base.read_metrics(data.paths[0])["detectors"])


def _draw(detectors: Mapping[str, Mapping[str, Any]]) -> style.Figure:
    """Draw one matrix per detector: spectra and fractions of each true class."""
    figure, axes = style.panels(len(detectors), PER_ROW, (1.85, 0.35), sharex=True, sharey=True)
    for panel, entry in zip(axes.flat, detectors.values(), strict=False):
        _panel(panel, entry)
    for panel in axes[:, 0]:
        panel.set_ylabel("True type")
    for panel in axes[-1]:
        panel.set_xlabel("Prediction")
    return figure


def _panel(axes: style.Axes, entry: Mapping[str, Any]) -> None:
    matrix = confusion.from_cells(entry["confusion"])
    fractions = confusion.fractions(matrix)
    axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    for (row, column), part in np.ndenumerate(fractions):
        text = f"{matrix.iloc[row, column]:,}"
        text += f"\n({style.whole_percent(part)})" if np.isfinite(part) else "\n(–)"
        color = "white" if part > 0.55 else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=color)
    axes.set_title(entry["title"], pad=3)
    axes.set_xticks([0, 1], matrix.columns)
    axes.set_yticks([0, 1], matrix.index, rotation=90, va="center")
    axes.minorticks_off()
    axes.tick_params(length=0)


def _caption(config: Config, whose: str) -> str:
    sizes = [
        f"{config.datasets[name].size:,} {config.datasets[name].scenario}"
        for name in config.detection.test
    ]
    return (
        f"Confusion matrices of {whose} on {' and '.join(sizes)} test spectra: numbers of "
        "spectra and, in brackets, fractions of the true type (rows), which the shade repeats. "
        "Spectra without a usable score count as not called IC."
    )


_ALT = (
    "Confusion matrices, one per {}, with rows for the true type and columns for the "
    "prediction, each cell giving the number of test spectra and its fraction of the row. The "
    "numbers are those of metrics.json."
)
FIGURE = FigureKind(
    inputs=base.metrics,
    draw=draw_published,
    caption=lambda config: _caption(config, "the published methods"),
    alt=_ALT.format("published method"),
)
ALL = FigureKind(
    inputs=base.metrics,
    draw=draw,
    caption=lambda config: _caption(config, "all detectors"),
    alt=_ALT.format("detector"),
    title="Confusion matrices",
)
