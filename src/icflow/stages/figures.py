"""Stage: draw one figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from icflow.publish.figures import registry
from icflow.publish.figures.base import FigureSettings


def run(settings: FigureSettings, results: Path, output: Sequence[Path]) -> None:
    """Draw a figure of the results; see `icflow.publish.figures.registry.write`."""
    registry.write(settings, [results / path for path in settings.inputs], output)
