"""Wrong area, energy scale and background in rough fits, against what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icflow.config import AtomicData, Config, Instrument, Module, Systematics
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.engines.embedded.population import Population
from icflow.engines.embedded.shapes import model_counts
from icflow.engines.evidence.nearest import Neighbourhood
from icflow.engines.evidence.systematics import SCATTER, WrongInstrument, put_wrong
from icflow.typing import Floats

ENERGIES, REDSHIFT = (3.0, 80.0), "apec.Redshift"
WRONG: dict[str, Any] = {
    "background": {"lines": 0.03, "focused": 0.3},
    "area": [[3.0, 0.02], [10.0, 0.02], [40.0, 0.02], [79.0, 0.1]],
    "gain": {"offset": 60.0},
}
# Of the area at four nodes, the energy scale, lines and what is focused.
DEVIATES = np.array([[1.5, -1.0, 0.5, 1.0, 1.2, -0.5, 1.5]])


@pytest.fixture(scope="module")
def right(instrument: Instrument, atomdb: Path) -> EmbeddedEngine:
    return EmbeddedEngine([instrument], AtomicData(folder=str(atomdb)))


@pytest.fixture(scope="module")
def engine(right: EmbeddedEngine, instrument: Instrument) -> EmbeddedEngine:
    own = Systematics.model_validate(WRONG)
    return EmbeddedEngine([instrument.model_copy(update={"systematics": own})], right.atomic_data)


def population_of(engine: EmbeddedEngine, run: Config, name: str) -> Population:
    """Return a scenario at a fixed redshift, which is tabulated in no time."""
    scenario = run.scenarios[name]
    fixed = scenario.model_copy(update={"parameters": scenario.parameters | {REDSHIFT: 0.05}})
    return Population(engine, fixed, ENERGIES, [])


def thetas_of(population: Population, number: int, random: np.random.Generator) -> Floats:
    """Return parameters drawn from their priors."""
    thetas = np.repeat(population.model.start[None], number, axis=0)
    for position, prior in population.priors.items():
        thetas[:, position] = prior.quantile(random.random(number))
    return thetas


def expected_by_shapes(population: Population, theta: Floats, about: Floats, at: Floats) -> Floats:
    """Return counts for deviates `at`, where all is linear about deviates `about`."""
    wrong = WrongInstrument(population)
    start = wrong.started(theta)
    start[:, wrong.positions] += SCATTER * about
    (start,), linear = wrong.about(start[None])
    start[0, wrong.positions] = 1 + SCATTER * at[0]
    shapes = put_wrong(wrong.among(population.shapes()[0]), linear, 0)
    return model_counts(wrong.free(shapes), start[0])


def test_expected_counts_are_exact_where_all_is_linear_about(
    engine: EmbeddedEngine, run: Config
) -> None:
    population = population_of(engine, run, "2T")
    theta = thetas_of(population, 1, np.random.default_rng(1))
    linear = expected_by_shapes(population, theta, DEVIATES, DEVIATES)
    exact = population.expected(theta, DEVIATES)[0]
    np.testing.assert_allclose(linear, exact, rtol=1e-9)
    # And nothing is wrong where no deviate is: the shapes are those of the right instrument.
    for position, values in population.norms(0 * DEVIATES).items():
        theta[:, position] = values
    plain = model_counts(population.shapes()[0], theta[0])
    still = expected_by_shapes(population, theta, 0 * DEVIATES, 0 * DEVIATES)
    np.testing.assert_allclose(still, plain, rtol=1e-9)


def test_a_deviate_costs_its_square(engine: EmbeddedEngine, run: Config) -> None:
    population = population_of(engine, run, "1T+IC")
    wrong, random = WrongInstrument(population), np.random.default_rng(1)
    start = wrong.started(thetas_of(population, 1, random))[0]
    start[wrong.positions] += SCATTER * DEVIATES[0]
    expected = model_counts(wrong.among(population.shapes()[0]), start)[population.n_bins :]
    counts = wrong.held(np.zeros((1, population.n_bins)))[0, population.n_bins :]
    cstat = 2 * (expected - counts + counts * np.log(counts / expected))
    np.testing.assert_allclose(cstat, DEVIATES[0] ** 2, rtol=0.02)


def test_what_modules_share_is_one_background(
    instrument: Instrument, right: EmbeddedEngine, run: Config
) -> None:
    given = instrument.model_dump(exclude_none=True) | {"systematics": WRONG}
    modules = [Module.model_validate(given | {"name": name}) for name in "AB"]
    population = population_of(EmbeddedEngine(modules, right.atomic_data), run, "1T+IC")
    # Area at four nodes, an energy scale of each, lines of A, what is focused, lines of B.
    deviates = np.array([[1.5, -1.0, 0.5, 1.0, 1.2, -0.7, -0.5, 1.5, 0.8]])
    assert population.wrong == deviates.size
    theta = thetas_of(population, 1, np.random.default_rng(1))
    linear = expected_by_shapes(population, theta, deviates, deviates)
    np.testing.assert_allclose(linear, population.expected(theta, deviates)[0], rtol=1e-9)
    norms = population.norms(deviates)
    focused = [norms[population.model.position[f"background.{name}.focused"]] for name in "AB"]
    np.testing.assert_array_equal(*focused)


def test_they_change_by_every_deviate_as_differences_say(
    engine: EmbeddedEngine, run: Config
) -> None:
    population = population_of(engine, run, "1T+IC")
    theta = thetas_of(population, 1, np.random.default_rng(2))
    for away in 0.2 * np.eye(DEVIATES.shape[1]):
        pair = [DEVIATES + away, DEVIATES - away]
        ends = [expected_by_shapes(population, theta, DEVIATES, each) for each in pair]
        exact = [population.expected(theta, each)[0] for each in pair]
        change = exact[0] - exact[1]
        assert np.abs(change).max() > 0
        np.testing.assert_allclose(ends[0] - ends[1], change, atol=5e-3 * np.abs(change).max())


def test_a_spectrum_with_known_errors_is_fitted_back(
    engine: EmbeddedEngine, right: EmbeddedEngine, run: Config
) -> None:
    population = population_of(engine, run, "1T+IC")
    theta = thetas_of(population, 3, np.random.default_rng(3))
    theta[:, population.model.position["apec.Abundanc"]] = 0.8
    deviates = np.repeat(DEVIATES, 3, axis=0)
    counts = np.rint(population.expected(theta, deviates)).astype(np.int64)
    known = np.empty((3, 0))
    nearest = Neighbourhood(population, np.random.default_rng(4)).fit(counts, known)
    # No noise: nothing is left over but what deviates cost, no more than where they were drawn,
    # and what was rounded.
    assert np.all(nearest.cstat < (DEVIATES**2).sum() + 1)
    assert np.abs(nearest.residuals).max() < 0.6
    found = (nearest.places[:, -DEVIATES.shape[1] :] - 0.5) * np.sqrt(12)
    # Lines of the plasma and of the detector tell the energy scale, the detector its background.
    assert found[:, 4] == pytest.approx(1.2, abs=0.1)
    assert found[:, 5] == pytest.approx(-0.5, abs=0.2)
    assert found == pytest.approx(deviates, abs=2.0)
    blind = Neighbourhood(population_of(right, run, "1T+IC"), np.random.default_rng(4))
    assert np.all(blind.fit(counts, known).cstat > 300)
