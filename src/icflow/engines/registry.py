"""The engines by name. An engine is added by one file and one line here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module

from icflow.config import AtomicData
from icflow.engines.base import Engine, Module
from icflow.errors import IcflowError

# Name in the configuration: module and class, imported when used.
ENGINES = {
    "embedded": ("icflow.engines.embedded.engine", "EmbeddedEngine"),
    "xspec": ("icflow.engines.xspec.engine", "PyXspecEngine"),
}


def modules_of(engine: str, strategy: str) -> list[str]:
    """Return the modules of the engines that a fit with some strategy is made by."""
    names = dict.fromkeys([engine, "embedded"] if strategy == "seeded" else [engine])
    return [ENGINES[name][0] for name in names]


def check_version(engine: Engine, wanted: str | None) -> None:
    """Check that the models are those of one XSPEC in all jobs of a run.

    Raises
    ------
    IcflowError
        If the XSPEC is not the one that the run has found when it began, where that is known.
    """
    if wanted is None:
        return
    version = engine.versions()["XSPECVER"]
    if version != wanted:
        raise IcflowError(
            f"XSPEC is {version} here and was {wanted} when the run began; give all jobs one XSPEC "
            "and run again: what the other one has made is made anew"
        )


def make_engine(name: str, modules: Sequence[Module], atomic_data: AtomicData) -> Engine:
    """Return the engine of that name for the modules of an instrument."""
    place, kind = ENGINES[name]
    factory: Callable[[Sequence[Module], AtomicData], Engine] = getattr(import_module(place), kind)
    return factory(modules, atomic_data)
