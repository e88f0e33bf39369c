"""A finished run of half the tiny configuration, made once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import Project
from shared import made_once


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

    Each process that tests has a copy of its own.
    """
    own = tmp_path_factory.mktemp("workflow") / "finished"
    return Project(made_once(tmp_path_factory, "finished", _run)).copy(own)


def _run(folder: Path) -> Project:
    project = Project.make(folder)
    status, output = project.run()
    assert status == 0, output
    return project


@pytest.fixture
def copied(finished: Project, tmp_path: Path) -> Project:
    """Copy the finished run, for tests that change it."""
    return finished.copy(tmp_path / "copied")
