"""All combinations of temperature cells at once, against trying them one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import nnls

from icflow.engines.embedded import cells
from icflow.engines.embedded.descent import Minimum, descents
from icflow.engines.embedded.shapes import BACKGROUND, PLASMA, Box, Shapes, model_counts
from icflow.statistic import Data

NODES = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
N_CHANNELS = 80
# kT, Z, z, norm of the first plasma; kT, norm of the second; factor of the background.
THETA = np.array([1.4, 0.5, 0.0, 2.0, 6.0, 1.0, 1.0])
LOWER = np.array([1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.9])
UPPER = np.array([12.0, 5.0, 0.0, 50.0, 12.0, 50.0, 1.1])
FREE = np.array([0, 1, 3, 4, 5, 6])


def two_plasmas() -> Shapes:
    x = np.linspace(0.3, 6, N_CHANNELS)
    continuum = 4000 * np.exp(-x / NODES[:, None])
    line = 800 * np.exp(-((x - 2) ** 2) * 8) / (1 + (NODES[:, None] / 4) ** 2)
    return Shapes(
        terms=np.array(
            [[PLASMA, 0, 3, 0, 1, 2], [PLASMA, 0, 5, 4, 1, 2], [BACKGROUND, 0, 6, 0, 0, 0]]
        ),
        rows=np.full((1, N_CHANNELS), 50.0),
        curves=np.empty((0, 4)),
        plasma=np.stack([continuum, line], axis=1)[None, None],
        temperatures=NODES,
        redshifts=np.zeros(2),
    )


def drawn(shapes: Shapes, seed: int) -> Data:
    counts = np.random.default_rng(seed).poisson(model_counts(shapes, THETA)).astype(float)
    bins = np.arange(N_CHANNELS)
    return Data(counts, bins, bins + 1)


@pytest.mark.parametrize("alike", [False, True])
def test_amounts_are_those_of_non_negative_least_squares(alike: bool) -> None:
    random = np.random.default_rng(2)
    rows = np.abs(random.normal(size=(5, 30))).cumsum(axis=1)
    rows = np.concatenate([rows, rows if alike else np.abs(random.normal(size=(4, 30)))])
    target = random.normal(1.0, 0.5, size=30) * rows.mean(axis=0)
    sizes = np.array([5, len(rows) - 5])
    ends = cells._combinations(sizes, [[0, 1]] if alike else [])
    places = np.repeat(ends + np.array([0, 5]), 2, axis=1) + np.array([0, 1, 0, 1])
    normal = rows @ rows.T, rows @ target, places
    value, amounts = cells._all_cells(*normal, np.inf)
    seen = {tuple(pair) for pair in ends.tolist()}
    wanted = {(i, j) for i in range(4) for j in range(i if alike else 0, sizes[1] - 1)}
    assert seen == wanted and len(ends) == len(wanted)
    for k, (i, j) in enumerate(ends):
        chosen = rows[[i, i + 1, 5 + j, 6 + j]]
        _, residual = nnls(chosen.T, target)
        assert value[k] == pytest.approx(0.5 * (residual**2 - target @ target), rel=1e-8)
        assert np.all(amounts[k] >= 0)
        misfit = ((amounts[k] @ chosen - target) ** 2).sum()
        assert misfit == pytest.approx(residual**2, rel=1e-6)
    # What is of no interest stays there; the others are the same.
    most = float(np.median(value))
    some, amounts_of_some = cells._all_cells(*normal, most)
    low = value <= most
    assert np.array_equal(some[low], value[low]) and np.all(some[~low] > most)
    assert np.all(some <= value) and np.array_equal(amounts_of_some[low], amounts[low])


def test_compiled_and_plain_code_agree() -> None:
    random = np.random.default_rng(4)
    rows = np.abs(random.normal(size=(8, 30)))
    places = np.array([[i, i + 1, 4 + j, 5 + j] for i in range(3) for j in range(3)])
    arguments = rows @ rows.T, rows @ random.normal(size=30), places, np.inf
    for fast, plain in zip(
        cells._all_cells(*arguments), cells._all_cells.py_func(*arguments), strict=True
    ):
        np.testing.assert_allclose(fast, plain, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_the_lowest_combination_is_found_from_a_wrong_one(seed: int) -> None:
    shapes, box = two_plasmas(), Box(FREE, LOWER[FREE], UPPER[FREE])
    data = drawn(shapes, seed)

    def lowest(start: np.ndarray) -> Minimum:
        return descents(shapes, data, box, [start], 500)[0]

    every = []
    for cool, hot in itertools.combinations_with_replacement(np.sqrt(NODES[1:] * NODES[:-1]), 2):
        start = THETA.copy()
        start[[0, 4]] = np.minimum([cool, hot], 11.5)
        every.append(lowest(start))
    every.sort(key=lambda one: one.cstat)
    every_cell = cells.combine(shapes.terms, shapes.temperatures, box)
    starts = cells.promising(shapes, data, box, every_cell, every[-1].theta, 1.0, 3)
    assert 1 <= len(starts) <= 3
    assert min(lowest(start).cstat for start in starts) < every[0].cstat + 1e-3


def test_like_plasmas_share_their_spectra() -> None:
    shapes, box = two_plasmas(), Box(FREE, LOWER[FREE], UPPER[FREE])
    alike = cells.combine(shapes.terms, shapes.temperatures, box)
    # Abundances of their own: spectra of their own.
    terms = shapes.terms.copy()
    terms[1, 4] = 7
    unlike = cells.combine(terms, shapes.temperatures, box)
    assert alike is not None and unlike is not None
    n = len(alike.kT) // 2
    assert alike.row.tolist() == [*range(n), *range(n)]
    assert unlike.row.tolist() == [*range(2 * n)]
    rows = cells._rows(shapes, drawn(shapes, 1), alike, THETA)
    node = alike.kT.tolist().index(NODES[2])
    np.testing.assert_allclose(rows[node], [1, THETA[1]] @ shapes.plasma[0, 0, 2])


def test_what_cannot_be_treated_is_left_alone() -> None:
    shapes = two_plasmas()
    # The norm of one plasma is frozen: its amounts are not free.
    free = FREE[FREE != 5]
    box = Box(free, LOWER[free], UPPER[free])
    assert cells.combine(shapes.terms, shapes.temperatures, box) is None


def test_three_plasmas_are_combined_once() -> None:
    found = cells._combinations(np.array([5, 5, 5]), [[0, 1, 2]])
    wanted = itertools.combinations_with_replacement(range(4), 3)
    assert sorted(map(tuple, found.tolist())) == sorted(wanted)
    assert len(cells._combinations(np.array([5, 5, 4]), [[0, 1]])) == 10 * 3


def test_too_many_plasmas_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes, box = two_plasmas(), Box(FREE, LOWER[FREE], UPPER[FREE])
    assert cells.combine(shapes.terms, shapes.temperatures, box) is not None
    monkeypatch.setattr(cells, "MOST_COMBINATIONS", 5)
    assert cells.combine(shapes.terms, shapes.temperatures, box) is None
