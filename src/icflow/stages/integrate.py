"""Stage: the likelihood of every spectrum of a shard, averaged over priors.

It is the embedded engine's whatever engine simulates and fits: XSPEC has no
such thing, and the two agree on the likelihood.
"""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from icflow.ecsv import Columns
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.errors import IcflowError
from icflow.models.systematics import as_known
from icflow.ogip.modules import as_observed
from icflow.ogip.spectra import read_spectra
from icflow.seeds import of_spectrum
from icflow.settings import IntegralSettings
from icflow.tables import rounded, write_table

# Digits of the logarithm of an evidence: more than its error can use.
DIGITS = 9


def run(settings: IntegralSettings, spectra: Path, output: Path) -> None:
    """Integrate over the priors for every spectrum of a type II file, one row for each."""
    shard = read_spectra(spectra)
    missing = [name for name in settings.at_truth if name not in shard.truth]
    if missing:
        raise IcflowError(
            f"{spectra}: has no column {missing[0]}, which the integral takes as known"
        )
    engine = EmbeddedEngine(as_observed(settings.modules, shard, spectra), settings.atomic_data)
    purpose = f"integral/{settings.name}"
    randoms = (
        of_spectrum(settings.seed, shard.dataset, int(index), purpose) for index in shard.index
    )
    known = as_known(shard.truth, settings.at_truth)
    running = engine.integrate(
        settings.scenario, settings.energies, shard.counts, known, settings.at_truth, randoms
    )
    integrals = list(
        tqdm(running, desc=settings.name, unit=" spectra", total=len(shard.counts), mininterval=5)
    )
    table = Columns({"index": shard.index})
    table.columns["log_evidence"] = rounded([each.log for each in integrals], DIGITS)
    for column, digits in (("error", 3), ("effective", 4)):
        table.columns[column] = rounded([getattr(each, column) for each in integrals], digits)
    table.columns["evaluations"] = [each.evaluations for each in integrals]
    table.meta.update(
        integral=settings.name,
        expression=settings.scenario.expression,
        dataset=shard.dataset,
        at_truth=list(settings.at_truth),
        energies=list(settings.energies),
        **engine.versions(),
    )
    write_table(output, table)
