"""How functions that loop are compiled, by numba; `function.py_func` is the plain Python twin.

Every compiled function is put whole into those that call it. Otherwise one
of several copies, each optimised next to its caller, is taken by the name that
they share: which one depends on what was compiled or loaded first, and sums in
another order differ in their last digits. A rerun has to give the same bytes.

Compiled functions are kept beside their sources or, where these cannot be written
(a package that an administrator has installed), below the user's cache.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numba
from numba import njit

from icflow.folders import cache_folder

_PACKAGE = Path(__file__).parent
_SETTINGS: Any = numba.config


def compiled_folder() -> Path:
    """Return the folder below which compiled functions are kept."""
    return Path(_SETTINGS.CACHE_DIR or _PACKAGE)


if not _SETTINGS.CACHE_DIR and not os.access(_PACKAGE, os.W_OK):
    _SETTINGS.CACHE_DIR = str(cache_folder() / "compiled")

# Sums may be taken in any order: several numbers at a time.
jit = njit(
    forceinline=True,
    cache=True,
    nogil=True,
    fastmath={"reassoc", "contract", "nsz"},
    error_model="numpy",
)

# As written: in order, and a division by zero raises.
strict = njit(forceinline=True, cache=True, nogil=True)
