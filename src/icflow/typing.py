"""Names of the arrays that the package hands around."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Integers = NDArray[np.int64]
Indices = NDArray[np.intp]
Booleans = NDArray[np.bool_]
Strings = NDArray[np.str_]
Counts = NDArray[np.integer[Any]]  # counts per channel, integers of any width
DrawnCounts = NDArray[np.int32]  # counts as they are simulated and kept
AnyArray = NDArray[Any]


class CountsByRow(Protocol):
    """Counts of spectra, an array or left in a file: a row is one spectrum."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> Any: ...
