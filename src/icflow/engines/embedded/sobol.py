"""Points that fill a cube evenly: Sobol's sequence.

As `scipy.stats.qmc.Sobol` without scrambling, which takes longer to import than a fit. Direction
numbers: Joe & Kuo (2008), SIAM J. Sci. Comput. 30, 2635, file new-joe-kuo-6.21201.
"""

from __future__ import annotations

import numpy as np

from icflow.typing import Floats

# Of each dimension behind the first: a, which tells the polynomial, and the first numbers m.
DIRECTIONS = (
    (0, (1,)),
    (1, (1, 3)),
    (1, (1, 3, 1)),
    (2, (1, 1, 1)),
    (1, (1, 1, 3, 3)),
    (4, (1, 3, 5, 13)),
    (2, (1, 1, 5, 5, 17)),
    (4, (1, 1, 5, 5, 5)),
    (7, (1, 1, 7, 11, 19)),
)
BITS = 30


def points(number: int, dimensions: int) -> Floats:
    """Return the first points in the unit cube, shape (number, dimensions)."""
    if dimensions > len(DIRECTIONS) + 1:
        from scipy.stats import qmc  # slow to import

        return np.asarray(qmc.Sobol(dimensions, scramble=False).random(number))
    columns = [_coordinates(number, _numbers(dimension)) for dimension in range(dimensions)]
    return np.array(columns).T / 2.0**BITS


def _numbers(dimension: int) -> list[int]:
    """Return the direction numbers of a dimension, each of `BITS` bits."""
    if dimension == 0:
        return [1 << (BITS - 1 - bit) for bit in range(BITS)]
    a, first = DIRECTIONS[dimension - 1]
    degree, m = len(first), list(first)
    for k in range(degree, BITS):
        value = m[k - degree] ^ (m[k - degree] << degree)
        for i in range(1, degree):
            value ^= (a >> (degree - 1 - i) & 1) * (m[k - i] << i)
        m.append(value)
    return [value << (BITS - 1 - bit) for bit, value in enumerate(m)]


def _coordinates(number: int, directions: list[int]) -> list[int]:
    """Return one coordinate of the points, in the order of Gray's code."""
    values = [0]
    for index in range(number - 1):
        lowest = (~index & (index + 1)).bit_length() - 1  # the lowest bit that is not set
        values.append(values[-1] ^ directions[lowest])
    return values[:number]
