"""Stage: what is kept between runs, and how much of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from icflow import cache
from icflow.folders import data_folder
from icflow.kernels import compiled_folder
from icflow.resources import RESOURCES


def run(clear: bool = False) -> str:
    """Return a line for the fetched files, the folded tables and the compiled functions.

    Parameters
    ----------
    clear : bool
        Whether to remove tables and compiled functions first. Fetched files stay:
        they would have to be fetched again.
    """
    compiled = compiled_folder()
    if clear:
        cache.trim(largest=0)
        for path in compiled.glob("*.nb[ci]"):
            path.unlink(missing_ok=True)
    rows = (
        ("fetched files", data_folder(), (data_folder() / name for name in RESOURCES)),
        ("folded tables", cache.folder(), (path for path, _ in cache.tables())),
        ("compiled functions", compiled, compiled.glob("*.nb[ci]")),
    )
    return "\n".join(f"{what}: {_sizes(files)} in {folder}" for what, folder, files in rows)


def _sizes(files: Iterable[Path]) -> str:
    """Return how many files there are, and how large."""
    sizes = [path.stat().st_size for path in files if path.is_file()]
    return f"{len(sizes)}, {sum(sizes) / 1e6:.0f} MB"
