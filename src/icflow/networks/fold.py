"""One network in one fold: trained and written with its history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import torch
from astropy.table import Table
from torch import Tensor

from icflow.errors import IcflowError
from icflow.files import say, sha256
from icflow.layout import HISTORY, WEIGHTS
from icflow.networks import devices, training
from icflow.networks.checkpoints import CHECKPOINT, delete_checkpoint
from icflow.networks.data import Channels, LabelScale, split
from icflow.networks.dense import DenseAutoencoder
from icflow.networks.inputs import SQUARED_RATE, Labels, read_inputs, training_labels
from icflow.networks.network import PublishedAutoencoder
from icflow.networks.training import Examples, Trained
from icflow.networks.weights import Description, build, save_weights
from icflow.ogip.response import read_rmf
from icflow.settings import TrainSettings
from icflow.tables import write_table
from icflow.typing import Indices, Singles

DEAD = 1e-3  # scatter of a latent, of labels that scatter by 0.3, below which it says nothing
# Scatter of a channel's reconstruction, of that of the spectra, below which the channel is dead.
DEAD_CHANNEL = 0.5


def run(
    settings: TrainSettings,
    spectra: Sequence[Path],
    labels: Sequence[Path],
    output: Path,
    threads: int = 1,
) -> None:
    """Train one network in one fold and write its weights and history.

    Parameters
    ----------
    settings : TrainSettings
    spectra : sequence of path
        Type II files of the training dataset.
    labels : sequence of path
        Tables of its label fits.
    output : path
        Folder that gets ``weights.safetensors`` and ``history.ecsv``; while the
        training runs it holds a checkpoint, from which a killed training goes on.
    threads : int
        Threads of the arithmetic. The last digits of the weights depend on it.

    Raises
    ------
    IcflowError
        If the input does not fit, or as `icflow.networks.training.train`.
    """
    devices.prepare(threads)
    output = Path(output)
    channels = Channels.of([read_rmf(path) for path in settings.responses])
    inputs = read_inputs(spectra, channels, settings.energies, settings.training.spectra)
    known = training_labels(settings.labels, inputs, labels)
    for sentence in known.doubts():
        say(sentence)
    cuts = settings.training
    parts = split(cuts.spectra, cuts.folds, settings.fold, settings.seed)
    learnt, selecting = (_with_labels(part, known) for part in (parts.train, parts.selection))
    scale = LabelScale.of(list(settings.labels), known.values[learnt])
    trained = training.train(
        settings,
        Examples(inputs.rates[learnt], scale.scaled(known.values[learnt])),
        Examples(inputs.rates[selecting], scale.scaled(known.values[selecting])),
        counts_per_rate=inputs.counts_per_rate,
        checkpoint=output / CHECKPOINT,
        report=say,
    )
    description = Description(
        settings=settings,
        scale=scale,
        channels=inputs.rates.shape[1],
        responses=[sha256(path) for path in settings.responses],
        best_epoch=trained.best_epoch,
        selection_loss=trained.selection_loss,
    )
    network = build(output / WEIGHTS, trained.state, description)
    for sentence in doubts(settings, network, inputs.rates[selecting], inputs.counts_per_rate):
        say(sentence)
    write_table(output / HISTORY, tabulate(trained, settings))
    save_weights(output / WEIGHTS, trained.state, description)
    delete_checkpoint(output)


def dead(latents: Tensor) -> list[int]:
    """Return which latents, columns of (n, latents), are the same for all spectra."""
    if len(latents) < 2:
        return []
    return [column for column, scatter in enumerate(latents.std(0).tolist()) if scatter < DEAD]


def dead_channels(
    reconstructions: Singles, rates: Singles, counts_per_rate: Singles
) -> tuple[Indices, float]:
    """Return which channels are reconstructed nearly alike for all spectra, which differ in them.

    The decoder ends in GELU and a convolution of width 1. Where all that a channel is made of lies
    on the flat side of GELU for all spectra, it comes out the same for all and learns no more. Its
    error is then the scatter of the spectra themselves, which is brightness.

    Parameters
    ----------
    reconstructions, rates : (n, n_input) float32
        Spectra, counts/s/keV.
    counts_per_rate : (n_input,) float32
        Counts of a spectrum with a rate of one, s keV.

    Returns
    -------
    (n_dead,) int
        Channels in which the spectra scatter by more than their noise does.
    float
        Their part of the squared error of all channels.
    """
    noise = rates.mean(0) / counts_per_rate
    scatter = rates.var(0) - noise
    flat = reconstructions.var(0) < DEAD_CHANNEL**2 * scatter
    channels = np.flatnonzero((scatter > noise) & flat)
    errors = np.mean((reconstructions - rates) ** 2, axis=0)
    return channels, float(errors[channels].sum() / errors.sum())


def doubts(
    settings: TrainSettings,
    network: PublishedAutoencoder | DenseAutoencoder,
    rates: Singles,
    counts_per_rate: Singles,
) -> list[str]:
    """Return sentences on what is the same for all of some spectra, latents or channels.

    Parameters
    ----------
    settings : TrainSettings
    network : PublishedAutoencoder or DenseAutoencoder
        In evaluation mode, on a CPU.
    rates, counts_per_rate
        As `dead_channels`. Channels are spoken of where the dead ones hold most of the error.
    """
    with torch.inference_mode():
        batches = [network(b) for b in torch.from_numpy(rates).split(settings.training.batch)]
        reconstructions, latents = (torch.cat(parts) for parts in zip(*batches, strict=True))
    who = f"network {settings.network}, fold {settings.fold}"
    sentences = []
    same = dead(latents)
    if same:
        labels = list(settings.labels)
        names = [labels[column] if column < len(labels) else str(column) for column in same]
        sentences.append(
            f"{who}: latents that are the same for all spectra of the selection: "
            f"{', '.join(names)}; lower autoencoder.training.learning_rate"
        )
    if settings.kind == "published":
        channels, share = dead_channels(reconstructions.numpy(), rates, counts_per_rate)
        if share > 0.5:
            sentences.append(
                f"{who}: {channels.size} channels are reconstructed alike for all spectra of the "
                f"selection and hold {share:.0%} of the error, so R_a says how bright a spectrum "
                f"is; more autoencoder.training.epochs may help"
            )
    return sentences


def tabulate(trained: Trained, settings: TrainSettings) -> Table:
    """Return the history of a training as a table, one row per epoch."""
    names = [column.name for column in fields(trained.history[0])]
    rows = [asdict(epoch) for epoch in trained.history]
    table = Table({name: [row[name] for row in rows] for name in names})
    if settings.kind == "published":
        for name in ("train_misfit", "selection_misfit"):
            table[name].unit = SQUARED_RATE
    table.meta.update(
        network=settings.network,
        fold=settings.fold,
        constraint=settings.constraint,
        best_epoch=trained.best_epoch,
        training=settings.training.model_dump(mode="json"),
    )
    if trained.diverged is not None:
        table.meta["diverged"] = trained.diverged
    return table


def _with_labels(part: Indices, labels: Labels) -> Indices:
    """Return the spectra of a part of a fold that have labels, at least one."""
    kept = part[labels.known[part]]
    if not kept.size:
        raise IcflowError(
            f"none of the {part.size} training spectra of one part of this fold has labels; see "
            "the column status of the label fits, and correct fits.label or its model"
        )
    return kept
