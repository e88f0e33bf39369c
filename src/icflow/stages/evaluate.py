"""Stage: scores of all detectors on the test spectra, metrics, tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from icflow.detection import differences, reading, table1
from icflow.detection.base import TEST, Material
from icflow.detection.evaluation import Evaluation, samples_of
from icflow.detection.input_files import InputFiles
from icflow.files import write_json, write_text
from icflow.layout import JUDGED, METRICS, TABLES, VALIDATION, Layout
from icflow.settings import EvaluateSettings
from icflow.tables import write_table

# Of the files `TABLES`, in their order.
FORMS: tuple[Callable[[Mapping[str, Any]], str], ...] = (
    *(table1.csv, table1.latex, table1.markdown),
    *(differences.csv, differences.markdown),
)


def run(settings: EvaluateSettings, results: Path, output: Path, tables: Path) -> None:
    """Judge every detector on the test spectra below `results`; see `evaluate`."""
    evaluate(settings, InputFiles.of(settings, Layout(results)), output, tables)


def evaluate(settings: EvaluateSettings, inputs: InputFiles, output: Path, tables: Path) -> None:
    """Judge every detector of the configuration on the test datasets.

    Parameters
    ----------
    settings : EvaluateSettings
    inputs : InputFiles
    output : path
        Folder that gets ``scores.ecsv``, one row per test spectrum: class, true
        parameters (columns ``truth.*``), true fluxes, and score, decision and
        probability of every detector; ``metrics.json``: thresholds, confusion
        matrices, metrics with intervals, and the differences between detectors
        with paired ones; and at a point of a scan ``validation.ecsv``, one row per
        validation spectrum: class, and score of every detector.
    tables : path
        Folder that gets ``table1`` (csv, tex, md) and ``differences`` (csv, md).

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
        reading.read_scores(inputs.scores, samples, settings.held_out),
        reading.read_results(inputs.results, samples),
        settings.seed,
    )
    evaluation = Evaluation.of(settings, material)
    report = evaluation.report()
    truth: dict[str, Any] = reading.read_truths(inputs.truth, samples[TEST])
    if inputs.fluxes is not None:
        truth |= reading.read_fluxes(inputs.fluxes, samples[TEST])
    write_table(output / JUDGED, evaluation.scores(truth))
    if settings.scan is not None:
        write_table(output / VALIDATION, evaluation.validation())
    write_json(output / METRICS, report)
    for name, form in zip(TABLES, FORMS, strict=True):
        write_text(tables / name, form(report))
