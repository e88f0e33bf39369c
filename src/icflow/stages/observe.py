"""Stage: look for IC in one observation."""

from __future__ import annotations

from pathlib import Path

from icflow.config import Config
from icflow.layout import Layout
from icflow.observation import analysis
from icflow.observation import whole as whole_observation
from icflow.settings import ObserveSettings


def run(settings: ObserveSettings, results: Path, output: Path | None = None) -> str:
    """Analyse an observation whose networks are there; return the verdict."""
    folder = output or Layout(results).observation(settings.name)
    return analysis.run(settings, folder, whole_observation.networks_of(settings, folder))


def whole(config: Config, name: str, results: Path, output: Path | None = None) -> str:
    """Do all that the workflow does for an observation; see `icflow.observation.whole`."""
    return whole_observation.run(config, name, output or Layout(results).observation(name))
