"""What the figures of all detectors share: their scores, their order, their groups."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from icflow.config import Config, Detection
from icflow.detection.detectors import METHODS, in_order
from icflow.publish.figures.base import FigureKind
from icflow.tables import read_table
from icflow.typing import Booleans

# Titles of the groups of detectors, by what they see of spectra with IC.
GROUPS = {
    "never": "Never see IC",
    "threshold": "See IC for the threshold",
    "training": "Trained on IC too",
    "priors": "Know the priors",
}


def inputs(config: Config) -> list[str]:
    """Return the scores of the evaluation."""
    return ["evaluation/scores.ecsv"]


# The kind of a figure that shows all detectors: what comes of the evaluation, and its settings.
kind = partial(FigureKind, sections=("detection",), inputs=inputs)


def read(
    detection: Detection, path: Path, *suffixes: str, columns: Sequence[str] = ()
) -> tuple[Table, Booleans]:
    """Return the table of scores, checked for columns of every detector, and the true classes."""
    names = [f"{name}{suffix}" for name in detection.detectors for suffix in suffixes]
    table = read_table(path, ["is_ic", *names, *columns])
    return table, np.asarray(table["is_ic"], dtype=bool)


def groups(detection: Detection) -> dict[str, list[str]]:
    """Return the detectors by what they see of IC, each group in order, none of them empty."""
    found: dict[str, list[str]] = {key: [] for key in GROUPS}
    for name in in_order(detection.detectors):
        found[METHODS[detection.detectors[name].method].ic].append(name)
    return {key: names for key, names in found.items() if names}


def look(series: Sequence[Any], position: int) -> Any:
    """Return a colour, marker or dash by the position of what it marks."""
    return series[position % len(series)]
