"""Stage fetch: bring the resources into place."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from icflow import resources


def run(names: Iterable[str] = (), root: Path | None = None) -> None:
    """Fetch and verify resources, all of them if none is named; say so, one line each.

    Parameters
    ----------
    root : path, optional
        Folder of a project; by default this one, or outside of a project the data folder of
        the user.

    Raises
    ------
    IcflowError
        As `icflow.resources.ensure`.
    """
    here = Path()
    place = root if root is not None else here if resources.is_project(here) else None
    # One at a time, so that a line appears as soon as its file is there.
    for path, fetched in resources.fetch_all(names, place):
        action = "fetched, checksum right" if fetched else "in place, checksum right"
        content = resources.RESOURCES[path.name].content
        print(f"{path}: {action} ({content})", flush=True)  # noqa: T201
