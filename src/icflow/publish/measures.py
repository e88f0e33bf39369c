"""What is measured of all detectors, as the report and the page of results show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from icflow import tables
from icflow.detection import quality, table1
from icflow.detection.metrics import ENDS


def frame(metrics: Mapping[str, Any], quantities: Sequence[str]) -> pd.DataFrame:
    """Return some quantities with their intervals as text, one row per detector.

    Parameters
    ----------
    metrics : mapping
        The content of ``metrics.json``.
    quantities : sequence of str
        Their names there.
    """
    return pd.DataFrame(
        [
            [entry["title"], *(table1.interval(entry[quantity]) for quantity in quantities)]
            for entry in metrics["detectors"].values()
        ],
        columns=["Detector", *map(quality.title, quantities)],
    )


def csv(metrics: Mapping[str, Any]) -> str:
    """Return everything that is measured as CSV, one row for each detector and quantity."""
    rows = [
        {"detector": name, "quantity": quantity}
        | {end: tables.decimal(entry[quantity][end], 6) for end in ENDS}
        for name, entry in metrics["detectors"].items()
        for quantity in quality.measured(metrics)
    ]
    return tables.csv(pd.DataFrame(rows))
