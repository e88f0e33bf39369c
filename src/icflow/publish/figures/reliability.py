"""Reliability diagram: what becomes of the spectra that a detector is so sure about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from icflow.config import Config
from icflow.detection.columns import columns_of
from icflow.detection.detectors import in_order
from icflow.detection.metrics import binomial
from icflow.detection.quality import BINS
from icflow.publish.figures import base, judged, style
from icflow.publish.figures.base import FigureData
from icflow.tables import floats
from icflow.typing import Booleans, Floats

PER_ROW = 4


def draw(data: FigureData) -> style.Figure:
    """Draw one panel per detector: fraction of IC against probability, and how many spectra."""
    detectors = data.detection.detectors
    names = in_order(detectors)
    table, is_ic = data.scores(names, "probability")
    measured = base.read_metrics(data.paths[1])["detectors"]
    figure, axes = style.panels(len(names), PER_ROW, (1.85, 0.35), sharex=True, sharey=True)
    for panel, name in zip(axes.flat, names, strict=False):
        _panel(panel, floats(table, columns_of(name).probability), is_ic)
        # Above the panel, where nothing is drawn.
        panel.set_title(f"{detectors[name].title}\n{_note(measured[name])}", pad=3, fontsize=7)
    for panel in axes[:, 0]:
        panel.set_ylabel("Fraction with IC")
    for column in axes.T:
        lowest = [panel for panel in column if panel.get_visible()][-1]
        lowest.set_xlabel("Probability of IC")
        lowest.tick_params(labelbottom=True)
    return figure


def _panel(axes: style.Axes, probability: Floats, is_ic: Booleans) -> None:
    mean, fraction, low, high, share = reliability(probability, is_ic)
    axes.plot([0, 1], [0, 1], color=style.GREY, lw=0.6)
    axes.stairs(share, np.linspace(0, 1, BINS + 1), fill=True, color=style.SKY, alpha=0.5, lw=0)
    estimates = np.stack([fraction, low, high])
    look: style.Look = {"color": style.BLACK, "marker": "o", "ls": "", "lw": 0.8}
    # Many detectors are quite sure, and right: points in the corners are whole.
    style.error_bars(axes, mean, estimates, clip_on=False, zorder=3, **look)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)


def reliability(probability: Floats, is_ic: Booleans) -> tuple[Floats, ...]:
    """Return mean probability, fraction with IC and its interval, and share of spectra, per bin.

    Either class counts one half, as in the fit of the probabilities. The
    interval is that of a binomial fraction with Jeffreys' prior, which is right
    where all spectra of a bin are of one class. Bins without spectra are NaN.
    """
    sizes = np.array([max(np.sum(~is_ic), 1), max(np.sum(is_ic), 1)])
    weights = (0.5 / sizes)[is_ic.astype(int)]
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    total = np.bincount(bins, weights, BINS)
    ic = np.bincount(bins, weights * is_ic, BINS)
    count = np.bincount(bins, minlength=BINS)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(bins, weights * probability, BINS) / total
        fraction = ic / total
    return mean, fraction, *binomial(fraction, count), total / max(total.sum(), 1e-300)


def _note(entry: Mapping[str, Any]) -> str:
    brier, error = (entry[key]["value"] for key in ("brier", "ece"))
    if brier is None:
        return "one class only"
    return f"Brier {brier:.3f}, error {error:.3f}"


def _caption(config: Config) -> str:
    return (
        f"Fraction of test spectra with inverse Compton emission in {BINS} bins of the probability "
        "that a detector gives them, fitted to the validation spectra, at even odds; on the grey "
        "line a probability means what it says. Bars: 68.3 % intervals of a binomial fraction. "
        "Blue: share of the spectra in each bin. Brier: mean squared error of the probabilities, "
        "0.25 for a detector that knows nothing; error: mean distance from the grey line, free of "
        "what chance adds."
    )


FIGURE = judged.kind(
    inputs=lambda *run: base.scores(*run) + base.metrics(*run),
    draw=draw,
    caption=_caption,
    alt=(
        "Reliability diagrams, one per detector: the fraction of spectra with inverse Compton "
        "emission against the probability stated, close to the diagonal for a calibrated detector, "
        "above a histogram of the probabilities."
    ),
    title="Reliability of the probabilities",
)
