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
    layout, train, shards = Layout(results), settings.train, settings.shards
    fold.run(
        train,
        shards.files(layout.spectra),
        shards.files(layout.labels),
        output or layout.trained(train.network, train.fold),
        threads,
    )
