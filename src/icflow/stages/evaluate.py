"""Stage: scores of all detectors on the test spectra, metrics, tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from icflow.detection import differences, reading, table1
from icflow.detection.base import TEST, Material
from icflow.detection.evaluation import Evaluation, samples_of
from icflow.files import write_json, write_text
from icflow.settings import EvaluateSettings
from icflow.tables import write_table

TABLES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "table1.csv": table1.csv,
    "table1.tex": table1.latex,
    "table1.md": table1.markdown,
    "differences.csv": differences.csv,
    "differences.md": differences.markdown,
}


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
    samples, classes = samples_of(settings)
    material = Material(
        samples,
        classes,
        reading.read_scores(scores, samples, settings.held_out),
        reading.read_fits(fits, samples),
        settings.seed,
        integrals=reading.read_integrals(integrals, samples),
    )
    evaluation = Evaluation.of(settings, material)
    report = evaluation.report()
    truth: dict[str, Any] = reading.read_truth(spectra, samples[TEST])
    if fluxes is not None:
        truth |= reading.read_fluxes(fluxes, samples[TEST])
    write_table(output_scores, evaluation.scores(truth))
    if output_validation is not None:
        write_table(output_validation, evaluation.validation())
    write_json(output_metrics, report)
    for name, form in TABLES.items():
        write_text(Path(tables) / name, form(report))
