"""What the figures of all detectors share: the classes of detectors, by what they see of IC."""

from __future__ import annotations

from functools import partial

from icflow.config import Detection
from icflow.detection.base import SEES
from icflow.detection.detectors import METHODS, in_order
from icflow.publish.figures import base

# The kind of a figure that shows all detectors: what comes of the evaluation, and its settings.
kind = partial(base.FigureKind, sections=("detection",), inputs=base.scores)


def groups(detection: Detection) -> dict[str, list[str]]:
    """Return the detectors by what they see of IC, each group in order, none of them empty."""
    members: dict[str, list[str]] = {key: [] for key in SEES}
    for name in in_order(detection.detectors):
        members[METHODS[detection.detectors[name].method].sees].append(name)
    return {key: names for key, names in members.items() if names}
