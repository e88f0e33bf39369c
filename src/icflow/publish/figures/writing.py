"""Figures: reads what a figure needs, draws it, writes it in every format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from icflow.errors import IcflowError
from icflow.publish.figures import registry, style
from icflow.publish.figures.base import FigureSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".pdf", ".png", ".svg")


def run(settings: FigureSettings, inputs: Sequence[Path], outputs: Sequence[Path]) -> None:
    """Draw one figure.

    Parameters
    ----------
    settings : FigureSettings
        Its name and the settings that it depends on
        (`icflow.publish.figures.registry.settings`).
    inputs : sequence of path
        The files that `icflow.publish.figures.registry.inputs` names, in that order.
    outputs : sequence of path
        Files to write, each in the format of its suffix.

    Raises
    ------
    IcflowError
        If there is no such figure, an input is not what the figure reads, or
        an output has an unknown suffix.
    """
    paths = [Path(path) for path in inputs]
    write(lambda: registry.draw(settings, paths), settings.figures.dpi, outputs)


def write(draw: Callable[[], Figure], dpi: int, outputs: Sequence[Path]) -> None:
    """Draw what no figure of the registry shows: the page of an observation, a scan.

    Parameters
    ----------
    draw : callable
        Gives the figure.
    dpi : int
        Resolution of bitmaps.
    outputs : sequence of path
        Files to write, each in the format of its suffix.

    Raises
    ------
    IcflowError
        If what it reads is missing or wrong, or an output has an unknown suffix.
    """
    for path in outputs:
        if Path(path).suffix.lower() not in FORMATS:
            raise IcflowError(
                f"{path}: figures are written as {', '.join(FORMATS)}; choose one of these suffixes"
            )
    with style.context():
        figure = draw()
        for path in outputs:
            style.save(figure, Path(path), dpi)
