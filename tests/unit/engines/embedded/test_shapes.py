"""Terms, tangents and factors of modules, on made-up tables."""

from __future__ import annotations

import numpy as np
import pytest

from icflow.engines.embedded.shapes import (
    BACKGROUND,
    CURVE,
    PLASMA,
    ROW,
    TANGENT,
    Box,
    Shapes,
    cubic,
    derivatives,
    expected,
    factors,
    find_cells,
    model_counts,
    slots_of,
    sources,
)
from icflow.statistic import Data

N = 12
# norm, x, norm of the curve, y, norm and kT, Z, z of a plasma, factor of B, of C, background.
THETA = np.array([2.0, 0.3, 1.5, 1.7, 0.8, 2.5, 0.4, 0.0, 1.1, 0.9, 1.05])


@pytest.fixture
def shapes() -> Shapes:
    random = np.random.default_rng(3)
    nodes = np.linspace(0, 3, 7)[:, None] ** 2 * np.linspace(1, 2, N)
    return Shapes(
        terms=np.array(
            [
                [ROW, 0, 0, 0, 0, 0],
                [TANGENT, 1, 0, 1, 0, 0],
                [CURVE, 0, 2, 3, 0, 0],
                [PLASMA, 0, 4, 5, 6, 7],
                [BACKGROUND, 2, 10, 0, 0, 0],
            ]
        ),
        rows=np.concatenate([random.uniform(1, 2, (3, N)), nodes]),
        curves=np.array([[3.0, 7.0, 0.0, 0.5]]),
        plasma=random.uniform(1, 2, (1, 1, 3, 2, N)),
        temperatures=np.array([1.0, 2.0, 4.0]),
        redshifts=np.zeros(2),
        modules=np.array([[5, -1], [9, 8], [N, 9]]),
        touching=np.full(11, 0.25),
    )


def test_a_model_is_the_sum_of_its_terms(shapes: Shapes) -> None:
    rows, plasma = shapes.rows, shapes.plasma[0, 0]
    source = 2.0 * (rows[0] + (0.3 - 0.25) * rows[1]) + 1.5 * 1.7**2 * np.linspace(1, 2, N)
    source += 0.8 * (0.75 * (plasma[1, 0] + 0.4 * plasma[1, 1]))
    source += 0.8 * (0.25 * (plasma[2, 0] + 0.4 * plasma[2, 1]))
    factor = np.repeat([1.0, 1.1, 0.9], [5, 4, 3])
    np.testing.assert_allclose(factors(shapes, THETA), factor)
    np.testing.assert_allclose(
        model_counts(shapes, THETA), factor * source + 1.05 * rows[2], rtol=1e-12
    )


def test_slopes_are_the_derivatives_by_every_parameter(shapes: Shapes) -> None:
    free = np.array([0, 1, 2, 3, 4, 5, 6, 8, 9, 10])
    bins = np.arange(N)
    data = Data(np.ones(N), bins, bins + 1)
    slopes = derivatives(shapes, data, Box(free, -np.ones(10), 9 * np.ones(10)), THETA)
    for p, slope in zip(free, slopes, strict=True):
        step = np.zeros(11)
        step[p] = 1e-6
        up, down = (model_counts(shapes, THETA + s) for s in (step, -step))
        np.testing.assert_allclose(slope, (up - down) / 2e-6, rtol=1e-6, atol=1e-6)
    # Bins of two channels hold the sums of both.
    pairs = Data(np.ones(6), bins[::2], bins[::2] + 2)
    summed = derivatives(shapes, pairs, Box(free, -np.ones(10), 9 * np.ones(10)), THETA)
    np.testing.assert_allclose(summed, slopes[:, ::2] + slopes[:, 1::2], rtol=1e-12)


def test_compiled_and_plain_code_agree(shapes: Shapes) -> None:
    slot, cells = slots_of(np.array([0, 3, 5, 8]), 11), find_cells(shapes, THETA)
    ends = []
    for function in (expected, expected.py_func):
        model, slopes = np.empty(N), np.empty((4, N))
        function(shapes, THETA, cells, slot, np.empty((6, N)), model, slopes)
        ends.append((model, slopes))
    np.testing.assert_allclose(ends[0][0], ends[1][0], rtol=1e-13)
    np.testing.assert_allclose(ends[0][1], ends[1][1], rtol=1e-13)


def test_temperatures_beyond_the_nodes_belong_to_the_outer_cells(shapes: Shapes) -> None:
    for kT, cell in ((0.5, 0), (1.0, 0), (2.0, 1), (3.9, 1), (9.0, 1)):
        theta = THETA.copy()
        theta[5] = kT
        assert find_cells(shapes, theta)[5] == cell


def test_sources_are_told_from_backgrounds_and_tangents(shapes: Shapes) -> None:
    assert sources(shapes.terms)[:, 0].tolist() == [ROW, CURVE, PLASMA]


@pytest.mark.parametrize("position", [0.2, 1.0, 3.7, 5.9])
def test_cubics_are_interpolated_exactly(position: float) -> None:
    nodes = np.arange(7.0)
    first, weights, slopes = cubic(position, 7)
    here = nodes[first : first + 4]
    assert weights @ here**3 == pytest.approx(position**3)
    assert slopes @ here**3 == pytest.approx(3 * position**2)
