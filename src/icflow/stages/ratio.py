"""Stage: train the network that estimates one likelihood ratio."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from astropy.table import Table

from icflow.files import say, sha256
from icflow.networks import devices, ratio
from icflow.networks.checkpoints import CHECKPOINT, delete_checkpoint
from icflow.networks.ratio_weights import Hypotheses, save
from icflow.settings import RatioSettings
from icflow.tables import write_table


def run(settings: RatioSettings, output: Path, threads: int = 1) -> None:
    """Train, and write the network and how its training went.

    Parameters
    ----------
    output : path
        Folder that gets ``weights.safetensors`` and ``history.ecsv``; while the
        training runs it holds a checkpoint, from which a killed training goes on.
    threads : int
        Threads of the arithmetic. The last digits of the weights depend on it.

    Raises
    ------
    IcflowError
        If spectra of a scenario cannot be drawn in bins, or the training fails.
    """
    devices.prepare(threads)
    trained = ratio.train(settings, Hypotheses(settings).draw, output / CHECKPOINT, report=say)
    rows = [asdict(row) for row in trained.history]
    table = Table({name: [row[name] for row in rows] for name in rows[0]})
    table.meta.update(ratio=settings.name)
    write_table(output / "history.ecsv", table)
    responses = [sha256(module.rmf) for module in settings.modules]
    save(output / "weights.safetensors", trained.network, settings, responses)
    delete_checkpoint(output)
