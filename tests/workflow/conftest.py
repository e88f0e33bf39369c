"""A finished run of half the tiny configuration, made once for all tests."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from running import Project

from icflow.files import process_lock


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests of this folder."""
    item.add_marker(pytest.mark.workflow)


@pytest.fixture
def fresh(tmp_path: Path) -> Project:
    """Make a working directory without results."""
    return Project.make(tmp_path / "fresh")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Give a finished run, which tests leave as it is.

    Of several processes that test, the first that asks makes it; each has a copy of its own.
    """
    own = tmp_path_factory.mktemp("workflow") / "finished"
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return _run(own)
    shared = tmp_path_factory.getbasetemp().parent / "finished"
    with process_lock(f"{shared}.lock"):
        if not shared.exists():
            making = shared.with_name("making")
            shutil.rmtree(making, ignore_errors=True)
            _run(making).folder.rename(shared)
    return Project(shared).copy(own)


def _run(folder: Path) -> Project:
    project = Project.make(folder)
    status, output = project.run()
    assert status == 0, output
    return project


@pytest.fixture
def copied(finished: Project, tmp_path: Path) -> Project:
    """Copy the finished run, for tests that change it."""
    return finished.copy(tmp_path / "copied")
