"""Options of every command, and expressions, as nobody should write them."""

from __future__ import annotations

import os
from typing import Any

import click
import pytest
from attempts import Files
from hypothesis import given
from hypothesis import strategies as st
from test_fits import PREDICT

from icflow import cli
from icflow.commands import Pair

# Commands that fetch, run other programs, or end with a whole run.
LONG = ("fetch", "responses", "compare-engines", "observe")
WORDS = (
    *("", "0", "-1", "1", "1e309", "nan", "inf", "9" * 400, "x", "none", "-", "--", "é", "{x}"),
    *("config.yaml", "spec.pha", "resp.rmf", "area.arf", "behind.pha", "background.yaml", "pipe"),
    *("saved.xcm", "resources", "/dev/null", "/dev/zero", "missing", "a/b", "a" * 300, "powerlaw"),
    *("powerlaw.norm=1", "powerlaw.norm=nan", "powerlaw.PhoIndex=2", "powerlaw.norm=1e308"),
    *(
        "test_2T",
        "cae",
        "1",
        "2T_free",
        "x.pdf",
        "x.pha",
        "x.yaml",
        "train_2T",
        "2T",
        "{",
        "[" * 9999,
    ),
    *('{"seed": 1e400}', "null", "[]", "1T+IC"),
)
TOKENS = (
    *(
        "apec",
        "powerlaw",
        "tbabs",
        "po",
        "bbody",
        "gaussian",
        "constant",
        "zwabs",
        "bremss",
        "laor",
    ),
    *("(", ")", "*", "+", " ", "apec_3", "vapec", "x", "1", "-", "\n", "é", "gsmooth", "cflux"),
)


def words_of(command: click.Command) -> st.SearchStrategy[list[str]]:
    """Return words after the name of a command: some of its options, with any words."""
    # What is no UTF-8 comes as lone surrogates, as from a shell.
    typed = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)
    raw = st.binary(max_size=6).map(lambda content: os.fsdecode(content.replace(b"\0", b"")))
    word = st.sampled_from(WORDS) | typed | raw
    parts = []
    for parameter in command.params:
        name = [parameter.opts[0]] if isinstance(parameter, click.Option) else []
        if getattr(parameter, "is_flag", False):
            values = st.just([])
        else:
            values = st.lists(
                word, min_size=max(1, parameter.nargs), max_size=max(1, parameter.nargs)
            )
        if isinstance(parameter.type, Pair):
            values = st.just(["powerlaw.norm=2"]) | values
        given = values.map(lambda drawn, name=name: [*name, *drawn])
        parts.append(given if parameter.required else st.just([]) | given)
    return st.tuples(*parts).map(lambda drawn: [word for part in drawn for word in part])


@pytest.mark.parametrize(
    "command", [c for c in cli.COMMANDS if c.name not in LONG], ids=lambda c: c.name
)
@given(data=st.data())
def test_options(files: Files, command: click.Command, data: Any) -> None:
    files.attempt(*str(command.name).split(), *data.draw(words_of(command)))


@given(tokens=st.lists(st.sampled_from(TOKENS), min_size=1, max_size=12))
def test_expressions(files: Files, tokens: list[str]) -> None:
    arguments = [word if word != "powerlaw" else "".join(tokens) for word in PREDICT]
    files.attempt(*arguments, "--output", "predicted.ecsv")


@given(name=st.sampled_from(("PhoIndex", "norm")), value=st.floats() | st.integers().map(float))
def test_values(files: Files, name: str, value: float) -> None:
    files.attempt(*PREDICT, "--set", f"powerlaw.{name}={value!r}", "--output", "predicted.ecsv")
