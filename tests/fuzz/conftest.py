"""How long the fuzz tests look, and what came of it: `EXAMPLES` of each test, or a moment.

Without it the examples are always the same; with it they are others each time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

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
    before, nothing = os.getcwd(), tmp_path_factory.mktemp("cache")
    files = Files.make(tmp_path_factory.mktemp("fuzz"))
    os.chdir(files.folder)
    with pytest.MonkeyPatch.context() as patch:
        # `icflow cache --clear` must not clear what other tests are using.
        patch.setattr(stage, "compiled_folder", lambda: nothing)
        patch.setattr(cache, "tables", lambda: iter(()))
        yield files
    os.chdir(before)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many inputs were tried, and what came of them."""
    if OUTCOMES:
        counted = ", ".join(f"{number} {what}" for what, number in sorted(OUTCOMES.items()))
        terminalreporter.write_line(f"fuzz: {OUTCOMES.total()} inputs: {counted}")
