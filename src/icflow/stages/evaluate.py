"""Evaluation: scores of all detectors on the test spectra, metrics, Table 1."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from icflow.config import EvaluateSettings
from icflow.detection import metrics, table1
from icflow.detection.detectors import in_order, judge
from icflow.detection.evidence import PARTS, TEST, Evidence, Sample, Verdict, sizes_of, with_ic
from icflow.detection.published import PUBLISHED
from icflow.detection.tables import read_table, rows_of, stack, write_table
from icflow.errors import IcflowError
from icflow.files import write_json, write_text
from icflow.ogip.spectrum import SpectrumSet, read_spectra

SCORE_COLUMNS = ("dataset", "index", "part", "R_a")
FIT_COLUMNS = ("index", "cstat", "dof", "converged")


def run(
    settings: EvaluateSettings,
    scores: Sequence[Path],
    fits: Sequence[Path],
    spectra: Sequence[Path],
    output_scores: Path,
    output_metrics: Path,
    tables: Path,
) -> None:
    """Judge every detector of the configuration on the test datasets.

    Parameters
    ----------
    settings : EvaluateSettings
    scores : sequence of path
        Score tables ``.../{network}/fold-{fold}.ecsv``.
    fits : sequence of path
        Fit tables ``.../{dataset}/{fit}/shard-*.ecsv`` of the test datasets, and
        of others that detectors read.
    spectra : sequence of path
        Spectra of the test datasets, for the true parameters.
    output_scores : path
        Gets one row per test spectrum: class, true parameters (columns
        ``truth.*``), and score and decision of every detector.
    output_metrics : path
        Gets thresholds, confusion matrices and metrics with intervals.
    tables : path
        Folder that gets ``table1.csv``, ``table1.tex`` and ``table1.md``.

    Raises
    ------
    IcflowError
        If a file is missing a test spectrum or a column, or a detector lacks
        its inputs.
    """
    classes = with_ic(settings.datasets, settings.detection.training)
    sizes = sizes_of(settings.detection, settings.datasets)
    samples = {part: Sample.of(sizes[part], classes) for part in PARTS}
    sample = samples[TEST]
    score_tables, fit_tables = _read_scores(scores), _read_fits(fits, samples)
    evidence = Evidence(samples, classes, score_tables, fit_tables, settings.seed)
    judged = judge(settings.detection.detectors, evidence)
    verdicts = {name: judged[name] for name in in_order(settings.detection.detectors)}
    report = {
        "datasets": _describe_datasets(settings, classes),
        "seed": settings.seed,
        "bootstrap": settings.detection.bootstrap,
        "training": _training(score_tables),
        "versions": _versions(fit_tables[TEST]),
        "detectors": {
            name: describe(name, verdict, sample, settings) for name, verdict in verdicts.items()
        },
    }
    write_table(output_scores, _score_table(sample, _read_truth(spectra, sample), verdicts))
    write_json(output_metrics, report)
    for suffix, form in (("csv", table1.csv), ("tex", table1.latex), ("md", table1.markdown)):
        write_text(Path(tables) / f"table1.{suffix}", form(report))


def describe(
    name: str, verdict: Verdict, sample: Sample, settings: EvaluateSettings
) -> dict[str, Any]:
    """Return everything that ``metrics.json`` says about one detector."""
    detector, repeats = settings.detection.detectors[name], settings.detection.bootstrap
    random = metrics.generator(settings.seed, name)
    found = metrics.estimates(verdict.decision, sample.is_ic, repeats, random)
    area = metrics.bootstrap(
        lambda drawn: metrics.auc(verdict.score[drawn], sample.is_ic[drawn]),
        sample.is_ic,
        repeats,
        random,
    )
    found["auc"] = metrics.Estimate(metrics.auc(verdict.score, sample.is_ic), *area)
    published = PUBLISHED.get(name)
    return {
        "title": detector.title,
        "method": detector.method,
        "threshold": verdict.threshold,
        "fold_thresholds": list(verdict.fold_thresholds),
        "n_test": int(sample.is_ic.size),
        "confusion": asdict(metrics.confusion(verdict.decision, sample.is_ic)),
        "missing": verdict.missing,
        "unconverged": verdict.unconverged,
        **{
            key: {part: _defined(number) for part, number in asdict(estimate).items()}
            for key, estimate in found.items()
        },
        "published": asdict(published) if published else None,
    }


def _defined(number: float) -> float | None:
    """JSON knows no NaN: what is undefined becomes null."""
    return None if math.isnan(number) else number


# --- reading --------------------------------------------------------------------


def _read_scores(paths: Sequence[Path]) -> dict[str, list[Table]]:
    tables: dict[str, list[Table]] = {}
    # Folds by number, so that the order of the arguments does not matter.
    for path in sorted(map(Path, paths), key=lambda p: (p.parent.name, len(p.name), p.name)):
        tables.setdefault(path.parent.name, []).append(read_table(path, SCORE_COLUMNS))
    return tables


def _read_fits(paths: Sequence[Path], samples: Mapping[str, Sample]) -> dict[str, dict[str, Table]]:
    """Return for each part and fit the results in the order of the part's spectra."""
    shards: dict[tuple[str, str], list[Table]] = {}
    for path in sorted(map(Path, paths)):
        key = path.parent.name, path.parent.parent.name
        shards.setdefault(key, []).append(read_table(path, FIT_COLUMNS))
    found: dict[str, dict[str, Table]] = {}
    for part, sample in samples.items():
        datasets = set(sample.dataset.tolist())
        fits = sorted({fit for fit, dataset in shards if dataset in datasets})
        found[part] = {fit: _align(shards, fit, sample) for fit in fits}
    return found


def _align(shards: Mapping[tuple[str, str], Sequence[Table]], fit: str, sample: Sample) -> Table:
    parts = []
    for dataset in dict.fromkeys(sample.dataset.tolist()):
        if (fit, dataset) not in shards:
            raise IcflowError(f"fit {fit}: no results for the dataset {dataset}; fit its spectra")
        whole = stack(shards[fit, dataset])
        wanted = sample.index[sample.dataset == dataset]
        rows = rows_of(whole["index"], wanted, f"fit {fit} of the dataset {dataset}")
        part = whole[rows]
        part.meta = whole.meta
        parts.append(part)
    # What a fit takes from the truth differs between scenarios.
    shared = [name for name in parts[0].colnames if all(name in part.colnames for part in parts)]
    return stack([part[shared] for part in parts])


def _read_truth(paths: Sequence[Path], sample: Sample) -> dict[str, np.ndarray]:
    """Return the true parameters of the test spectra, NaN where a scenario has none."""
    sets: dict[str, list[SpectrumSet]] = {}
    for path in sorted(map(Path, paths)):
        spectra = read_spectra(path)
        sets.setdefault(spectra.dataset, []).append(spectra)
    truth: dict[str, np.ndarray] = {}
    for dataset in dict.fromkeys(sample.dataset.tolist()):
        if dataset not in sets:
            raise IcflowError(f"no spectra of the dataset {dataset} were given; add its files")
        here = sample.dataset == dataset
        index = np.concatenate([s.index for s in sets[dataset]])
        rows = rows_of(index, sample.index[here], f"spectra of the dataset {dataset}")
        for name in sets[dataset][0].truth:
            column = truth.setdefault(name, np.full(sample.index.size, math.nan))
            column[here] = np.concatenate([s.truth[name] for s in sets[dataset]])[rows]
    return truth


# --- writing --------------------------------------------------------------------


def _score_table(
    sample: Sample, truth: Mapping[str, np.ndarray], verdicts: Mapping[str, Verdict]
) -> Table:
    table = Table({"dataset": sample.dataset, "index": sample.index, "is_ic": sample.is_ic})
    for name, values in truth.items():
        table[f"truth.{name}"] = values
    for name, verdict in verdicts.items():
        if {name, f"{name}_decision"} & set(table.colnames):
            raise IcflowError(
                f"detection.detectors.{name}: the table of scores has a column of that name "
                "already; rename the detector"
            )
        table[name] = verdict.score
        table[f"{name}_decision"] = verdict.decision
    table.meta["thresholds"] = {name: verdict.threshold for name, verdict in verdicts.items()}
    return table


def _describe_datasets(settings: EvaluateSettings, classes: Mapping[str, bool]) -> dict[str, Any]:
    detection = settings.detection
    sizes = sizes_of(detection, settings.datasets)
    roles = {name: part for part, names in sizes.items() for name in names}
    return {
        name: {
            "scenario": settings.datasets[name].scenario,
            "size": settings.datasets[name].size,
            "role": role,
            "is_ic": classes[name],
        }
        for name, role in roles.items()
    }


def _training(tables: Mapping[str, Sequence[Table]]) -> dict[str, Any]:
    """Return how the networks were trained, as their score tables state it."""
    stated = [
        table.meta["training"]
        for folds in tables.values()
        for table in folds
        if "training" in table.meta
    ]
    return dict(stated[0]) if stated else {}


def _versions(fits: Mapping[str, Table]) -> dict[str, str]:
    """Return engine and versions behind the fits, as their tables state them."""
    keys = {
        "ENGINE": "engine",
        "XSPECVER": "XSPEC",
        "ATOMDB": "AtomDB",
        "ABUND": "abundances",
        "XSECT": "cross sections",
    }
    versions = {}
    for key, title in keys.items():
        values = {str(table.meta[key]) for table in fits.values() if key in table.meta}
        if values:
            versions[title] = " and ".join(sorted(values))
    return versions
