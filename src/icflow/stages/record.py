"""Stage record: write down what a run was made with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from icflow import inputs, provenance
from icflow.config import Config
from icflow.engines.registry import make_engine
from icflow.files import write_json


def run(config: Config, output: Path) -> None:
    """Write the resolved configuration, versions and checksums of a run as JSON.

    Raises
    ------
    IcflowError
        If an input file is missing.
    """
    write_json(output, describe(config))


def describe(config: Config) -> dict[str, Any]:
    """Return what `run` writes."""
    engine = make_engine(config.engine, config.modules, config.atomic_data)
    return {
        "engine": config.engine,
        "xspec": engine.versions()["XSPECVER"],
        "atomdb": config.atomic_data.atomdb,
        "abundances": config.atomic_data.abundances,
        "cross_sections": config.atomic_data.cross_sections,
        "git_revision": provenance.git_revision(),
        "packages": provenance.package_versions(),
        "resources": inputs.digests(config),
        "config": config.model_dump(mode="json", exclude_none=True),
    }
