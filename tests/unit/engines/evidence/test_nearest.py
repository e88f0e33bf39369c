"""Rough fits in coarse bins, against true parameters and thorough fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from icflow.config import AtomicData, Config, Instrument, Module, Systematics
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.engines.embedded.fitting import Fitter
from icflow.engines.embedded.parameters import as_model, build_model
from icflow.engines.embedded.population import Drawn, Population, bins_of
from icflow.engines.embedded.tables import build_tables
from icflow.engines.evidence.nearest import Nearest, Neighbourhood
from icflow.seeds import of_spectrum
from icflow.statistic import channels

ENERGIES = (3.0, 80.0)
KNOWN = ["apec.Redshift"]
NUMBER = 200


@pytest.fixture(scope="module")
def engine(instrument: Instrument, atomdb: Path) -> EmbeddedEngine:
    return EmbeddedEngine([instrument], AtomicData(folder=str(atomdb)))


def fitted(
    engine: EmbeddedEngine, run: Config, name: str, other: str, known: list[str]
) -> tuple[Population, Drawn, Nearest]:
    """Draw spectra of a scenario and fit another to them."""
    drawn = Population(engine, run.scenarios[name], ENERGIES, known)
    spectra = drawn.draw(NUMBER, np.random.default_rng(1))
    population = (
        drawn if name == other else Population(engine, run.scenarios[other], ENERGIES, known)
    )
    neighbourhood = Neighbourhood(population, np.random.default_rng(2))
    return population, spectra, neighbourhood.fit(spectra.counts, spectra.known)


@pytest.mark.parametrize("known", [KNOWN, []], ids=["known", "unknown"])
@pytest.mark.parametrize("name", ["2T", "1T+IC"])
def test_the_scenario_of_a_spectrum_fits_it(
    engine: EmbeddedEngine, run: Config, name: str, known: list[str]
) -> None:
    population, _, nearest = fitted(engine, run, name, name, known)
    free = nearest.places.shape[1]
    dof = population.n_bins - free
    assert nearest.cstat.mean() == pytest.approx(dof, abs=5 * np.sqrt(2 * dof / NUMBER) + 2)
    assert np.all((nearest.places >= 0) & (nearest.places <= 1))
    assert nearest.residuals.std() == pytest.approx(1.0, abs=0.03)
    # Truths are uniform in their priors, and so are the best fits.
    assert abs(nearest.places.mean() - 0.5) < 0.1


@pytest.mark.parametrize("name", ["2T", "1T+IC"])
def test_they_reach_the_minima_of_thorough_fits(
    engine: EmbeddedEngine, run: Config, name: str
) -> None:
    scenario, source = run.scenarios[name], run.scenarios["1T+IC"]
    counts, truth = engine.fake(source.expression, source.parameters, 1, "set", range(40))
    selection = engine.selection(ENERGIES)
    inside = counts[:, selection.channels]
    model = build_model(as_model(scenario), {}, dict.fromkeys(engine.scatters, (1.0, 1.0)), KNOWN)
    tables = build_tables(model, engine.foldings, selection, engine.atomic_data)
    fitter = Fitter(model, tables, run.fits)
    lowest = []
    for row in range(len(inside)):
        theta = model.start.copy()
        theta[model.position[KNOWN[0]]] = truth[KNOWN[0]][row]
        _, _, minima = fitter.minima(channels(inside[row].astype(float)), theta, 1.0, 1)
        lowest.append(minima[0].cstat)
    population = Population(engine, scenario, ENERGIES, KNOWN)
    neighbourhood = Neighbourhood(population, np.random.default_rng(2))
    starts, _ = bins_of(selection)
    binned = np.add.reduceat(inside, starts, axis=1, dtype=np.int64)
    nearest = neighbourhood.fit(binned, truth[KNOWN[0]][:, None])
    above = nearest.cstat - lowest
    assert np.median(np.abs(above)) < 1e-3
    assert np.mean(above < 0.1) >= 0.9
    # The evidence is that of integrals that take their time, but for a few.
    randoms = (of_spectrum(1, "set", row, "test") for row in range(12))
    integrals = engine.integrate(scenario, ENERGIES, counts[:12], truth, KNOWN, randoms)
    exact = np.array([integral.log for integral in integrals])
    difference = nearest.log_evidence[:12] - exact
    assert np.median(np.abs(difference)) < 0.4
    worse = nearest.gaussian[:12] - exact
    assert np.abs(difference).mean() < np.abs(worse).mean()


def test_background_norms_are_held_by_their_scatter(
    instrument: Instrument, engine: EmbeddedEngine, run: Config
) -> None:
    own = Systematics.model_validate({"background": {"continuum": 0.1}})
    scattered = EmbeddedEngine(
        [instrument.model_copy(update={"systematics": own})], engine.atomic_data
    )
    population = Population(scattered, run.scenarios["1T+IC"], ENERGIES, KNOWN)
    spectra = population.draw(NUMBER, np.random.default_rng(3))
    nearest = Neighbourhood(population, np.random.default_rng(4)).fit(spectra.counts, spectra.known)
    # The bin that holds it has a C of its own, and one more parameter is free.
    assert nearest.cstat.mean() == pytest.approx(population.n_bins - 4, abs=12)
    last = nearest.places[:, -1]
    assert last.std() == pytest.approx(1 / np.sqrt(12), rel=0.15)
    blind = Neighbourhood(
        Population(engine, run.scenarios["1T+IC"], ENERGIES, KNOWN), np.random.default_rng(4)
    ).fit(spectra.counts, spectra.known)
    assert blind.cstat.mean() > nearest.cstat.mean() + 20


def test_like_plasmas_come_in_order(engine: EmbeddedEngine, run: Config) -> None:
    population, _, nearest = fitted(engine, run, "2T", "2T", KNOWN)
    names = [population.model.names[p] for p in population.priors if p not in population.exact]
    first, second = names.index("apec.kT"), names.index("apec_3.kT")
    assert np.all(nearest.places[:, first] <= nearest.places[:, second])


def test_modules_are_fitted_together(instrument: Instrument, atomdb: Path, run: Config) -> None:
    given = instrument.model_dump(exclude_none=True)
    first = Module(**given, name="FPMA")
    factor = {"uniform": [0.97, 1.03]}
    second = Module(**given | {"exposure": 5e5}, name="FPMB", cross_normalisation=factor)
    both = EmbeddedEngine([first, second], AtomicData(folder=str(atomdb)))
    population, _, nearest = fitted(both, run, "1T+IC", "1T+IC", KNOWN)
    dof = population.n_bins - nearest.places.shape[1]
    assert nearest.residuals.shape == (NUMBER, population.n_bins)
    assert nearest.cstat.mean() == pytest.approx(dof, abs=5 * np.sqrt(2 * dof / NUMBER) + 2)
    # The factor of the second is known from the counts.
    names = [population.model.names[p] for p in population.priors if p not in population.exact]
    assert np.median(nearest.widths[:, names.index("factor.FPMB")]) < np.log(0.1)
