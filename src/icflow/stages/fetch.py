"""Stage fetch: bring the resources into place."""

from __future__ import annotations

import os
from collections.abc import Iterable

from icflow import resources


def run(names: Iterable[str] = (), root: str | os.PathLike[str] = ".") -> None:
    """Fetch and verify resources, all of them if none is named; say so, one line each.

    Raises
    ------
    IcflowError
        As `icflow.resources.ensure`.
    """
    # One at a time, so that a line appears as soon as its file is there.
    for path, fetched in resources.fetch_all(names, root):
        action = "fetched, checksum right" if fetched else "in place, checksum right"
        content = resources.RESOURCES[path.name].content
        print(f"{path}: {action} ({content})", flush=True)  # noqa: T201
