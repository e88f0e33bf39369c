"""Differences between all pairs of detectors, on the same spectra."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from icflow.config import Config
from icflow.detection.differences import EVEN, between, verdict
from icflow.detection.quality import title
from icflow.publish.figures import base, judged, style
from icflow.publish.figures.base import FigureData

QUANTITIES = ("bacc", "auc")


def draw(data: FigureData) -> style.Figure:
    """Draw a square of cells for each quantity: row minus column, in hundredths."""
    metrics = base.read_metrics(data.paths[0])
    side = 0.31 * len(metrics["detectors"]) + 1.5
    figure, axes = style.grid(len(QUANTITIES), 1, style.DOUBLE_COLUMN, len(QUANTITIES) * side)
    for panel, quantity in zip(axes[:, 0], QUANTITIES, strict=True):
        _panel(panel, metrics, quantity)
    return figure


def _panel(axes: style.Axes, metrics: Mapping[str, Any], quantity: str) -> None:
    names = list(metrics["detectors"])
    titles = [metrics["detectors"][name]["title"] for name in names]
    values = np.full((len(names), len(names)), np.nan)
    for (row, column), _ in np.ndenumerate(values):
        if row == column:
            continue
        difference = between(metrics, names[row], names[column], quantity)
        if difference["value"] is None:
            continue
        values[row, column] = difference["value"]
        color = style.GREY if verdict(quantity, difference) == EVEN else style.BLACK
        text = style.signed_fixed(100 * difference["value"])
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color=color)
    shown = np.ma.masked_invalid(values)
    most = max(float(np.abs(shown).max()) if shown.count() else 0.0, 0.01)
    # Pale, so that numbers are read on any of the colours.
    axes.imshow(shown, cmap="RdBu", vmin=-2 * most, vmax=2 * most, aspect="auto")
    axes.set_xticks(range(len(names)), titles, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), titles)
    axes.minorticks_off()
    axes.tick_params(length=0)
    axes.set_xlabel("minus")
    axes.set_ylabel("Detector")
    axes.set_title(f"{title(quantity)}: row minus column (0.01)", pad=4)


def _caption(config: Config) -> str:
    return (
        "Balanced accuracy (above) and area under the receiver operating characteristic (below) of "
        "the detector of each row minus that of each column, in units of 0.01, on the same test "
        "spectra; blue: the row's detector is higher. Grey numbers: the 68.3 % interval of "
        f"{config.detection.bootstrap:,} common resamplings holds zero, so the two are not told "
        "apart."
    )


FIGURE = judged.kind(
    inputs=base.metrics,
    draw=draw,
    caption=_caption,
    alt=(
        "Two squares of numbers, one for balanced accuracy and one for the area under the curve: "
        "the differences of every pair of detectors in hundredths, grey where the paired interval "
        "holds zero. The numbers are those of differences.csv."
    ),
    title="Differences between detectors",
)
