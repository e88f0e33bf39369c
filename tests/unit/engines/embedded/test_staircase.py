"""The staircase of C in redshift, hop by hop, against the exact model at every step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from icflow import config
from icflow import settings as settings_of
from icflow.config import AtomicData, Instrument
from icflow.engines.embedded import staircase
from icflow.engines.embedded.descent import descents
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.engines.embedded.lines import Hops, Reach, split
from icflow.engines.embedded.shapes import Box, model_counts
from icflow.engines.embedded.staircase import Problem, Survey
from icflow.engines.embedded.tables import Tables, View
from icflow.statistic import Data, binned, cstat

Z = 0.05
LOW, HIGH = Z - 0.001, Z + 0.001


@pytest.fixture(scope="module")
def tables(root: Path, rmf_path: Path, arf_path: Path, atomdb: Path) -> Tables:
    engine = EmbeddedEngine(
        [Instrument(rmf=str(rmf_path), arf=str(arf_path), exposure=1e6)],
        AtomicData(folder=str(atomdb)),
    )
    settings = settings_of.baseline(config.load(root / "config.yaml"), "2T_free")
    return engine.task(settings.model, settings, ()).fitter.tables


@pytest.fixture(scope="module")
def theta() -> np.ndarray:
    # nH; kT, Z, z, norm; kT, norm.
    return np.array([0.00858, 4.0, 0.6, Z, 0.5, 8.0, 0.3])


@pytest.fixture(scope="module", params=[1, 3])
def data(tables: Tables, theta: np.ndarray, request: pytest.FixtureRequest) -> Data:
    counts = np.random.default_rng(1).poisson(model_counts(tables.exact(theta), theta))
    starts = np.arange(0, len(counts), request.param)
    sums = np.add.reduceat(counts, starts).astype(float)
    return Data(sums, starts, np.minimum(starts + request.param, len(counts)))


def moved(theta: np.ndarray, z: float) -> np.ndarray:
    other = theta.copy()
    other[3] = z
    return other


def test_every_step_has_the_cstat_of_the_exact_model(
    tables: Tables, theta: np.ndarray, data: Data
) -> None:
    nothing = Box(np.empty(0, dtype=np.int64), np.empty(0), np.empty(0))
    problem = Problem(View(tables, data), tables.exact(theta), nothing)
    found = staircase.survey(problem, theta, 3, (LOW, HIGH), 100)
    assert found.edges[0] == LOW and found.edges[-1] == HIGH and len(found.middle) == 101
    exact = np.array(
        [
            cstat(data.counts, binned(data, model_counts(tables.exact(at), at)))
            for at in (moved(theta, z) for z in found.middle)
        ]
    )
    assert np.ptp(exact) > 10
    # What is left is in lines too weak to be followed.
    assert np.abs(found.cstat - exact).max() < 0.3
    # Between the hops that tell steps apart, C hardly moves: the steps are real.
    assert np.median(np.abs(np.diff(exact))) > 0.05


def test_estimates_are_the_lowest_cstat_of_all_other_parameters(
    tables: Tables, theta: np.ndarray, data: Data
) -> None:
    free = np.array([1, 2, 4, 5, 6])
    box = Box(free, np.array([0.5, 0.0, 0.0, 0.5, 0.0]), np.array([15.0, 5.0, 100.0, 15.0, 100.0]))
    best = descents(tables.exact(theta), data, box, [theta], 200)[0].theta
    problem = Problem(View(tables, data), tables.exact(best), box)
    found = staircase.survey(problem, best, 3, (LOW, HIGH), 60)
    for i in np.argsort(found.cstat)[:6]:
        at = moved(best, found.middle[i])
        reached = descents(tables.exact(at), data, box, [at], 200)[0].cstat
        assert found.cstat[i] == pytest.approx(reached, abs=0.5)


def test_hops_are_those_of_every_line_and_edge(tables: Tables, theta: np.ndarray) -> None:
    ((table, amounts, _),) = tables.mixture(tables.exact(theta), theta, 3)[1]
    reach, high = tables.reach[3], Z + 1e-4
    fast = staircase._passed(reach, amounts[None], Z, high)
    plain = staircase._passed.py_func(reach, amounts[None], Z, high)
    for one, other in zip(fast, plain, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    hops = table.line_energy / table.energies[1:-1, None] - 1
    edge, line = np.nonzero((hops > Z) & (hops <= high))
    order = np.argsort(hops[edge, line])
    edge, line = edge[order], line[order]
    assert len(edge) > 10
    np.testing.assert_array_equal(fast.row, edge + 1)
    np.testing.assert_array_equal(fast.redshift, hops[edge, line])
    photons = np.einsum("tp,ltp->l", amounts, table.line_photons[line]) / (1 + hops[edge, line])
    np.testing.assert_allclose(fast.photons, photons, rtol=1e-12)


def test_models_begin_alike_at_redshifts_evenly_spaced() -> None:
    base = np.array([2.0, 3.0])
    for begun in (staircase._begun, staircase._begun.py_func):
        nodes, models = begun(base, LOW, HIGH, 3)
        np.testing.assert_allclose(nodes, np.linspace(LOW, HIGH, 4), rtol=1e-15)
        assert nodes[0] == LOW and nodes[-1] == HIGH
        np.testing.assert_array_equal(models, np.tile(base, (4, 1)))


def test_the_least_of_the_largest_is_selected() -> None:
    random = np.random.default_rng(4)
    for values in (random.uniform(0, 1, 40), random.integers(0, 4, 40).astype(float), np.ones(5)):
        for most in (1, 2, len(values) // 2, len(values)):
            wanted, before = np.sort(values)[-most], values.copy()
            assert staircase._least_of(values, most) == wanted
            assert staircase._least_of.py_func(values, most) == wanted
            np.testing.assert_array_equal(values, before)


def test_steps_are_told_apart_by_the_hops_that_move_most() -> None:
    random = np.random.default_rng(3)
    hops = staircase._Passed(
        np.sort(random.uniform(0, 1, 30)), random.uniform(0, 1, 30), random.integers(0, 4, 30)
    )
    rates = np.array([1.0, 2.0, 0.5, 1.5])
    largest = np.argsort(hops.photons * rates[hops.row])[-7:]
    edges = staircase._edges(hops, rates, 0.0, 1.0, 7)
    np.testing.assert_array_equal(edges, [0.0, *np.sort(hops.redshift[largest]), 1.0])
    every = staircase._edges.py_func(hops, rates, 0.0, 1.0, 30)
    np.testing.assert_array_equal(every, [0.0, *hops.redshift, 1.0])


def test_estimates_follow_hops_between_nodes() -> None:
    """Compiled and plain alike; C of the model at nodes, and with its hops in between."""
    random = np.random.default_rng(5)
    bins, nodes = np.arange(30), np.array([0.0, 1.0, 2.0])
    data = Data(random.poisson(50, 30).astype(float), bins, bins + 1)
    kernel = random.uniform(0, 1, (5, 20))
    hops = staircase._Passed(
        np.sort(random.uniform(0, 2, 7)), random.uniform(0, 1, 7), random.integers(1, 5, 7)
    )
    nothing = Hops(np.empty(0), *np.empty((3, 0), dtype=np.int64), np.empty((0, 1, 2)))
    whole = np.array([[0, 20]] * 5)
    reach = Reach(np.arange(20), kernel, kernel.sum(axis=1), whole, nothing)
    models = 50 + random.uniform(0, 5, (3, 30))
    moving = staircase._Moving(models, random.normal(1, 0.2, (2, 30)), np.empty((0, 1, 2)))
    newton = staircase._Newton(np.eye(2)[None] * 1e-3, np.zeros(2))
    points, own = np.linspace(0.05, 1.95, 9), split(data, reach.near, 30)
    near, far = staircase._near(reach, own, moving), staircase._far(own, moving)
    fast = staircase._estimates(near, far, nodes, reach, hops, points, newton)
    slow = staircase._near.py_func(reach, own, moving), staircase._far.py_func(own, moving)
    plain = staircase._estimates.py_func(*slow, nodes, reach, hops, points, newton)
    np.testing.assert_allclose(fast, plain, rtol=1e-10)
    # At a node the model is known, whatever hops there are.
    still = staircase._Newton(np.zeros((1, 2, 2)), np.zeros(2))
    at_node = staircase._estimates(near, far, nodes, reach, hops, nodes[1:2], still)
    assert at_node[0] == pytest.approx(cstat(data.counts, models[1]), rel=1e-12)
    # Behind it, what has hopped has, and the rest of the way to the next node is not gone yet.
    moved = models[1].copy()
    (z,) = hops.redshift[hops.redshift > 1.0][:1]
    row, photons = next((r, p) for x, p, r in zip(*hops, strict=True) if x == z)
    moved[:20] += photons * (kernel[row - 1] - kernel[row])
    later = [(r, p) for x, p, r in zip(*hops, strict=True) if x > 1.0]
    drift = models[2] - models[1]
    for r, p in later:
        drift[:20] -= p * (kernel[r - 1] - kernel[r])
    reached = staircase._estimates(near, far, nodes, reach, hops, np.array([z]), still)
    # The bins that no line reaches change linearly: to second order in that.
    wanted = cstat(data.counts, moved + (z - 1.0) * drift)
    assert reached[0] == pytest.approx(wanted, rel=1e-4)
    # As does what pulls at the parameters there.
    midway = models[1] + 0.5 * drift
    for x, p, r in zip(*hops, strict=True):
        if 1.0 < x <= 1.5:
            midway[:20] += p * (kernel[r - 1] - kernel[r])
    step, half = staircase._Newton(np.eye(2)[None], np.zeros(2)), np.array([1.5])
    low, high = (
        staircase._estimates(near, far, nodes, reach, hops, half, by)[0] for by in (step, still)
    )
    push = moving.slopes @ (data.counts / midway - 1)
    assert high - low == pytest.approx(push @ push, rel=0.01)


def test_what_is_at_a_limit_leaves_it_inward_alone() -> None:
    """Steps of a parabola whose parameters begin at limits, against the lowest C inside of them."""
    random = np.random.default_rng(7)
    info = random.normal(size=(3, 5))
    info = info @ info.T
    inward, held = np.array([1.0, -1.0, 0.0]), np.zeros(3, dtype=bool)
    newton = staircase._Newton(staircase._inverses(info, inward, held), inward)
    assert len(newton.inverses) == 4
    seen = set()
    for push in random.normal(size=(40, 3)):
        # The lowest x^T I x - 2 push x where x leads inward.
        bounds = [(0.0, None), (None, 0.0), (None, None)]
        lowest = minimize(
            lambda x, push=push: x @ info @ x - 2 * push @ x,
            np.zeros(3),
            jac=lambda x, push=push: 2 * (info @ x - push),
            bounds=bounds,
            options={"ftol": 1e-14, "gtol": 1e-10},
        )
        assert staircase._gain(push, newton) == pytest.approx(-lowest.fun, rel=1e-6)
        seen.add(tuple(np.abs(lowest.x[:2]) > 1e-9))
    assert len(seen) == 4
    # A temperature on a node stays there.
    box = Box(np.arange(3), np.full(3, -5.0), np.full(3, 5.0))
    alone, inward = staircase._newton(info, box, np.array([2.0, 5.0, -5.0]), np.array([1.0, 2.0]))
    assert not alone[:, 0].any()
    np.testing.assert_array_equal(inward, [0.0, -1.0, 1.0])


def test_half_width_of_a_parabola_is_its_sigma() -> None:
    edges = np.linspace(-5, 5, 2001)
    middle = 0.5 * (edges[1:] + edges[:-1])
    found = Survey(edges, middle, 1800 + (middle - 0.3) ** 2 / 0.25)
    assert staircase.half_width(found, 0.3, 0.6827) == pytest.approx(0.5, rel=0.01)
    # One step out of many that is lower by chance does not narrow it.
    lucky = found._replace(cstat=found.cstat - np.where(np.arange(2000) == 1060, 3.0, 0.0))
    assert staircase.half_width(lucky, 0.3, 0.6827) == pytest.approx(0.5, rel=0.03)


def test_redshifts_are_drawn_by_the_likelihood_of_steps() -> None:
    found = Survey(
        np.array([0.0, 1.0, 1.5, 4.0]), np.array([0.5, 1.25, 2.0]), np.array([2.0, 0, 9])
    )
    share = np.exp(-0.5 * found.cstat) * np.diff(found.edges)
    places = (np.arange(1000) + 0.5) / 1000
    drawn, logs = np.array([staircase.drawn(found, p) for p in places]).T
    held = np.histogram(drawn, found.edges)[0] / 1000
    assert held == pytest.approx(share / share.sum(), abs=2e-3)
    density = share / share.sum() / np.diff(found.edges)
    step = np.searchsorted(found.edges, drawn) - 1
    assert np.exp(logs) == pytest.approx(density[step])
