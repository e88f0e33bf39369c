"""Figures: reads what a figure needs, draws it, writes it in every format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from icflow.errors import IcflowError
from icflow.figures import registry, style
from icflow.figures.base import FigureSettings

FORMATS = (".pdf", ".png", ".svg")


def run(settings: FigureSettings, inputs: Sequence[Path], outputs: Sequence[Path]) -> None:
    """Draw one figure.

    Parameters
    ----------
    settings : FigureSettings
        Its number and the settings that it depends on
        (`icflow.figures.registry.settings`).
    inputs : sequence of path
        The files that `icflow.figures.registry.inputs` names, in that order.
    outputs : sequence of path
        Files to write, each in the format of its suffix.

    Raises
    ------
    IcflowError
        If there is no such figure, an input is not what the figure reads, or
        an output has an unknown suffix.
    """
    for path in outputs:
        if Path(path).suffix.lower() not in FORMATS:
            raise IcflowError(
                f"{path}: figures are written as {', '.join(FORMATS)}; choose one of these suffixes"
            )
    with style.context():
        figure = registry.kind(settings.number).draw(settings, [Path(path) for path in inputs])
        for path in outputs:
            style.save(figure, Path(path), settings.figures.dpi)
