"""Stage: draw the page of an observation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from icflow.observation import page
from icflow.publish.figures import style


def run(folder: Path, dpi: int, output: Sequence[Path]) -> None:
    """Draw what `icflow.stages.observe` wrote into a folder."""
    style.write(lambda: page.draw(folder), dpi, output)
