"""Stage: one fit of every spectrum of a shard."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from icflow.ecsv import Columns
from icflow.engines.base import FitResult
from icflow.engines.columns import columns_of
from icflow.engines.registry import check_version, make_engine
from icflow.errors import IcflowError
from icflow.models.expression import parse
from icflow.models.systematics import as_known
from icflow.ogip.modules import as_observed
from icflow.ogip.spectra import SpectrumSet, read_spectra
from icflow.settings import FitSettings
from icflow.tables import rounded, write_table

# Numbers in the tables: more digits than any error bar can use, fewer than depend on the machine.
DIGITS = 9


def run(settings: FitSettings, spectra: Path, output: Path) -> None:
    """Fit every spectrum of a type II file and write one row for each."""
    shard = read_spectra(spectra)
    missing = [name for name in settings.at_truth if name not in shard.truth]
    if missing:
        raise IcflowError(f"{spectra}: has no column {missing[0]}, which the fit freezes")
    modules = as_observed(settings.modules, shard, spectra)
    engine = make_engine(settings.engine, modules, settings.atomic_data)
    check_version(engine, settings.xspec)
    with engine.keeping(output):
        known = as_known(shard.truth, settings.at_truth)
        fits = engine.fit(settings.model, settings, shard.counts, known, settings.at_truth)
        total = len(shard.counts)
        shown = tqdm(fits, desc=settings.name, unit=" fits", total=total, mininterval=5)
        table = tabulate(shown, settings, shard)
        table.meta.update(engine.versions())
        write_table(output, table)


def tabulate(results: Iterable[FitResult], settings: FitSettings, shard: SpectrumSet) -> Columns:
    """Return fits as a table: one row per spectrum, a value and an error per parameter."""
    fits = iter(results)
    first = next(fits)
    columns = columns_of(itertools.chain([first], fits), intervals=settings.errors != "hessian")
    # Of the size of rounding errors where a fit has converged.
    columns["gradient"] = [float(f"{value:.1e}") for value in columns["gradient"]]
    declared = parse(settings.model.expression).parameters
    table = Columns({"index": shard.index})
    for name, values in columns.items():
        parameter = name.removesuffix("_error").removesuffix("_lower").removesuffix("_upper")
        measured = name == "cstat" or parameter in first.values
        table.columns[name] = rounded(values, DIGITS) if measured else values
        if parameter in declared and declared[parameter].unit == "keV":
            table.units[name] = "keV"
    table.meta.update(
        fit=settings.name,
        strategy=settings.strategy,
        expression=settings.model.expression,
        dataset=shard.dataset,
        scenario=shard.scenario,
        at_truth=list(settings.at_truth),
        free=list(first.free),
        energies=list(settings.energies),
        group_min=settings.group_min,
    )
    return table
