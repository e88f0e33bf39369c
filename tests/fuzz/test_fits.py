"""Spectra and responses that are damaged, edited or written by others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attempts import Files
from damage import BYTES, CARDS, COLUMNS
from hypothesis import given

KINDS = ("spec.pha", "resp.rmf", "area.arf", "behind.pha")
FIT = ("fit", "spec.pha", "--expression", "powerlaw", "--background", "behind.pha")
PREDICT = ("predict", "powerlaw", "--rmf", "resp.rmf", "--arf", "area.arf", "--exposure", "1e4")
Change = Callable[[bytes], bytes]


def finite(text: str) -> None:
    """Check that an answer holds numbers."""
    # A keyword may hold any name.
    names = ("Cannot be used", "Instrument:", "Object:")
    said = [line for line in text.splitlines() if not any(name in line for name in names)]
    words = {word.strip("(),:;").lower() for word in " ".join(said).split()}
    assert not words & {"nan", "inf", "-inf", "+inf"}, text


def use(files: Files, name: str, change: Change) -> None:
    """Use a changed file wherever it belongs."""
    with files.damaged(**{name.replace(".", "_"): change(files.whole[name])}):
        for path in (name, f"{name}[1]", f"{name}{{2}}"):
            status, text = files.attempt("info", path)
            finite(text if status == 0 else "")
        if name == "behind.pha" or name == "spec.pha":
            status, text = files.attempt(*FIT, "--output", "fit.json")
            finite(text if status == 0 else "")
            files.attempt("fake", "spec.pha", "--expression", "powerlaw", "--output", "fake.pha")
        else:
            files.attempt(*PREDICT, "--output", "predicted.ecsv")


@pytest.mark.parametrize("name", KINDS)
@given(change=BYTES)
def test_bytes(files: Files, name: str, change: Change) -> None:
    use(files, name, change)


@pytest.mark.parametrize("name", KINDS)
@given(change=CARDS)
def test_keywords(files: Files, name: str, change: Change) -> None:
    use(files, name, change)


@pytest.mark.parametrize("name", KINDS)
@given(change=COLUMNS)
def test_columns(files: Files, name: str, change: Change) -> None:
    use(files, name, change)
