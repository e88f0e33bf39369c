"""Estimates of likelihood ratios as files, and the spectra that they are made for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.engines.embedded.population import Population, bins_of
from icflow.errors import IcflowError
from icflow.files import sha256
from icflow.models.systematics import as_known
from icflow.networks.ratio import Draw, RatioNetwork, Spectra
from icflow.networks.weights import load_tensors, save_tensors
from icflow.ogip.spectra import SpectrumSet
from icflow.settings import RatioSettings
from icflow.typing import Floats, Integers


def drawing(settings: RatioSettings) -> Draw:
    """Return what draws spectra of both scenarios for a training.

    Raises
    ------
    IcflowError
        As `icflow.engines.embedded.population.Population`.
    """
    engine = EmbeddedEngine(settings.modules, settings.atomic_data)
    thermal, alternative = (
        Population(engine, scenario, settings.energies, settings.at_truth)
        for scenario in (settings.thermal, settings.alternative)
    )

    def draw(number: int, random: np.random.Generator) -> Spectra:
        parts = [thermal.draw(number // 2, random), alternative.draw(-(-number // 2), random)]
        counts, known = (np.concatenate(pair) for pair in zip(*parts, strict=True))
        return Spectra(counts, known, np.arange(number) >= number // 2)

    return draw


def save(path: Path, network: RatioNetwork, settings: RatioSettings, responses: list[str]) -> None:
    """Write a trained network with everything needed to use it.

    Parameters
    ----------
    responses : list of str
        SHA-256 of the RMF of each module.
    """
    tree = {"ratio": settings.model_dump(mode="json"), "responses": responses}
    save_tensors(path, network.state_dict(), tree)


def load(path: Path, settings: RatioSettings) -> RatioNetwork:
    """Read a network that belongs to some settings.

    Raises
    ------
    IcflowError
        If the file is missing or damaged, or of a training with other settings.
    """
    state, tree = load_tensors(path)
    responses = [sha256(module.rmf) for module in settings.modules]
    if tree != {"ratio": settings.model_dump(mode="json"), "responses": responses}:
        raise IcflowError(
            f"{path}: was trained with other settings of ratios.{settings.name} or other "
            "responses; delete it and train again"
        )
    try:
        bins, known = len(state["mean"]), len(state["known_mean"])
        network = RatioNetwork(bins, known, settings.units, settings.layers)
        network.load_state_dict(state)
    except (KeyError, RuntimeError):
        raise IcflowError(
            f"{path}: the weights do not fit the settings stated in the file; train again"
        ) from None
    return network.eval()


def in_bins(settings: RatioSettings, spectra: SpectrumSet, path: Path) -> tuple[Integers, Floats]:
    """Return counts (n, n_bins) of simulated spectra, and what is known of them (n, n_known).

    Raises
    ------
    IcflowError
        If the spectra have another exposure than those of the training, or lack a column.
    """
    for module, recorded in zip(settings.modules, spectra.modules, strict=True):
        if module.exposure != recorded.exposure:
            raise IcflowError(
                f"{path}: its exposure is {recorded.exposure:g} s, and ratios.{settings.name} is "
                f"trained for {module.exposure:g} s; train another one, with exposure: "
                f"{recorded.exposure:g}"
            )
    missing = [name for name in settings.at_truth if name not in spectra.truth]
    if missing:
        raise IcflowError(f"{path}: has no column {missing[0]}, which the ratio takes as known")
    known = as_known(spectra.truth, settings.at_truth).values()
    engine = EmbeddedEngine(settings.modules, settings.atomic_data)
    selection = engine.selection(settings.energies)
    starts, _ = bins_of(selection)
    counts = np.concatenate(
        [
            np.add.reduceat(
                spectra.counts[piece][:, selection.channels], starts, axis=1, dtype=np.int64
            )
            for piece in spectra.pieces()
        ]
    )
    told = np.stack(list(known), axis=1) if settings.at_truth else np.empty((len(counts), 0))
    return counts, told
