"""The report: one HTML file with every table, figure, setting and run time.

It opens offline: style and images are inside. Nothing in it is computed anew,
except sums over the tables of fits and over Snakemake's benchmark files.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from astropy.table import Table

from icflow import settings as settings_of
from icflow.config import Config
from icflow.detection import population, quality, table1
from icflow.detection.fits import reduced_cstat
from icflow.detection.input_files import fit_files
from icflow.errors import IcflowError
from icflow.files import read_json, write_text
from icflow.layout import Layout
from icflow.publish import measures
from icflow.publish.figures import registry
from icflow.publish.figures.base import network_order, read_metrics
from icflow.publish.findings import findings
from icflow.publish.pages import UNRECORDED, fill
from icflow.tables import floats, read_csv, read_table, stack, strings
from icflow.typing import Indices

FIT_COLUMNS = ("index", "cstat", "dof", "converged", "at_bound", "status")
# Formats that a browser shows, in the order of preference.
IMAGES = {"png": "image/png", "svg": "image/svg+xml"}
FAILURES_SHOWN = 100
MANY = 6  # columns that a window of half the width of a screen holds
LEAD = "forest"  # the figure that stands beside Table 1
SECTIONS = {
    "findings": "Findings",
    "made": "How it was made",
    "figures": "Figures",
    "detectors": "All that was measured",
    "fits": "Fits",
    "times": "Run times",
    "versions": "Versions and inputs",
    "configuration": "Configuration",
}
VERSIONS = {
    "engine": "Engine",
    "xspec": "XSPEC",
    "atomdb": "AtomDB",
    "abundances": "Abundances",
    "cross_sections": "Cross sections",
    "git_revision": "Git revision",
}


@dataclass(frozen=True)
class HtmlTable:
    """A table as the template takes it: the first cell of a row is its heading.

    Narrow windows show each row as a list of its cells; so do windows that are not wide for a
    table of many columns.

    Attributes
    ----------
    caption : str
    frame : DataFrame
        Of texts.
    kinds : mapping of str to str
        Classes in HTML of the columns that do not hold numbers, the first aside.
    """

    caption: str
    frame: pd.DataFrame
    kinds: Mapping[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> list[tuple[str, str]]:
        """Heading and class of each column."""
        return [(str(name), self.kinds.get(str(name), "number")) for name in self.frame.columns]

    @property
    def wide(self) -> bool:
        """Whether it has so many columns that only a wide window holds them side by side."""
        return len(self.frame.columns) > MANY

    @property
    def rows(self) -> list[list[str]]:
        """The cells, row by row."""
        rows: list[list[str]] = self.frame.to_numpy().tolist()
        return rows


def run(config: Config, results: Path, output: Path) -> None:
    """Write the report of a finished run.

    Parameters
    ----------
    config : Config
        The whole configuration.
    results : path
        Folder of the results (`icflow.layout.Layout`).
    output : path
        HTML file to write.

    Raises
    ------
    IcflowError
        If a result is missing or not what it should be.
    """
    layout = Layout(Path(results))
    metrics = read_metrics(layout.metrics)
    fits = list(_fits(config, layout))
    record = read_record(layout)
    figures = {name: _figure(config, layout, name) for name in registry.FIGURES}
    tree = config.model_dump(mode="json", exclude_none=True)
    page = fill(
        "report.html.j2",
        title="Inverse Compton emission in simulated galaxy cluster spectra",
        findings=findings(metrics),
        lead=figures.pop(LEAD, None),
        summary=summary(config),
        revision=revision(record),
        sections=SECTIONS,
        table1=_table1(metrics),
        thresholds=_thresholds(metrics),
        quality=_quality(metrics),
        figures=list(figures.values()),
        fits=_fit_table(fits),
        failed=_failed_table(fits),
        times=_times(layout.benchmarks),
        versions=_versions(record),
        resources=_resources(record),
        configuration=yaml.safe_dump(tree, sort_keys=False, allow_unicode=True),
    )
    write_text(output, page)


def read_record(results: Layout) -> dict[str, Any]:
    """Read what a run was made with.

    Raises
    ------
    IcflowError
        If it is missing or not whole.
    """
    return read_json(results.record, "engine", "the record of a run", "record the run again")


def revision(record: Mapping[str, Any]) -> str:
    """Return the revision that a run was made with."""
    return str(record.get("git_revision") or UNRECORDED)


def summary(config: Config) -> str:
    """Return what the run did, in three sentences."""
    sizes = [f"{d.size:,} {d.scenario} ({name})" for name, d in config.datasets.items()]
    tested = [config.simulated(name) for name in config.detection.test]
    training = config.autoencoder.training
    names = network_order(config.autoencoder)
    epochs = {name: settings_of.train(config, name, 0).training.epochs for name in names}
    exposures = [
        f"{m.exposure / 1e3:,.0f} ks" + f" ({m.name})" * bool(m.name) for m in config.modules
    ]
    return (
        f"Simulated spectra: {'; '.join(sizes)}, {' and '.join(exposures)} each, "
        f"engine {config.engine}. Population: {population.describe(tested)}. "
        f"Autoencoders ({', '.join(name.upper() for name in names)}): "
        f"{training.folds_trained} of {training.folds} folds of {training.spectra:,} spectra, "
        f"{table1.epochs(epochs)}."
    )


# --- detectors ------------------------------------------------------------------


def _table1(metrics: Mapping[str, Any]) -> HtmlTable:
    frame = table1.frame(metrics).rename(columns={"sees of IC": "Sees of IC"})
    return HtmlTable(table1.caption(metrics), frame, {"Sees of IC": "text"})


def _thresholds(metrics: Mapping[str, Any]) -> HtmlTable:
    frame = pd.DataFrame(
        {
            "Detector": entry["title"],
            "Area under ROC": table1.interval(entry["auc"]),
            "Threshold": f"{entry['threshold']:.4g}",
            "Thresholds of the folds": ", ".join(f"{v:.4g}" for v in entry["fold_thresholds"])
            or "–",
            "Balanced accuracy of each fold": ", ".join(
                f"{v:.3f}" for v in entry["fold_accuracies"]
            )
            or "–",
            "No score": f"{entry['missing']:,}",
            "Unconverged": f"{entry['unconverged']:,}",
        }
        for entry in metrics["detectors"].values()
    )
    caption = (
        "Thresholds (a score above means IC) and the area under the receiver operating "
        "characteristic, which needs none; of networks also what each fold alone chooses and "
        "reaches; test spectra without a score, which count as not "
        "called IC, and with a score from a fit that did not converge."
    )
    return HtmlTable(caption, frame)


def _quality(metrics: Mapping[str, Any]) -> HtmlTable:
    """Return all that is measured and stands in neither of the other tables."""
    shown = [q for q in quality.measured(metrics) if q not in (*table1.QUANTITIES, "auc")]
    caption = (
        "False-alarm rate at the threshold, average precision, rates at fixed rates, and how good "
        "the probabilities of IC are (without any knowledge: Brier score 0.25, log loss 0.693). "
        "Intervals as in Table 1."
    )
    return HtmlTable(caption, measures.frame(metrics, shown))


# --- figures --------------------------------------------------------------------


def _figure(config: Config, results: Layout, name: str) -> dict[str, Any]:
    paths = {
        suffix: results.figure(registry.file_name(name), suffix)
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
        "source": f"data:{IMAGES[suffix]};base64,{data}",
        **registry.words(config, name),
    }


# --- fits -----------------------------------------------------------------------


@dataclass(frozen=True)
class FitResults:
    """All results of one fit of one dataset."""

    name: str
    table: Table

    @property
    def failed(self) -> Indices:
        """Rows of fits that did not converge, or could not be made."""
        status = np.array(strings(self.table, "status"))
        converged = np.asarray(self.table["converged"], dtype=bool)
        return np.flatnonzero(~converged | (status != "ok"))

    @property
    def median(self) -> float:
        """Median of C/dof, NaN where there is none."""
        quality = reduced_cstat(self.table)
        quality = quality[np.isfinite(quality)]
        return float(np.median(quality)) if quality.size else math.nan


def _fits(config: Config, results: Layout) -> Iterator[FitResults]:
    training = config.detection.training
    labels = [results.labels(training, shard) for shard in config.shards(training)]
    yield FitResults(f"{training}, label", _read_fits(labels))
    for (dataset, fit), shards in fit_files(config, results).items():
        yield FitResults(f"{dataset}, {fit}", _read_fits(shards))


def _read_fits(paths: Sequence[Path]) -> Table:
    return stack([read_table(path, FIT_COLUMNS)[list(FIT_COLUMNS)] for path in paths])


def _fit_table(fits: Sequence[FitResults]) -> HtmlTable:
    frame = pd.DataFrame(
        {
            "Dataset, fit": fit.name,
            "Spectra": f"{len(fit.table):,}",
            "Failed": f"{fit.failed.size:,}",
            "Parameter at a bound": f"{sum(map(bool, strings(fit.table, 'at_bound'))):,}",
            "Median C/dof": f"{fit.median:.3f}",
        }
        for fit in fits
    )
    return HtmlTable("Fits of each dataset; failed fits did not converge.", frame)


def _failed_table(fits: Sequence[FitResults]) -> HtmlTable:
    rows: list[dict[str, str]] = []
    for fit in fits:
        index, cstat, dof = (floats(fit.table, name) for name in ("index", "cstat", "dof"))
        status = strings(fit.table, "status")
        rows += [
            {
                "Dataset, fit": fit.name,
                "Spectrum": f"{index[row]:.0f}",
                "C / dof": f"{cstat[row]:.2f} / {dof[row]:.0f}",
                "Status": status[row] if status[row] != "ok" else "not converged",
            }
            for row in fit.failed
        ]
    total = len(rows)
    caption = f"The {total:,} failed fits."
    if total > FAILURES_SHOWN:
        caption = f"The first {FAILURES_SHOWN} of {total:,} failed fits; the tables hold them all."
    return HtmlTable(caption, pd.DataFrame(rows[:FAILURES_SHOWN]), {"Status": "text"})


# --- times and versions -----------------------------------------------------------


def _times(folder: Path) -> HtmlTable:
    """Sum Snakemake's benchmark files by stage, the first part of their paths."""
    files = [
        read_csv(path, ("s", "max_rss"), separator="\t", undefined=("NA", "-", "")).assign(
            stage=path.relative_to(folder).parts[0].removesuffix(".tsv")
        )
        for path in sorted(folder.rglob("*.tsv"))
    ]
    jobs = pd.concat(files).dropna(subset="s") if files else pd.DataFrame(columns=["stage"])
    frame = pd.DataFrame(
        {
            "Stage": stage,
            "Jobs": f"{len(own):,}",
            "Wall time, all jobs": _duration(own["s"].sum()),
            "Wall time, longest job": _duration(own["s"].max()),
            "Largest memory (MiB)": "–"
            if own["max_rss"].isna().all()
            else f"{own['max_rss'].max():,.0f}",
        }
        for stage, own in jobs.groupby("stage", sort=False)
    )
    return HtmlTable(
        "Wall time and memory of the jobs of each stage, the latest run of each; jobs run side by "
        "side, so the sums exceed the time waited.",
        frame,
    )


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _versions(record: Mapping[str, Any]) -> dict[str, str]:
    packages = record.get("packages") or {}
    listed = ", ".join(f"{name} {version}" for name, version in packages.items())
    versions = {title: str(record.get(key) or "–") for key, title in VERSIONS.items()}
    return versions | {"Packages": listed or "–"}


def _resources(record: Mapping[str, Any]) -> HtmlTable:
    rows = [[name, str(digest)] for name, digest in (record.get("resources") or {}).items()]
    frame = pd.DataFrame(rows, columns=["File", "SHA-256"])
    return HtmlTable("Input files of the run.", frame, {"SHA-256": "mono"})
