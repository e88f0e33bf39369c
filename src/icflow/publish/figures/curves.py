"""Recall against false-alarm rate, and precision against recall, with bands.

Figure 5 is precision against recall of the published autoencoders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from icflow.config import Config
from icflow.detection import metrics
from icflow.detection.base import SEES
from icflow.detection.columns import columns_of
from icflow.detection.quality import Resampling
from icflow.detection.roc import Curve
from icflow.publish.figures import judged, reconstruction_errors, style
from icflow.publish.figures.base import FigureData
from icflow.seeds import generator
from icflow.tables import floats
from icflow.typing import Floats

POINTS = 200
MARKED = 8  # points of a curve that have a marker
# Black is kept for the ceiling.
COLORS = tuple(color for color in style.SERIES if color != style.BLACK)
# Of the autoencoders, in the paper.
AUTOENCODERS = (style.ORANGE, style.GREY)
# Where a panel has no curves, or the fewest.
EMPTIEST: style.Look = {"x": 0.96, "y": 0.05, "ha": "right", "va": "bottom"}
LOWEST = 1e-3  # false-alarm rate on the logarithmic axis

# From a curve to x and y, (m, k) each.
Trace = Callable[[Curve], tuple[Floats, Floats]]


class _Bands:
    """Curves of all detectors on the same resamplings, on a grid."""

    def __init__(self, data: FigureData) -> None:
        self.detection = data.detection
        self.table, self.is_ic = data.scores(self.detection.detectors, "score")
        # The ceiling is drawn in every panel, to compare with.
        self.ceiling = self.detection.ceiling
        groups = {
            key: [name for name in names if name != self.ceiling]
            for key, names in judged.groups(self.detection).items()
        }
        self.groups = {key: names for key, names in groups.items() if names}
        self.resampling = Resampling.draw(
            self.is_ic, self.detection.bootstrap, generator(0, "curves")
        )

    def of(self, name: str, grid: Floats, trace: Trace) -> Floats:
        """Return y of a curve on a grid of x and the ends of its 68.3 % interval, (3, k)."""
        score = floats(self.table, name)

        def measure(weights: Floats) -> dict[str, Floats]:
            x, y = trace(Curve.of(score, self.is_ic, weights))
            return {"y": np.array([np.interp(grid, *row) for row in zip(x, y, strict=True)])}

        drawn = self.resampling.apply(measure)["y"]
        return np.stack([drawn[0], *np.quantile(drawn[1:], metrics.SIGMA_QUANTILES, axis=0)])

    def without_scores(self, names: Sequence[str]) -> str:
        """Say of which class no spectrum has a score, and of which detectors if not of all."""
        titles: dict[str, list[str]] = {}
        for name in names:
            words = judged.unscored(floats(self.table, name), self.is_ic)
            titles.setdefault(words, []).append(self.detection.detectors[name].title)
        if len(titles) == 1:
            return next(iter(titles))
        return "\n".join(f"{' and '.join(own)}:\n{words}" for words, own in titles.items() if words)

    def draw(self, panel: style.Axes, names: Sequence[str], grid: Floats, trace: Trace) -> None:
        """Draw a line with its band for each detector."""
        titles = {name: detector.title for name, detector in self.detection.detectors.items()}
        for position, name in enumerate(names):
            value, low, high = self.of(name, grid, trace)
            look = style.look(position) | {"color": style.cycle(COLORS, position)}
            # Markers of curves that lie upon each other stand beside each other.
            step = grid.size // MARKED
            look["markevery"] = (3 * position % step, step)
            panel.fill_between(grid, low, high, color=look["color"], alpha=0.18, lw=0)
            panel.plot(grid, value, lw=1.0, label=titles[name], **look)
        if self.ceiling is not None:
            value, label = self.of(self.ceiling, grid, trace)[0], titles[self.ceiling]
            panel.plot(grid, value, color=style.BLACK, lw=0.8, ls=(0, (1, 1)), label=label)
        judged.note(panel, self.without_scores(names), **EMPTIEST)


def _rates(curve: Curve) -> tuple[Floats, Floats]:
    return curve.false_alarm, curve.recall


def _precisions(curve: Curve) -> tuple[Floats, Floats]:
    return curve.recall, curve.precision


def draw_roc(data: FigureData) -> style.Figure:
    """Draw recall against false-alarm rate, linear (above) and logarithmic (below)."""
    bands = _Bands(data)
    figure, axes = style.grid(
        2, len(bands.groups), style.DOUBLE_COLUMN, 6.2, sharey="row", sharex="row"
    )
    grids = np.linspace(0, 1, POINTS), np.geomspace(LOWEST, 1, POINTS)
    for column, (key, names) in enumerate(bands.groups.items()):
        for row, grid in enumerate(grids):
            panel = axes[row, column]
            bands.draw(panel, names, grid, _rates)
            panel.plot(grid, grid, color=style.GREY, lw=0.6)
            panel.set_ylim(0, 1.02)
        axes[0, column].set_xlim(0, 1)
        axes[0, column].set_title(SEES[key].heading)
        axes[1, column].set_xlim(LOWEST, 1)
        style.log_axis(axes[1, column])
        axes[1, column].set_xlabel("False-alarm rate")
        _legend(axes[1, column])
    for panel in axes[:, 0]:
        panel.set_ylabel("Recall")
    return figure


def draw_precision(data: FigureData) -> style.Figure:
    """Draw precision against recall."""
    bands = _Bands(data)
    figure, axes = style.grid(
        1, len(bands.groups), style.DOUBLE_COLUMN, 3.9, sharey=True, sharex=True
    )
    grid = np.linspace(0, 1, POINTS)
    for panel, (key, names) in zip(axes[0], bands.groups.items(), strict=True):
        bands.draw(panel, names, grid, _precisions)
        panel.axhline(float(bands.is_ic.mean()), color=style.GREY, lw=0.6)
        panel.set_xlim(0, 1)
        panel.set_ylim(0, 1.02)
        panel.set_title(SEES[key].heading)
        panel.set_xlabel("Recall")
        _legend(panel)
    axes[0, 0].set_ylabel("Precision")
    return figure


def draw_autoencoders(data: FigureData) -> style.Figure:
    """Draw precision against recall of the autoencoders, with the thresholds that were chosen."""
    bands = _Bands(data)
    names = reconstruction_errors.shown(data.detection)
    figure, axes = style.grid(1, 1, style.DOUBLE_COLUMN, 3.9)
    panel, grid = axes[0, 0], np.linspace(0, 1, POINTS)
    for position, name in enumerate(names):
        color, dashes = style.cycle(AUTOENCODERS, position), style.cycle(style.DASHES, position)
        value, low, high = bands.of(name, grid, _precisions)
        panel.fill_between(grid, low, high, color=color, alpha=0.25, lw=0)
        title = data.detection.detectors[name].title
        panel.plot(grid, value, color=color, lw=1.4, ls=dashes, label=title)
        decision = np.asarray(bands.table[columns_of(name).decision], dtype=bool)
        chosen = metrics.confusion(decision, bands.is_ic)
        look: style.Look = {"marker": style.cycle(style.MARKERS, position), "color": color}
        label = f"{title}, threshold chosen"
        look |= {"mec": style.BLACK, "ms": 7, "ls": "none", "zorder": 5, "label": label}
        panel.plot(chosen.recall, chosen.precision, **look)
    judged.note(panel, bands.without_scores(names), **EMPTIEST)
    panel.axhline(0.5, color=style.BLACK, lw=0.8, ls="--")
    panel.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="Recall", ylabel="Precision")
    panel.legend(loc="upper right")
    return figure


def _legend(panel: style.Axes) -> None:
    """Name the curves below a panel, where many names cover none of them."""
    panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), handlelength=1.8)


def _caption(config: Config, what: str) -> str:
    return (
        f"{what} of every detector on the test spectra as its threshold falls, in groups by what "
        f"detectors see of inverse Compton emission. Bands hold 68.3 % of "
        f"{config.detection.bootstrap:,} resamplings of the spectra within each class, the same "
        "for all detectors. Dotted: the ceiling, where there is one. "
        "Grey: a coin toss."
    )


def _caption_autoencoders(config: Config) -> str:
    names = reconstruction_errors.shown(config.detection)
    titles = [config.detection.detectors[name].title for name in names]
    return (
        f"Precision against recall of {' and '.join(titles)} on the test spectra as the threshold "
        "on the reconstruction error falls. Markers: the thresholds that were chosen. Bands hold "
        f"68.3 % of {config.detection.bootstrap:,} resamplings of the spectra within each class. "
        "Dashed: 0.5, the precision of a coin toss on classes of equal size."
    )


AUTOENCODER_PRECISION = judged.kind(
    draw=draw_autoencoders,
    caption=_caption_autoencoders,
    alt=(
        "Precision against recall of the conditional autoencoder, orange, and of the plain one, "
        "grey, with a marker on each curve at the chosen threshold and a dashed line at 0.5."
    ),
)
ROC = judged.kind(
    draw=draw_roc,
    caption=lambda config: (
        _caption(config, "Recall against false-alarm rate")
        + f" The lower panels show the same on a logarithmic axis, from {LOWEST:g}."
    ),
    alt=(
        "Receiver operating characteristics of all detectors with bands, one panel for each class "
        "of detectors, above on a linear and below on a logarithmic axis of the false-alarm rate."
    ),
    title="Receiver operating characteristics",
)
PRECISION_RECALL = judged.kind(
    draw=draw_precision,
    caption=lambda config: (
        _caption(config, "Precision against recall")
        + " The precision is that at the prevalence of the test set."
    ),
    alt=(
        "Precision against recall of all detectors with bands, one panel for each class of "
        "detectors, and a grey line at the fraction of spectra with inverse Compton emission."
    ),
    title="Precision and recall",
)
