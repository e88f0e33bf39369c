"""Where labels come from."""

from __future__ import annotations

import pytest

from icflow.networks.labels import LabelSource


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("fit:apec.kT", LabelSource(False, "fit", "apec.kT")),
        ("log fit:apec.norm", LabelSource(True, "fit", "apec.norm")),
        ("truth:background.lines", LabelSource(False, "truth", "background.lines")),
        ("log ordered:apec.norm", LabelSource(True, "ordered", "apec.norm")),
    ],
)
def test_a_source_is_an_origin_and_a_parameter(text: str, source: LabelSource) -> None:
    assert LabelSource.parse(text) == source


NO_SOURCES = ["apec.kT", "fit:", "log apec.kT", "logfit:apec.kT", "ln fit:apec.kT", "known:x"]


@pytest.mark.parametrize("text", NO_SOURCES)
def test_what_means_nothing_is_no_source(text: str) -> None:
    assert LabelSource.parse(text) is None
