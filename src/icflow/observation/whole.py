"""All that is done for an observation: networks are trained, it is analysed, its page is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from icflow import checks
from icflow import settings as settings_of
from icflow.config import Config
from icflow.files import canonical_json, check_writable, write_text
from icflow.layout import TRAINED_FOR, WEIGHTS, Layout, images_of
from icflow.observation import analysis, networks, page, ratios
from icflow.observation.analysis import TrainedFolders
from icflow.publish.figures import style
from icflow.settings import ObserveNetworkSettings


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
    files = checks.check_observation(config, name)
    check_writable(folder, "name another one")
    settings = settings_of.observe(config, name)
    trained = TrainedFolders.within(folder, settings)
    for network, path in trained.networks.items():
        _train(settings_of.observe_network(config, name, network), files, path)
    for ratio, path in trained.ratios.items():
        own = settings_of.observe_ratio(config, name, ratio)
        if not ratios.is_trained(own, path):
            ratios.run(own, path)
    verdict = analysis.run(settings, folder, trained)
    images = images_of(folder, config.figures.formats)
    style.write(lambda: page.draw(folder), config.figures.dpi, images)
    return verdict


def _train(settings: ObserveNetworkSettings, files: Mapping[str, str], folder: Path) -> None:
    """Train a network, unless one of these settings and files is there.

    Weights tell neither what the spectra were that they have learnt from, nor of which files.
    """
    wanted = canonical_json({"settings": settings.model_dump(mode="json"), "files": files}) + "\n"
    said = folder / TRAINED_FOR
    if (folder / WEIGHTS).is_file() and said.is_file() and said.read_text() == wanted:
        return
    networks.run(settings, folder)
    write_text(said, wanted)
