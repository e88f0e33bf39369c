"""Which detector is better than which, and by how much: differences on the same spectra."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from icflow.detection.metrics import Estimate
from icflow.detection.quality import TITLES, estimate
from icflow.detection.table1 import bar, escape_bar
from icflow.typing import Floats

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
                quantity: estimate(values - draws[other][quantity])
                for quantity, values in draws[first].items()
            }
            for other in names[position + 1 :]
        }
        for position, first in enumerate(names)
    }


def verdict(quantity: str, difference: Mapping[str, float | None]) -> str:
    """Say what a difference shows: better or worse only where its interval leaves out zero."""
    low, high = difference["lo"], difference["hi"]
    if low is None or high is None or low <= 0 <= high:
        return EVEN
    return BETTER if (low > 0) != quantity.startswith(LOWER_IS_BETTER) else WORSE


def between(metrics: Mapping[str, Any], first: str, other: str, quantity: str) -> dict[str, Any]:
    """Return the first detector's quantity minus the other's, as ``metrics.json`` holds it."""
    found = metrics["differences"]
    if other in found.get(first, {}):
        return dict(found[first][other][quantity])
    turned = found[other][first][quantity]
    value, low, high = (
        None if turned[key] is None else -turned[key] for key in ("value", "hi", "lo")
    )
    return {"value": value, "lo": low, "hi": high}


def csv(metrics: Mapping[str, Any]) -> str:
    """Return all differences as CSV, one row for each pair and quantity."""
    lines = ["detector,other,quantity,difference,lo,hi,verdict"]
    for first, other, quantity, found in _rows(metrics):
        # Significant digits: an end that is not zero must not be rounded to it.
        numbers = [
            "nan" if found[key] is None else f"{found[key]:.6g}" for key in ("value", "lo", "hi")
        ]
        lines.append(",".join([first, other, quantity, *numbers, verdict(quantity, found)]))
    return "\n".join(lines) + "\n"


def markdown(metrics: Mapping[str, Any]) -> str:
    """Return the differences that sum a detector up, in Markdown; the CSV file has all.

    Those from the ceiling, if there is one, come first.
    """
    ceiling = metrics["ceiling"]
    pairs = sorted(_pairs(metrics), key=lambda pair: ceiling not in pair)
    turned = [(other, first) if other == ceiling else (first, other) for first, other in pairs]
    return table(metrics, turned) + (
        "\n\nThe first detector minus the other, on the same "
        f"{metrics['bootstrap']:,} resamplings of the test spectra; intervals hold 68.3 % of "
        "them. **Bold**: the interval leaves out zero. A lower Brier score is better.\n"
    )


def table(metrics: Mapping[str, Any], pairs: Sequence[tuple[str, str]]) -> str:
    """Return a Markdown table of some pairs of detectors."""
    detectors = metrics["detectors"]
    lines = [
        bar(["Detector", "minus", *(TITLES[quantity] for quantity in SHOWN)]),
        bar(["---", "---", *["---:"] * len(SHOWN)]),
    ]
    for first, other in pairs:
        cells = [escape_bar(detectors[name]["title"]) for name in (first, other)]
        for quantity in SHOWN:
            found = between(metrics, first, other, quantity)
            text = signed(found)
            cells.append(text if verdict(quantity, found) == EVEN else f"**{text}**")
        lines.append(bar(cells))
    return "\n".join(lines)


def signed(difference: Mapping[str, float | None]) -> str:
    """Return a difference with its interval, as text."""
    if difference["value"] is None:
        return "undefined"
    value, low, high = (
        f"{difference[key] or 0.0:+.3f}".replace("-", "−") for key in ("value", "lo", "hi")
    )
    return f"{value} ({low} to {high})"


def _pairs(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for first, others in metrics["differences"].items():
        for other in others:
            yield first, other


def _rows(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    for first, other in _pairs(metrics):
        for quantity, found in metrics["differences"][first][other].items():
            yield first, other, quantity, found
