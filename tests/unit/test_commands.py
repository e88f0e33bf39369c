"""Options written as lines, and how their words are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from icflow import commands


def test_an_option_may_take_several_words() -> None:
    words = ["a", "--config", "b", "c", "--name", "d", "--config=e", "--", "--config", "f"]
    assert list(commands.spread(words, {"--config"})) == [
        "a",
        "--config",
        "b",
        "--config",
        "c",
        "--name",
        "d",
        "--config=e",
        "--",
        "--config",
        "f",
    ]


def read(line: str, *words: str) -> Any:
    """Return the value that words give to the option of a line."""
    command = commands.Command("schema", "", "try an option", line)
    (value,) = command.make_context("schema", list(words)).params.values()
    return value


@pytest.mark.parametrize(
    ("line", "words", "value"),
    [
        ("--count N=3  spectra", [], 3),
        ("--count N=3  spectra", ["--count", "5"], 5),
        ("--table  print a table", ["--table"], True),
        ("--root DIR=.  folder", [], Path(".")),
        ("--output FILE...!  files", ["--output", "a", "b"], (Path("a"), Path("b"))),
        ("--energies LOW HIGH=3 80  keV", [], [3.0, 80.0]),
        ("--energies LOW HIGH=3 80  keV", ["--energies", "5", "9"], [5.0, 9.0]),
        ("--set>values NAME=NUMBER  value", ["--set", "a=1", "--set", "b=2"], {"a": 1.0, "b": 2.0}),
        ("--limits NAME=LOW:HIGH  limits", ["--limits", "kT=1:2"], {"kT": [1.0, 2.0]}),
        ("--errors hessian|profile=hessian  how", [], "hessian"),
        ("spectra SPECTRA!", ["a.pha"], Path("a.pha")),
        ("names NAME...", ["a", "b"], ("a", "b")),
        ("name NAME@scans", [], None),
    ],
)
def test_a_line_describes_an_option(line: str, words: list[str], value: Any) -> None:
    assert read(line, *words) == value


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--output FILE!  file", []),
        ("--count N=3  spectra", ["--count", "many"]),
        ("--errors hessian|profile=hessian  how", ["--errors", "none"]),
        ("--limits NAME=LOW:HIGH  limits", ["--limits", "kT=2:1"]),
        ("--set NAME=NUMBER  value", ["--set", "kT=nan"]),
    ],
)
def test_other_words_are_refused(line: str, words: list[str]) -> None:
    with pytest.raises(click.UsageError):
        read(line, *words)


def test_a_name_of_a_section_needs_no_words() -> None:
    option = commands.parameter("--dataset NAME@datasets")
    assert isinstance(option, click.Option)
    assert option.help == "name under datasets"
