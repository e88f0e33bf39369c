"""Stage: the table of a scan, from the evaluations of its points."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from icflow import tables
from icflow.detection import reading, scan_tables
from icflow.errors import IcflowError
from icflow.files import write_text
from icflow.layout import SCAN_CSV, SCAN_CURVES, SCAN_MARKDOWN, Layout
from icflow.settings import ScanSettings
from icflow.tables import write_table


def run(settings: ScanSettings, results: Path, output: Path) -> None:
    """Compare the points of a scan whose evaluations lie below `results`."""
    layout = Layout(results)
    names = [point.name for point in settings.scan.points]
    compare(settings, {name: layout.point(settings.name, name) for name in names}, output)


def compare(settings: ScanSettings, points: Mapping[str, Path], output: Path) -> None:
    """Compare the points of a scan.

    Parameters
    ----------
    settings : ScanSettings
    points : mapping of str to path
        For each point the folder of its evaluation: ``scores.ecsv`` and
        ``validation.ecsv``.
    output : path
        Folder that gets ``table.csv``, one row for each point, detector and way
        to choose the threshold; ``table.md``, the same in short; and
        ``curves.ecsv``, the fraction of spectra called IC against the IC flux.

    Raises
    ------
    IcflowError
        If the evaluation of a point is missing, or not of these detectors.
    """
    evaluations = {}
    for point in settings.scan.points:
        if point.name not in points:
            raise IcflowError(f"no evaluation of the point {point.name} was given; add its folder")
        evaluations[point.name] = reading.read_point(Path(points[point.name]), settings)
    table, curves = scan_tables.compare(settings, evaluations)
    write_text(output / SCAN_CSV, tables.csv(table))
    write_text(output / SCAN_MARKDOWN, scan_tables.markdown(table, settings))
    write_table(output / SCAN_CURVES, scan_tables.curve_table(curves, settings))
