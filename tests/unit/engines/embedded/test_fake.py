"""Expected counts of drawn spectra, from tables and without."""

from __future__ import annotations

import numpy as np

from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.engines.embedded.fake import Simulator
from icflow.models.expression import parse
from icflow.models.priors import Uniform
from icflow.models.scenario import complete, draw


def test_tables_agree_with_direct_evaluation(engine: EmbeddedEngine) -> None:
    # The whole prior range of Lin et al. (2024), every channel above 1e-7 of the peak.
    parameters = {
        "TBabs.nH": 0.00858,
        "apec.kT": Uniform(uniform=[1.0, 10.0]),
        "apec.Abundanc": Uniform(uniform=[0.1, 1.0]),
        "apec.Redshift": Uniform(uniform=[0.01, 0.1]),
        "apec.norm": 1.0,
    }
    from icflow.models.expression import parse
    from icflow.models.scenario import complete, draw

    (term,) = parse("tbabs*apec").terms
    settings = complete(parse("tbabs*apec"), parameters, "here")
    simulator = Simulator(engine.foldings[0], [term], settings, engine.atomic_data)
    for index in range(40):
        values = draw(settings, 0, "test", index)
        found = simulator.counts(term, values)
        (direct,) = engine.components_of("tbabs*apec", values).values()
        held = direct > 1e-7 * direct.max()
        assert np.abs(found[held] / direct[held] - 1).max() < 1e-5, values


def test_a_term_without_a_table_is_evaluated_directly(engine: EmbeddedEngine) -> None:
    parameters = {
        "TBabs.nH": Uniform(uniform=[0.1, 1.0]),
        "apec.kT": 5.0,
        "apec.norm": Uniform(uniform=[0.1, 1.0]),
        "powerlaw.PhoIndex": 2.0,
        "powerlaw.norm": 0.01,
        "apec.Redshift": 0.05,
    }
    expression = "tbabs*apec+powerlaw"
    settings = complete(parse(expression), parameters, "here")
    simulator = Simulator(engine.foldings[0], parse(expression).terms, settings, engine.atomic_data)
    assert [table is None for table in simulator.tables.values()] == [True, False]
    values = draw(settings, 0, "test", 3)
    exact = sum(engine.components_of(expression, values).values())
    np.testing.assert_allclose(simulator.expected(values), exact, rtol=1e-12)
