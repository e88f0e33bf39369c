"""The example observation, analysed with few simulations."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fetched import fetch

from icflow import config as configuration
from icflow.config import Config

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def working_in(folder: Path) -> Iterator[Path]:
    """Work in a folder that has the resources."""
    (folder / "resources").symlink_to(fetch())
    previous = Path.cwd()
    os.chdir(folder)
    try:
        yield folder
    finally:
        os.chdir(previous)


def example(*above: dict[str, Any]) -> Config:
    """Return the configuration of the example with few simulations, and trees laid over it."""
    tree = configuration.load(
        ROOT / "config.yaml", ROOT / "config" / "observe-example.yaml"
    ).model_dump(mode="json", exclude_none=True)
    del tree["observe"]["detectors"]["fit_discriminant"]
    few = {"fits": {"starts": 3}, "observe": {"simulations": 20, "false_alarm": 0.06}}
    for layer in (few, *above):
        tree = configuration.overlay(tree, layer)
    return configuration.validate(tree, "config.yaml")
