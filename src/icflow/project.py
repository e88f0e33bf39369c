"""The files of a project, which every installed icflow carries.

In the source tree they are links to where a clone has them.
"""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

from icflow.errors import IcflowError

FILES = Path(__file__).parent / "project_files"
# What the workflow is, and the default configuration.
SNAKEFILE, CONFIG = FILES / "Snakefile", FILES / "config.yaml"


def check_files() -> None:
    """Check that the files are there.

    Raises
    ------
    IcflowError
        If icflow was installed without them.
    """
    if not CONFIG.is_file():
        raise IcflowError(
            f"{CONFIG}: not there, so this icflow was installed from half a source tree; install "
            "it again from a whole one, or from a wheel"
        )


def copy(source: Path, target: Path) -> None:
    """Copy a file or a folder of an installed icflow, which may be read only, for its user to edit.

    Links, which a source tree has in the place of files, are followed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)
    for path in (target, *target.rglob("*")):
        path.chmod(path.stat().st_mode | stat.S_IWUSR)
