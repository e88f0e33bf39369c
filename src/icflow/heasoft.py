"""What programs of HEASoft need of the process that starts them."""

from __future__ import annotations

import os
from pathlib import Path

_aside = ""  # the user's HEADAS, where it has been taken out of the environment


def set_aside() -> None:
    """Take the user's ``HEADAS`` out of the environment, and keep it in mind."""
    global _aside
    _aside = folder()
    os.environ.pop("HEADAS", None)


def folder() -> str:
    """Return the ``HEADAS`` of the user, empty if there is none."""
    headas = os.environ.get("HEADAS", "")
    return headas if is_heasoft(headas) else _aside


def environment(home: Path) -> dict[str, str]:
    """Return an environment in which HEASoft asks nothing and shares no file with another job.

    Parameters
    ----------
    home : Path
        Folder of one job alone: its home, and where its parameter files go.
    """
    base = {name: value for name, value in os.environ.items() if name != "HEADAS"}
    if folder():
        base["HEADAS"] = folder()
    environment = {
        **base,
        "HOME": str(home),
        "HEADASNOQUERY": "",
        "HEADASPROMPT": "/dev/null",
        "PGPLOT_TYPE": "/null",
        "OMP_NUM_THREADS": "1",
    }
    # User's parameter files; those of the system, from which they are copied.
    system = base.get("PFILES", "").rpartition(";")[2]
    if not system and "HEADAS" in base:
        system = os.path.join(base["HEADAS"], "syspfiles")
    return environment | {"PFILES": f"{home};{system}"}


def is_heasoft(headas: str) -> bool:
    """Tell whether a value of ``HEADAS`` may be a HEASoft of the user's.

    An empty one is none, and neither is the model library inside the wheel,
    which sets the variable for all processes that its own one starts.
    """
    return bool(headas) and "xspectrampoline" not in Path(headas).parts
