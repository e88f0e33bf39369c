"""A finished run of the tiny configuration, made once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import Project


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests of this folder."""
    item.add_marker(pytest.mark.workflow)


@pytest.fixture
def fresh(tmp_path: Path) -> Project:
    """Make a working directory without results."""
    return Project.make(tmp_path / "fresh")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Make a finished run, which tests leave as it is."""
    project = Project.make(tmp_path_factory.mktemp("workflow") / "finished")
    status, output = project.run()
    assert status == 0, output
    return project


@pytest.fixture
def copied(finished: Project, tmp_path: Path) -> Project:
    """Copy the finished run, for tests that change it."""
    return finished.copy(tmp_path / "copied")
