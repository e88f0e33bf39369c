"""What several processes that test share: the first that asks makes it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from icflow.files import process_lock


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder of this session of tests, which all leave as it is.

    Parameters
    ----------
    make : callable
        Makes the folder that it is given.
    """
    folder = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    shared, making = folder / name, folder / f"{name}-making"
    with process_lock(f"{shared}.lock"):
        if not shared.exists():
            # Of one that was killed.
            shutil.rmtree(making, ignore_errors=True)
            make(making)
            making.rename(shared)
    return shared
