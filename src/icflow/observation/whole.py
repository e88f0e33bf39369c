"""All that is done for an observation: networks are trained, it is analysed, its page is drawn."""

from __future__ import annotations

from pathlib import Path

from icflow import checks
from icflow import settings as settings_of
from icflow.config import Config
from icflow.files import check_writable
from icflow.layout import TRAINED
from icflow.observation import analysis, networks, page, ratios
from icflow.publish.figures import style
from icflow.settings import ObserveSettings


def run(config: Config, name: str, folder: Path) -> str:
    """Do all that the workflow does for an observation; return the verdict.

    Networks that are there already are used as they are.

    Raises
    ------
    IcflowError
        If an input is missing or cannot be used, the folder cannot be written, or a fit is
        impossible.
    """
    checks.check_observation(config, name)
    check_writable(folder, "name another one")
    settings = settings_of.observe(config, name)
    trained = networks_of(settings, folder)
    for network, path in trained.networks.items():
        if not (path / TRAINED[0]).is_file():
            networks.run(settings_of.observe_network(config, name, network), path)
    for ratio, path in trained.ratios.items():
        if not (path / TRAINED[0]).is_file():
            ratios.run(settings_of.observe_ratio(config, name, ratio), path)
    verdict = analysis.run(settings, folder, trained)
    images = [folder / f"observation.{suffix}" for suffix in config.figures.formats]
    style.write(lambda: page.draw(folder), config.figures.dpi, images)
    return verdict


def networks_of(settings: ObserveSettings, folder: Path) -> analysis.Trained:
    """Return the folders of the networks of an observation."""
    return analysis.Trained(
        {name: folder / "networks" / name for name in settings.networks},
        {name: folder / "ratios" / name for name in settings.ratios},
    )
