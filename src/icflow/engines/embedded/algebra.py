"""Linear algebra of information matrices, which may be singular."""

from __future__ import annotations

import math

import numpy as np

from icflow.compiled import jit
from icflow.typing import Booleans, Floats, Integers

# A pivot smaller than this fraction of its diagonal is rounding: the matrix is singular.
SINGULAR = 1e-11
# A parameter of which more than this part lies in directions left out is not determined.
VAGUE = 1e-6


@jit
def solve(matrix: Floats, vector: Floats, rows: Integers, factor: Floats, x: Floats) -> bool:
    """Solve matrix · x = vector for some rows and columns by Cholesky's method.

    Parameters
    ----------
    rows : ndarray of int, shape (m,)
        Which ones; ``x[a]`` is the solution for ``rows[a]``.
    factor, x : ndarray, shape (m or more, m or more) and (m or more,)
        Overwritten.

    Returns
    -------
    bool
        False if these rows are not independent.
    """
    m = len(rows)
    for a in range(m):
        row = rows[a]
        for b in range(a + 1):
            total = matrix[row, rows[b]]
            for c in range(b):
                total -= factor[a, c] * factor[b, c]
            if a == b:
                if not total > SINGULAR * matrix[row, row]:
                    return False
                factor[a, a] = math.sqrt(total)
            else:
                factor[a, b] = total / factor[b, b]
        total = vector[row]
        for c in range(a):
            total -= factor[a, c] * x[c]
        x[a] = total / factor[a, a]
    for a in range(m - 1, -1, -1):
        total = x[a]
        for c in range(a + 1, m):
            total -= factor[c, a] * x[c]
        x[a] = total / factor[a, a]
    return True


@jit
def solve_without(matrix: Floats, vector: Floats, held: Booleans, step: Floats) -> bool:
    """Solve matrix · step = vector for what is not held, whose steps stay; False if singular."""
    rows = np.flatnonzero(~held)
    m = len(rows)
    x = np.empty(m)
    if not solve(matrix, vector, rows, np.empty((m, m)), x):
        return False
    for a in range(m):
        step[rows[a]] = x[a]
    return True


@jit
def inverse(
    info: Floats, chosen: Booleans, undetermined: float = 0.0, least: float = SINGULAR
) -> Floats:
    """Invert the information of some parameters.

    Directions in which nothing changes are left out: two plasmas that share a
    temperature cell, or two components alike, can be exchanged for one another
    at no cost in C.

    Parameters
    ----------
    info : ndarray, shape (n, n)
    chosen : ndarray of bool, shape (n,)
        Which parameters move; those without information do not either.
    undetermined : float
        What stands in the rows and columns of parameters that do not move. If it is NaN, it also
        stands in those of parameters that the data do not determine.
    least : float
        Eigenvalues smaller than this fraction of the largest are rounding.

    Returns
    -------
    ndarray, shape (n, n)
    """
    whole = np.full(info.shape, undetermined)
    usable = np.flatnonzero(chosen & (np.diag(info) > 0))
    m = len(usable)
    if m == 0:
        return whole
    scale, part = np.empty(m), np.empty((m, m))
    for a in range(m):
        scale[a] = 1 / math.sqrt(info[usable[a], usable[a]])
    for a in range(m):
        for b in range(m):
            part[a, b] = info[usable[a], usable[b]] * scale[a] * scale[b]
    values, vectors = np.linalg.eigh(part)
    kept = values > least * max(values.max(), 0.0)
    for a in range(m):
        for b in range(m):
            total, vague_a, vague_b = 0.0, 0.0, 0.0
            for c in range(m):
                if kept[c]:
                    total += vectors[a, c] * vectors[b, c] / values[c]
                else:
                    vague_a += vectors[a, c] ** 2
                    vague_b += vectors[b, c] ** 2
            vague = math.isnan(undetermined) and max(vague_a, vague_b) > VAGUE
            whole[usable[a], usable[b]] = undetermined if vague else total * scale[a] * scale[b]
    return whole
