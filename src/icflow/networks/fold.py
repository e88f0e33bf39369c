"""One network in one fold: trained and written with its history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from astropy.table import Table

from icflow.errors import IcflowError
from icflow.files import say, sha256
from icflow.networks import devices, training
from icflow.networks.checkpoints import CHECKPOINT, delete_checkpoint
from icflow.networks.data import Channels, LabelScale, split
from icflow.networks.inputs import SQUARED_RATE, Labels, read_inputs, training_labels
from icflow.networks.training import Examples, Trained
from icflow.networks.weights import Description, save_weights
from icflow.ogip.response import read_rmf
from icflow.settings import TrainSettings
from icflow.tables import write_table
from icflow.typing import Indices

WEIGHTS = "weights.safetensors"
HISTORY = "history.ecsv"


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
    write_table(output / HISTORY, tabulate(trained, settings))
    save_weights(output / WEIGHTS, trained.state, description)
    delete_checkpoint(output)


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
