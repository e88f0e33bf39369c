"""The engines by name. An engine is added by one file and one line here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module

from icflow.config import AtomicData
from icflow.engines.base import Engine, Module

# Name in the configuration: module and class, imported when used.
ENGINES = {
    "embedded": ("icflow.engines.embedded.engine", "EmbeddedEngine"),
    "xspec": ("icflow.engines.xspec.engine", "PyXspecEngine"),
}


def modules_of(engine: str, strategy: str) -> list[str]:
    """Return the modules of the engines that a fit with some strategy is made by."""
    names = dict.fromkeys([engine, "embedded"] if strategy == "seeded" else [engine])
    return [ENGINES[name][0] for name in names]


def make_engine(name: str, modules: Sequence[Module], atomic_data: AtomicData) -> Engine:
    """Return the engine of that name for the modules of an instrument."""
    place, kind = ENGINES[name]
    factory: Callable[[Sequence[Module], AtomicData], Engine] = getattr(import_module(place), kind)
    return factory(modules, atomic_data)
