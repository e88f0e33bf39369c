"""Terms without tables: tangents, and fits beside terms that have tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from icflow import config
from icflow.config import FitModel, Free
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.engines.embedded.shapes import PLASMA, TANGENT, model_counts
from icflow.errors import IcflowError
from icflow.ogip.grouping import group_counts, grouped_selection
from icflow.statistic import cstat

LINE = {"gaussian.LineE": 11.0, "gaussian.Sigma": 0.3, "gaussian.norm": 2e-4}
MODEL = FitModel(
    expression="tbabs*apec+gaussian",
    parameters={
        "TBabs.nH": 0.00858,
        "apec.kT": Free(free=[0.5, 15.0]),
        "apec.Abundanc": Free(free=[0.0, 5.0]),
        "apec.Redshift": Free(free=[0.0, 0.2]),
        "apec.norm": Free(free=[0.0, 100.0]),
        "gaussian.LineE": Free(free=[4.0, 40.0]),
        "gaussian.Sigma": Free(free=[0.01, 1.0]),
        "gaussian.norm": Free(free=[0.0, 1.0]),
    },
)


@pytest.fixture(scope="module")
def counts(engine: EmbeddedEngine, spectra: np.ndarray) -> np.ndarray:
    """A plasma with a broad line that it does not have."""
    (line,) = engine.components_of("gaussian", LINE).values()
    return spectra[1] + np.random.default_rng(1).poisson(line).astype(np.int32)


def test_a_line_beside_a_plasma_leaves_the_plasma_its_table(
    engine: EmbeddedEngine, run: config.Config, counts: np.ndarray, fits: list[dict[str, Any]]
) -> None:
    task = engine.task(MODEL, run.fits, ["apec.Redshift"])
    kinds = task.fitter.tables.terms[:, 0].tolist()
    assert kinds.count(PLASMA) == 1 and kinds.count(TANGENT) == 2
    assert [term.term.name for term in task.fitter.tables.direct.terms] == ["gaussian"]
    control = run.fits.model_copy(update={"starts": 5})
    truth = {"apec.Redshift": np.array([fits[1]["z"]])}
    (fit,) = engine.fit(MODEL, control, counts[None], truth, ["apec.Redshift"])
    assert fit.converged and fit.starts == 5
    for name in LINE:
        assert abs(fit.values[name] - LINE[name]) < 4 * fit.errors[name]
    # C is that of XSPEC's functions at these parameters, to what the plasma's table allows.
    expected = sum(engine.components_of(MODEL.expression, fit.values).values())
    for name, row in engine.backgrounds.items():
        expected = expected + fit.values[f"background.{name}"] * row
    rmf = engine.foldings[0].response.rmf
    groups = grouped_selection(counts, rmf.e_min, rmf.e_max, 3.0, 80.0, run.fits.group_min)
    grouped = group_counts(counts.astype(float), *groups)
    assert fit.cstat == pytest.approx(cstat(grouped, group_counts(expected, *groups)), abs=5e-3)


def test_a_free_redshift_and_a_line_are_fitted_together(
    engine: EmbeddedEngine, run: config.Config, counts: np.ndarray, fits: list[dict[str, Any]]
) -> None:
    truth = {"apec.Redshift": np.array([fits[1]["z"]])}
    (frozen,) = engine.fit(MODEL, run.fits, counts[None], truth, ["apec.Redshift"])
    (fit,) = engine.fit(MODEL, run.fits, counts[None], {}, ())
    assert fit.converged and fit.cstat < frozen.cstat + 0.01
    assert abs(fit.values["apec.Redshift"] - fits[1]["z"]) < 4 * fit.errors["apec.Redshift"]
    assert fit.values["gaussian.LineE"] == pytest.approx(11.0, abs=0.05)


def test_tangents_touch_what_they_stand_for(engine: EmbeddedEngine, run: config.Config) -> None:
    task = engine.task(MODEL, run.fits, ["apec.Redshift"])
    tables, position = task.fitter.tables, task.model.position
    theta = np.array([0.00858, 4.0, 0.3, 0.05, 0.0, 11.0, 0.3, 1e-3, *np.zeros(4)])
    shapes = tables.touch(tables.exact(theta), theta)
    rows = {p: shapes.rows[row] for p, row in tables.direct.terms[0].tangents.items()}
    assert list(rows) == [position["gaussian.LineE"], position["gaussian.Sigma"]]
    for p, row in rows.items():
        moved = theta.copy()
        moved[p] += 1e-3
        exact = model_counts(tables.touch(shapes, moved), moved)
        along = model_counts(shapes, moved)
        here = model_counts(shapes, theta)
        assert np.abs(along - exact).max() < 0.05 * np.abs(exact - here).max()
        np.testing.assert_allclose(along - here, 1e-6 * row, atol=1e-9 * np.abs(row).max())
    # In coarse bins stand the sums of the same.
    coarse = tables.touch(tables.in_coarse_bins.exact(theta), theta)
    np.testing.assert_allclose(
        coarse.rows[1], np.add.reduceat(shapes.rows[1], tables.coarse), rtol=1e-12
    )


def test_nothing_is_asked_for_twice(engine: EmbeddedEngine, run: config.Config) -> None:
    direct = engine.task(MODEL, run.fits, ["apec.Redshift"]).fitter.tables.direct
    theta = np.array([0.00858, 4.0, 0.3, 0.05, 1.0, 11.0, 0.3, 1e-3, *np.ones(4)])
    direct.rows(theta)
    known = len(direct.kept)
    theta[1], theta[7] = 6.0, 2e-3  # neither is a shape of the line
    direct.rows(theta)
    assert len(direct.kept) == known == 3


def test_a_model_that_is_nowhere_is_said_to_be_so(
    engine: EmbeddedEngine, run: config.Config, counts: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = engine.task(MODEL, run.fits, ["apec.Redshift"])

    def nowhere(*_: Any) -> Any:
        raise IcflowError("zero")

    monkeypatch.setattr(type(task.fitter.tables.direct), "rows", nowhere)
    result = task.fit(counts, {task.model.position["apec.Redshift"]: 0.05}, None)
    assert "anywhere within the limits of gaussian.LineE, gaussian.Sigma" in result.status
