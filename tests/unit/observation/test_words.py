"""Numbers as the verdict on an observation says them."""

from __future__ import annotations

from icflow.observation import words as observed_words


def test_numbers_in_words() -> None:
    assert observed_words.scientific(2.713e-12) == "2.71 × 10⁻¹²"
    assert observed_words.scientific(0.0) == "0"
    assert observed_words.percent(0.0025) == "0.25 %"


def test_the_verdict_is_printed_with_its_warnings() -> None:
    summary = {"verdict": "Nothing.", "warnings": ["the fit is bad"], "notes": ["a.rmf: is odd"]}
    assert observed_words.printed(summary).splitlines() == [
        "Nothing.",
        "Warning: the fit is bad",
        "Note: a.rmf: is odd",
    ]
