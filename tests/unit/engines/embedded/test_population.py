"""Spectra drawn in bins, against those that the engine draws channel by channel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from icflow.config import Config, Instrument, Module, Scenario, Systematics
from icflow.engines.embedded import population as populations
from icflow.engines.embedded.calibration import farthest
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.engines.embedded.fake import Simulator
from icflow.engines.embedded.population import Population, bins_of, expected_counts
from icflow.errors import IcflowError
from icflow.models.expression import parse
from icflow.models.scenario import complete
from icflow.typing import Floats

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


@pytest.fixture(scope="module")
def joint(instrument: Instrument, engine: EmbeddedEngine, run: Config) -> Population:
    """Spectra of two modules that are wrong by different amounts, at a fixed redshift."""
    other = {
        "background": {"lines": 0.2, "focused": 0.5},
        "area": [[3.0, 0.04], [10.0, 0.01], [40.0, 0.03], [79.0, 0.2]],
        "gain": {"slope": 0.002, "offset": 90.0},
    }
    given = instrument.model_dump(exclude_none=True)
    both = EmbeddedEngine(
        [
            Module.model_validate(given | {"name": "A", "systematics": WRONG | GAIN}),
            Module.model_validate(
                given | {"name": "B", "systematics": other, "cross_normalisation": 1.1}
            ),
        ],
        engine.atomic_data,
    )
    scenario = run.scenarios["1T+IC"]
    parameters = scenario.parameters | {"apec.Redshift": 0.05}
    return Population(both, scenario.model_copy(update={"parameters": parameters}), ENERGIES, [])


def test_modules_are_wrong_by_their_own_but_for_the_area_and_the_sky(
    joint: Population, run: Config
) -> None:
    both, population, scenario = joint.engine, joint, run.scenarios["1T+IC"]
    parameters = scenario.parameters | {"apec.Redshift": 0.05}
    names = [f"area.{energy}" for energy in (3, 10, 40, 79)]
    names += [f"gain.{module}.{what}" for module in "AB" for what in ("slope", "offset")]
    names += ["background.A.lines", "background.focused", "background.B.lines"]
    assert population.wrong == len(names) and sorted(names) == sorted(both.deviates)
    random = np.random.default_rng(7)
    theta, deviates = population.model.start.copy(), random.standard_normal((2, len(names)))
    for place, prior in population.priors.items():
        theta[place] = prior.quantile(random.random())
    settings = complete(parse(scenario.expression), parameters, "here") | both.factors
    values = {n: float(theta[population.model.position[n]]) for n in settings}
    values |= {f"background.{name}": 1.0 for name in both.backgrounds}
    wrong = [dict(zip(names, row.tolist(), strict=True)) for row in deviates]
    seen = np.array(list(both.observed(scenario.expression, settings, [values] * 2, wrong)))
    starts, _ = bins_of(population.selection)
    exact = np.add.reduceat(seen[:, population.selection.channels], starts, axis=1)
    thetas = np.repeat(theta[None], 2, axis=0)
    np.testing.assert_allclose(population.expected(thetas, deviates), exact, rtol=2e-4)
    _, truth = both.fake(scenario.expression, parameters, 1, "set", range(4))
    focused, lines = (
        [_deviate(truth[f"background.{m}.{name}"], s) for m, s in zip("AB", own, strict=True)]
        for name, own in (("focused", (0.3, 0.5)), ("lines", (0.1, 0.2)))
    )
    np.testing.assert_allclose(focused[0], focused[1], rtol=1e-9)
    assert np.abs(lines[0] - lines[1]).min() > 1e-3


def test_what_is_wrong_is_drawn_for_each_module(
    joint: Population, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Floats] = []

    def keep(seen: object, nodes: Floats, *drawn: Floats) -> Floats:
        given.extend(drawn)
        return np.zeros((len(nodes), joint.n_bins))

    monkeypatch.setattr(populations, "expected_counts", keep)
    joint.draw(3000, np.random.default_rng(1))
    thetas, area, scales = given
    places = [
        (joint.model.position[f"background.{name}"], scatter)
        for name, scatter in (("A.lines", 0.1), ("B.lines", 0.2), ("A.focused", 0.3))
    ]
    norms = [_deviate(thetas[:, place], scatter) for place, scatter in places]
    sigmas = [0.001, 0.06, 0.002, 0.09]
    deviates = np.column_stack([area, scales.reshape(-1, 4) / sigmas, *norms])
    np.testing.assert_allclose(deviates.std(axis=0), 1.0, atol=0.06)
    np.testing.assert_allclose(deviates.mean(axis=0), 0.0, atol=4 / np.sqrt(3000))
    correlated = np.corrcoef(deviates.T) - np.eye(deviates.shape[1])
    assert np.abs(correlated).max() < 4 / np.sqrt(3000)
    sky = _deviate(thetas[:, joint.model.position["background.B.focused"]], 0.5)
    np.testing.assert_allclose(sky, norms[-1], rtol=1e-9)


def test_channels_are_those_that_the_widest_energy_scale_reaches(joint: Population) -> None:
    first, second = (
        farthest(folding.systematics.gain, ENERGIES[1]) for folding in joint.engine.foldings
    )
    assert first < second
    low, high = joint.reached(ENERGIES)
    assert high == pytest.approx(80.0 + second)
    assert low == pytest.approx(max(3.0 - second, joint.engine.channel_edges.min()))


def test_what_is_expected_is_that_of_the_nearest_redshift_drawn(
    engine: EmbeddedEngine, run: Config
) -> None:
    population = Population(engine, run.scenarios["1T+IC"], ENERGIES, [])
    low, high = population._nodes[299:301]
    theta = population.model.start.copy()
    for place, prior in population.priors.items():
        theta[place] = prior.quantile(0.5)
    thetas = np.repeat(theta[None], 4, axis=0)
    redshifts = [low, low + 0.4 * (high - low), low + 0.6 * (high - low), high]
    thetas[:, population.model.position["apec.Redshift"]] = redshifts
    below, near_below, near_above, above = population.expected(thetas, np.empty((4, 0)))
    np.testing.assert_array_equal(near_below, below)
    np.testing.assert_array_equal(near_above, above)
    assert (below != above).any()


def _deviate(factor: Floats, scatter: float) -> Floats:
    spread = np.sqrt(np.log1p(scatter**2))
    return np.asarray(np.log(factor) / spread + spread / 2)


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


def test_what_is_known_is_measured_with_its_error(
    wrong: Callable[[dict], EmbeddedEngine], run: Config
) -> None:
    population = Population(wrong(KNOWN), run.scenarios["2T"], ENERGIES, ["apec.Redshift"])
    told = population._measured(np.full((2000, 1), 0.055), np.random.default_rng(1))
    assert told.std() == pytest.approx(0.002, rel=0.07)
    assert told.mean() == pytest.approx(0.055, abs=4 * 0.002 / np.sqrt(2000))
    # So it is not taken for exact, as one without an error is.
    assert not population.exact
    right = Population(wrong({}), run.scenarios["2T"], ENERGIES, ["apec.Redshift"])
    assert right.exact == {right.model.position["apec.Redshift"]: 0}


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
