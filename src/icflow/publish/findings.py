"""What a run found, in a few sentences that its own numbers write.

A detector is called better than another only where the paired interval of their difference
leaves out zero. Titles of detectors are *in asterisks*, as in Markdown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from icflow.detection import differences, table1
from icflow.detection.base import SEES
from icflow.detection.differences import BETTER, EVEN, between, verdict

QUANTITY = "bacc"
# Classes that compete: those that know the priors are what the others are measured by.
CLASSES = {key: sight.clause for key, sight in SEES.items() if sight.clause}


def findings(metrics: Mapping[str, Any]) -> list[str]:
    """Return the findings of a run: the test, the winner, the published method, the ceiling.

    Parameters
    ----------
    metrics : mapping
        The content of ``metrics.json``.
    """
    sentences = [
        f"{len(metrics['detectors'])} detectors judged {table1.sample(metrics)} test spectra that "
        "none of them had seen before; a coin toss has a balanced accuracy of 0.5.",
        *_winner(metrics),
        *_published(metrics),
        *_other_published(metrics),
        *_untrained(metrics),
        *_ceiling(metrics),
    ]
    return sentences


def rivals(metrics: Mapping[str, Any]) -> list[str]:
    """Return the detectors that compete: all that do not know the priors."""
    entries = metrics["detectors"]
    return [name for name in entries if entries[name]["sees"] in CLASSES]


def best(metrics: Mapping[str, Any], names: Sequence[str], quantity: str = QUANTITY) -> str:
    """Return the detector with the highest number, whether or not others come close."""
    return max(names, key=lambda name: metrics["detectors"][name][quantity]["value"] or -1.0)


def titled(metrics: Mapping[str, Any], name: str) -> str:
    """Return a title in italics: some hold a comma."""
    return f"*{metrics['detectors'][name]['title']}*"


def listed(words: Sequence[str]) -> str:
    """Return words as a sentence lists them."""
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def _published_names(metrics: Mapping[str, Any]) -> list[str]:
    return [name for name, entry in metrics["detectors"].items() if entry["published"]]


def _number(metrics: Mapping[str, Any], name: str, quantity: str = QUANTITY) -> str:
    return table1.interval(metrics["detectors"][name][quantity])


def _winner(metrics: Mapping[str, Any]) -> list[str]:
    """Say who is best, and by how much better than the best published method."""
    names = rivals(metrics)
    if not names:
        return []
    first = best(metrics, names)
    even = [name for name in names if name != first and _said(metrics, first, name) == EVEN]
    text = (
        f"{titled(metrics, first)} tells them apart best, with a balanced accuracy of "
        f"{_number(metrics, first)}"
    )
    if even:
        text += f", not told apart from {listed([titled(metrics, name) for name in even])}"
    published = [name for name in _published_names(metrics) if name != first]
    if published:
        second = best(metrics, published)
        gain = differences.signed(between(metrics, first, second, QUANTITY))
        text += (
            f"; its lead over {titled(metrics, second)}, here the best of the published methods, "
            f"is {gain}"
        )
    return [f"{text}."]


def _published(metrics: Mapping[str, Any]) -> list[str]:
    """Say what the published method reaches beside the published values."""
    names = _published_names(metrics)
    if not names:
        return []
    name = names[0]
    entry = metrics["detectors"][name]
    here, there = entry[QUANTITY], entry["published"]
    text = (
        f"The published method, *{entry['title']}*, reaches a balanced accuracy of "
        f"{_number(metrics, name)}, a precision of {_number(metrics, name, 'precision')} and a "
        f"recall of {_number(metrics, name, 'recall')}; published are {there[QUANTITY]:.2f}, "
        f"{there['precision']:.2f} and {there['recall']:.2f}"
    )
    folds = entry["fold_accuracies"]
    if len(folds) > 1:
        ends = dict.fromkeys(f"{accuracy:.2f}" for accuracy in (min(folds), max(folds)))
        text += f" (each of {len(folds)} folds alone: {' to '.join(ends)})"
    if here["lo"] is None or here["hi"] is None:
        return [f"{text}."]
    # Published values have two decimals.
    low, high = there[QUANTITY] - 0.005, there[QUANTITY] + 0.005
    said = "is below" if here["hi"] < low else "is above" if here["lo"] > high else "agrees with"
    return [f"{text}: its balanced accuracy {said} the published one."]


def _other_published(metrics: Mapping[str, Any]) -> list[str]:
    """Say what the other published methods reach beside the published values."""
    entries = metrics["detectors"]
    texts = [
        f"{titled(metrics, name)} has {_number(metrics, name)} where "
        f"{entries[name]['published'][QUANTITY]:.2f} is published"
        for name in _published_names(metrics)[1:]
    ]
    return [f"Of the other published methods {listed(texts)}."] if texts else []


def _untrained(metrics: Mapping[str, Any]) -> list[str]:
    """Say which detector is best of those that are trained on no spectrum with IC."""
    entries = metrics["detectors"]
    names = [name for name in rivals(metrics) if entries[name]["sees"] != "training"]
    if not names or len(names) == len(rivals(metrics)):
        return []
    name = best(metrics, names)
    return [
        f"Of those that are trained on no spectrum with IC the best is {titled(metrics, name)}, "
        f"with {_number(metrics, name)}."
    ]


def _ceiling(metrics: Mapping[str, Any]) -> list[str]:
    """Say how far the best detector stays below what none can beat."""
    top, names = metrics["ceiling"], rivals(metrics)
    if top is None or not names:
        return []
    first = best(metrics, names)
    gap = differences.signed(between(metrics, first, top, QUANTITY))
    said = {
        EVEN: "is not told apart from it",
        BETTER: "lies above it, which the exact evidence would not allow",
    }.get(_said(metrics, first, top), "stays below it")
    return [
        "For known priors no detector can beat the exact ratio of the evidences, "
        f"{titled(metrics, top)}, with {_number(metrics, top)}; {titled(metrics, first)} {said}: "
        f"{gap}."
    ]


def _said(metrics: Mapping[str, Any], first: str, other: str) -> str:
    return verdict(QUANTITY, between(metrics, first, other, QUANTITY))
