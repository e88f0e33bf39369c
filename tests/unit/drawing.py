"""Figures of a made-up run, each drawn once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from icflow.publish.figures import style


class Drawn(NamedTuple):
    """A figure, and the files that it was written to."""

    figure: style.Figure
    paths: list[Path]


# By the name of the figure; see the fixture `drawn`.
Drawing = Callable[[str], Drawn]
