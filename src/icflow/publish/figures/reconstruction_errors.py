"""Figure 5: reconstruction errors of the test spectra of either class."""

from __future__ import annotations

import numpy as np

from icflow.config import Config, Detection
from icflow.detection.detectors import in_order
from icflow.publish.figures import judged, style
from icflow.publish.figures.base import FigureData, many
from icflow.tables import floats
from icflow.typing import Booleans, Floats

BINS = 40


def shown(detection: Detection) -> list[str]:
    """Return the detectors that score by reconstruction error; all, if none does."""
    detectors = detection.detectors
    names = in_order(detectors)
    return [n for n in names if detectors[n].method == "reconstruction_error"] or names


def draw(data: FigureData) -> style.Figure:
    """Draw one panel per detector: histograms of both classes and the threshold."""
    names = shown(data.detection)
    table, is_ic = data.scores(names, "")
    figure, axes = style.grid(1, len(names), style.DOUBLE_COLUMN, 2.5, sharex=True, sharey=True)
    scores = {name: floats(table, name) for name in names}
    edges, logarithmic = bin_edges(np.concatenate(list(scores.values())))
    for panel, name in zip(axes[0], names, strict=True):
        _panel(panel, scores[name], is_ic, edges)
        threshold = float(table.meta["thresholds"][name])
        panel.axvline(threshold, color=style.BLACK, ls=":", lw=1.2, label="Threshold")
        style.note(panel, data.detection.detectors[name].title, fontsize=8)
        if logarithmic:
            style.log_axis(panel)
        panel.set_xlabel(f"Reconstruction error $R_a$ ({style.SQUARED_RATE})")
    axes[0, 0].set_ylabel("Spectra per bin")
    axes[0, 0].set_ylim(0, axes[0, 0].get_ylim()[1] * 1.1)
    axes[0, 0].legend(loc="upper right")
    return figure


def _panel(axes: style.Axes, score: Floats, is_ic: Booleans, edges: Floats) -> None:
    for member, title, color, dashes in (
        (~is_ic, "Without IC", style.THERMAL, "-"),
        (is_ic, "With IC", style.IC, "--"),
    ):
        counts = np.histogram(score[member & np.isfinite(score)], edges)[0]
        axes.stairs(counts, edges, fill=True, color=color, alpha=0.18)
        axes.stairs(counts, edges, color=color, ls=dashes, lw=1.1, label=title)


def bin_edges(values: Floats) -> tuple[Floats, bool]:
    """Return edges of bins over all finite values, and whether they are logarithmic.

    Logarithmic bins need positive values; without any spread one bin holds all.
    """
    values = values[np.isfinite(values)]
    if values.size == 0:
        return np.array([0.0, 1.0]), False
    low, high = float(values.min()), float(values.max())
    if low <= 0:
        return np.linspace(low - 0.5 * (low == high), high + 0.5 * (low == high), BINS + 1), False
    if high / low < 1.001:
        return np.geomspace(low / 1.1, high * 1.1, BINS + 1), True
    return np.geomspace(low * (1 - 1e-9), high * (1 + 1e-9), BINS + 1), True


def _caption(config: Config) -> str:
    low, high = config.detection.score_energies
    trained = many(config.autoencoder.training.folds_trained, "trained fold")
    return (
        f"Distributions of the reconstruction error Rₐ ({low:g} to {high:g} keV, median of the "
        f"networks of {trained}) of test spectra with and without "
        "inverse Compton emission. Dotted: threshold, the median of those that maximise the "
        "balanced accuracy of each fold's held-out and validation spectra; spectra to its right "
        "are called IC."
    )


FIGURE = judged.kind(
    draw=draw,
    caption=_caption,
    alt=(
        "Histograms of the reconstruction error on a logarithmic axis, one panel per autoencoder, "
        "of test spectra without and with inverse Compton emission; the two distributions overlap "
        "and a dotted line marks the threshold."
    ),
)
