"""Stage: train one network in one fold."""

from __future__ import annotations

from pathlib import Path

from icflow.layout import Layout
from icflow.networks import fold
from icflow.settings import TrainFoldSettings


def run(
    settings: TrainFoldSettings, results: Path, output: Path | None = None, threads: int = 1
) -> None:
    """Train with the spectra and labels below `results`; see `icflow.networks.fold.run`."""
    layout, train, dataset = Layout(results), settings.train, settings.training
    shards = settings.shards.numbers(dataset)
    fold.run(
        train,
        [layout.spectra(dataset, shard) for shard in shards],
        [layout.labels(dataset, shard) for shard in shards],
        output or layout.trained(train.network, train.fold),
        threads,
    )
