"""What the figures of all detectors share: their classes, and words for what is not there."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from icflow.config import Detection
from icflow.detection.base import SEES
from icflow.detection.detectors import METHODS, in_order
from icflow.publish.figures import base, style
from icflow.typing import Booleans, Floats

# The kind of a figure that shows all detectors: what comes of the evaluation, and its settings.
kind = partial(base.FigureKind, sections=("detection",), inputs=base.scores)


def groups(detection: Detection) -> dict[str, list[str]]:
    """Return the detectors by what they see of IC, each group in order, none of them empty."""
    members: dict[str, list[str]] = {key: [] for key in SEES}
    for name in in_order(detection.detectors):
        members[METHODS[detection.detectors[name].method].sees].append(name)
    return {key: names for key, names in members.items() if names}


def absent(usable: Booleans, is_ic: Booleans, wanted: str) -> str:
    """Say of which class there are no spectra that a panel needs, empty if there are some of both.

    Parameters
    ----------
    usable, is_ic : (n,) bool
        Whether a spectrum is as it must be, and whether it has IC.
    wanted : str
        How spectra must be, as the sentence ends: ``in this range``.
    """
    classes = ((True, "with IC"), (False, "without IC"))
    missing = [words for has_ic, words in classes if not (usable & (is_ic == has_ic)).any()]
    return f"No spectra {' or '.join(missing)}\n{wanted}" if missing else ""


def unscored(score: Floats, is_ic: Booleans) -> str:
    """Say of which class no spectrum has a score, empty if there are some of both."""
    return absent(np.isfinite(score), is_ic, "have a score")


def note(panel: style.Axes, words: str, **place: Any) -> None:
    """Write what is not there into a panel that is empty for want of it."""
    if words:
        style.note(panel, words, **place)
