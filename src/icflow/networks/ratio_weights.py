"""Estimates of likelihood ratios as files, and the spectra that they are made for."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
from astropy.table import Table

from icflow import seeds
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.engines.embedded.population import Population, bins_of
from icflow.engines.evidence.nearest import Neighbourhood
from icflow.errors import IcflowError
from icflow.files import say, sha256
from icflow.layout import HISTORY, WEIGHTS
from icflow.models.background import named_files
from icflow.models.systematics import as_known
from icflow.networks import devices
from icflow.networks.checkpoints import CHECKPOINT, delete_checkpoint
from icflow.networks.ratio import DrawnSpectra, RatioInputs, RatioNetwork, Sizes, train
from icflow.networks.weights import load_tensors, save_tensors
from icflow.ogip.spectra import SpectrumSet
from icflow.settings import RatioSettings
from icflow.tables import write_table
from icflow.typing import Counts, Floats, Integers


class Hypotheses:
    """Both hypotheses of a ratio: draws spectra of them, and fits both to any.

    Parameters
    ----------
    settings : RatioSettings
    engine : EmbeddedEngine, optional
        Of its modules, where that is not made of them alone.

    Raises
    ------
    IcflowError
        As `icflow.engines.embedded.population.Population`.
    """

    def __init__(self, settings: RatioSettings, engine: EmbeddedEngine | None = None) -> None:
        self.settings = settings
        self.engine = engine or EmbeddedEngine(settings.modules, settings.atomic_data)
        self.populations = [
            Population(self.engine, scenario, settings.energies, settings.at_truth)
            for scenario in (settings.thermal, settings.alternative)
        ]
        name = f"ratio/{settings.name}/nearest"
        self._neighbourhoods = [
            Neighbourhood(population, seeds.generator(settings.seed, f"{name} {number}"))
            for number, population in enumerate(self.populations)
        ]

    def draw(self, number: int, random: np.random.Generator) -> DrawnSpectra:
        """Draw so many spectra, half of each hypothesis."""
        thermal, alternative = self.populations
        parts = [thermal.draw(number // 2, random), alternative.draw(-(-number // 2), random)]
        counts, known = (np.concatenate(pair) for pair in zip(*parts, strict=True))
        return DrawnSpectra(self.inputs(counts, known), np.arange(number) >= number // 2)

    def binned(self, counts: Counts) -> Integers:
        """Return spectra (n, n_channels) in the bins that are fitted."""
        selection = self.populations[0].selection
        starts, _ = bins_of(selection)
        inside = counts[:, selection.channels]
        return np.asarray(np.add.reduceat(inside, starts, axis=1, dtype=np.int64))

    def inputs(self, counts: Integers, known: Floats) -> RatioInputs:
        """Return what a network is given of spectra in bins."""
        ends = [neighbourhood.fit(counts, known) for neighbourhood in self._neighbourhoods]
        single = np.stack([part for end in ends for part in (end.cstat, end.effective)], axis=1)
        gaussian = ends[1].gaussian - ends[0].gaussian
        fits = [part for end in ends for part in (end.places, end.widths, end.slopes)]
        return RatioInputs(
            rough=ends[1].log_evidence - ends[0].log_evidence,
            misfit=np.minimum(ends[0].cstat, ends[1].cstat),
            fits=np.concatenate([gaussian[:, None], single, *fits], axis=1),
            residuals=np.concatenate([end.residuals for end in ends], axis=1),
            known=known,
        )


def train_for(hypotheses: Hypotheses, output: Path, threads: int) -> None:
    """Train a network for some hypotheses, and write it and how its training went.

    Parameters
    ----------
    output, threads
        As of `icflow.networks.fold.run`.

    Raises
    ------
    IcflowError
        If the training fails.
    """
    devices.prepare(threads)
    settings = hypotheses.settings
    trained = train(settings, hypotheses.draw, output / CHECKPOINT, report=say)
    rows = [asdict(row) for row in trained.history]
    table = Table({name: [row[name] for row in rows] for name in rows[0]})
    table.meta.update(ratio=settings.name)
    write_table(output / HISTORY, table)
    save(output / WEIGHTS, trained.network, settings, digests(settings))
    delete_checkpoint(output)


def digests(settings: RatioSettings) -> list[str]:
    """Return the SHA-256 of all files that spectra are drawn with, of one module after another."""
    files: list[str | Path | None] = []
    for module in settings.modules:
        files += [module.rmf, module.arf, module.background]
        files += named_files(module.background) if module.background else []
    return [sha256(file) for file in files if file is not None]


def save(path: Path, network: RatioNetwork, settings: RatioSettings, files: list[str]) -> None:
    """Write a trained network with everything needed to use it.

    Parameters
    ----------
    files : list of str
        As of `digests`.
    """
    tree = {"ratio": settings.model_dump(mode="json"), "files": files}
    save_tensors(path, network.state_dict(), tree)


def is_of(path: Path, settings: RatioSettings) -> bool:
    """Tell whether a trained network belongs to some settings.

    Raises
    ------
    IcflowError
        If the file is missing or damaged.
    """
    return _belongs(load_tensors(path)[1], settings)


def _belongs(tree: object, settings: RatioSettings) -> bool:
    return tree == {"ratio": settings.model_dump(mode="json"), "files": digests(settings)}


def load(path: Path, settings: RatioSettings) -> RatioNetwork:
    """Read a network that belongs to some settings.

    Raises
    ------
    IcflowError
        If the file is missing or damaged, or of a training with other settings.
    """
    state, tree = load_tensors(path)
    if not _belongs(tree, settings):
        raise IcflowError(
            f"{path}: was trained with other settings of ratios.{settings.name} or other "
            "responses or backgrounds; delete it and train again"
        )
    try:
        residuals, components = state["basis"].shape
        known = state["known_range"].shape[1]
        sizes = Sizes(len(state["middle"]) - components - known - 1, residuals, known)
        network = RatioNetwork(sizes, settings.units, settings.layers)
        network.load_state_dict(state)
    except (KeyError, RuntimeError):
        raise IcflowError(
            f"{path}: the weights do not fit the settings stated in the file; train again"
        ) from None
    return network.eval()


def inputs_of(hypotheses: Hypotheses, spectra: SpectrumSet, path: Path) -> RatioInputs:
    """Return what a network is given of simulated spectra.

    Raises
    ------
    IcflowError
        If the spectra have another exposure than those of the training, or lack a column.
    """
    settings = hypotheses.settings
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
    known = list(as_known(spectra.truth, settings.at_truth).values())
    counts = np.concatenate(
        [hypotheses.binned(spectra.counts[piece]) for piece in spectra.pieces()]
    )
    told = np.stack(known, axis=1) if known else np.empty((len(counts), 0))
    return hypotheses.inputs(counts, told)
