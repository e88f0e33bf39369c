"""Stage: look for IC in one observation."""

from __future__ import annotations

from pathlib import Path

from icflow.layout import Layout
from icflow.observation import analysis
from icflow.settings import ObserveSettings


def run(settings: ObserveSettings, results: Path, output: Path | None = None) -> str:
    """Analyse an observation whose networks are there; return the verdict.

    `icflow.observation.whole` trains them first, and draws the page.
    """
    folder = output or Layout(results).observation(settings.name)
    return analysis.run(settings, folder, analysis.TrainedFolders.within(folder, settings))
