"""Stage: what is kept between runs, and how much of it."""

from __future__ import annotations

from icflow.engines.embedded import cache
from icflow.resources import RESOURCES, cache_folder


def run(clear: bool = False) -> str:
    """Return a line for the fetched files and one for the folded tables.

    Parameters
    ----------
    clear : bool
        Whether to remove the tables first. Fetched files stay: they would have
        to be fetched again.
    """
    if clear:
        cache.trim(largest=0)
    fetched = [cache_folder() / name for name in RESOURCES]
    rows = (
        ("fetched files", cache_folder(), [p.stat().st_size for p in fetched if p.is_file()]),
        ("folded tables", cache.folder(), [status.st_size for _, status in cache.tables()]),
    )
    return "\n".join(
        f"{what}: {len(sizes)}, {sum(sizes) / 1e6:.0f} MB in {folder}"
        for what, folder, sizes in rows
    )
