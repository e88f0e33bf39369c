"""Stage: the same spectra through both engines, as a user's test of the XSPEC at hand."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from tqdm import tqdm

from icflow import settings as settings_of
from icflow.config import Config
from icflow.engines.base import Engine, FitResult
from icflow.engines.registry import make_engine
from icflow.models.expression import parse
from icflow.models.scenario import complete, draw
from icflow.ogip.grouping import group_counts, grouped_selection
from icflow.ogip.response import read_rmf
from icflow.publish.figures import engine_comparison, style
from icflow.settings import FitSettings
from icflow.statistic import cstat
from icflow.tables import strings, write_table
from icflow.typing import DrawnCounts, Floats

# Channels with fewer expected counts, relative to the most, are not compared.
FAINT = 1e-7
SAME = 0.01  # in C: fits that end this close are the same, by XSPEC's own measure
TOLD = 10  # fits that are told of one by one
FIGURES = (".pdf", ".png")


def run(config: Config, count: int, output: Path, figure: Sequence[Path]) -> str:
    """Compare the engines on the first `count` spectra of every test dataset.

    The parameters are those of the datasets; the counts are drawn by the
    embedded engine. Every fit under ``fits.baseline`` is made by both.

    Parameters
    ----------
    output : Path
        Table to write, one row for each spectrum and fit: the largest relative
        difference of expected counts, that of C at the true parameters, C of
        both fits, which is `lower`, how many seconds each took, and for every
        free parameter the difference in units of the embedded engine's error.
        Differences are xspec minus embedded.
    figure : sequence of Path
        Files of the figure, each in the format of its suffix; by default a PDF
        and a PNG beside the table.

    Returns
    -------
    str
        The largest differences, in a few lines.

    Raises
    ------
    IcflowError
        If an engine is not there.
    """
    engines = {
        name: make_engine(name, config.modules, config.atomic_data)
        for name in ("xspec", "embedded")
    }
    rows = (row for name in config.detection.test for row in _compare(config, name, count, engines))
    total = count * len(config.detection.test) * len(config.fits.baseline)
    table = tabulate(
        list(tqdm(rows, desc="compare-engines", unit=" fits", total=total, mininterval=5))
    )
    for name, engine in engines.items():
        table.meta.update({f"{name}_{key}": value for key, value in engine.versions().items()})
    table.meta.update(spectra=count, starts=config.fits.starts)
    write_table(output, table)
    figure = figure or [output.with_suffix(suffix) for suffix in FIGURES]
    style.write(lambda: engine_comparison.draw(table), config.figures.dpi, figure)
    return summary(table)


def _compare(
    config: Config, dataset: str, count: int, engines: Mapping[str, Engine]
) -> Iterator[dict[str, Any]]:
    """Compare xspec and embedded on one dataset; yield a row for each spectrum and fit."""
    simulation = settings_of.simulate(config, dataset)
    expression = simulation.model.expression
    settings = complete(parse(expression), simulation.model.parameters, "parameters")
    counts, truth = engines["embedded"].fake(
        expression, settings, config.seed, dataset, range(count)
    )
    for index in range(count):
        values = draw(settings, config.seed, dataset, index)
        # Values alone: a link to a value that is given is a given value too.
        expected = [engine.predict(expression, values) for engine in engines.values()]
        xspec, embedded = (_at_truth(config, counts[index], each) for each in expected)
        shared = {
            "dataset": dataset,
            "index": index,
            "counts_difference": _largest(*expected),
            "cstat_at_truth_difference": xspec - embedded,
        }
        here = {name: value[index : index + 1] for name, value in truth.items()}
        for name in config.fits.baseline:
            fit = settings_of.baseline(config, name)
            pair = [_fit(engine, fit, counts[index], here) for engine in engines.values()]
            (ours, theirs), seconds = zip(*pair, strict=True)
            taken = {f"seconds_{engine}": s for engine, s in zip(engines, seconds, strict=True)}
            told = {"fit": name, "strategy": fit.strategy}
            yield {**shared, **told, **_differences(ours, theirs), **taken}


def _largest(first: Floats, second: Floats) -> float:
    big = second > FAINT * second.max()
    return float(np.abs(first[big] / second[big] - 1).max())


def _at_truth(config: Config, counts: DrawnCounts, expected: Floats) -> float:
    """Return C of a spectrum for given expected counts, grouped as the fits group it."""
    rmf, fits = read_rmf(config.modules[0].rmf), config.fits
    low, high = fits.energies
    starts, stops = grouped_selection(counts, rmf.e_min, rmf.e_max, low, high, fits.group_min)
    grouped = group_counts(counts.astype(np.float64), starts, stops)
    return float(cstat(grouped, group_counts(expected, starts, stops)))


def _fit(
    engine: Engine, fit: FitSettings, counts: DrawnCounts, truth: dict[str, Floats]
) -> tuple[FitResult, float]:
    """Return a fit and the seconds that it took."""
    begin = time.perf_counter()
    (result,) = engine.fit(fit.model, fit, counts[None], truth, fit.at_truth)
    return result, round(time.perf_counter() - begin, 3)


def _differences(xspec: FitResult, embedded: FitResult) -> dict[str, Any]:
    """Return the columns that compare two fits."""
    above = xspec.cstat - embedded.cstat
    columns: dict[str, Any] = {
        "cstat_xspec": xspec.cstat,
        "cstat_embedded": embedded.cstat,
        "cstat_difference": above,
        "lower": "embedded" if above > SAME else "xspec" if above < -SAME else "neither",
        "status_xspec": xspec.status,
        "status_embedded": embedded.status,
    }
    for name in embedded.free:
        difference = xspec.values[name] - embedded.values[name]
        columns[f"{name}_difference"] = difference / embedded.errors[name]
    return columns


def tabulate(rows: Sequence[dict[str, Any]]) -> Table:
    """Return rows as a table; a parameter that a fit does not have is NaN."""
    names = dict.fromkeys(name for row in rows for name in row)
    return Table({name: [row.get(name, np.nan) for row in rows] for name in names})


def summary(table: Table) -> str:
    """Say how far the engines are apart, for a person to read."""
    differences = np.asarray(table["cstat_difference"], dtype=np.float64)
    at_truth = np.abs(np.asarray(table["cstat_at_truth_difference"])).max()
    seconds = [np.median(table[f"seconds_{engine}"]) for engine in ("xspec", "embedded")]
    failed = np.count_nonzero(~np.isfinite(differences))
    return "\n".join(
        [
            f"XSPEC {table.meta['xspec_XSPECVER']} against the embedded engine, "
            f"{table.meta['embedded_XSPECVER']}, AtomDB {table.meta['xspec_ATOMDB']}",
            *_one_library(str(table.meta["embedded_XSPECVER"])),
            f"expected counts differ by at most {np.max(table['counts_difference']):.1e}, relative",
            f"C at the true parameters differs by at most {at_truth:.1e}",
            f"C of fits, XSPEC minus embedded, and who is lower by more than {SAME}:",
            *_by_fit(table, differences),
            "most apart:",
            *(_most_different(table, differences) or ["  none"]),
            f"failed fits: {failed} of {len(table)}",
            f"a fit takes {seconds[0]:.2g} s by XSPEC, {seconds[1]:.2g} s by the embedded engine "
            "(median)",
        ]
    )


def _one_library(version: str) -> list[str]:
    """Return a sentence where the embedded engine has its models from XSPEC's own library."""
    if not version.startswith("HEASoft at"):
        return []
    return [
        "both take their models from the HEASoft of HEADAS, so expected counts compare the folding "
        "alone; install xspectrampoline to compare two libraries"
    ]


def _by_fit(table: Table, differences: Floats) -> list[str]:
    """Return for each fit how far the engines are apart."""
    names, strategies, lower = (
        np.array(strings(table, key)) for key in ("fit", "strategy", "lower")
    )
    lines = []
    for name in dict.fromkeys(names):
        own = names == name
        finite = differences[own & np.isfinite(differences)]
        apart = "none to compare"
        if finite.size:
            apart = f"{finite.min():+.3f} to {finite.max():+.3f}, median {np.median(finite):+.3f}"
        wins = [np.count_nonzero(lower[own] == engine) for engine in ("xspec", "embedded")]
        lines.append(
            f"  {name} ({strategies[own][0]}): {apart}; XSPEC in {wins[0]}, the embedded engine in "
            f"{wins[1]} of {np.count_nonzero(own)}"
        )
    return lines


def _most_different(table: Table, differences: Floats) -> list[str]:
    """Return which fits end most apart, spectrum by spectrum."""
    apart = np.where(np.isfinite(differences), np.abs(differences), 0.0)
    rows = [row for row in np.argsort(-apart, kind="stable")[:TOLD] if apart[row] > SAME]
    return [
        f"  {table['dataset'][row]} {table['index'][row]}, {table['fit'][row]}: "
        f"{table['lower'][row]} lower by {apart[row]:.3g}"
        for row in rows
    ]
