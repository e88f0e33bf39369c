"""The engines by name. An engine is added by one file and one line here."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from icflow.config import AtomicData, Instrument
from icflow.engines.base import Engine

# Name in the configuration: module and class, imported when used.
ENGINES = {
    "embedded": ("icflow.engines.embedded.engine", "EmbeddedEngine"),
    "xspec": ("icflow.engines.xspec.engine", "PyXspecEngine"),
}


def make_engine(name: str, instrument: Instrument, atomic_data: AtomicData) -> Engine:
    """Return the engine of that name for one instrument."""
    module, kind = ENGINES[name]
    factory: Callable[[Instrument, AtomicData], Engine] = getattr(import_module(module), kind)
    return factory(instrument, atomic_data)
