"""Likelihoods integrated over norms, against brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import dblquad, quad
from scipy.stats import norm

from icflow.engines.embedded.shapes import ROW, Shapes
from icflow.engines.evidence.norms import Norms, log_integrals, log_interval
from icflow.statistic import cstat

ROWS = np.array([[200.0, 100.0, 50.0, 20.0], [30.0, 60.0, 90.0, 80.0], [50.0] * 4])


def shapes_of(rows: np.ndarray) -> Shapes:
    terms = np.array([[ROW, i, i, 0, 0, 0] for i in range(len(rows))])
    return Shapes(
        terms,
        rows,
        np.empty((0, 4)),
        np.empty((0, 1, 2, 2, rows.shape[1])),
        np.array([0.0, 1.0]),
        np.zeros(2),
    )


def norms_of(
    bounds: list[tuple[float, float]], scattered: list[int], scatter: float = 0.1
) -> Norms:
    lower, upper = np.array(bounds).reshape(-1, 2).T
    bounded = np.arange(len(bounds))
    return Norms(
        bounded,
        lower.copy(),
        upper.copy(),
        np.array(scattered, np.int64),
        np.full(len(scattered), scatter),
    )


def likelihood(counts: np.ndarray, rows: np.ndarray, theta: np.ndarray) -> float:
    return math.exp(-0.5 * cstat(counts, theta @ rows))


@pytest.mark.parametrize(
    ("truth", "bounds"),
    [
        ((1.0, 1.0), [(0.5, 1.5), (0.2, 2.0)]),  # inside
        ((1.0, 0.25), [(0.5, 1.5), (0.2, 2.0)]),  # near a bound
        ((1.0, 0.1), [(0.5, 1.5), (0.2, 2.0)]),  # beyond one
        ((2.0, 0.1), [(0.5, 1.5), (0.2, 2.0)]),  # beyond two
        ((1.0, 1.0), [(0.0, 100.0), (0.0, 100.0)]),  # in a wide box
    ],
)
def test_two_norms_are_integrated_over_their_box(
    truth: tuple[float, float], bounds: list[tuple[float, float]]
) -> None:
    counts = np.round(np.array([*truth, 1.0]) @ ROWS)
    found = log_integrals(
        shapes_of(ROWS), counts, norms_of(bounds, []), np.array([[0.7, 0.7, 1.0]])
    )
    (a, b), (c, d) = (
        (max(low, t - 2), min(high, t + 2)) for (low, high), t in zip(bounds, truth, strict=True)
    )
    exact, _ = dblquad(
        lambda y, x: likelihood(counts, ROWS, np.array([x, y, 1.0])), a, b, c, d, epsrel=1e-6
    )
    volume = np.prod([high - low for low, high in bounds])
    # The likelihood is a Gaussian to a few per cent only: some 600 counts.
    assert found[0] == pytest.approx(math.log(exact / volume), abs=0.03)


def test_norms_of_two_shapes_alike_have_a_ridge_not_a_peak() -> None:
    rows = np.array([[300.0, 200.0], [300.0, 200.0], [40.0, 60.0]])
    counts = np.array([340.0, 260.0])
    bounds = [(0.01, 1.0), (0.01, 1.0)]
    found = log_integrals(
        shapes_of(rows), counts, norms_of(bounds, []), np.array([[0.5, 0.5, 1.0]])
    )
    exact, _ = dblquad(
        lambda y, x: likelihood(counts, rows, np.array([x, y, 1.0])), 0.01, 1, 0.01, 1, epsrel=1e-5
    )
    assert found[0] == pytest.approx(math.log(exact / 0.99**2), abs=0.02)


@pytest.mark.parametrize("scatter", [0.001, 0.05, 0.3])
def test_a_background_norm_is_averaged_over_its_scatter(scatter: float) -> None:
    counts = np.round(np.array([1.0, 0.9, 1.05]) @ ROWS)
    norms = norms_of([(0.5, 1.5)], [1], scatter)
    found = log_integrals(shapes_of(ROWS), counts, norms, np.array([[1.0, 1.0, 1.05]]))
    exact, _ = dblquad(
        lambda y, x: (
            likelihood(counts, ROWS, np.array([x, y, 1.05])) * norm.pdf(y, loc=1, scale=scatter)
        ),
        0.5,
        1.5,
        max(1 - 8 * scatter, 0.3),
        min(1 + 8 * scatter, 1.7),
        epsrel=1e-5,
    )
    assert found[0] == pytest.approx(math.log(exact), abs=0.03)


def test_one_norm_and_none() -> None:
    counts = np.round(np.array([0.45, 1.0, 1.0]) @ ROWS)
    theta = np.array([[1.0, 1.0, 1.0], [0.8, 1.0, 1.0]])
    found = log_integrals(shapes_of(ROWS), counts, norms_of([(0.5, 1.5)], []), theta)
    exact, _ = quad(lambda x: likelihood(counts, ROWS, np.array([x, 1.0, 1.0])), 0.5, 1.5)
    assert found == pytest.approx([math.log(exact)] * 2, abs=0.02)
    found = log_integrals(shapes_of(ROWS), counts, norms_of([], []), theta)
    assert found == pytest.approx([-0.5 * cstat(counts, one @ ROWS) for one in theta])


@pytest.mark.parametrize("a", [-40.0, -7.0, -1.0, 0.5, 5.0, 9.0, 30.0])
@pytest.mark.parametrize("width", [1e-3, 1.0, 50.0])
def test_probability_of_an_interval_far_out_keeps_its_digits(a: float, width: float) -> None:
    b = a + width
    low, high = (a, b) if a + b < 0 else (-b, -a)
    logs = norm.logcdf([low, high])
    exact = logs[1] + math.log1p(-math.exp(logs[0] - logs[1]))
    assert log_interval(a, b) == pytest.approx(exact, abs=2e-3)
