"""All that is done for an observation: networks are trained, it is analysed, its page is drawn."""

from __future__ import annotations

from pathlib import Path

from icflow import checks
from icflow import settings as settings_of
from icflow.config import Config
from icflow.files import check_writable
from icflow.layout import Layout, images_of
from icflow.observation import analysis, networks, page, ratios
from icflow.observation.analysis import TrainedFolders
from icflow.publish.figures import style


def below(config: Config, name: str, results: Path, output: Path | None = None) -> str:
    """Do all of it in the folder of the observation below the results, or in another one."""
    return run(config, name, output or Layout(results).observation(name))


def run(config: Config, name: str, folder: Path) -> str:
    """Do all that the workflow does for an observation; return the verdict.

    Networks and ratios that are there are used, if they were trained for these settings and files.

    Raises
    ------
    IcflowError
        If an input is missing or cannot be used, the folder cannot be written, or a fit is
        impossible.
    """
    checks.check_observation(config, name)
    check_writable(folder, "name another one")
    settings = settings_of.observe(config, name)
    trained = TrainedFolders.within(folder, settings)
    for network, path in trained.networks.items():
        of_network = settings_of.observe_network(config, name, network)
        if not networks.is_trained(of_network, path):
            networks.run(of_network, path)
    for ratio, path in trained.ratios.items():
        of_ratio = settings_of.observe_ratio(config, name, ratio)
        if not ratios.is_trained(of_ratio, path):
            ratios.run(of_ratio, path)
    verdict = analysis.run(settings, folder, trained)
    images = images_of(folder, config.figures.formats)
    style.write(lambda: page.draw(folder), config.figures.dpi, images)
    return verdict
