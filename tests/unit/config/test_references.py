"""Keys that name other parts: where they are found, and what is said of one that is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from pydantic import Field

from icflow import config
from icflow.config.references import Name, NameOf, marked
from icflow.errors import IcflowError
from icflow.sections import Section

ROOT = Path(__file__).resolve().parents[3]
MODEL = NameOf("models")


class Inner(Section):
    name: str
    model: Annotated[str, MODEL] | None = None


class Outer(Section):
    inner: dict[Name, Inner] = Field({})
    points: list[Inner] = Field([])
    several: list[Annotated[str, MODEL]] | None = None


def test_marks_are_found_wherever_they_stand() -> None:
    section = Outer(
        inner={"a": Inner(name="x", model="m")},
        points=[Inner(name="first", model="n"), Inner(name="second")],
        several=["o", "p"],
    )
    assert [(".".join(path), text) for path, text, _ in marked(section)] == [
        ("inner", "a"),
        ("inner.a.model", "m"),
        ("points.first.model", "n"),
        ("several.0", "o"),
        ("several.1", "p"),
    ]


NAMES = [
    (
        {"fits": {"label": {"model": "1t"}}},
        "label.model is '1t', allowed: .*; did you mean 1T",
    ),
    (
        {"detection": {"ceiling": "bayes_facto"}},
        "ceiling is 'bayes_facto', .*did you mean bayes_fac",
    ),
    (
        {"detection": {"test": ["test_2T", "test_1t+IC"]}},
        "detection.test.1 .* mean test_1T\\+IC",
    ),
    (
        {"detection": {"detectors": {"combined": {"parts": ["cae", "complementary"]}}}},
        "detectors.combined.parts.1 is 'complementary', allowed: ae, ae_deviance",
    ),
    (
        {"datasets": {"more": {"like": "test_2t"}}},
        "more.like is 'test_2t', allowed: .*mean",
    ),
    ({"integrals": {"a b": {"scenario": "2T"}}}, "integrals has the name 'a b'; names may hold"),
]


@pytest.mark.parametrize(("change", "words"), NAMES)
def test_a_name_that_is_not_there(change: dict[str, Any], words: str) -> None:
    tree = yaml.safe_load((ROOT / "config.yaml").read_text())
    with pytest.raises(IcflowError, match=words):
        config.validate(config.overlay(tree, change), "config.yaml")


def test_what_observations_need_is_asked_for_before_there_are_some() -> None:
    tree = yaml.safe_load((ROOT / "config.yaml").read_text())
    tree["observe"]["others"] = ["3T"]
    mine = {"spectrum": "mine.pha", "redshift": 0.1, "nH": 0.01}
    for observations in ({}, {"mine": mine}):
        tree["observations"] = observations
        with pytest.raises(IcflowError, match=r"observe\.others\.0 is '3T', allowed: 1T, 1T"):
            config.validate(tree, "config.yaml")
