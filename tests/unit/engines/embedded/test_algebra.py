"""Linear algebra of information matrices."""

from __future__ import annotations

import numpy as np
import pytest

from icflow.engines.embedded.algebra import inverse, solve, solve_without


def information(n: int, seed: int = 1) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, 3 * n))
    return rows @ rows.T


@pytest.mark.parametrize("function", [solve, solve.py_func])
def test_some_rows_are_solved_for(function: object) -> None:
    matrix, vector, rows = information(5), np.arange(5.0), np.array([0, 2, 3])
    factor, x = np.empty((5, 5)), np.empty(5)
    assert function(matrix, vector, rows, factor, x)  # type: ignore[operator]
    wanted = np.linalg.solve(matrix[np.ix_(rows, rows)], vector[rows])
    np.testing.assert_allclose(x[:3], wanted, rtol=1e-9)


def test_what_is_held_stays() -> None:
    matrix, held = information(4), np.array([False, True, False, False])
    step = np.full(4, 7.0)
    assert solve_without(matrix, np.ones(4), held, step)
    assert step[1] == 7.0
    kept = ~held
    np.testing.assert_allclose(matrix[np.ix_(kept, kept)] @ step[kept], 1.0)


def test_two_rows_alike_are_singular() -> None:
    rows = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    assert not solve(rows @ rows.T, np.ones(2), np.arange(2), np.empty((2, 2)), np.empty(2))


def test_an_inverse_has_nothing_of_what_does_not_move() -> None:
    info, moving = information(4), np.array([True, False, True, True])
    found = inverse(info, moving)
    kept = np.flatnonzero(moving)
    np.testing.assert_allclose(
        found[np.ix_(kept, kept)], np.linalg.inv(info[np.ix_(kept, kept)]), rtol=1e-8
    )
    assert not found[1].any() and not found[:, 1].any()
    assert np.isnan(inverse(info, moving, undetermined=np.nan)[1]).all()


def test_parameters_that_the_data_do_not_determine_have_no_error() -> None:
    slopes = np.array([[1.0, 2.0, 0.5], [1.0, 2.0, 0.5], [0.0, 1.0, 3.0], [0.0, 0.0, 0.0]])
    found = inverse(slopes @ slopes.T, np.ones(4, dtype=bool), undetermined=np.nan)
    assert np.isnan(np.diag(found)).tolist() == [True, True, False, True]
    # Without NaN the direction along which nothing changes is left out.
    step = inverse(slopes @ slopes.T, np.ones(4, dtype=bool)) @ (slopes @ np.ones(3))
    assert step[0] == pytest.approx(step[1])


def test_nothing_is_inverted_to_nothing() -> None:
    assert inverse(np.empty((0, 0)), np.empty(0, dtype=bool)).shape == (0, 0)
