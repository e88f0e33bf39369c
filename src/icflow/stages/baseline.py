"""Stage: one fit of every spectrum of a shard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy import units
from astropy.table import Table
from tqdm import tqdm

from icflow.engines.base import FitResult
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
        results = list(tqdm(fits, desc=settings.name, unit=" fits", total=total, mininterval=5))
        table = tabulate(results, settings, shard)
        table.meta.update(engine.versions())
        write_table(output, table)


def tabulate(results: Sequence[FitResult], settings: FitSettings, shard: SpectrumSet) -> Table:
    """Return fits as a table: one row per spectrum, a value and an error per parameter."""
    table = Table()
    table["index"] = shard.index
    table["cstat"] = rounded([result.cstat for result in results], DIGITS)
    for name in ("dof", "bins", "converged", "starts", "agreeing", "iterations"):
        table[name] = [getattr(result, name) for result in results]
    # Of the size of rounding errors where a fit has converged.
    table["gradient"] = [float(f"{result.gradient:.1e}") for result in results]
    table["at_bound"] = [",".join(result.at_bound) for result in results]
    table["status"] = [result.status for result in results]
    declared = parse(settings.model.expression).parameters
    for name in results[0].values:
        table[name] = rounded([result.values[name] for result in results], DIGITS)
        if name in declared and declared[name].unit == "keV":
            table[name].unit = units.keV
        if any(result.errors[name] != 0 for result in results):
            table[f"{name}_error"] = rounded([result.errors[name] for result in results], DIGITS)
            table[f"{name}_error"].unit = table[name].unit
        if settings.errors == "profile" and name in results[0].free:
            for end, column in enumerate(("lower", "upper")):
                values = [_interval(result, name)[end] for result in results]
                table[f"{name}_{column}"] = rounded(values, DIGITS)
                table[f"{name}_{column}"].unit = table[name].unit
    table.meta.update(
        fit=settings.name,
        strategy=settings.strategy,
        expression=settings.model.expression,
        dataset=shard.dataset,
        scenario=shard.scenario,
        at_truth=list(settings.at_truth),
        free=list(results[0].free),
        energies=list(settings.energies),
        group_min=settings.group_min,
    )
    return table


def _interval(result: FitResult, name: str) -> tuple[float, float]:
    return result.intervals.get(name, (np.nan, np.nan))
