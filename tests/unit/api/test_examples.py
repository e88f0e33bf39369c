"""The examples of the documentation, run as they stand in it."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import icflow
from icflow import api

MODULES = [module.name for module in pkgutil.iter_modules(api.__path__)]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed, _ = doctest.testmod(importlib.import_module(f"icflow.api.{name}"), optionflags=FLAGS)
    assert failed == 0, capsys.readouterr().out


def test_everything_public_is_described_with_an_example() -> None:
    without = []
    for name in icflow.__all__:
        thing = getattr(icflow, name)
        methods = [m for k, m in vars(thing).items() if not k.startswith("_") and callable(m)]
        texts = [m.__doc__ or "" for m in methods]
        assert thing.__doc__, name
        assert all(texts), name
        if name in ("IcflowError", "Verdict"):  # of what is raised, and of what takes minutes
            continue
        if not methods and ">>>" not in thing.__doc__:
            without.append(name)
        without += [f"{name}.{m.__name__}" for m in methods if ">>>" not in (m.__doc__ or "")]
    assert without == []
