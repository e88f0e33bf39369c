"""Stage: draw the figure of a scan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from icflow.publish.figures import scans, style
from icflow.settings import ScanSettings


def run(settings: ScanSettings, folder: Path, dpi: int, output: Sequence[Path]) -> None:
    """Draw what `icflow.stages.scan` wrote into a folder."""
    style.write(lambda: scans.draw(settings, folder), dpi, output)
