"""From minima to results: what agrees, several plasmas, starts, limits and intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from icflow import config
from icflow.config import FitModel, Free, Link
from icflow.engines.embedded.descent import Minimum
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.engines.embedded.fitting import separate

PLASMA: dict[str, Any] = {
    "TBabs.nH": 0.00858,
    "apec.kT": Free(free=[0.5, 15.0]),
    "apec.Abundanc": Free(free=[0.0, 5.0]),
    "apec.norm": Free(free=[0.0, 100.0]),
}


def plasmas(number: int, redshift: float) -> FitModel:
    parameters = PLASMA | {"apec.Redshift": redshift}
    for i in range(1, number):
        name = f"apec_{i + 2}"
        parameters |= {
            f"{name}.kT": Free(free=[0.5, 15.0]),
            f"{name}.norm": Free(free=[0.0, 100.0]),
            f"{name}.Abundanc": Link(link="apec.Abundanc"),
            f"{name}.Redshift": Link(link="apec.Redshift"),
        }
    return FitModel(expression=f"tbabs*({'+'.join(['apec'] * number)})", parameters=parameters)


def minimum(cstat: float) -> Minimum:
    return Minimum(np.zeros(1), cstat, 1, 0.0, True)


def test_minima_that_agree_are_one() -> None:
    minima = [minimum(c) for c in (5.0, 3.0, 3.005, 3.2, 9.0)]
    assert [m.cstat for m in separate(minima, 3.0)] == [3.0, 3.2, 5.0]
    assert [m.cstat for m in separate(minima, 0.1)] == [3.0]


def test_three_plasmas_fit_through_tables_and_never_worse_than_two(
    engine: EmbeddedEngine, run: config.Config, spectra: np.ndarray, fits: list[dict[str, Any]]
) -> None:
    for row in (1, 4, 10):
        two, three = (
            next(iter(engine.fit(plasmas(n, fits[row]["z"]), run.fits, spectra[row][None], {}, ())))
            for n in (2, 3)
        )
        assert three.converged and three.dof == two.dof - 2
        assert three.cstat < two.cstat + 0.01
        if fits[row]["kind"] == "2T":
            assert three.cstat > two.cstat - 20


def test_three_plasmas_that_are_there_are_found(engine: EmbeddedEngine, run: config.Config) -> None:
    truth = {
        "TBabs.nH": 0.00858,
        "apec.Abundanc": 0.3,
        "apec.Redshift": 0.05,
        "apec.kT": 1.2,
        "apec_3.kT": 4.0,
        "apec_4.kT": 12.0,
        "apec.norm": 2.0,
        "apec_3.norm": 0.5,
        "apec_4.norm": 0.5,
        "apec_3.Abundanc": 0.3,
        "apec_4.Abundanc": 0.3,
        "apec_3.Redshift": 0.05,
        "apec_4.Redshift": 0.05,
    }
    model = plasmas(3, 0.05)
    counts, _ = engine.fake(model.expression, truth, 1, "three", range(2))
    names = [name for name, setting in model.parameters.items() if isinstance(setting, Free)]
    at_truth = {name: np.full(2, truth[name]) for name in names}
    best = list(engine.fit(model, run.fits, counts, {}, ()))
    there = list(engine.fit(model, run.fits, counts, at_truth, names))
    fewer = list(engine.fit(plasmas(2, 0.05), run.fits, counts, {}, ()))
    for three, known, two in zip(best, there, fewer, strict=True):
        assert three.converged and three.cstat < known.cstat
        assert three.cstat < two.cstat + 0.01
        assert known.cstat - three.cstat < 40


@pytest.mark.parametrize("starts", [1, 4])
def test_so_many_starts_are_made(
    engine: EmbeddedEngine, run: config.Config, spectra: np.ndarray, starts: int
) -> None:
    control = run.fits.model_copy(update={"starts": starts})
    (fit,) = engine.fit(plasmas(2, 0.05), control, spectra[:1], {}, ())
    assert fit.starts == starts and 1 <= fit.agreeing <= starts


def test_an_interval_ends_where_c_has_risen(
    engine: EmbeddedEngine, run: config.Config, spectra: np.ndarray, fits: list[dict[str, Any]]
) -> None:
    control = run.fits.model_copy(update={"errors": "profile", "starts": 1})
    model = plasmas(1, fits[1]["z"])
    (fit,) = engine.fit(model, control, spectra[1:2], {}, ())
    ends = np.array(fit.intervals["apec.kT"])
    frozen = engine.fit(model, run.fits, spectra[[1, 1]], {"apec.kT": ends}, ["apec.kT"])
    assert [f.cstat - fit.cstat for f in frozen] == pytest.approx([1.0, 1.0], abs=0.05)
