"""Configurations, backgrounds and save files that are damaged or edited."""

from __future__ import annotations

from typing import Any

import yaml
from attempts import BACKGROUND, ROOT, Files
from damage import changes, trees
from hypothesis import given
from test_fits import PREDICT, Change

CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())
TEXT = changes("flip", "cut", "lose", "repeat", "write", "zeros")


def written(tree: Any) -> bytes:
    return yaml.safe_dump(tree, allow_unicode=True, sort_keys=False).encode()


@given(tree=trees(CONFIG))
def test_values_of_a_configuration(files: Files, tree: Any) -> None:
    with files.damaged(config_yaml=written(tree)):
        files.attempt("validate")


@given(change=TEXT)
def test_bytes_of_a_configuration(files: Files, change: Change) -> None:
    with files.damaged(config_yaml=change(files.whole["config.yaml"])):
        files.attempt("validate", "--config", "config.yaml", "tiny.yaml")


@given(tree=trees(yaml.safe_load(BACKGROUND)))
def test_values_of_a_background(files: Files, tree: Any) -> None:
    with files.damaged(background_yaml=written(tree)):
        files.attempt(*PREDICT, "--background", "background.yaml", "--output", "predicted.ecsv")


@given(change=TEXT)
def test_bytes_of_a_background(files: Files, change: Change) -> None:
    with files.damaged(background_yaml=change(files.whole["background.yaml"])):
        files.attempt(*PREDICT, "--background", "background.yaml", "--output", "predicted.ecsv")


@given(change=TEXT)
def test_bytes_of_a_save_file(files: Files, change: Change) -> None:
    with files.damaged(saved_xcm=change(files.whole["saved.xcm"])):
        files.attempt("background", "import", "saved.xcm", "--output", "imported.yaml")
