"""Stage: the likelihood ratio of every spectrum of a shard, as a network estimates it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from icflow.ecsv import Columns
from icflow.layout import Layout
from icflow.networks.ratio_weights import Hypotheses, inputs_of, load
from icflow.ogip.modules import as_observed
from icflow.ogip.spectra import read_spectra
from icflow.settings import RatioSettings
from icflow.tables import rounded, write_table

# Digits of the logarithm of a ratio: more than its error can use.
DIGITS = 6


def run(settings: RatioSettings, results: Path, spectra: Path, output: Path) -> None:
    """Write one row for each spectrum of a type II file.

    The network is that below `results`. Columns: ``index``; ``log_ratio``, ln of the likelihood
    ratio of the scenario with IC to that without; ``unlike``, whether the spectrum is unlike all
    that the network was trained with, so that its ratio means nothing.

    Raises
    ------
    IcflowError
        If the network is missing, or of other settings than the spectra.
    """
    shard = read_spectra(spectra)
    as_observed(settings.modules, shard, spectra)
    network = load(Layout(results).ratio_weights(settings.name), settings)
    inputs = inputs_of(Hypotheses(settings), shard, spectra)
    table = Columns({"index": shard.index})
    table.columns["log_ratio"] = rounded(list(network.log_odds(inputs)), DIGITS)
    table.columns["unlike"] = np.asarray(network.unlike(inputs))
    table.meta.update(ratio=settings.name, dataset=shard.dataset, at_truth=list(settings.at_truth))
    write_table(output, table)
