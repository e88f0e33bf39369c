"""YAML that people write: read, or refused in one sentence that names the file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from icflow import documents
from icflow.documents import read_yaml
from icflow.errors import IcflowError

NESTED = "".join(f"{' ' * i}a:\n" for i in range(60))
ENDLESS = "[" * 5000
BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)

REFUSED = {
    "twice": ("seed: 1\nfits:\n  starts: 1\nseed: 2\n", "line 4: the key seed is given twice"),
    "twice below": ("fits: {starts: 1, starts: 2}\n", "the key starts is given twice"),
    "nested": (NESTED, "nested more than 30 levels deep"),
    "endless": (ENDLESS, "nested more than 30 levels deep"),
    "bomb": (BOMB, "unfolds to more than 100000 values"),
    "digits": (f"seed: {'9' * 10_000}\n", "not valid YAML"),
    "object": ("seed: !!python/object/apply:os.system [ls]\n", "not valid YAML"),
    "not closed": ("seed: [1\n", "not valid YAML"),
    "control characters": ("seed: \x00\n", "not valid YAML"),
    "octal": ("size: 0100\n", "line 1: 0100 is another number to YAML"),
    "sexagesimal": ("a: {b: [1:30]}\n", "line 1: 1:30 is another number to YAML"),
    "escape": ('title: "$\\Delta C$"\n', "write what holds \\ in single quotes"),
    "itself": ("a: &a [*a]\n", "nested more than 30 levels deep"),
}


@pytest.mark.parametrize("text, sentence", REFUSED.values(), ids=REFUSED)
def test_refused(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(IcflowError) as caught:
        read_yaml(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_text_file_is_refused(tmp_path: Path) -> None:
    latin, fifo, large = tmp_path / "latin", tmp_path / "fifo", tmp_path / "large"
    latin.write_bytes("réponse: 1".encode("latin-1"))
    os.mkfifo(fifo)
    large.write_text("#" * (documents.LARGEST + 1))
    for path, words in ((latin, "not valid YAML"), (fifo, "not a file"), (large, "at most")):
        with pytest.raises(IcflowError, match=words):
            read_yaml(path)
    with pytest.raises(IcflowError, match=r"cannot be read \(No such file or directory\)"):
        read_yaml(tmp_path / "absent")


def test_aliases_merges_and_dates(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: *a\nseed: 2024-10-16\nname: réponse\n")
    tree = {"a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": {"x": 1}}
    assert read_yaml(path) == tree | {"seed": "2024-10-16", "name": "réponse"}
    path.write_text("[10, 0, -5, 0.10, 1_000, '0100', 08]")
    assert read_yaml(path) == [10, 0, -5, 0.1, 1000, "0100", "08"]
    path.write_text("")
    assert read_yaml(path) is None
