"""Evidences: integrals that can be had in closed form or by brute force, and calibration."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import dblquad, quad
from scipy.stats import multivariate_normal, norm

from icflow import config
from icflow.config import AtomicData, Instrument, Scenario
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.engines.embedded.shapes import ROW, Shapes
from icflow.engines.evidence.norms import Norms, log_integrals, log_interval
from icflow.engines.evidence.sampling import Kernel, fit_mixture, integrate
from icflow.errors import IcflowError
from icflow.models.priors import SHAPES, LogUniform, Prior, Uniform
from icflow.sections import Interval
from icflow.seeds import of_spectrum
from icflow.statistic import cstat
from icflow.typing import Floats

ROWS = np.array([[200.0, 100.0, 50.0, 20.0], [30.0, 60.0, 90.0, 80.0], [50.0] * 4])


# --- norms ----------------------------------------------------------------------------


def shapes_of(rows: np.ndarray) -> Shapes:
    terms = np.array([[ROW, i, i, 0, 0, 0] for i in range(len(rows))])
    return Shapes(
        terms, rows, np.empty((0, 4)), np.empty((0, 1, 2, 2, rows.shape[1])), np.array([0.0, 1.0]),
        np.zeros(2),
    )  # fmt: skip


def norms_of(
    bounds: list[tuple[float, float]], scattered: list[int], scatter: float = 0.1
) -> Norms:
    lower, upper = np.array(bounds).reshape(-1, 2).T
    bounded = np.arange(len(bounds))
    return Norms(bounded, lower.copy(), upper.copy(), np.array(scattered, np.int64), scatter)


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
        0.5, 1.5, max(1 - 8 * scatter, 0.3), min(1 + 8 * scatter, 1.7), epsrel=1e-5,
    )  # fmt: skip
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


# --- sampling -------------------------------------------------------------------------


def gaussian(mean: np.ndarray, covariance: np.ndarray):
    inverse = np.linalg.inv(covariance)
    constant = -0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]
    return lambda x: constant - 0.5 * np.einsum("ni,ij,nj->n", x - mean, inverse, x - mean)


COVARIANCE = np.array([[0.02, 0.012, 0.0], [0.012, 0.01, 0.0], [0.0, 0.0, 1e-4]])


@pytest.mark.parametrize(
    "mean",
    [
        (0.5, 0.5, 0.5),  # inside
        (0.05, 0.5, 0.5),  # at a bound
        (-0.2, -0.1, 0.99),  # beyond two, near a third
    ],
)
@pytest.mark.parametrize("off", [0.0, 0.1])
def test_a_gaussian_in_a_box(mean: tuple[float, float, float], off: float) -> None:
    middle = np.array(mean)
    start = Kernel(np.clip(middle + off, 0, 1), COVARIANCE)
    found = integrate(gaussian(middle, COVARIANCE), [start], np.random.default_rng(1))
    box = multivariate_normal(middle, COVARIANCE)
    exact = math.log(box.cdf(np.ones(3), lower_limit=np.zeros(3), rng=np.random.default_rng(2)))
    assert found.effective >= 300
    assert found.log == pytest.approx(exact, abs=4 * found.error + 0.01)
    assert 0.0 < found.error < 0.06


def test_a_symmetric_pair_of_modes_counts_twice() -> None:
    mean, covariance = np.array([0.3, 0.7, 0.5]), np.diag([1e-4, 4e-4, 1e-3])
    mirror = np.array([1, 0, 2])
    one = gaussian(mean, covariance)

    def both(x: np.ndarray) -> np.ndarray:
        return np.logaddexp(one(x), one(x[:, mirror]))

    # The start knows one of the two.
    found = integrate(
        both, [Kernel(mean, covariance)], np.random.default_rng(3), [np.arange(3), mirror]
    )
    assert found.log == pytest.approx(math.log(2), abs=4 * found.error)
    blind = integrate(both, [Kernel(mean, covariance)], np.random.default_rng(3))
    assert blind.log == pytest.approx(0.0, abs=0.2)


def test_a_narrow_peak_is_found_from_a_wide_start() -> None:
    mean, covariance = np.array([0.31, 0.64]), np.array([[4e-6, 3e-6], [3e-6, 4e-6]])
    start = Kernel(np.array([0.5, 0.5]), np.eye(2) / 12)
    found = integrate(gaussian(mean, covariance), [start], np.random.default_rng(4))
    assert found.log == pytest.approx(0.0, abs=4 * found.error)


def test_errors_are_those_of_repeated_integrals() -> None:
    mean = np.array([0.1, 0.5, 0.5])
    function = gaussian(mean, COVARIANCE)
    start = Kernel(mean, 4 * COVARIANCE)
    found = [integrate(function, [start], np.random.default_rng(seed)) for seed in range(60)]
    scatter = np.std([one.log for one in found])
    assert scatter == pytest.approx(np.mean([one.error for one in found]), rel=0.35)


def test_a_function_that_is_zero_everywhere_has_no_logarithm() -> None:
    start = Kernel(np.array([0.5]), np.array([[0.1]]))
    found = integrate(lambda x: np.full(len(x), -np.inf), [start], np.random.default_rng(0))
    assert found.log == -math.inf
    assert found.effective == 0


def test_a_mixture_finds_two_groups() -> None:
    random = np.random.default_rng(5)
    points = np.concatenate(
        [random.normal(0.2, 0.01, (300, 2)), random.normal(0.8, 0.02, (100, 2))]
    )
    kernels = fit_mixture(points, np.ones(400), random)
    near = sum(k.weight for k in kernels if np.abs(k.mean - 0.8).max() < 0.05)
    assert near == pytest.approx(0.25, abs=0.02)
    assert sum(k.weight for k in kernels) == pytest.approx(1.0, abs=0.02)


# --- the engine -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def instrument(root: Path, rmf_path: Path, arf_path: Path) -> Instrument:
    background = str(root / "resources/background/nustar_fpma.yaml")
    return Instrument(rmf=str(rmf_path), arf=str(arf_path), exposure=1e4, background=background)


@pytest.fixture(scope="module")
def engine(instrument: Instrument, atomdb: Path) -> EmbeddedEngine:
    return EmbeddedEngine([instrument], AtomicData(folder=str(atomdb)))


def scenarios(low: float, high: float) -> dict[str, Scenario]:
    """Two classes that differ in shape, and in how bright they are."""
    index = Uniform(uniform=[1.6, 2.4])
    return {
        "steep": Scenario(
            expression="powerlaw",
            parameters={"powerlaw.PhoIndex": index, "powerlaw.norm": Uniform(uniform=[low, high])},
        ),
        "curved": Scenario(
            expression="tbabs*powerlaw",
            parameters={
                "TBabs.nH": 8.0,
                "powerlaw.PhoIndex": index,
                "powerlaw.norm": LogUniform(log_uniform=[low, high]),
            },
        ),
    }


def test_a_shape_of_which_only_quantiles_are_given_is_integrated_over(
    engine: EmbeddedEngine,
) -> None:
    """It is sampled in its own unit cube, never taken for uniform."""

    class Steps(Prior):
        form = "[low, high]"
        steps: Interval

        @property
        def bounds(self) -> tuple[float, float]:
            return LogUniform(log_uniform=self.steps).bounds

        def quantile(self, probability: float | Floats) -> Floats:
            return LogUniform(log_uniform=self.steps).quantile(probability)

    del SHAPES["steps"]
    shapes = {
        "known": LogUniform(log_uniform=[1e-4, 1e-2]),
        "generic": Steps(steps=[1e-4, 1e-2]),
        "flat": Uniform(uniform=[1e-4, 1e-2]),
    }
    evidence = {}
    for name, shape in shapes.items():
        parameters = {"powerlaw.PhoIndex": Uniform(uniform=[1.6, 2.4]), "powerlaw.norm": shape}
        scenario = Scenario.model_construct(expression="powerlaw", parameters=parameters)
        counts, truth = engine.fake("powerlaw", {"powerlaw.norm": 1e-3}, 1, "set", range(1))
        random = [of_spectrum(1, "set", 0, "integral")]
        (integral,) = engine.integrate(scenario, [3.0, 80.0], counts, truth, [], random)
        evidence[name] = integral.log
    assert evidence["generic"] == pytest.approx(evidence["known"], abs=0.02)
    assert abs(evidence["flat"] - evidence["known"]) > 0.3


# Sources as bright as the background do not notice its scatter; fainter ones are overrun by it.
@pytest.mark.parametrize(
    ("scatter", "exposure", "norms"),
    [(0.0, 1e4, (5e-4, 3e-3)), (0.1, 1e5, (1e-4, 6e-4))],
    ids=["known", "scattering"],
)
def test_odds_are_probabilities_if_the_priors_are_right(
    instrument: Instrument,
    atomdb: Path,
    scatter: float,
    exposure: float,
    norms: tuple[float, float],
) -> None:
    """Spectra and priors have the same scatter of the background norms."""
    own = instrument.model_copy(update={"background_scatter": scatter, "exposure": exposure})
    engine = EmbeddedEngine([own], AtomicData(folder=str(atomdb)))
    n, classes = 250, scenarios(*norms)
    odds, is_curved = [], np.repeat([False, True], n)
    for name, drawn in classes.items():
        counts, truth = engine.fake(drawn.expression, drawn.parameters, 1, name, range(n))
        logs = {
            other: np.array(
                [
                    one.log
                    for one in engine.integrate(
                        scenario, [3.0, 80.0], counts, truth, [],
                        (of_spectrum(1, name, i, other) for i in range(n)),
                    )
                ]
            )
            for other, scenario in classes.items()
        }  # fmt: skip
        odds.append(logs["curved"] - logs["steep"])
    p = 1 / (1 + np.exp(-np.concatenate(odds)))
    # The classes overlap, or this would be no test.
    assert 0.05 < np.mean(p * (1 - p)) < 0.24
    for low, high in ((0.0, 1.0), (0.0, 0.3), (0.3, 0.7), (0.7, 1.0)):
        here = (p >= low) & (p <= high)
        spread = math.sqrt(np.sum(p[here] * (1 - p[here])))
        assert here.sum() > 40
        assert abs(np.sum(is_curved[here] - p[here])) < 3 * spread
    # And no worse than they promise: the Brier score is the one that calibration implies.
    assert np.mean((is_curved - p) ** 2) == pytest.approx(np.mean(p * (1 - p)), abs=0.02)


def test_a_spectrum_without_counts_has_an_evidence(engine: EmbeddedEngine) -> None:
    counts = np.zeros((1, engine.n_channels), dtype=np.int64)
    fixed = Scenario(
        expression="powerlaw",
        parameters={"powerlaw.PhoIndex": 2.0, "powerlaw.norm": Uniform(uniform=[0.0, 1e-3])},
    )
    (found,) = engine.integrate(fixed, [3.0, 80.0], counts, {}, [], [np.random.default_rng(0)])
    # C is twice the expected counts, so the likelihood is an exponential.
    rmf = engine.foldings[0].response.rmf
    inside = (rmf.e_min > 2.999) & (rmf.e_max < 79.99)
    dark = float(sum(engine.backgrounds.values())[inside].sum())
    bright = engine.predict("powerlaw", {"powerlaw.PhoIndex": 2.0, "powerlaw.norm": 1e-3})
    rise = float(bright[inside].sum()) - dark
    assert found.log == pytest.approx(-dark + math.log(-math.expm1(-rise) / rise), abs=1e-3)
    steep = scenarios(5e-4, 3e-3)["steep"]
    (found,) = engine.integrate(steep, [3.0, 80.0], counts, {}, [], [np.random.default_rng(0)])
    assert found.effective >= 300


def test_terms_without_tables_are_refused(engine: EmbeddedEngine) -> None:
    wild = Scenario(
        expression="tbabs*powerlaw",
        parameters={
            "TBabs.nH": Uniform(uniform=[1.0, 5.0]),
            "powerlaw.PhoIndex": Uniform(uniform=[1.0, 3.0]),
            "powerlaw.norm": Uniform(uniform=[0.01, 0.1]),
        },
    )
    with pytest.raises(IcflowError, match="no table holds"):
        engine.integrator(wild, [3.0, 80.0], [])


def test_unknown_redshifts_are_refused(engine: EmbeddedEngine, root: Path) -> None:
    scenario = config.load(root / "config.yaml").scenarios["1T+IC"]
    with pytest.raises(IcflowError, match=r"redshift with a prior.*at_truth"):
        engine.integrator(scenario, [3.0, 80.0], [])
