"""The report: one HTML file with every table, figure, setting and run time.

It opens offline: style and images are inside. Nothing in it is computed anew,
except sums over the tables of fits and over Snakemake's benchmark files.
"""

from __future__ import annotations

import base64
import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from astropy.table import Table
from jinja2 import Environment, PackageLoader, StrictUndefined

from icflow import settings as settings_of
from icflow.config import Config
from icflow.detection import quality, table1
from icflow.detection.by_fits import reduced_cstat
from icflow.detection.detectors import fits_read
from icflow.errors import IcflowError
from icflow.files import write_text
from icflow.publish.figures import registry
from icflow.publish.figures.base import network_order, read_metrics
from icflow.tables import floats, read_table, stack, strings

FIT_COLUMNS = ("index", "cstat", "dof", "converged", "at_bound", "status")
# Formats that a browser shows, in the order of preference.
IMAGES = {"png": "image/png", "svg": "image/svg+xml"}
FAILURES_SHOWN = 100


@dataclass(frozen=True)
class Column:
    """Heading of a column of a table; `kind` is its class in HTML."""

    title: str
    kind: str = "number"


@dataclass(frozen=True)
class HtmlTable:
    """A table as the template takes it: the first cell of a row is its heading."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]


def run(config: Config, results: Path, output: Path) -> None:
    """Write the report of a finished run.

    Parameters
    ----------
    config : Config
        The whole configuration.
    results : path
        Folder of the results: figures, ``evaluation/metrics.json``, ``fits``,
        ``labels``, ``run.json``, and ``benchmarks`` where there are any.
    output : path
        HTML file to write.

    Raises
    ------
    IcflowError
        If a result is missing or not what it should be.
    """
    results = Path(results)
    metrics = read_metrics(results / "evaluation" / "metrics.json")
    fits = list(_fits(config, results))
    record = _read_record(results / "run.json")
    environment = Environment(
        loader=PackageLoader("icflow.publish"), autoescape=True, undefined=StrictUndefined,
        keep_trailing_newline=True,
    )  # fmt: skip
    page = environment.get_template("report.html.j2").render(
        title="Inverse Compton emission in simulated galaxy cluster spectra",
        summary=summary(config),
        sections=[
            ("detectors", "Detectors"),
            ("figures", "Figures"),
            ("fits", "Fits"),
            ("times", "Run times"),
            ("versions", "Versions and inputs"),
            ("configuration", "Configuration"),
        ],
        table1=_table1(metrics),
        thresholds=_thresholds(metrics),
        quality=_quality(metrics),
        figures=[_figure(config, results, name) for name in registry.FIGURES],
        fits=_fit_table(fits),
        failed=_failed_table(fits),
        times=_times(results / "benchmarks"),
        versions=_versions(record),
        resources=_resources(record),
        configuration=yaml.safe_dump(
            config.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True
        ),
    )
    write_text(output, page)


def summary(config: Config) -> str:
    """Return what the run did, in two sentences."""
    sizes = [f"{d.size:,} {d.scenario} ({name})" for name, d in config.datasets.items()]
    training = config.autoencoder.training
    names = network_order(config.autoencoder)
    epochs = {name: settings_of.train(config, name, 0).training.epochs for name in names}
    return (
        f"Simulated spectra: {'; '.join(sizes)}, {config.instrument.exposure / 1e3:,.0f} ks each, "
        f"engine {config.engine}. Autoencoders ({', '.join(name.upper() for name in names)}): "
        f"{training.folds_trained} of {training.folds} folds of {training.spectra:,} spectra, "
        f"{table1.epochs(epochs)}."
    )


# --- detectors ------------------------------------------------------------------


def _table1(metrics: Mapping[str, Any]) -> HtmlTable:
    columns = [Column("Detector", "text"), Column("Sees of IC", "text")]
    for quantity in table1.QUANTITIES:
        columns += [Column(table1.HEADINGS[quantity]), Column("published")]
    rows = [
        [
            entry["title"],
            table1.SEEN[entry["sees"]],
            *(
                cell
                for quantity in table1.QUANTITIES
                for cell in (table1.interval(entry[quantity]), table1.published(entry, quantity))
            ),
        ]
        for entry in metrics["detectors"].values()
    ]
    return HtmlTable(table1.caption(metrics), columns, rows)


def _thresholds(metrics: Mapping[str, Any]) -> HtmlTable:
    titles = ("Area under ROC", "Threshold", "Thresholds of the folds", "No score", "Unconverged")
    rows = [
        [
            entry["title"],
            table1.interval(entry["auc"]),
            f"{entry['threshold']:.4g}",
            ", ".join(f"{value:.4g}" for value in entry["fold_thresholds"]) or "–",
            f"{entry['missing']:,}",
            f"{entry['unconverged']:,}",
        ]
        for entry in metrics["detectors"].values()
    ]
    caption = (
        "Thresholds (a score above means IC) and the area under the receiver operating "
        "characteristic, which needs none; test spectra without a score, which count as not "
        "called IC, and with a score from a fit that did not converge."
    )
    return HtmlTable(caption, [Column("Detector", "text"), *map(Column, titles)], rows)


def _quality(metrics: Mapping[str, Any]) -> HtmlTable:
    """Return all that is measured and stands in neither of the other tables."""
    shown = [q for q in quality.measured(metrics) if q not in (*table1.QUANTITIES, "auc")]
    rows = [
        [entry["title"], *(table1.interval(entry[quantity]) for quantity in shown)]
        for entry in metrics["detectors"].values()
    ]
    caption = (
        "False-alarm rate at the threshold, average precision, rates at fixed rates, and how good "
        "the probabilities of IC are (without any knowledge: Brier score 0.25, log loss 0.693). "
        "Intervals as in Table 1."
    )
    columns = [Column("Detector", "text"), *(Column(quality.title(q)) for q in shown)]
    return HtmlTable(caption, columns, rows)


# --- figures --------------------------------------------------------------------


def _figure(config: Config, results: Path, name: str) -> dict[str, Any]:
    paths = {
        suffix: results / "figures" / f"{registry.file_name(name)}.{suffix}"
        for suffix in IMAGES
        if suffix in config.figures.formats
    }
    if not paths:
        raise IcflowError(
            f"figures.formats is {config.figures.formats}: the report shows {' or '.join(IMAGES)}; "
            "add one of them"
        )
    suffix, path = next(iter(paths.items()))
    try:
        data = base64.b64encode(path.read_bytes()).decode("ascii")
    except OSError as error:
        raise IcflowError(f"{path}: cannot be read ({error.strerror}); draw the figure") from None
    return {
        "id": registry.file_name(name),
        "title": registry.title(name),
        "source": f"data:{IMAGES[suffix]};base64,{data}",
        "alt": registry.kind(name).alt,
        "caption": registry.kind(name).caption(config),
    }


# --- fits -----------------------------------------------------------------------


@dataclass(frozen=True)
class FitResults:
    """All results of one fit of one dataset."""

    dataset: str
    fit: str
    table: Table

    @property
    def failed(self) -> np.ndarray:
        """Rows of fits that did not converge, or could not be made."""
        status = np.array(strings(self.table, "status"))
        converged = np.asarray(self.table["converged"], dtype=bool)
        return np.flatnonzero(~converged | (status != "ok"))


def _fits(config: Config, results: Path) -> Iterator[FitResults]:
    training = config.detection.training
    folders = [(training, "label", results / "labels" / training, config.datasets[training].size)]
    folders += [
        (dataset, fit, results / "fits" / dataset / fit, size)
        for (dataset, fit), size in fits_read(config).items()
    ]
    for dataset, fit, folder, size in folders:
        tables = [
            read_table(folder / f"shard-{shard:04d}.ecsv", FIT_COLUMNS)[list(FIT_COLUMNS)]
            for shard in config.shards(dataset, size)
        ]
        yield FitResults(dataset, fit, stack(tables))


def _fit_table(fits: Sequence[FitResults]) -> HtmlTable:
    rows = []
    for entry in fits:
        bounds = np.array(strings(entry.table, "at_bound"))
        quality = reduced_cstat(entry.table)
        median = (
            float(np.median(quality[np.isfinite(quality)]))
            if np.isfinite(quality).any()
            else (math.nan)
        )
        rows.append(
            [
                f"{entry.dataset}, {entry.fit}",
                f"{len(entry.table):,}",
                f"{entry.failed.size:,}",
                f"{int(np.sum(bounds != '')):,}",
                f"{median:.3f}",
            ]
        )
    columns = [
        Column("Dataset, fit", "text"), Column("Spectra"), Column("Failed"),
        Column("Parameter at a bound"), Column("Median C/dof"),
    ]  # fmt: skip
    return HtmlTable("Fits of each dataset; failed fits did not converge.", columns, rows)


def _failed_table(fits: Sequence[FitResults]) -> HtmlTable:
    rows = []
    for entry in fits:
        index, cstat, dof = (floats(entry.table, name) for name in ("index", "cstat", "dof"))
        status = strings(entry.table, "status")
        rows += [
            [
                f"{entry.dataset}, {entry.fit}",
                f"{index[row]:.0f}",
                f"{cstat[row]:.2f} / {dof[row]:.0f}",
                status[row] if status[row] != "ok" else "not converged",
            ]
            for row in entry.failed
        ]
    columns = [
        Column("Dataset, fit", "text"), Column("Spectrum"), Column("C / dof"),
        Column("Status", "text"),
    ]  # fmt: skip
    total = len(rows)
    caption = f"The {total:,} failed fits."
    if total > FAILURES_SHOWN:
        caption = f"The first {FAILURES_SHOWN} of {total:,} failed fits; the tables hold them all."
    return HtmlTable(caption, columns, rows[:FAILURES_SHOWN])


# --- times and versions -----------------------------------------------------------


def _times(folder: Path) -> HtmlTable:
    """Sum Snakemake's benchmark files by stage, the first part of their paths."""
    stages: dict[str, list[dict[str, float]]] = {}
    for path in sorted(folder.rglob("*.tsv")):
        stage = path.relative_to(folder).parts[0].removesuffix(".tsv")
        stages.setdefault(stage, []).extend(_benchmark(path))
    rows = [
        [
            stage,
            f"{len(jobs):,}",
            _duration(sum(job["s"] for job in jobs)),
            _duration(max(job["s"] for job in jobs)),
            _largest(job["max_rss"] for job in jobs),
        ]
        for stage, jobs in stages.items()
        if jobs
    ]
    columns = [
        Column("Stage", "text"), Column("Jobs"), Column("Wall time, all jobs"),
        Column("Wall time, longest job"), Column("Largest memory (MiB)"),
    ]  # fmt: skip
    return HtmlTable(
        "Wall time and memory of the jobs of each stage, the latest run of each; jobs run side by "
        "side, so the sums exceed the time waited.",
        columns,
        rows,
    )


def _benchmark(path: Path) -> list[dict[str, float]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    jobs = [{key: _float(row.get(key)) for key in ("s", "max_rss")} for row in rows]
    return [job for job in jobs if not math.isnan(job["s"])]


def _float(text: str | None) -> float:
    """Snakemake writes NA or - where it did not measure."""
    try:
        return float(text or "")
    except ValueError:
        return math.nan


def _largest(values: Iterable[float]) -> str:
    known = [value for value in values if not math.isnan(value)]
    return f"{max(known):,.0f}" if known else "–"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise IcflowError(f"{path}: cannot be read ({error.strerror}); record the run") from None
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise IcflowError(f"{path}: not the record of a run; delete it and run the workflow again")
    return record


def _versions(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    titles = {
        "engine": "Engine", "xspec": "XSPEC", "atomdb": "AtomDB", "abundances": "Abundances",
        "cross_sections": "Cross sections", "git_revision": "Git revision",
    }  # fmt: skip
    found = [(title, str(record.get(key) or "–")) for key, title in titles.items()]
    packages = record.get("packages") or {}
    return [*found, ("Packages", ", ".join(f"{name} {v}" for name, v in packages.items()) or "–")]


def _resources(record: Mapping[str, Any]) -> HtmlTable:
    rows = [[name, str(digest)] for name, digest in (record.get("resources") or {}).items()]
    columns = [Column("File", "text"), Column("SHA-256", "mono")]
    return HtmlTable("Input files of the run.", columns, rows)
