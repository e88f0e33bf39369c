"""Tables on disk, made once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from icflow.files import atomic_path, canonical_json, locked
from icflow.resources import cache_folder
from icflow.typing import AnyArray

# Arrays by name, as a cache file holds them.
Arrays = dict[str, AnyArray]

# Part of the key of every cached table: raise it when their content changes.
FORMAT = 1
# Tables that are kept in memory.
RECENT = 8


def cached(key: Mapping[str, object], make: Callable[[], Arrays]) -> Arrays:
    """Return the arrays kept under `key`, making and keeping them the first time.

    A lock makes the second of two processes wait for the first instead of
    doing the same work. The last few are kept in memory too: profiles fit one
    model many times.
    """
    name = hashlib.sha256(canonical_json({**key, "format": FORMAT}).encode()).hexdigest()[:32]
    folder = cache_folder() / "folded"
    path = folder / f"{name}.npz"
    arrays = _recent.pop(path, None) or _read_cache(path)
    if arrays is None:
        arrays = _make_cache(path, make)
    _recent[path] = arrays
    if len(_recent) > RECENT:
        del _recent[next(iter(_recent))]
    return arrays


# The arrays used last, oldest first.
_recent: dict[Path, Arrays] = {}


def _make_cache(path: Path, make: Callable[[], Arrays]) -> Arrays:
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    lock = path.with_suffix(".lock")
    with locked(lock):
        arrays = _read_cache(path)
        if arrays is None:
            arrays = make()
            with atomic_path(path) as temporary, open(temporary, "wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
        lock.unlink(missing_ok=True)
    return arrays


def _read_cache(path: Path) -> Arrays | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, KeyError, BadZipFile):
        # Not whole, whatever the reason: made again.
        os.unlink(path)
        return None
