"""Reconstruction errors of the test spectra of either class: Figures 3 and 4."""

from __future__ import annotations

import numpy as np

from icflow.config import Config, Detection
from icflow.detection.detectors import in_order
from icflow.publish.figures import judged, style
from icflow.publish.figures.base import FigureData, many
from icflow.tables import floats
from icflow.typing import Booleans, Floats

BINS = 40
ERROR = f"Reconstruction error $R_a$ [{style.SQUARED_RATE}]"
# Class, colour and dashes of its spectra; the paper has these colours too.
CLASSES = (
    (False, "Without IC", style.THERMAL, "-"),
    (True, "With IC", style.IC, "--"),
)


def shown(detection: Detection) -> list[str]:
    """Return the detectors that score by reconstruction error; all, if none does."""
    detectors = detection.detectors
    names = in_order(detectors)
    return [n for n in names if detectors[n].method == "reconstruction_error"] or names


def draw_distributions(data: FigureData) -> style.Figure:
    """Draw how R_a of the first detector is distributed, above in full and below its tail."""
    name = shown(data.detection)[0]
    table, is_ic = data.scores([name], "score")
    score = floats(table, name)
    edges, logarithmic = bin_edges(score)
    figure, axes = style.grid(2, 1, style.DOUBLE_COLUMN, 4.2, sharex=True)
    density, tail = axes[:, 0]
    _histograms(density, score, is_ic, edges, of_all=True)
    for with_ic, _, color, dashes in CLASSES:
        own = np.sort(score[(is_ic == with_ic) & np.isfinite(score)])
        if own.size:
            density.axvline(float(np.median(own)), ymax=0.15, color=color, ls=dashes, lw=1.6)
            left = 1 - np.arange(own.size) / own.size
            tail.step(own, left, where="post", color=color, ls=dashes, lw=1.1)
    judged.note(density, judged.unscored(score, is_ic))
    density.set_ylabel("Fraction of the class per bin")
    density.legend(loc="upper right", title=data.detection.detectors[name].title)
    tail.set_ylabel("Fraction of the class above")
    tail.set_yscale("log")
    tail.set_xlim(edges[0], edges[-1])
    if logarithmic:
        style.log_axis(tail)
    tail.set_xlabel(ERROR)
    return figure


def draw_numbers(data: FigureData) -> style.Figure:
    """Draw numbers of spectra and the threshold, one panel per detector, one below the other."""
    names = shown(data.detection)
    table, is_ic = data.scores(names, "score")
    scores = {name: floats(table, name) for name in names}
    # Where a threshold lies beyond all spectra, the axis reaches to it.
    thresholds = [float(table.meta["thresholds"][name]) for name in names]
    edges, logarithmic = bin_edges(np.concatenate([*scores.values(), thresholds]))
    size = (len(names), 1, style.DOUBLE_COLUMN, 0.6 + 1.9 * len(names))
    figure, axes = style.grid(*size, sharex=True, sharey=True)
    for panel, name, threshold in zip(axes[:, 0], names, thresholds, strict=True):
        _histograms(panel, scores[name], is_ic, edges)
        panel.axvline(threshold, color=style.BLACK, ls="--", lw=1.1, label="Threshold")
        title = data.detection.detectors[name].title
        panel.set_title(title, loc="left", pad=3, fontweight="bold")
        panel.set_title(beyond(scores[name], is_ic, threshold), loc="right", pad=3, fontsize=7)
        judged.note(panel, judged.unscored(scores[name], is_ic))
        panel.set_ylabel("Spectra per bin")
    axes[0, 0].set_ylim(0, axes[0, 0].get_ylim()[1] * 1.05)
    axes[0, 0].legend(loc="upper right")
    axes[-1, 0].set_xlim(edges[0], edges[-1])
    if logarithmic:
        style.log_axis(axes[-1, 0])
    axes[-1, 0].set_xlabel(ERROR)
    return figure


def beyond(score: Floats, is_ic: Booleans, threshold: float) -> str:
    """Say how many spectra of either class lie beyond the threshold, and their ratio."""
    thermal, with_ic = (int(np.sum(score[is_ic == here] > threshold)) for here in (False, True))
    ratio = f": {with_ic / thermal:.2f} to 1" if thermal else ""
    return f"Beyond the threshold {with_ic:,} with IC, {thermal:,} without{ratio}"


def _histograms(
    axes: style.Axes, score: Floats, is_ic: Booleans, edges: Floats, of_all: bool = False
) -> None:
    """Draw both classes: spectra in each bin, or their fraction of all of the class."""
    for with_ic, title, color, dashes in CLASSES:
        member = is_ic == with_ic
        values = np.histogram(score[member & np.isfinite(score)], edges)[0].astype(float)
        if of_all:
            values /= max(member.sum(), 1)
        axes.stairs(values, edges, fill=True, color=color, alpha=0.18)
        axes.stairs(values, edges, color=color, ls=dashes, lw=1.1, label=title)


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


def _scored(config: Config) -> str:
    low, high = config.detection.score_energies
    folds = config.autoencoder.training.folds_trained
    scaled = ", each scaled to have the threshold that is the median of theirs" * (folds > 1)
    trained = f"median of {many(folds, 'trained fold')}{scaled}"
    return f"the reconstruction error Rₐ ({low:g} to {high:g} keV, {trained})"


def _caption_distributions(config: Config) -> str:
    title = config.detection.detectors[shown(config.detection)[0]].title
    return (
        f"Above: how {_scored(config)} of the detector {title} is distributed among test spectra "
        "without (blue, solid) and with inverse Compton emission (red, dashed); strokes at the "
        "bottom, solid and dashed likewise, mark the medians. Below: the fraction of each class "
        "with a larger error, which shows which class has the longer tail; in the paper it is the "
        "one with inverse Compton emission."
    )


def _caption_numbers(config: Config) -> str:
    return (
        f"Numbers of test spectra against {_scored(config)}, without (blue, solid) and with "
        "inverse Compton emission (red, dashed). Vertical dashed line: threshold, the median of "
        "those that maximise the balanced accuracy of each fold's held-out and validation spectra; "
        "spectra to its right are called IC."
    )


DISTRIBUTIONS = judged.kind(
    draw=draw_distributions,
    caption=_caption_distributions,
    alt=(
        "Distributions of the reconstruction error of the conditional autoencoder on a logarithmic "
        "axis for test spectra without and with inverse Compton emission, and below them the "
        "fraction of either class with a larger error."
    ),
)
NUMBERS = judged.kind(
    draw=draw_numbers,
    caption=_caption_numbers,
    alt=(
        "Numbers of test spectra against the reconstruction error on a logarithmic axis, one panel "
        "per autoencoder, without and with inverse Compton emission; a vertical dashed line marks "
        "the threshold."
    ),
)
