"""What the figures of all detectors share: the classes of detectors, by what they see of IC."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from icflow.config import Detection
from icflow.detection.detectors import METHODS, in_order
from icflow.publish.figures import base


@dataclass(frozen=True)
class Knowledge:
    """What detectors of one class know of spectra with IC, in words.

    Attributes
    ----------
    title : str
        Above a panel.
    words : str
        After the name of a detector.
    clause : str
        After "detectors"; empty for those that the others cannot be measured by.
    """

    title: str
    words: str
    clause: str = ""


CLASSES = {
    "never": Knowledge("Never see IC", "never sees IC", "that never see a spectrum with IC"),
    "threshold": Knowledge(
        "See IC for the threshold",
        "IC for the threshold",
        "that see IC to choose their threshold",
    ),
    "training": Knowledge("Trained on IC too", "trained on IC", "that are trained on IC"),
    "priors": Knowledge("Know the priors", "knows the priors"),
}

# The kind of a figure that shows all detectors: what comes of the evaluation, and its settings.
kind = partial(base.FigureKind, sections=("detection",), inputs=base.scores)


def groups(detection: Detection) -> dict[str, list[str]]:
    """Return the detectors by what they see of IC, each group in order, none of them empty."""
    members: dict[str, list[str]] = {key: [] for key in CLASSES}
    for name in in_order(detection.detectors):
        members[METHODS[detection.detectors[name].method].ic].append(name)
    return {key: names for key, names in members.items() if names}
