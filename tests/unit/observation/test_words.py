"""Numbers as the verdict on an observation says them."""

from __future__ import annotations

from icflow.observation import words as observed_words


def test_numbers_in_words() -> None:
    assert observed_words.scientific(2.713e-12) == "2.71 × 10⁻¹²"
    assert observed_words.scientific(0.0) == "0"
    assert observed_words.percent(0.0025) == "0.25 %"


def test_the_verdict_is_printed_with_its_warnings() -> None:
    files = {"file": "a.pha", "rmf": "a.rmf", "arf": None, "background": "b.pha"}
    observation = {
        "spectra": [{**files, "grouped": False}, {**files, "file": "c.pha", "grouped": True}],
        "energies": [3.0, 80.0],
        "bins": 12,
        "group_min": 100,
    }
    summary = {
        "verdict": "Nothing.",
        "warnings": ["the fit is bad"],
        "observation": observation,
        "notes": ["a.rmf: is odd"],
    }
    assert observed_words.printed(summary).splitlines() == [
        "Nothing.",
        "Warning: the fit is bad",
        "Spectrum a.pha: response a.rmf, area none, background b.pha, bins of at least 100 counts",
        "Spectrum c.pha: response a.rmf, area none, background b.pha, grouped as the file says",
        "Bins 12, 3 to 80 keV",
        "Note: a.rmf: is odd",
    ]
