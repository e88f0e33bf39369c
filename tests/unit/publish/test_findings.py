"""What a run found in sentences: true to its numbers, and careful with "better"."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from icflow.publish.findings import findings, listed

PUBLISHED = {"precision": 0.69, "recall": 0.50, "bacc": 0.64}


def made_up(values: dict[str, tuple[float, str]], margin: float) -> dict[str, Any]:
    """Return metrics of detectors, {name: (balanced accuracy, what it sees)}, known to a margin."""

    def around(value: float) -> dict[str, float]:
        return {"value": value, "lo": value - margin, "hi": value + margin}

    names = list(values)
    return {
        "datasets": {
            "a": {"size": 1000, "scenario": "2T", "role": "test"},
            "b": {"size": 900, "scenario": "1T+IC", "role": "test"},
        },
        "ceiling": "top" if "top" in values else None,
        "detectors": {
            name: {
                "title": name.upper(),
                "sees": sees,
                "published": PUBLISHED if name in ("cae", "ae") else None,
                "fold_accuracies": [0.5, value, 0.66] if name == "cae" else [],
                **{quantity: around(value) for quantity in ("bacc", "precision", "recall")},
            }
            for name, (value, sees) in values.items()
        },
        "differences": {
            first: {
                other: {"bacc": around(values[first][0] - values[other][0])}
                for other in names[number + 1 :]
            }
            for number, first in enumerate(names)
        },
    }


def test_five_sentences_tell_winner_published_method_and_ceiling() -> None:
    values = {
        "cae": (0.6, "threshold"),
        "delta": (0.8, "threshold"),
        "classifier": (0.9, "training"),
        "both": (0.905, "training"),
        "top": (0.95, "priors"),
    }
    what, winner, published, untrained, ceiling = findings(made_up(values, 0.01))
    assert what.startswith("5 detectors judged 1,000 2T and 900 1T+IC test spectra")
    assert winner == (
        "*BOTH* tells them apart best, with a balanced accuracy of 0.905 (0.895–0.915), not told "
        "apart from *CLASSIFIER*; its lead over *CAE*, here the best of the published methods, is "
        "+0.305 (+0.295 to +0.315)."
    )
    assert published == (
        "The published method, *CAE*, reaches a balanced accuracy of 0.600 (0.590–0.610), a "
        "precision of 0.600 (0.590–0.610) and a recall of 0.600 (0.590–0.610); published are "
        "0.64, 0.69 and 0.50 (each of 3 folds alone: 0.50 to 0.66): its balanced "
        "accuracy is below the published one."
    )
    assert untrained == (
        "Of those that are trained on no spectrum with IC the best is *DELTA*, with 0.800 "
        "(0.790–0.810)."
    )
    assert ceiling == (
        "For known priors no detector can beat the exact ratio of the evidences, *TOP*, with "
        "0.950 (0.940–0.960); *BOTH* stays below it: −0.045 (−0.055 to −0.035)."
    )


def test_folds_that_agree_have_one_number() -> None:
    metrics = made_up({"cae": (0.6, "threshold"), "delta": (0.8, "threshold")}, 0.01)
    metrics["detectors"]["cae"]["fold_accuracies"] = [0.654, 0.651]
    assert any("(each of 2 folds alone: 0.65)" in text for text in findings(metrics))


@pytest.mark.parametrize(
    ("value", "said"), [(0.60, "is below"), (0.64, "agrees with"), (0.7, "is above")]
)
def test_the_published_value_is_reached_within_the_interval(value: float, said: str) -> None:
    (sentence,) = [
        text
        for text in findings(made_up({"cae": (value, "threshold")}, 0.02))
        if text.startswith("The published method")
    ]
    assert sentence.endswith(f": its balanced accuracy {said} the published one.")


def test_the_other_published_methods_stand_beside_their_values() -> None:
    values = {"cae": (0.6, "threshold"), "ae": (0.52, "threshold")}
    sentence = findings(made_up(values, 0.01))[3]
    assert sentence == (
        "Of the other published methods *AE* has 0.520 (0.510–0.530) where 0.64 is published."
    )


@pytest.mark.parametrize(
    ("value", "said"), [(0.945, "is not told apart from it"), (0.99, "lies above it, which")]
)
def test_the_ceiling_is_compared_with_care(value: float, said: str) -> None:
    metrics = made_up({"one": (value, "threshold"), "top": (0.95, "priors")}, 0.01)
    assert said in findings(metrics)[-1]


def test_what_a_run_lacks_is_left_out() -> None:
    assert len(findings(made_up({"one": (0.6, "threshold")}, 0.01))) == 2
    assert len(findings(made_up({"top": (0.9, "priors")}, 0.01))) == 1


def test_an_undefined_number_is_said_so() -> None:
    metrics = made_up({"cae": (0.6, "threshold")}, 0.01)
    metrics["detectors"]["cae"]["bacc"] = {"value": None, "lo": None, "hi": None}
    sentences = " ".join(findings(metrics))
    assert "a balanced accuracy of undefined" in sentences
    assert "the published one" not in sentences


def test_a_run_has_all_six(evaluated: Path) -> None:
    metrics = json.loads((evaluated / "evaluate/metrics.json").read_text())
    assert len(findings(metrics)) == 6


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(["A"], "A"), (["A", "B"], "A and B"), (["A", "B", "C"], "A, B and C")],
)
def test_lists_read_as_sentences(words: list[str], sentence: str) -> None:
    assert listed(words) == sentence
