"""Stage: what one trained network makes of every spectrum."""

from __future__ import annotations

from pathlib import Path

from icflow.layout import Layout
from icflow.networks import scores
from icflow.settings import ScoreSettings


def run(settings: ScoreSettings, results: Path, output: Path) -> None:
    """Score the spectra below `results`; see `icflow.networks.scores.run`.

    Where the training spectra are scored too, in the default run, examples of
    reconstructions are written beside the scores.
    """
    layout, train, shards = Layout(results), settings.train, settings.shards
    assert shards is not None  # All but observations say which spectra they read.
    training = settings.training
    scores.run(
        settings,
        layout.weights(train.network, train.fold),
        {name: shards.files(layout.spectra, name) for name in shards.spectra},
        [] if training is None else shards.files(layout.labels, training),
        output,
        None if training is None else layout.reconstructions_of(output),
    )
