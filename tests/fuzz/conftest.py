"""How long the fuzz tests look, and what came of it: `EXAMPLES` of each test, or a moment.

Without it the examples are always the same; with it they are others each time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from attempts import OUTCOMES, Files
from hypothesis import HealthCheck, settings

from icflow import cache
from icflow.stages import cache as stage

EXAMPLES = int(os.environ.get("EXAMPLES", "0"))

settings.register_profile(
    "icflow",
    derandomize=not EXAMPLES,
    max_examples=EXAMPLES or 8,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("icflow")


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    """Whole files of every kind, in a folder that commands run in."""
    before = os.getcwd()
    files = Files.make(tmp_path_factory.mktemp("fuzz"))
    os.chdir(files.folder)
    yield files
    os.chdir(before)


@pytest.fixture(autouse=True)
def caches_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep `icflow cache --clear` from clearing what other tests are using."""
    monkeypatch.setattr(stage, "compiled_folder", lambda: tmp_path)
    monkeypatch.setattr(cache, "tables", lambda: iter(()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many inputs were tried, and what came of them."""
    if OUTCOMES:
        counted = ", ".join(f"{number} {what}" for what, number in sorted(OUTCOMES.items()))
        terminalreporter.write_line(f"fuzz: {OUTCOMES.total()} inputs: {counted}")
