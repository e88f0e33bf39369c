"""Evaluation: scores of all detectors on the test spectra, metrics, tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Column, Table

from icflow.config import Detection
from icflow.detection import differences, metrics, quality, table1
from icflow.detection.calibration import Calibration, probability_of
from icflow.detection.detectors import METHODS, in_order, judge
from icflow.detection.evidence import (
    HELD_OUT,
    PARTS,
    REFERENCE,
    TEST,
    VALIDATION,
    Evidence,
    Sample,
    Verdict,
    sizes_of,
    with_ic,
)
from icflow.detection.published import PUBLISHED
from icflow.detection.quality import Resampling
from icflow.errors import IcflowError
from icflow.files import write_json, write_text
from icflow.ogip.spectra import SpectrumSet, read_spectra
from icflow.settings import EvaluateSettings
from icflow.tables import floats, read_table, rows_of, stack, strings, write_table
from icflow.typing import Floats

SCORE_COLUMNS = ("dataset", "index", "part", "R_a")
FIT_COLUMNS = ("index", "cstat", "dof", "converged")
FLUXES = ("ic_flux", "thermal_flux", "ic_norm")
INTEGRAL_COLUMNS = ("index", "log_evidence", "error", "effective")


def run(
    settings: EvaluateSettings,
    scores: Sequence[Path],
    fits: Sequence[Path],
    integrals: Sequence[Path],
    spectra: Sequence[Path],
    output_scores: Path,
    output_metrics: Path,
    tables: Path,
    fluxes: Path | None = None,
    output_validation: Path | None = None,
) -> None:
    """Judge every detector of the configuration on the test datasets.

    Parameters
    ----------
    settings : EvaluateSettings
    scores : sequence of path
        Score tables ``.../{network}/fold-{fold}.ecsv``; those of one fold may
        be in several files.
    fits : sequence of path
        Fit tables ``.../{dataset}/{fit}/shard-*.ecsv`` of the test datasets, and
        of others that detectors read.
    integrals : sequence of path
        Tables of evidences ``.../{dataset}/{integral}/shard-*.ecsv`` of the test
        and validation datasets, those that detectors read.
    spectra : sequence of path
        Spectra of the test datasets, for the true parameters.
    output_scores : path
        Gets one row per test spectrum: class, true parameters (columns
        ``truth.*``), true fluxes, and score, decision and probability of every
        detector.
    output_metrics : path
        Gets thresholds, confusion matrices, metrics with intervals, and the
        differences between detectors with paired ones.
    tables : path
        Folder that gets ``table1`` (csv, tex, md) and ``differences`` (csv, md).
    fluxes : path, optional
        True fluxes of the test spectra (`icflow.stages.fluxes`), to add to the
        scores.
    output_validation : path, optional
        Gets one row per validation spectrum: class, and score of every detector.

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
    score_tables = _read_scores(scores, samples, settings.held_out)
    fit_tables = _read_tables("fit", fits, FIT_COLUMNS, samples)
    integral_tables = _read_tables("integral", integrals, INTEGRAL_COLUMNS, samples)
    evidence = Evidence(
        samples, classes, score_tables, fit_tables, settings.seed, integrals=integral_tables
    )
    judged = judge(settings.detection.detectors, evidence)
    verdicts = {name: judged[name] for name in in_order(settings.detection.detectors)}
    probabilities = {
        name: _probability(name, verdict, samples[VALIDATION]) for name, verdict in verdicts.items()
    }
    resampling = Resampling.draw(
        sample.is_ic, settings.detection.bootstrap, metrics.generator(settings.seed, "resampling")
    )
    draws = {
        name: measure(verdict, probabilities[name], resampling, settings.detection)
        for name, verdict in verdicts.items()
    }
    pairs = differences.compare(draws)
    report = {
        "datasets": _describe_datasets(settings, classes),
        "seed": settings.seed,
        "bootstrap": settings.detection.bootstrap,
        "ceiling": settings.detection.ceiling,
        "training": _training(score_tables),
        "versions": _versions(fit_tables[TEST]),
        "detectors": {
            name: describe(name, verdict, draws[name], sample, settings)
            for name, verdict in verdicts.items()
        },
        "differences": {
            first: {other: _plain(found) for other, found in others.items()}
            for first, others in pairs.items()
        },
    }
    truth = _read_truth(spectra, sample)
    if fluxes is not None:
        truth |= _read_fluxes(fluxes, sample)
    write_table(output_scores, _score_table(sample, truth, verdicts, probabilities))
    if output_validation is not None:
        write_table(output_validation, _validation_table(samples[VALIDATION], verdicts))
    write_json(output_metrics, report)
    for name, form in TABLES.items():
        write_text(Path(tables) / name, form(report))


TABLES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "table1.csv": table1.csv,
    "table1.tex": table1.latex,
    "table1.md": table1.markdown,
    "differences.csv": differences.csv,
    "differences.md": differences.markdown,
}


def _probability(name: str, verdict: Verdict, validation: Sample) -> Floats:
    """Return the probabilities of IC that a detector's scores of the test spectra mean."""
    if verdict.log_odds:
        return probability_of(verdict.score)
    try:
        return Calibration.fit(verdict.validation, validation.is_ic).apply(verdict.score)
    except IcflowError as error:
        raise IcflowError(f"detection.detectors.{name}: {error}") from None


def measure(
    verdict: Verdict, probability: Floats, resampling: Resampling, detection: Detection
) -> dict[str, Floats]:
    """Return how good a detector is, on the test spectra and on every resampling of them."""
    is_ic = resampling.is_ic
    return resampling.apply(
        lambda weights: (
            quality.of_decisions(verdict.decision, is_ic, weights)
            | quality.of_scores(
                verdict.score, is_ic, detection.recalls, detection.false_alarms, weights
            )
            | quality.of_probabilities(probability, is_ic, weights)
        )
    )


def describe(
    name: str,
    verdict: Verdict,
    draws: Mapping[str, Floats],
    sample: Sample,
    settings: EvaluateSettings,
) -> dict[str, Any]:
    """Return everything that ``metrics.json`` says about one detector."""
    detector = settings.detection.detectors[name]
    found = {key: quality.estimate(values) for key, values in draws.items()}
    published = PUBLISHED.get(name)
    return {
        "title": detector.title,
        "method": detector.method,
        "sees": METHODS[detector.method].ic,
        "threshold": verdict.threshold,
        "fold_thresholds": list(verdict.fold_thresholds),
        "n_test": int(sample.is_ic.size),
        "confusion": asdict(metrics.confusion(verdict.decision, sample.is_ic)),
        "missing": verdict.missing,
        "unconverged": verdict.unconverged,
        **_plain(found),
        "importances": _plain(verdict.importances),
        "published": asdict(published) if published else None,
    }


def _plain(estimates: Mapping[str, metrics.Estimate]) -> dict[str, dict[str, float | None]]:
    """Return estimates as JSON takes them."""
    return {
        key: {part: _defined(number) for part, number in asdict(estimate).items()}
        for key, estimate in estimates.items()
    }


def _defined(number: float) -> float | None:
    """JSON knows no NaN: what is undefined becomes null."""
    return None if math.isnan(number) else number


# --- reading --------------------------------------------------------------------


def _read_scores(
    paths: Sequence[Path], samples: Mapping[str, Sample], held_out: bool
) -> dict[str, list[Table]]:
    """Return for each network and fold the scores of validation and test spectra.

    Those of the spectra that the fold held out come along; without `held_out`
    as a reference only, which chooses no threshold.
    """
    folds: dict[tuple[str, str], list[Table]] = {}
    # Folds by number, so that the order of the arguments does not matter.
    for path in sorted(map(Path, paths), key=lambda p: (p.parent.name, len(p.name), str(p))):
        folds.setdefault((path.parent.name, path.name), []).append(read_table(path, SCORE_COLUMNS))
    tables: dict[str, list[Table]] = {}
    for (network, _), parts in folds.items():
        table = stack(parts)
        dataset, part = (np.array(strings(table, name)) for name in ("dataset", "part"))
        # What a dataset is scored for and what it is used for here may differ.
        for role in (VALIDATION, TEST):
            part[np.isin(dataset, samples[role].dataset)] = role
        used = np.isin(dataset, [*samples[VALIDATION].dataset, *samples[TEST].dataset])
        used |= part == HELD_OUT
        table["part"] = part if held_out else np.where(part == HELD_OUT, REFERENCE, part)
        tables.setdefault(network, []).append(table[used])
    return tables


def _read_tables(
    kind: str, paths: Sequence[Path], columns: Sequence[str], samples: Mapping[str, Sample]
) -> dict[str, dict[str, Table]]:
    """Return for each part and fit (or integral) the results in the order of the part's spectra."""
    shards: dict[tuple[str, str], list[Table]] = {}
    for path in sorted(map(Path, paths)):
        key = path.parent.name, path.parent.parent.name
        shards.setdefault(key, []).append(read_table(path, columns))
    found: dict[str, dict[str, Table]] = {}
    for part, sample in samples.items():
        datasets = set(sample.dataset.tolist())
        fits = sorted({fit for fit, dataset in shards if dataset in datasets})
        found[part] = {fit: _align(shards, kind, fit, sample) for fit in fits}
    return found


def _align(
    shards: Mapping[tuple[str, str], Sequence[Table]], kind: str, fit: str, sample: Sample
) -> Table:
    parts = []
    for dataset in dict.fromkeys(sample.dataset.tolist()):
        if (fit, dataset) not in shards:
            raise IcflowError(f"{kind} {fit}: no results for the dataset {dataset}; make them")
        whole = stack(shards[fit, dataset])
        wanted = sample.index[sample.dataset == dataset]
        rows = rows_of(whole["index"], wanted, f"{kind} {fit} of the dataset {dataset}")
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


def _read_fluxes(path: Path, sample: Sample) -> dict[str, Column]:
    """Return the true fluxes of the test spectra, with their units."""
    table = read_table(path, ("dataset", "index", *FLUXES))
    dataset = np.array(strings(table, "dataset"))
    rows = np.empty(sample.index.size, dtype=np.int64)
    for name in dict.fromkeys(sample.dataset.tolist()):
        here, wanted = np.flatnonzero(dataset == name), sample.dataset == name
        index = np.asarray(table["index"])[here]
        rows[wanted] = here[rows_of(index, sample.index[wanted], f"{path}, dataset {name}")]
    return {name: Column(floats(table, name)[rows], unit=table[name].unit) for name in FLUXES}


# --- writing --------------------------------------------------------------------


def _score_table(
    sample: Sample,
    truth: Mapping[str, np.ndarray | Column],
    verdicts: Mapping[str, Verdict],
    probabilities: Mapping[str, Floats],
) -> Table:
    table = Table({"dataset": sample.dataset, "index": sample.index, "is_ic": sample.is_ic})
    for name, values in truth.items():
        table[f"truth.{name}"] = values
    for name, verdict in verdicts.items():
        if {name, f"{name}_decision", f"{name}_probability"} & set(table.colnames):
            raise IcflowError(
                f"detection.detectors.{name}: the table of scores has a column of that name "
                "already; rename the detector"
            )
        table[name] = verdict.score
        table[f"{name}_decision"] = verdict.decision
        table[f"{name}_probability"] = probabilities[name]
    table.meta["thresholds"] = {name: verdict.threshold for name, verdict in verdicts.items()}
    return table


def _validation_table(sample: Sample, verdicts: Mapping[str, Verdict]) -> Table:
    table = Table({"dataset": sample.dataset, "index": sample.index, "is_ic": sample.is_ic})
    for name, verdict in verdicts.items():
        table[name] = verdict.validation
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
    """Return how the networks were trained, as their score tables state it.

    Networks share all settings but the epochs, which are stated by network.
    """
    stated = {
        network: folds[0].meta["training"]
        for network, folds in tables.items()
        if "training" in folds[0].meta
    }
    epochs = {network: training["epochs"] for network, training in stated.items()}
    return {**next(iter(stated.values())), "epochs": epochs} if stated else {}


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
