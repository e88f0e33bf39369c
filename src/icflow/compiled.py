"""How functions that loop are compiled, by numba; `function.py_func` is the plain Python twin.

Every compiled function is put whole into those that call it. Otherwise one
of several copies, each optimised next to its caller, is taken by the name that
they share: which one depends on what was compiled or loaded first, and sums in
another order differ in their last digits. A rerun has to give the same bytes.
"""

from __future__ import annotations

from numba import njit

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
