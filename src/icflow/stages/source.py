"""Stage: the sources of the icflow that is installed, for environments and images."""

from __future__ import annotations

from pathlib import Path

import icflow
from icflow.files import new_folder
from icflow.project import FILES, check_files, copy

# What pip builds a package from, and images and environments are made with.
BESIDE = ("pyproject.toml", "README.md", "LICENSE", "constraints.txt", "containers", "envs")


def run(folder: Path) -> str:
    """Write what `pip install FOLDER` installs, and the definitions of images and environments.

    Parameters
    ----------
    folder : path
        That is not there, or empty.

    Returns
    -------
    str
        What was written.

    Raises
    ------
    IcflowError
        If the folder is there and not empty, or cannot be written.
    """
    check_files()
    with new_folder(folder) as made:
        copy(FILES.parent, made / "src" / "icflow")
        for name in BESIDE:
            copy(FILES / name, made / name)
    return f"{folder}: sources of icflow {icflow.__version__}"
