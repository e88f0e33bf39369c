"""Stage: draw the page of an observation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from icflow.observation import page
from icflow.publish.figures import writing


def run(folder: Path, dpi: int, output: Sequence[Path]) -> None:
    """Draw what `icflow.stages.observe` wrote into a folder."""
    writing.write(lambda: page.draw(folder), dpi, output)
