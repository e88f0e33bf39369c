"""Fits from one start end where those of a real XSPEC ended, wrong ends included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from icflow import config
from icflow import settings as settings_of
from icflow.config import FitModel, Free
from icflow.engines.base import FitResult
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.engines.embedded.plain import PlainFitter
from icflow.settings import FitSettings

# Where XSPEC started; backgrounds at 1.
STARTS = {
    "2T": {
        "apec.kT": 2.0,
        "apec.Abundanc": 0.5,
        "apec.Redshift": 0.05,
        "apec.norm": 0.4,
        "apec_3.kT": 6.0,
        "apec_3.norm": 0.4,
    },
    "1T+IC": {
        "apec.kT": 5.0,
        "apec.Abundanc": 0.5,
        "apec.Redshift": 0.05,
        "apec.norm": 0.5,
        "powerlaw.norm": 1e-3,
    },
}
NAMES = ["2T_fixed", "1T+IC_fixed", "2T_free", "1T+IC_free"]


def plain(run: config.Config, name: str) -> FitSettings:
    """Return the settings of a fit from the start of the reference."""
    settings = settings_of.baseline(run, name)
    parameters = {
        parameter: setting.model_copy(update={"start": STARTS[name.split("_")[0]][parameter]})
        if isinstance(setting, Free)
        else setting
        for parameter, setting in settings.model.parameters.items()
    }
    model = settings.model.model_copy(update={"parameters": parameters})
    return settings.model_copy(update={"model": model, "strategy": "plain"})


def fit(
    engine: EmbeddedEngine, settings: FitSettings, fits: list[dict[str, Any]], spectra: np.ndarray
) -> list[FitResult]:
    truth = {"apec.Redshift": np.array([entry["z"] for entry in fits])}
    return list(engine.fit(settings.model, settings, spectra, truth, settings.at_truth))


@pytest.mark.parametrize("name", NAMES)
def test_fits_end_where_those_of_xspec_ended(
    engine: EmbeddedEngine,
    run: config.Config,
    fits: list[dict[str, Any]],
    spectra: np.ndarray,
    name: str,
) -> None:
    results = fit(engine, plain(run, name), fits, spectra)
    away = np.array(
        [result.cstat - entry[name]["cstat"] for result, entry in zip(results, fits, strict=True)]
    )
    assert all(result.converged and result.starts == 1 for result in results)
    assert [result.dof for result in results] == [entry[name]["dof"] for entry in fits]
    if name.endswith("fixed"):
        assert np.abs(away).max() < 0.3
        assert np.sum(np.abs(away) < 0.1) >= 13
    else:
        # C is a staircase in redshift: a fit may miss the step by which XSPEC went down.
        assert np.sum(np.abs(away) < 0.5) >= 10


def test_they_are_false_convergences_as_often(
    engine: EmbeddedEngine, run: config.Config, fits: list[dict[str, Any]], spectra: np.ndarray
) -> None:
    settings = plain(run, "2T_fixed")
    thorough = settings.model_copy(update={"strategy": "thorough"})
    ends = fit(engine, settings, fits, spectra), fit(engine, thorough, fits, spectra)
    above = np.array([one.cstat - best.cstat for one, best in zip(*ends, strict=True)])
    xspec = np.array(
        [entry["2T_fixed"]["cstat"] - best.cstat for entry, best in zip(fits, ends[1], strict=True)]
    )
    assert above.min() > -0.01
    assert above.max() > 900
    np.testing.assert_array_equal(above > 1, xspec > 1)


def fitter(
    engine: EmbeddedEngine, run: config.Config, spectrum: np.ndarray, redshift: float
) -> tuple[PlainFitter, Any, np.ndarray]:
    """Return what fits 2T with a redshift known, a spectrum, and its start."""
    settings = settings_of.baseline(run, "2T_fixed_plain")
    task = engine.task(settings.model, settings, settings.at_truth)
    assert isinstance(task.fitter, PlainFitter)
    data, _ = task.selection.data(spectrum, task.group_min, None)
    theta = task.model.start.copy()
    theta[task.model.position["apec.Redshift"]] = redshift
    return task.fitter, data, task.fitter._start(data, theta)


def test_norms_start_where_the_number_of_counts_is_right(
    engine: EmbeddedEngine, run: config.Config, fits: list[dict[str, Any]], spectra: np.ndarray
) -> None:
    made, data, theta = fitter(engine, run, spectra[0], fits[0]["z"])
    assert made._counts(data, theta).sum() == pytest.approx(data.counts.sum(), rel=1e-12)
    position = made.model.position
    assert theta[position["apec.norm"]] == pytest.approx(theta[position["apec_3.norm"]])
    assert theta[position["apec.kT"]] < theta[position["apec_3.kT"]]
    # With a background spectrum XSPEC does not renormalise.
    n = len(data.counts)
    w = data._replace(behind=np.ones(n), ratio=np.ones(n))
    assert made._start(w, theta)[position["apec.norm"]] == pytest.approx(0.1)


def test_a_step_beyond_a_limit_goes_a_power_of_a_half_of_it(
    engine: EmbeddedEngine, run: config.Config, fits: list[dict[str, Any]], spectra: np.ndarray
) -> None:
    made, _, theta = fitter(engine, run, spectra[0], fits[0]["z"])
    free, _, upper = made.box
    n = len(free)
    last = n - 1  # the factor of a background, 1 within 0.9 to 1.1
    push = np.zeros(n)
    push[0], push[last] = 0.01, 0.55
    every = np.ones(n, dtype=bool)
    step = made._step(theta, np.eye(n), push, every, 0.0)
    # 0.55 is 5.5 times the room that there is: 1/8 of it is the most that stays inside.
    assert step[last] == pytest.approx(0.55 / 8)
    assert step[0] == pytest.approx(0.01), "others go all of theirs"
    theta[free[last]] = upper[last]
    assert made._step(theta, np.eye(n), push, every, 0.0)[last] == 0.0
    every[last] = False
    theta[free[last]] = 1.0
    assert made._step(theta, np.eye(n), push, every, 0.0)[last] == 0.0, "pegged"


def test_a_derivative_at_a_limit_is_half_of_it(
    engine: EmbeddedEngine, run: config.Config, fits: list[dict[str, Any]], spectra: np.ndarray
) -> None:
    made, data, theta = fitter(engine, run, spectra[0], fits[0]["z"])
    free, _, upper = made.box
    last = len(free) - 1
    inside = made._metric(data, theta)[0]
    theta[free[last]] = upper[last]
    at_limit = made._metric(data, theta)[0]
    weight = at_limit[0, 0] / inside[0, 0]
    assert at_limit[last, last] / inside[last, last] == pytest.approx(0.25 * weight, rel=0.05)


def test_what_no_table_holds_is_fitted_too(engine: EmbeddedEngine, run: config.Config) -> None:
    values = {
        "TBabs.nH": 0.5,
        "apec.kT": 5.0,
        "apec.Redshift": 0.05,
        "apec.norm": 0.1,
        "powerlaw.PhoIndex": 2.0,
        "powerlaw.norm": 5e-3,
    }
    counts, _ = engine.fake("tbabs*(apec+powerlaw)", values, 1, "s", range(1))
    free = {
        "TBabs.nH": Free(free=[0.0, 2.0]),
        "apec.kT": Free(free=[0.5, 15.0]),
        "apec.norm": Free(free=[0.0, 100.0]),
        "powerlaw.PhoIndex": Free(free=[1.0, 3.0]),
        "powerlaw.norm": Free(free=[0.0, 1.0]),
    }
    model = FitModel(expression="tbabs*(apec+powerlaw)", parameters={**values, **free})
    settings = settings_of.baseline(run, "1T+IC_fixed")
    plain, thorough = (
        next(iter(engine.fit(model, settings.model_copy(update=how), counts, {}, [])))
        for how in ({"strategy": "plain"}, {"strategy": "thorough", "starts": 2})
    )
    assert plain.converged
    assert -0.01 < plain.cstat - thorough.cstat < 1
    for name in free:
        assert abs(plain.values[name] - values[name]) < 5 * plain.errors[name]


def test_no_profiles_of_such_fits(
    engine: EmbeddedEngine, run: config.Config, fits: list[dict[str, Any]], spectra: np.ndarray
) -> None:
    settings = plain(run, "1T+IC_fixed").model_copy(update={"errors": "profile"})
    assert fit(engine, settings, fits[:1], spectra[:1])[0].intervals == {}
