"""Figure 6: confusion matrices of all detectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from icflow.config import Config
from icflow.publish.figures import base, style
from icflow.publish.figures.base import FigureData, FigureKind

PER_ROW = 4


def draw(data: FigureData) -> style.Figure:
    """Draw one matrix per detector: spectra and fractions of each true class."""
    detectors = base.read_metrics(data.paths[0])["detectors"]
    figure, axes = style.panels(
        len(detectors), PER_ROW, (1.85, 0.35), full=False, sharex=True, sharey=True
    )
    for panel, entry in zip(axes.flat, detectors.values(), strict=False):
        _panel(panel, entry)
    for panel in axes[:, 0]:
        panel.set_ylabel("True class")
    for panel in axes[-1]:
        panel.set_xlabel("Decision")
    return figure


def _panel(axes: style.Axes, entry: Mapping[str, Any]) -> None:
    counts = entry["confusion"]
    matrix = np.array([[counts["tn"], counts["fp"]], [counts["fn"], counts["tp"]]], dtype=float)
    sums = matrix.sum(axis=1, keepdims=True)
    fraction = np.divide(matrix, sums, out=np.full_like(matrix, np.nan), where=sums > 0)
    axes.imshow(fraction, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    for (row, column), part in np.ndenumerate(fraction):
        text = f"{matrix[row, column]:,.0f}"
        text += f"\n({part:.0%})" if np.isfinite(part) else "\n(–)"
        color = "white" if part > 0.55 else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=color)
    axes.set_title(entry["title"], pad=3)
    axes.set_xticks([0, 1], ["no IC", "IC"])
    axes.set_yticks([0, 1], ["no IC", "IC"], rotation=90, va="center")
    axes.minorticks_off()
    axes.tick_params(length=0)


def _caption(config: Config) -> str:
    sizes = [
        f"{config.datasets[name].size:,} {config.datasets[name].scenario}"
        for name in config.detection.test
    ]
    return (
        f"Confusion matrices of the detectors on {' and '.join(sizes)} test spectra: numbers of "
        "spectra and, in brackets, fractions of the true class (rows), which the shade repeats. "
        "Spectra without a usable score count as not called IC."
    )


FIGURE = FigureKind(
    inputs=base.metrics,
    draw=draw,
    caption=_caption,
    alt=(
        "Confusion matrices, one per detector, with rows for the true class and columns for the "
        "decision, each cell giving the number of test spectra and its fraction of the row. The "
        "numbers are those of metrics.json."
    ),
)
