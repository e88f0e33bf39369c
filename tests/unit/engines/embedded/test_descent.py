"""Models as tables and their minima, on made-up ones small enough for the plain Python twin."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from icflow.engines.embedded.descent import ENOUGH, Minimum, descend, descents
from icflow.engines.embedded.shapes import (
    BACKGROUND,
    CURVE,
    PLASMA,
    Box,
    Shapes,
    derivatives,
    information,
    model_counts,
)
from icflow.statistic import Data, cstat

N_CHANNELS = 60
NODES = np.array([1.0, 2.0, 4.0, 8.0])


def problem(n_redshifts: int = 1) -> Shapes:
    """Two plasmas, a curve and a background row."""
    x = np.linspace(0.2, 3, N_CHANNELS)
    z = np.arange(n_redshifts)[:, None, None, None] * 0.1
    kT = NODES[None, :, None, None]
    part = np.array([1.0, 0.2])[None, None, :, None]
    shift = np.array([0.0, 1.0])[None, None, :, None]
    table = 3000 * part * np.exp(-x * (1 + z) * 4 / kT - shift * (x * (1 + z) - 1.2) ** 2 * 20)
    background = 40 + 10 * np.sin(x)
    index = np.linspace(1, 3, 9)
    curve = 100 * x ** (-index[:, None])
    return Shapes(
        terms=np.array(
            [
                [PLASMA, 0, 3, 0, 1, 2],
                [PLASMA, 0, 5, 4, 1, 2],
                [CURVE, 0, 7, 6, 0, 0],
                [BACKGROUND, 0, 8, 0, 0, 0],
            ]
        ),
        rows=np.vstack([background[None], curve]),
        curves=np.array([[1.0, 9.0, 1.0, 0.25]]),
        plasma=np.broadcast_to(table, (n_redshifts, len(NODES), 2, N_CHANNELS))[:, None].copy(),
        temperatures=NODES,
        redshifts=np.array([0.0, 0.1]),
    )


THETA = np.array([1.5, 0.6, 0.0, 1.0, 5.0, 0.5, 1.9, 0.4, 1.0])
LOWER = np.array([1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.9])
UPPER = np.array([8.0, 5.0, 0.5, 9.0, 8.0, 9.0, 3.0, 9.0, 1.1])


def data(shapes: Shapes, theta: np.ndarray, seed: int, width: int = 1) -> Data:
    counts = np.random.default_rng(seed).poisson(model_counts(shapes, theta))
    starts = np.arange(0, N_CHANNELS, width)
    return Data(np.add.reduceat(counts, starts).astype(float), starts, starts + width)


def box(*free: int) -> Box:
    positions = np.array(free)
    return Box(positions, LOWER[positions], UPPER[positions])


@pytest.mark.parametrize("n_redshifts", [1, 6])
def test_slopes_are_the_derivatives(n_redshifts: int) -> None:
    shapes = problem(n_redshifts)
    theta = THETA.copy()
    theta[2] = 0.23 if n_redshifts > 1 else 0.0
    free = [p for p in range(9) if p != 2 or n_redshifts > 1]
    ones = Data(np.ones(N_CHANNELS), np.arange(N_CHANNELS), np.arange(N_CHANNELS) + 1)
    slopes = derivatives(shapes, ones, box(*free), theta)
    for p, slope in zip(free, slopes, strict=True):
        step = np.zeros(9)
        step[p] = 1e-6
        up, down = (model_counts(shapes, theta + s) for s in (step, -step))
        np.testing.assert_allclose(slope, (up - down) / 2e-6, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("width", [1, 4])
def test_the_minimum_is_that_of_a_general_minimiser(width: int) -> None:
    shapes = problem()
    observed = data(shapes, THETA, 3, width)
    free = box(0, 1, 3, 7, 8)
    found = descents(shapes, observed, free, [THETA], 100)[0]

    def value(x: np.ndarray) -> float:
        theta = THETA.copy()
        theta[free.free] = x
        model = model_counts(shapes, theta)
        return cstat(observed.counts, np.add.reduceat(model, observed.starts))

    bounds = list(zip(free.lower, free.upper, strict=True))
    general = minimize(value, THETA[free.free], bounds=bounds, method="Powell", tol=1e-10)
    assert found.converged
    assert found.cstat == pytest.approx(value(found.theta[free.free]), abs=1e-8)
    assert found.cstat <= general.fun + 1e-6


def test_the_compiled_and_the_plain_twin_agree() -> None:
    shapes, free = problem(), box(0, 1, 3, 4, 5, 8)
    observed = data(shapes, THETA, 5)
    start = THETA * 1.05
    compiled = descents(shapes, observed, free, [start], 60)[0]
    plain = Minimum(*descend.py_func(shapes, observed, free, start, 60, ENOUGH, np.inf))
    assert plain.cstat == pytest.approx(compiled.cstat, abs=1e-7)
    np.testing.assert_allclose(plain.theta, compiled.theta, rtol=1e-4)


def test_what_will_not_be_lowest_is_given_up() -> None:
    shapes, free = problem(), box(0, 1, 3, 4, 5, 8)
    observed = data(shapes, THETA, 5)
    start = THETA * 1.05
    # From a background that is held far too high, C cannot fall as low as from the truth.
    far = THETA.copy()
    far[7] = 4.0
    whole = descents(shapes, observed, free, [start, far], 60)
    rough = descents(shapes, observed, free, [start, far], 60, rough=True)
    assert rough[0].cstat == pytest.approx(whole[0].cstat, abs=1e-2)
    assert whole[1].cstat > whole[0].cstat + 100
    assert not rough[1].converged and rough[1].iterations < whole[1].iterations
    assert rough[1].cstat >= whole[1].cstat


def test_a_bound_holds_a_parameter_and_the_rest_is_at_the_minimum() -> None:
    shapes = problem()
    theta = THETA.copy()
    theta[8] = 1.4  # brighter background than the limits of the fit allow
    observed = data(shapes, theta, 7)
    free = box(0, 1, 3, 7, 8)
    found = descents(shapes, observed, free, [THETA], 100)[0]
    assert found.converged
    assert found.theta[8] == 1.1
    _, gradient = information(shapes, observed, free, found.theta)
    inner = (found.theta[free.free] > free.lower) & (found.theta[free.free] < free.upper)
    assert np.abs(gradient[:-1][inner[:-1]]).max() < 1e-2
    assert gradient[-1] < 0  # C would fall further beyond the bound


def test_a_kink_between_two_cells_is_a_minimum_too() -> None:
    # The truth sits on a node, where the interpolated slope in kT jumps.
    shapes = problem()
    theta = THETA.copy()
    theta[0], theta[5], theta[7] = 2.0, 0.0, 0.0
    counts = model_counts(shapes, theta)
    starts = np.arange(N_CHANNELS)
    observed = Data(counts, starts, starts + 1)
    begin = theta.copy()
    begin[0] = 3.3
    found = descents(shapes, observed, box(0, 1, 3), [begin], 100)[0]
    assert found.converged
    assert found.cstat < 1e-4
    assert found.theta[0] == pytest.approx(2.0, abs=1e-3)


def test_many_starts_many_seeds_never_end_above_the_truth() -> None:
    shapes, free = problem(), box(0, 1, 3, 7, 8)
    for seed in range(20):
        observed = data(shapes, THETA, seed)
        found = descents(shapes, observed, free, [THETA], 100)[0]
        assert found.cstat <= cstat(observed.counts, model_counts(shapes, THETA))
