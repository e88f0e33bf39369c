"""Fits with a free redshift."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from icflow import config
from icflow import settings as settings_of
from icflow.engines.embedded.engine import EmbeddedEngine, Task
from icflow.engines.embedded.redshift import RedshiftFitter
from icflow.engines.embedded.tables import View


@pytest.fixture(scope="module")
def task(engine: EmbeddedEngine, run: config.Config) -> Task:
    settings = settings_of.baseline(run, "1T+IC_free")
    return engine.task(settings.model, settings, ())


def test_a_free_redshift_gets_the_fitter_for_it(task: Task) -> None:
    assert isinstance(task.fitter, RedshiftFitter)
    assert [task.model.names[p] for p in task.fitter.redshifts] == ["apec.Redshift"]
    free = {task.model.names[p] for p in task.fitter.others.free}
    assert "apec.kT" in free and "apec.Redshift" not in free


@pytest.mark.parametrize("row", [1, 7])
def test_no_step_beside_the_best_is_lower(
    task: Task, spectra: np.ndarray, fits: list[dict[str, Any]], row: int
) -> None:
    best = task.fit(spectra[row], {}, None)
    assert best.converged
    z = best.values["apec.Redshift"]
    assert abs(z - fits[row]["z"]) < 0.004
    data, _ = task.selection.data(spectra[row], task.group_min, None)
    (position,) = task.fitter.redshifts
    theta = np.array([best.values[name] for name in task.model.names])
    around = [
        task.fitter._on_step(View(task.fitter.tables, data), theta, position, z + shift)
        for shift in np.linspace(-1e-3, 1e-3, 40)
    ]
    assert min(end.cstat for end in around) > best.cstat - 0.02


def test_frozen_at_the_truth_it_is_not_searched(engine: EmbeddedEngine, run: config.Config) -> None:
    settings = settings_of.baseline(run, "1T+IC_free")
    frozen = engine.task(settings.model, settings, ["apec.Redshift"])
    assert not isinstance(frozen.fitter, RedshiftFitter)
