"""Stage: train the network that estimates one likelihood ratio."""

from __future__ import annotations

from pathlib import Path

from icflow.networks.ratio_weights import Hypotheses, train_for
from icflow.settings import RatioSettings


def run(settings: RatioSettings, output: Path, threads: int = 1) -> None:
    """Train, and write the network and how its training went.

    Parameters
    ----------
    output, threads
        As of `icflow.networks.ratio_weights.train_for`.

    Raises
    ------
    IcflowError
        If spectra of a scenario cannot be drawn in bins, or the training fails.
    """
    train_for(Hypotheses(settings), output, threads)
