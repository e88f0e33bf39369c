"""Which detector is better than which, and by how much: differences on the same spectra."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from icflow import tables
from icflow.detection.metrics import Estimate, numbers
from icflow.detection.quality import TITLES
from icflow.typing import Floats

if TYPE_CHECKING:
    import pandas as pd

# Quantities of which a detector wants little.
LOWER_IS_BETTER = ("brier", "log_loss", "ece", "false_alarm")
SHOWN = ("bacc", "auc", "brier")
BETTER, WORSE, EVEN = "better", "worse", "not told apart"


def compare(draws: Mapping[str, Mapping[str, Floats]]) -> dict[str, dict[str, dict[str, Estimate]]]:
    """Return the differences of every pair of detectors, in the order given.

    Parameters
    ----------
    draws : mapping of str to mapping of str to (1 + repeats,) float
        For each detector and each quantity the number on the test spectra and
        on every resampling of them, the same ones for all detectors.

    Returns
    -------
    mapping
        For each detector, for each one after it, for each quantity: the first
        one's minus the other's, with its interval.
    """
    names = list(draws)
    return {
        first: {
            other: {
                quantity: Estimate.of(values - draws[other][quantity])
                for quantity, values in draws[first].items()
            }
            for other in names[position + 1 :]
        }
        for position, first in enumerate(names)
    }


def verdict(quantity: str, difference: Mapping[str, float | None]) -> str:
    """Say what a difference shows: better or worse only where its interval leaves out zero."""
    _, low, high = numbers(difference)
    if _holds_zero(low, high):
        return EVEN
    return BETTER if (low > 0) != quantity.startswith(LOWER_IS_BETTER) else WORSE


def between(metrics: Mapping[str, Any], first: str, other: str, quantity: str) -> dict[str, Any]:
    """Return the first detector's quantity minus the other's, as ``metrics.json`` holds it."""
    differences = metrics["differences"]
    if other in differences.get(first, {}):
        return dict(differences[first][other][quantity])
    turned = differences[other][first][quantity]
    value, low, high = (
        None if turned[key] is None else -turned[key] for key in ("value", "hi", "lo")
    )
    return {"value": value, "lo": low, "hi": high}


def frame(metrics: Mapping[str, Any]) -> pd.DataFrame:
    """Return all differences in ``metrics.json``, one row for each pair and quantity."""
    import pandas as pd

    rows = [
        (first, other, quantity, *difference.values(), verdict(quantity, difference))
        for first, others in metrics["differences"].items()
        for other, quantities in others.items()
        for quantity, difference in quantities.items()
    ]
    names = ["detector", "other", "quantity", "difference", "lo", "hi", "verdict"]
    numbers = dict.fromkeys(("difference", "lo", "hi"), float)
    return pd.DataFrame(rows, columns=names).astype(numbers)


def csv(metrics: Mapping[str, Any]) -> str:
    """Return all differences as CSV.

    Their digits are significant ones: an end that is not zero must not be rounded to it.
    """
    return tables.csv(frame(metrics))


def markdown(metrics: Mapping[str, Any]) -> str:
    """Return the differences that sum a detector up, in Markdown; the CSV file has all.

    Those from the ceiling, if there is one, come first.
    """
    ceiling = metrics["ceiling"]
    pairs = [(first, other) for first, others in metrics["differences"].items() for other in others]
    pairs.sort(key=lambda pair: ceiling not in pair)
    turned = [(other, first) if other == ceiling else (first, other) for first, other in pairs]
    return table(metrics, turned) + (
        "\n\nThe first detector minus the other, on the same "
        f"{metrics['bootstrap']:,} resamplings of the test spectra; intervals hold 68.3 % of "
        "them. **Bold**: the interval leaves out zero. A lower Brier score is better.\n"
    )


def table(metrics: Mapping[str, Any], pairs: Sequence[tuple[str, str]]) -> str:
    """Return a Markdown table of some pairs of detectors."""
    import pandas as pd

    rows = [
        [
            *(metrics["detectors"][name]["title"] for name in pair),
            *(signed(between(metrics, *pair, quantity), bold=True) for quantity in SHOWN),
        ]
        for pair in pairs
    ]
    columns = ["Detector", "minus", *(TITLES[quantity] for quantity in SHOWN)]
    return tables.markdown(pd.DataFrame(rows, columns=columns), words=2)


def signed(
    difference: Mapping[str, float | None], bold: bool = False, undefined: str = "undefined"
) -> str:
    """Return a difference with its interval, as text; bold, if asked, where that leaves out 0."""
    value, low, high = numbers(difference)
    if math.isnan(value):
        return undefined
    text = "{} ({} to {})".format(
        *(f"{number or 0.0:+.3f}".replace("-", "−") for number in (value, low, high))
    )
    return f"**{text}**" if bold and not _holds_zero(low, high) else text


def _holds_zero(low: float, high: float) -> bool:
    return not (low > 0 or high < 0)
