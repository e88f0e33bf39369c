"""Tables on disk, made once; those used last stay."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from icflow.files import atomic_path, canonical_json, locked
from icflow.folders import cache_folder
from icflow.typing import AnyArray

# Arrays by name, as a cache file holds them.
Arrays = dict[str, AnyArray]

# Part of the key of every cached table: raise it when their content changes.
FORMAT = 1
# Tables that are kept in memory.
RECENT = 8
# Tables on disk: how many bytes together, and how long after they were last used.
LARGEST = 2 << 30
OLDEST = 90 * 86400  # s


def cached(key: Mapping[str, object], make: Callable[[], Arrays]) -> Arrays:
    """Return the arrays kept under `key`, making and keeping them the first time.

    A lock makes the second of two processes wait for the first instead of
    doing the same work. The last few are kept in memory too: profiles fit one
    model many times.
    """
    name = hashlib.sha256(canonical_json({**key, "format": FORMAT}).encode()).hexdigest()[:32]
    path = folder() / f"{name}.npz"
    arrays = _recent.pop(path, None) or _read_cache(path)
    if arrays is None:
        arrays = _make_cache(path, make)
    _recent[path] = arrays
    if len(_recent) > RECENT:
        del _recent[next(iter(_recent))]
    return arrays


def folder() -> Path:
    """Return the folder of the tables."""
    return cache_folder() / "folded"


def tables() -> Iterator[tuple[Path, os.stat_result]]:
    """Return every table on disk with its status, the one used last first."""
    rows = []
    for path in folder().glob("*.npz"):
        # Another process may be trimming, too.
        with suppress(FileNotFoundError):
            rows.append((path, path.stat()))
    return iter(sorted(rows, key=lambda row: row[1].st_mtime, reverse=True))


def trim(largest: int = LARGEST, oldest: float = OLDEST) -> None:
    """Remove the tables that were not used for long, and those beyond a size, oldest first."""
    room, now = largest, time.time()
    for path, status in tables():
        room -= status.st_size
        if room < 0 or now - status.st_mtime > oldest:
            path.unlink(missing_ok=True)


# The arrays used last, oldest first.
_recent: dict[Path, Arrays] = {}


def _make_cache(path: Path, make: Callable[[], Arrays]) -> Arrays:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_suffix(".lock")
    with locked(lock):
        arrays = _read_cache(path)
        if arrays is None:
            arrays = make()
            with atomic_path(path) as temporary, open(temporary, "wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
            trim()
        lock.unlink(missing_ok=True)
    return arrays


def _read_cache(path: Path) -> Arrays | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, KeyError, BadZipFile):
        # Not whole, or not what was written (zip files hold checksums): made again.
        path.unlink(missing_ok=True)
        return None
    # Used now; the cache of another user may be read only.
    with suppress(OSError):
        os.utime(path)
    return arrays
