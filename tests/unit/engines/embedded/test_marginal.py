"""Averages over limits, against closed forms and quadrature."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from icflow import config
from icflow import settings as settings_of
from icflow.config import FitControl, FitModel, Free
from icflow.engines.base import FitResult
from icflow.engines.embedded.descent import descents
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.engines.embedded.marginal import Stratum, WeightedPoints, averaged, in_order, interval
from icflow.engines.embedded.shapes import PLASMA, ROW, Box, Shapes
from icflow.statistic import channels, cstat

ONE_SIGMA = 0.6826894921370859
ROWS = np.array([[200.0, 100.0, 50.0, 20.0], [30.0, 60.0, 90.0, 80.0]]) * 300
CONTROL = FitControl(energies=[3, 80], group_min=0, background_range=0, starts=1, max_iterations=99)


def shapes_of(rows: np.ndarray) -> Shapes:
    """Return a model of fixed rows, a norm in front of each."""
    return Shapes(
        np.array([[ROW, i, i, 0, 0, 0] for i in range(len(rows))]),
        rows,
        np.empty((0, 4)),
        np.empty((0, 1, 2, 2, rows.shape[1])),
        np.array([0.0, 1.0]),
        np.zeros(2),
    )


def plasma_of(nodes: np.ndarray, spectra: np.ndarray) -> Shapes:
    """Return a model of one plasma without metals: norm, temperature, abundance, redshift."""
    table = np.zeros((1, 1, len(nodes), 2, spectra.shape[1]))
    table[0, 0, :, 0] = spectra
    terms = np.array([[PLASMA, 0, 0, 1, 2, 3]])
    nothing = np.empty((0, spectra.shape[1]))
    return Shapes(terms, nothing, np.empty((0, 4)), table, nodes, np.zeros(2))


def box_of(*limits: tuple[float, float]) -> Box:
    lower, upper = np.array(limits).T
    return Box(np.arange(len(limits)), lower.copy(), upper.copy())


def average(shapes: Shapes, counts: np.ndarray, box: Box, start: np.ndarray) -> WeightedPoints:
    data = channels(counts)
    (best,) = descents(shapes, data, box, [start], 99)
    return averaged(data, box, [Stratum(shapes, [best.theta])], CONTROL)


def by_quadrature(
    shapes: Shapes, counts: np.ndarray, x: np.ndarray, y: np.ndarray, model: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return the middles of cells in two parameters, and the averaged likelihoods of both."""
    values = np.array([[-0.5 * cstat(counts, model(a, b)) for b in y] for a in x])
    likelihood = np.exp(values - values.max())
    return likelihood.sum(axis=1), likelihood.sum(axis=0)


def ends_of(values: np.ndarray, likelihood: np.ndarray) -> np.ndarray:
    below = (np.cumsum(likelihood) - 0.5 * likelihood) / likelihood.sum()
    return np.interp([0.5 * (1 - ONE_SIGMA), 0.5 * (1 + ONE_SIGMA)], below, values)


def test_far_from_limits_intervals_are_those_of_the_curvature() -> None:
    shapes, truth = shapes_of(ROWS), np.array([1.0, 0.5])
    box = box_of((0.0, 100.0), (0.0, 100.0))
    counts = truth @ ROWS
    found = average(shapes, counts, box, np.array([0.9, 0.6])).intervals(box, ONE_SIGMA)
    sigma = np.sqrt(np.diag(np.linalg.inv((ROWS / counts) @ ROWS.T)))
    for i in range(2):
        ends = truth[i] - sigma[i], truth[i] + sigma[i]
        assert found[i] == pytest.approx(ends, abs=0.02 * sigma[i])


def test_a_background_that_nobody_knows_is_averaged_over() -> None:
    # The second norm is known to 10 %, better than the counts tell, and lower than they do.
    shapes, box = shapes_of(ROWS / 300), box_of((0.0, 100.0), (0.9, 1.1))
    counts = np.round(np.array([0.5, 1.2]) @ ROWS / 300)
    sample = average(shapes, counts, box, np.array([0.5, 1.0]))
    assert sample.effective > 500
    x, y = np.linspace(0.1, 1.1, 501), np.linspace(0.9, 1.1, 202)[1::2]
    first, second = by_quadrature(
        shapes, counts, x, y, lambda a, b: a * ROWS[0] / 300 + b * ROWS[1] / 300
    )
    found = sample.intervals(box, ONE_SIGMA)
    assert found[0] == pytest.approx(ends_of(x, first), abs=2e-3)
    # As much of it lies against the upper limit as nowhere else.
    below = (np.cumsum(second) - 0.5 * second) / second.sum()
    assert found[1] == pytest.approx((np.interp(1 - ONE_SIGMA, below, y), 1.1), abs=2e-3)


def test_a_norm_that_is_not_there_has_an_interval_from_zero() -> None:
    shapes, box = shapes_of(ROWS), box_of((0.0, 100.0), (0.0, 100.0))
    counts = np.array([1.0, -1e-3]) @ ROWS
    sample = average(shapes, counts, box, np.array([1.0, 0.1]))
    low, high = sample.intervals(box, ONE_SIGMA)[1]
    y, x = np.linspace(0, 0.03, 301), np.linspace(0.98, 1.02, 301)
    _, likelihood = by_quadrature(shapes, counts, x, y, lambda a, b: a * ROWS[0] + b * ROWS[1])
    share = np.concatenate([[0], np.cumsum(0.5 * (likelihood[1:] + likelihood[:-1]))])
    assert low == 0.0
    assert high == pytest.approx(np.interp(ONE_SIGMA, share / share[-1], y), rel=0.03)


def test_an_interval_knows_of_kinks_between_the_cells_of_a_temperature() -> None:
    nodes = np.array([1.0, 2.0, 3.0, 4.0])
    spectra = np.array([[90.0, 30, 10], [80, 40, 20], [30, 50, 60], [28, 51, 64]]) * 10
    shapes = plasma_of(nodes, spectra)

    def model(norm: float, kT: float) -> np.ndarray:
        return norm * np.array([np.interp(kT, nodes, column) for column in spectra.T])

    # On a node, where C is steeper above than below, and not far from the next cell but one.
    counts = np.round(model(1.0, 2.0))
    box = box_of((0.0, 10.0), (1.2, 4.0))
    sample = average(shapes, counts, box, np.array([1.0, 1.9, 0.0, 0.0]))
    x, y = np.linspace(0.8, 1.2, 241), np.linspace(1.2, 4.0, 1002)[1::2]
    norm, kT = by_quadrature(shapes, counts, x, y, model)
    found = sample.intervals(box, ONE_SIGMA)
    assert found[0] == pytest.approx(ends_of(x, norm), abs=2e-3)
    assert found[1] == pytest.approx(ends_of(y, kT), abs=5e-3)


def test_plasmas_alike_keep_their_order() -> None:
    terms = np.array([[PLASMA, 0, 0, 1, 4, 5], [PLASMA, 0, 2, 3, 4, 5]])
    box = Box(np.array([0, 1, 2, 3]), np.array([0.0, 0.5, 0, 0.5]), np.array([9.0, 15, 9, 15]))
    points = np.array([[1.0, 2.0, 1.0, 5.0], [1.0, 6.0, 1.0, 3.0]])
    theta = np.array([1.0, 2.5, 1.0, 5.5, 0.3, 0.05])
    kept = in_order(WeightedPoints(points, np.zeros(2)), terms, box, theta)
    assert kept.logs.tolist() == [0.0, -np.inf]
    swapped = in_order(WeightedPoints(points, np.zeros(2)), terms, box, theta[[2, 3, 0, 1, 4, 5]])
    assert swapped.logs.tolist() == [-np.inf, 0.0]


def test_an_interval_lies_between_equal_tails_unless_weight_lies_against_a_limit() -> None:
    values = (np.arange(10_000) + 0.5) / 10_000
    flat = interval(values, np.ones(10_000), (0.0, 1.0), 0.5)
    assert flat == pytest.approx((0.25, 0.75), abs=1e-4)
    falling = interval(values, np.exp(-5 * values), (0.0, 1.0), 0.5)
    assert falling == pytest.approx((0.0, -np.log(1 - 0.5 * (1 - np.exp(-5))) / 5), abs=1e-3)
    rising = interval(values, np.exp(5 * values), (0.0, 1.0), 0.5)
    assert rising == pytest.approx((1 - falling[1], 1.0), abs=1e-3)


# --- fits --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def redshifts(fits: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    return {"apec.Redshift": np.array([fit["z"] for fit in fits])}


def fitted(
    engine: EmbeddedEngine,
    run: config.Config,
    counts: np.ndarray,
    truth: dict[str, np.ndarray],
    name: str,
    **changes: Any,
) -> list[FitResult]:
    settings = settings_of.baseline(run, name).model_copy(update={"errors": "marginal", **changes})
    return list(engine.fit(settings.model, settings, counts, truth, settings.at_truth))


@pytest.mark.parametrize("name", ["1T+IC_fixed", "1T+IC_free", "2T_fixed"])
def test_fits_are_the_same_whatever_their_errors_and_their_company(
    engine: EmbeddedEngine,
    run: config.Config,
    spectra: np.ndarray,
    redshifts: dict[str, np.ndarray],
    name: str,
) -> None:
    every = fitted(engine, run, spectra[:3], redshifts, name)
    (alone,) = fitted(
        engine, run, spectra[2:3], {"apec.Redshift": redshifts["apec.Redshift"][2:]}, name
    )
    assert alone.intervals == every[2].intervals != {}
    plain = fitted(engine, run, spectra[:3], redshifts, name, errors="hessian")
    for fit, other in zip(every, plain, strict=True):
        assert (fit.values, fit.cstat) == (other.values, other.cstat)
        assert other.intervals == {} and set(fit.intervals) == set(fit.free)
        for low, high in fit.intervals.values():
            assert low < high


def test_backgrounds_that_the_counts_do_not_tell_have_their_limits_back(
    engine: EmbeddedEngine,
    run: config.Config,
    spectra: np.ndarray,
    redshifts: dict[str, np.ndarray],
) -> None:
    fixed, free = (
        fitted(engine, run, spectra[1:2], {"apec.Redshift": redshifts["apec.Redshift"][1:]}, name)[
            0
        ]
        for name in ("1T+IC_fixed", "1T+IC_free")
    )
    for fit in (fixed, free):
        assert "background.focused" in fit.at_bound
        low, high = fit.intervals["background.focused"]
        assert high - low == pytest.approx(0.2 * ONE_SIGMA, rel=0.03)
        # Elsewhere the curvature is as good, and so is the staircase for a redshift.
        low, high = fit.intervals["background.lines"]
        assert 0.5 * (high - low) == pytest.approx(fit.errors["background.lines"], rel=0.05)
    low, high = free.intervals["apec.Redshift"]
    assert 0.5 * (high - low) == pytest.approx(free.errors["apec.Redshift"], rel=0.05)
    # The averages at several redshifts together are as good as at one.
    for end, other in zip(
        fixed.intervals["powerlaw.norm"], free.intervals["powerlaw.norm"], strict=True
    ):
        assert end == pytest.approx(other, rel=0.15)


def test_delta_says_how_much_an_interval_holds(
    engine: EmbeddedEngine,
    run: config.Config,
    spectra: np.ndarray,
    redshifts: dict[str, np.ndarray],
) -> None:
    ninety, most = (
        fitted(engine, run, spectra[:1], redshifts, "1T+IC_fixed", delta=delta)[0].intervals
        for delta in (2.706, 1.0)
    )
    low, high = ninety["background.continuum"]
    inner, outer = most["background.continuum"]
    assert (high - low) / (outer - inner) == pytest.approx(1.645, abs=0.05)


def test_what_ends_above_the_minimum_has_no_intervals(
    engine: EmbeddedEngine,
    run: config.Config,
    spectra: np.ndarray,
    redshifts: dict[str, np.ndarray],
) -> None:
    (fit,) = fitted(engine, run, spectra[:1], redshifts, "1T+IC_fixed", strategy="plain")
    assert fit.status == "ok" and fit.intervals == {}


def test_a_term_without_a_table_is_averaged_along_its_tangents(
    engine: EmbeddedEngine, run: config.Config, spectra: np.ndarray, fits: list[dict[str, Any]]
) -> None:
    parameters = {
        "TBabs.nH": 0.00858,
        "apec.kT": Free(free=[0.5, 15.0]),
        "apec.Abundanc": Free(free=[0.0, 5.0]),
        "apec.Redshift": fits[1]["z"],
        "apec.norm": Free(free=[0.0, 100.0]),
        "gaussian.LineE": 10.0,
        "gaussian.Sigma": Free(free=[0.05, 0.5]),
        "gaussian.norm": Free(free=[0.0, 1.0]),
    }
    model = FitModel(expression="tbabs*(apec+gaussian)", parameters=parameters)
    control = run.fits.model_copy(update={"errors": "marginal", "starts": 1})
    (fit,) = engine.fit(model, control, spectra[1:2], {}, ())
    low, high = fit.intervals["apec.kT"]
    assert 0.5 * (high - low) == pytest.approx(fit.errors["apec.kT"], rel=0.3)
    for name in ("gaussian.Sigma", "gaussian.norm"):
        low, high = fit.intervals[name]
        assert parameters[name].free[0] <= low < high <= parameters[name].free[1]
