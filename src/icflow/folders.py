"""Where data and caches lie on this machine, and in which order data are looked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from icflow import heasoft

# XSPEC's own data, below or beside the platform folder that HEADAS names.
MODEL_DATA = ("../spectral/modelData", "spectral/modelData")


def cache_folder() -> Path:
    """Return the folder of what can be made again: ICFLOW_CACHE, else ``~/.cache/icflow``."""
    given = os.environ.get("ICFLOW_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "icflow"


def data_folder() -> Path:
    """Return the folder that fetched data go to: ICFLOW_DATA, else that of the user."""
    given = os.environ.get("ICFLOW_DATA")
    return Path(given) if given else _user_folder()


def data_folders() -> Iterator[Path]:
    """Yield the folders that hold data, first those that count first.

    ICFLOW_DATA, the user's data folder, and the model data of a HEASoft.
    """
    yield from dict.fromkeys((data_folder(), _user_folder()))
    headas = heasoft.folder()
    if headas:
        yield from (Path(os.path.normpath(Path(headas, name))) for name in MODEL_DATA)


def child_environment() -> dict[str, str]:
    """Return the environment of a Python process that finds this library from any folder."""
    paths = [os.path.abspath(path) for path in sys.path]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def _user_folder() -> Path:
    from platformdirs import user_data_path  # not needed where ICFLOW_DATA is set

    return user_data_path("icflow", appauthor=False)
