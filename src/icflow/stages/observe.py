"""Stage: look for IC in one observation."""

from __future__ import annotations

from pathlib import Path

from icflow import checks
from icflow import settings as settings_of
from icflow.config import Config
from icflow.layout import TRAINED_OBSERVED, Layout
from icflow.observation import analysis, networks
from icflow.settings import ObserveSettings


def run(settings: ObserveSettings, results: Path, output: Path | None = None) -> str:
    """Analyse an observation whose networks are there; return the verdict."""
    folder = output or Layout(results).observation(settings.name)
    return analysis.run(settings, folder, _networks(settings, folder))


def whole(config: Config, name: str, results: Path, output: Path | None = None) -> str:
    """Do all that the workflow does for an observation: train, analyse, draw; return the verdict.

    Networks that are there already are used as they are.
    """
    from icflow.stages import observe_figure

    checks.check_observation(config, name)
    settings = settings_of.observe(config, name)
    folder = output or Layout(results).observation(name)
    for network, path in _networks(settings, folder).items():
        if not (path / TRAINED_OBSERVED[0]).is_file():
            networks.run(settings_of.observe_network(config, name, network), path)
    verdict = run(settings, results, folder)
    images = [folder / f"observation.{suffix}" for suffix in config.figures.formats]
    observe_figure.run(folder, config.figures.dpi, images)
    return verdict


def _networks(settings: ObserveSettings, folder: Path) -> dict[str, Path]:
    """Return the folders of the networks of an observation."""
    return {name: folder / "networks" / name for name in settings.networks}
