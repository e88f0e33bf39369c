"""The engines by name."""

from __future__ import annotations

from importlib import import_module
from typing import get_args

from icflow.config import EngineName
from icflow.engines.registry import ENGINES, modules_of


def test_the_configuration_names_the_engines_that_there_are() -> None:
    assert get_args(EngineName) == tuple(ENGINES)
    for module, name in ENGINES.values():
        engine = getattr(import_module(module), name)
        for verb in ("versions", "predict", "fake", "fit", "keeping"):
            assert callable(getattr(engine, verb))


def test_a_seeded_fit_is_made_by_two_engines() -> None:
    (embedded, _), (xspec, _) = ENGINES["embedded"], ENGINES["xspec"]
    assert modules_of("xspec", "seeded") == [xspec, embedded]
    assert modules_of("xspec", "thorough") == [xspec]
    assert modules_of("embedded", "thorough") == [embedded]
