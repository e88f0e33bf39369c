"""Figure 6: confusion matrices of all detectors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from icflow.config import Config
from icflow.errors import IcflowError
from icflow.publish.figures import style
from icflow.publish.figures.base import FigureKind, FigureSettings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PER_ROW = 4


def inputs(config: Config) -> list[str]:
    """Return the metrics of the evaluation."""
    return ["evaluation/metrics.json"]


def read_metrics(path: Path) -> dict[str, Any]:
    """Read ``metrics.json``.

    Raises
    ------
    IcflowError
        If it is missing or not whole.
    """
    try:
        metrics = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise IcflowError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        metrics = None
    if not isinstance(metrics, dict) or "detectors" not in metrics:
        raise IcflowError(f"{path}: not the metrics of an evaluation; delete it and run again")
    return metrics


def draw(settings: FigureSettings, paths: Sequence[Path]) -> Figure:
    """Draw one matrix per detector: spectra and fractions of each true class."""
    detectors = read_metrics(paths[0])["detectors"]
    rows = -(-len(detectors) // PER_ROW)
    columns = min(len(detectors), PER_ROW)
    figure, axes = style.grid(
        rows, columns, style.DOUBLE_COLUMN * columns / PER_ROW, 1.85 * rows + 0.35,
        sharex=True, sharey=True,
    )  # fmt: skip
    for panel, entry in zip(axes.flat, detectors.values(), strict=False):
        _panel(panel, entry)
    for panel in axes.flat[len(detectors) :]:
        panel.set_visible(False)
    for panel in axes[:, 0]:
        panel.set_ylabel("True class")
    for panel in axes[-1]:
        panel.set_xlabel("Decision")
    return figure


def _panel(axes: Axes, entry: Mapping[str, Any]) -> None:
    counts = entry["confusion"]
    matrix = np.array([[counts["tn"], counts["fp"]], [counts["fn"], counts["tp"]]], dtype=float)
    sums = matrix.sum(axis=1, keepdims=True)
    fraction = np.divide(matrix, sums, out=np.full_like(matrix, np.nan), where=sums > 0)
    axes.imshow(fraction, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    for (row, column), part in np.ndenumerate(fraction):
        text = f"{matrix[row, column]:,.0f}"
        text += f"\n({part:.0%})" if np.isfinite(part) else "\n(–)"
        dark = bool(part > 0.55)
        axes.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            fontsize=8,
            color="white" if dark else "black",
        )
    axes.set_title(entry["title"], pad=3)
    axes.set_xticks([0, 1], ["no IC", "IC"])
    axes.set_yticks([0, 1], ["no IC", "IC"], rotation=90, va="center")
    axes.minorticks_off()
    axes.tick_params(length=0)


def caption(config: Config) -> str:
    """Return the caption with the settings."""
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
    sections=(),
    inputs=inputs,
    draw=draw,
    caption=caption,
    alt=(
        "Confusion matrices, one per detector, with rows for the true class and columns for the "
        "decision, each cell giving the number of test spectra and its fraction of the row. The "
        "numbers are those of metrics.json."
    ),
)
