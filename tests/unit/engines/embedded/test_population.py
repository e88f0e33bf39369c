"""Spectra drawn in bins, against those that the engine draws channel by channel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from icflow.config import Config, Instrument, Scenario, Systematics
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.engines.embedded.fake import Simulator
from icflow.engines.embedded.population import Population, bins_of, expected_counts
from icflow.errors import IcflowError
from icflow.models.expression import parse
from icflow.models.scenario import complete

ENERGIES = (3.0, 80.0)
WRONG = {
    "background": {"lines": 0.1, "focused": 0.3},
    "area": [[3.0, 0.02], [10.0, 0.02], [40.0, 0.05], [79.0, 0.1]],
}
KNOWN = {"known": {"apec.Redshift": 0.002}}
GAIN = {"gain": {"slope": 0.001, "offset": 60.0}}
CASES = {"right": {}, "area": WRONG, "gain": WRONG | GAIN}


@pytest.fixture(scope="module")
def wrong(instrument: Instrument, engine: EmbeddedEngine) -> Callable[[dict], EmbeddedEngine]:
    def build(systematics: dict) -> EmbeddedEngine:
        own = Systematics.model_validate(systematics)
        module = instrument.model_copy(update={"systematics": own})
        return EmbeddedEngine([module], engine.atomic_data)

    return build


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["2T", "1T+IC"])
def test_bins_hold_what_the_channels_do(
    wrong: Callable[[dict], EmbeddedEngine], run: Config, case: str, name: str
) -> None:
    engine, scenario = wrong(CASES[case]), run.scenarios[name]
    population = Population(engine, scenario, ENERGIES, [])
    (folding,) = engine.foldings
    settings = complete(parse(scenario.expression), scenario.parameters, "here")
    terms = parse(scenario.expression).terms
    simulator = Simulator(folding, terms, settings, engine.atomic_data)
    selection = engine.selection(ENERGIES)
    starts, _ = bins_of(selection)
    position, random = population.model.position, np.random.default_rng(5)
    for node in (0, 299, 599):
        theta = population.model.start.copy()
        for place, prior in population.priors.items():
            theta[place] = prior.quantile(random.random())
        theta[position["apec.Redshift"]] = population._nodes[node]
        values = {n: float(theta[position[n]]) for n in settings}
        area, scale = random.standard_normal((1, 4)), np.zeros((1, 1, 2))
        if "area" in CASES[case]:
            values |= {"background.lines": 1.1, "background.focused": 0.7}
            theta[position["background.lines"]] = 1.1
            theta[position["background.focused"]] = 0.7
            nodes = CASES[case]["area"]
            values |= {f"area.{e:g}": s * a for (e, s), a in zip(nodes, area[0], strict=True)}
        if "gain" in CASES[case]:
            scale[:] = 0.001, 0.08
            values |= {"gain.slope": 0.001, "gain.offset": 0.08}
        if case == "right":
            area = area[:, :0]
        exact = np.add.reduceat(simulator.observed(values)[selection.channels], starts)
        found = expected_counts(population._seen, np.array([node]), theta[None], area, scale)[0]
        np.testing.assert_allclose(found, exact, rtol=1e-9 if case == "right" else 2e-4)


def test_draws_are_as_noisy_as_counts_are(
    wrong: Callable[[dict], EmbeddedEngine], run: Config
) -> None:
    engine = wrong(WRONG | GAIN | KNOWN)
    population = Population(engine, run.scenarios["2T"], ENERGIES, ["apec.Redshift"])
    drawn = population.draw(3000, np.random.default_rng(1))
    assert drawn.counts.shape == (3000, population.n_bins)
    assert drawn.known.std() == pytest.approx(np.hypot(0.09 / np.sqrt(12), 0.002), rel=0.05)
    # Measured again where no source is.
    assert drawn.known.min() >= 0.01 and drawn.known.max() <= 0.1
    again = population.draw(3000, np.random.default_rng(1))
    np.testing.assert_array_equal(drawn.counts, again.counts)
    scenario = run.scenarios["2T"]
    counts, _ = engine.fake(scenario.expression, scenario.parameters, 1, "set", range(600))
    starts, _ = bins_of(engine.selection(ENERGIES))
    whole = counts[:, engine.selection(ENERGIES).channels]
    other = np.add.reduceat(whole, starts, axis=1)
    for n in range(0, population.n_bins, 25):
        a, b = np.log1p(drawn.counts[:, n]), np.log1p(other[:, n])
        assert abs(a.mean() - b.mean()) < 4 * b.std() / np.sqrt(500)
        assert a.std() == pytest.approx(b.std(), rel=0.15)


def test_draws_do_not_depend_on_the_order_of_the_configuration(
    engine: EmbeddedEngine, run: Config
) -> None:
    given = run.scenarios["2T"]
    turned = given.model_copy(update={"parameters": dict(reversed(list(given.parameters.items())))})
    first, second = (
        Population(engine, scenario, ENERGIES, ["apec.Redshift"]).draw(20, np.random.default_rng(1))
        for scenario in (given, turned)
    )
    np.testing.assert_array_equal(first.known, second.known)
    np.testing.assert_array_equal(first.counts, second.counts)


def test_refuses_what_no_table_holds(engine: EmbeddedEngine) -> None:
    scenario = Scenario.model_validate(
        {
            "expression": "tbabs*powerlaw",
            "parameters": {
                "TBabs.nH": {"uniform": [0.1, 1.0]},
                "powerlaw.PhoIndex": {"uniform": [1.5, 2.5]},
            },
        }
    )
    with pytest.raises(IcflowError, match="a term that no table holds"):
        Population(engine, scenario, ENERGIES, [])
