"""All detectors at a glance: balanced accuracy with intervals, published values, the ceiling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from icflow.config import Config
from icflow.detection import table1
from icflow.detection.base import SEES
from icflow.detection.metrics import numbers
from icflow.detection.quality import TITLES
from icflow.publish.figures import base, style
from icflow.publish.figures.base import FigureData

QUANTITY = "bacc"
STEP = 0.19  # inch from row to row
# Colour and marker of a detector, by what it sees of IC.
LOOKS = {
    "never": (style.GREEN, "o"),
    "threshold": (style.BLUE, "s"),
    "training": (style.PURPLE, "D"),
    "priors": (style.BLACK, "^"),
}
PUBLISHED: style.Look = {"marker": "X", "mfc": style.ORANGE, "mec": style.BLACK, "mew": 0.6}


class Row(NamedTuple):
    """A line of the plot: the heading of a class, or a detector in it."""

    text: str
    entry: Mapping[str, Any] | None = None


def rows(metrics: Mapping[str, Any]) -> list[Row]:
    """Return the lines from top to bottom: classes by what they see of IC, the best first in each.

    A detector without a number comes last in its class.
    """
    lines: list[Row] = []
    for key, sight in SEES.items():
        own = [entry for entry in metrics["detectors"].values() if entry["sees"] == key]
        if own:
            own.sort(key=lambda entry: -(entry[QUANTITY]["value"] or 0.0))
            lines += [Row(sight.heading), *(Row(entry["title"], entry) for entry in own)]
    return lines


def draw(data: FigureData) -> style.Figure:
    """Draw one row per detector, in classes."""
    metrics = base.read_metrics(data.paths[0])
    lines = rows(metrics)
    figure, axes = style.grid(1, 1, style.DOUBLE_COLUMN, 0.8 + STEP * len(lines))
    panel = axes[0, 0]
    _references(panel, metrics)
    for y, line in enumerate(lines):
        if line.entry is not None:
            _row(panel, y, line.entry)
    _frame(panel, lines)
    # Detectors have several colours, which an entry of the legend has none of.
    any_of_them: style.Look = {"color": style.GREY, "marker": "s", "ms": 4.5, "ls": "none"}
    panel.errorbar([], [], xerr=[], capsize=2.5, label="This run, 68 % interval", **any_of_them)
    handles = style.entries([panel])
    figure.legend(handles.values(), handles, loc="outside upper right", ncols=len(handles))
    return figure


def _row(panel: style.Axes, y: float, entry: Mapping[str, Any]) -> None:
    """Draw a detector with its interval and, where there is one, the published value."""
    estimate = entry[QUANTITY]
    color, marker = LOOKS[entry["sees"]]
    value, low, high = numbers(estimate)
    reach = [[max(value - low, 0.0)], [max(high - value, 0.0)]]
    look: style.Look = {"color": color, "marker": marker, "ms": 4.5, "capsize": 2.5, "ls": "none"}
    panel.errorbar([value], [y], xerr=reach, elinewidth=1.2, zorder=5, **look)
    if entry["published"]:
        published = entry["published"][QUANTITY]
        panel.plot(published, y, ms=6.5, ls="none", zorder=6, label="Published", **PUBLISHED)
    place: style.Look = {"transform": panel.get_yaxis_transform(), "ha": "left", "va": "center"}
    panel.text(1.015, y, table1.interval(estimate), fontsize=7, **place)


def _references(panel: style.Axes, metrics: Mapping[str, Any]) -> None:
    """Mark what knows nothing, and what knows the priors."""
    panel.axvline(0.5, color=style.GREY, lw=0.9, ls=":", label="Coin toss", zorder=1)
    top = metrics["ceiling"]
    if top is None or metrics["detectors"][top][QUANTITY]["value"] is None:
        return
    value, low, high = numbers(metrics["detectors"][top][QUANTITY])
    look: style.Look = {"color": style.BLACK, "ls": "--", "lw": 0.9, "zorder": 1}
    panel.axvline(value, label="Ceiling for known priors", **look)
    panel.axvspan(low, high, color=style.GREY, alpha=0.25, lw=0, zorder=0)


def _frame(panel: style.Axes, lines: Sequence[Row]) -> None:
    """Name the rows, classes in bold with a line above them."""
    panel.set_yticks(range(len(lines)), [line.text for line in lines])
    for y, (label, line) in enumerate(zip(panel.get_yticklabels(), lines, strict=True)):
        label.set_fontweight("normal" if line.entry else "bold")
        if line.entry is None and y:
            panel.axhline(y - 0.5, color=style.GREY, lw=0.5, zorder=0)
    panel.set_ylim(len(lines) - 0.5, -0.5)
    panel.tick_params(axis="y", which="both", length=0)
    panel.grid(axis="x", which="major", color="#E4E4E4", lw=0.6, zorder=0)
    panel.set_axisbelow(True)
    panel.set_xlabel(TITLES[QUANTITY])
    panel.set_ylabel("Detector")


def _caption(config: Config) -> str:
    return (
        "Balanced accuracy of all detectors on the same test spectra, in classes by what they see "
        f"of spectra with inverse Compton emission. Bars: 68.3 % intervals of "
        f"{config.detection.bootstrap:,} resamplings within each class. Crosses: published values. "
        "Dashed, with its interval in grey: the ceiling, the exact ratio of the evidences, which "
        "no detector can beat for known priors. Dotted: a coin toss."
    )


FIGURE = base.FigureKind(
    sections=("detection",),
    inputs=base.metrics,
    draw=draw,
    caption=_caption,
    alt=(
        "Forest plot: one row per detector with its balanced accuracy and interval, in classes by "
        "what detectors see of spectra with inverse Compton emission, crosses at the published "
        "values, a dashed line at the ceiling and a dotted line at 0.5. The numbers stand beside "
        "the rows."
    ),
    title="All detectors",
)
