"""Points in rounds, against integrals that are known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from icflow.engines.evidence import rounds
from icflow.engines.evidence.mixtures import Mixture
from icflow.engines.evidence.rounds import POINTS, deviates
from icflow.typing import Floats

SPREAD = np.array([[0.004, 0.001], [0.001, 0.003]])


def test_points_fill_a_t_distribution_evenly() -> None:
    points = deviates(32, 2, np.random.default_rng(1)).reshape(-1, 2)
    assert points.shape == (32 * POINTS, 2)
    # Quartiles of Student's t with 5 degrees of freedom.
    quartiles = np.quantile(points, [0.25, 0.5, 0.75], axis=0)
    assert quartiles == pytest.approx(np.array([[-0.7267] * 2, [0.0] * 2, [0.7267] * 2]), abs=0.02)


@pytest.mark.parametrize("centre", [(0.35, 0.6), (0.48, 0.5), (0.5, 0.5)])
def test_mirror_images_count_once_however_near_they_are(centre: tuple[float, float]) -> None:
    mean, images = np.array(centre), np.array([[0, 1], [1, 0]])
    kernels = Mixture(np.ones(1), mean[None], SPREAD[None])
    factor = np.linalg.cholesky(SPREAD)
    points = rounds._inside(mean, factor, deviates(64, 2, np.random.default_rng(2)).reshape(-1, 2))
    mirrored = sum(gaussian(points[:, order], mean) for order in images)
    integral = np.sum(mirrored / rounds._density(kernels, points, images)) / (64 * POINTS)
    assert integral == pytest.approx(2.0, rel=0.02)


def gaussian(points: Floats, mean: Floats) -> Floats:
    away = points - mean
    exponent = -0.5 * np.einsum("ni,ij,nj->n", away, np.linalg.inv(SPREAD), away)
    return np.asarray(np.exp(exponent) / (2 * math.pi * math.sqrt(np.linalg.det(SPREAD))))


def test_points_outside_of_the_cube_are_left_out() -> None:
    points = rounds._inside(np.array([0.0, 0.5]), np.eye(2) * 0.1, np.array([[1.0, 0.0], [-1, 0]]))
    assert points == pytest.approx(np.array([[0.1, 0.5]]))


@pytest.mark.parametrize("place", [0.5, 0.1, 0.0])
def test_points_outside_of_the_cube_count_as_nothing(
    place: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A likelihood of 1 has a mean of 1, however many points lie beyond its limits."""
    monkeypatch.setattr(rounds, "log_integrals", lambda *given: np.zeros(len(given[-1])))
    values = np.array([np.linspace(0, 1, 50)] * 2)
    cube = rounds.Cube(
        np.array([values] * 2), np.array([[0, 1]]), deviates(16, 2, np.random.default_rng(4))
    )
    wide = 0.1 * np.eye(2)
    centres = rounds.Centres(np.arange(2), np.zeros((1, 2)), np.array([[place, 0.5]]), wide[None])
    nothing: Any = None
    log_mean, effective = rounds._log_mean.py_func(nothing, nothing, nothing, centres, 0, cube)
    assert log_mean == pytest.approx(0.0, abs=0.05)
    assert effective < 0


def moved(points: Floats, weights: Floats, drawn: int) -> tuple[Floats, Floats]:
    means, spreads = np.full((2, 2), 0.5), np.stack([SPREAD, SPREAD])
    rounds._move(points, weights, drawn, means, spreads, 1)
    return means[1], spreads[1]


def test_later_rounds_go_where_points_count() -> None:
    random = np.random.default_rng(3)
    points = random.multivariate_normal([0.7, 0.3], 4 * SPREAD, 4000)
    mean, spread = moved(points, np.ones(4000), 4000)
    assert mean == pytest.approx([0.7, 0.3], abs=0.01)
    assert spread == pytest.approx(4 * SPREAD, rel=0.15)
    # A single one that counts moves them little, and they reach from there to the minimum.
    mean, spread = moved(points[:2], np.array([1.0, 1e-9]), 2)
    assert abs(mean - 0.5).max() < 0.1 * abs(points[0] - 0.5).max()
    assert np.all(np.diag(spread) > 0.9 * np.diag(SPREAD))


def test_the_more_points_are_outside_the_narrower_is_the_next_round() -> None:
    none = np.empty((0, 2))
    mean, spread = moved(none, np.empty(0), 32)
    assert mean == pytest.approx([0.5, 0.5])
    assert spread == pytest.approx(SPREAD / 32)
