"""Figures of a made-up run, each drawn once, and how they look."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.container import Container
from matplotlib.lines import Line2D

from icflow.publish.figures import style


class Drawn(NamedTuple):
    """A figure, and the files that it was written to."""

    figure: style.Figure
    paths: list[Path]


# By the name of the figure; see the fixture `drawn`.
Drawing = Callable[[str], Drawn]


def looks_without_colour(axes: Axes) -> dict[str, tuple[object, ...]]:
    """Return how the named lines of a panel look in grey: dashes, width, marker, whether hollow.

    Vertical lines are left out: they are unlike all that is measured, however they look.
    """
    looks: dict[str, tuple[object, ...]] = {}
    for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
        artist = handle[0] if isinstance(handle, Container) else handle
        marker, hollow = None, False
        if isinstance(artist, Line2D):
            if len({*artist.get_xdata()}) == 1:
                continue
            marker, hollow = artist.get_marker(), artist.get_markerfacecolor() in ("none", "white")
        looks[name] = artist.get_linestyle(), artist.get_linewidth(), marker, hollow
    return looks
