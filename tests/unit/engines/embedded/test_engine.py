"""The embedded engine against XSPEC's own numbers, and against itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.stats import norm

from icflow import config
from icflow import settings as settings_of
from icflow import statistic as cstat
from icflow.config import AtomicData, FitModel, Free, Instrument, Link
from icflow.engines.embedded import fitting
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.ogip.grouping import group_counts, grouped_selection
from icflow.ogip.response import Rmf, write_arf, write_rmf

LINKED = {
    "apec_3.Abundanc": Link(link="apec.Abundanc"),
    "apec_3.Redshift": Link(link="apec.Redshift"),
}
PLASMA = {
    "TBabs.nH": 0.00858,
    "apec.kT": Free(free=[0.5, 15.0]),
    "apec.Abundanc": Free(free=[0.0, 5.0]),
    "apec.Redshift": Free(free=[0.0, 0.2]),
    "apec.norm": Free(free=[0.0, 100.0]),
}


@pytest.mark.parametrize("name", ["2T_free", "1T+IC_free"])
def test_fits_end_no_higher_than_those_of_xspec(
    engine: EmbeddedEngine,
    run: config.Config,
    fits: list[dict[str, Any]],
    spectra: np.ndarray,
    name: str,
) -> None:
    settings = settings_of.baseline(run, name)
    truth = {"apec.Redshift": np.array([fit["z"] for fit in fits])}
    results = list(engine.fit(settings.model, settings, spectra, truth, settings.at_truth))
    for fit, result in zip(fits, results, strict=True):
        assert result.cstat < fit[name]["cstat"] + 0.01
        assert result.dof == fit[name]["dof"]
        if name.startswith(fit["kind"]):
            assert result.cstat < fit["cstat_truth"]


def test_an_exposure_of_its_own_scales_all_that_is_expected(
    engine: EmbeddedEngine, instrument: Instrument
) -> None:
    values = {"apec.kT": 5.0, "apec.Redshift": 0.05, "apec.norm": 0.1, "TBabs.nH": 0.00858}
    short = EmbeddedEngine([instrument.model_copy(update={"exposure": 5e4})], engine.atomic_data)
    expected = engine.predict("tbabs*apec", values)
    np.testing.assert_allclose(short.predict("tbabs*apec", values), expected / 20, rtol=1e-12)
    counts, _ = short.fake("tbabs*apec", values, 1, "set", range(20))
    total = expected.sum() / 20
    assert abs(counts.sum(axis=1).mean() - total) < 4 * np.sqrt(total / 20)


def test_a_component_with_a_norm_of_nothing_is_none(
    engine: EmbeddedEngine, run: config.Config
) -> None:
    model = run.scenarios["1T+IC"]
    without = {n: s for n, s in model.parameters.items() if not n.startswith("powerlaw")}
    alone, _ = engine.fake("tbabs*apec", without, 1, "set", range(5))
    nothing = {**model.parameters, "powerlaw.norm": 0.0}
    counts, truth = engine.fake(model.expression, nothing, 1, "set", range(5))
    np.testing.assert_array_equal(counts, alone)
    assert set(truth["powerlaw.norm"]) == {0.0}


def test_fakes_scatter_as_poisson_around_the_prediction(engine: EmbeddedEngine) -> None:
    values = {"apec.kT": 5.0, "apec.Redshift": 0.05, "apec.norm": 0.1, "TBabs.nH": 0.00858}
    counts, _ = engine.fake("tbabs*apec", values, 1, "set", range(200))
    expected = engine.predict("tbabs*apec", values)
    used = expected > 20
    pull = (counts.mean(axis=0) - expected)[used] / np.sqrt(expected[used] / 200)
    assert abs(pull.mean()) < 4 / np.sqrt(used.sum())
    assert 0.9 < pull.std() < 1.1
    ratio = counts.var(axis=0, ddof=1)[used] / expected[used]
    assert abs(ratio.mean() - 1) < 0.02


@pytest.mark.parametrize(
    ("expression", "more"),
    [
        # Three scenarios that a configuration alone adds: another component, a free column
        # density, a free photon index.
        (
            "tbabs*(apec+apec+powerlaw)",
            {
                "apec_3.kT": Free(free=[0.5, 15.0]),
                "apec_3.norm": Free(free=[0.0, 100.0]),
                "powerlaw.PhoIndex": 2.0,
                "powerlaw.norm": Free(free=[0.0, 1.0]),
                **LINKED,
            },
        ),
        (
            "tbabs*(apec+powerlaw)",
            {
                "TBabs.nH": Free(free=[0.0, 1.0]),
                "powerlaw.PhoIndex": 2.0,
                "powerlaw.norm": Free(free=[0.0, 1.0]),
            },
        ),
        (
            "tbabs*(apec+powerlaw)",
            {"powerlaw.PhoIndex": Free(free=[1.0, 4.0]), "powerlaw.norm": Free(free=[0.0, 1.0])},
        ),
    ],
)
def test_other_scenarios(
    engine: EmbeddedEngine,
    run: config.Config,
    fits: list[dict[str, Any]],
    spectra: np.ndarray,
    expression: str,
    more: dict[str, Any],
) -> None:
    model = FitModel(expression=expression, parameters=PLASMA | more)
    truth = {"apec.Redshift": np.array([fits[1]["z"]])}
    (result,) = engine.fit(model, run.fits, spectra[1:2], truth, ["apec.Redshift"])
    # Each holds the true model (1T+IC) as a special case.
    assert result.cstat < fits[1]["best_1T+IC_fixed"] + 0.01
    # C as the engine reports it is C of what XSPEC's functions predict at its parameters.
    source = {n: v for n, v in result.values.items() if not n.startswith("background.")}
    expected = sum(engine.components_of(expression, source).values())
    for name, row in engine.backgrounds.items():
        expected = expected + result.values[f"background.{name}"] * row
    rmf = engine.foldings[0].response.rmf
    starts, stops = grouped_selection(spectra[1], rmf.e_min, rmf.e_max, 3.0, 80.0, 100)
    direct = cstat.cstat(
        group_counts(spectra[1].astype(float), starts, stops), group_counts(expected, starts, stops)
    )
    assert result.cstat == pytest.approx(direct, abs=5e-3)


def test_redshift_and_its_error_of_a_free_fit(
    engine: EmbeddedEngine, run: config.Config, fits: list[dict[str, Any]], spectra: np.ndarray
) -> None:
    settings = settings_of.baseline(run, "1T+IC_free").model_copy(update={"errors": "profile"})
    rows = [1, 5, 9]
    results = list(engine.fit(settings.model, settings, spectra[rows], {}, ()))
    for row, result in zip(rows, results, strict=True):
        z, error = result.values["apec.Redshift"], result.errors["apec.Redshift"]
        assert abs(z - fits[row]["z"]) < 4 * error < 0.02
        # The interval looks further than the error does: a step more or less.
        ends = (z - error, z + error)
        assert result.intervals["apec.Redshift"] == pytest.approx(ends, abs=0.05 * error)
        for name in result.free:
            low, high = result.intervals[name]
            assert low <= result.values[name] <= high


def test_another_instrument(tmp_path: Path, atomdb: Path, run: config.Config) -> None:
    # A CCD-like detector: other energies, channels from 1, other resolution, no background.
    edges, bounds = np.linspace(0.4, 12.0, 1161), np.linspace(0.5, 11.5, 401)
    energy, sigma = 0.5 * (edges[1:] + edges[:-1]), 0.06
    share = norm.cdf(bounds, energy[:, None], sigma)
    rmf = Rmf(
        edges[:-1],
        edges[1:],
        csr_array(np.diff(share, axis=1)),
        np.arange(1, 401),
        bounds[:-1],
        bounds[1:],
        telescope="TEST",
        instrument="CCD",
    )
    write_rmf(tmp_path / "ccd.rmf", rmf)
    write_arf(tmp_path / "ccd.arf", edges[:-1], edges[1:], 400 * np.exp(-((energy - 2) ** 2) / 30))
    instrument = Instrument(
        rmf=str(tmp_path / "ccd.rmf"), arf=str(tmp_path / "ccd.arf"), exposure=1e5, background=None
    )
    ccd = EmbeddedEngine([instrument], AtomicData(folder=str(atomdb)))
    truth = {
        "TBabs.nH": 0.05,
        "apec.kT": 4.3,
        "apec.Abundanc": 0.4,
        "apec.Redshift": 0.083,
        "apec.norm": 0.02,
    }
    counts, _ = ccd.fake("tbabs*apec", truth, 3, "ccd", range(3))
    control = run.fits.model_copy(update={"energies": (0.7, 10.0), "group_min": 5})
    model = FitModel(expression="tbabs*apec", parameters=PLASMA | {"TBabs.nH": 0.05})
    expected = ccd.predict("tbabs*apec", truth)
    for row, result in enumerate(ccd.fit(model, control, counts, {}, ())):
        assert result.converged and result.status == "ok"
        starts, stops = grouped_selection(
            counts[row], rmf.e_min, rmf.e_max, 0.7, 10.0, control.group_min
        )
        binned = group_counts(counts[row].astype(float), starts, stops)
        assert result.cstat < cstat.cstat(binned, group_counts(expected, starts, stops))
        found = ccd.predict("tbabs*apec", result.values)
        direct = cstat.cstat(binned, group_counts(found, starts, stops))
        assert result.cstat == pytest.approx(direct, abs=5e-3)
        for name in result.free:
            assert abs(result.values[name] - truth[name]) < 5 * result.errors[name]


def test_identical_components_are_not_determined(
    engine: EmbeddedEngine, run: config.Config, spectra: np.ndarray
) -> None:
    parameters = {
        "TBabs.nH": 0.00858,
        "powerlaw.PhoIndex": Free(free=[1.0, 5.0]),
        "powerlaw.norm": Free(free=[0.0, 1.0]),
        "powerlaw_3.PhoIndex": Link(link="powerlaw.PhoIndex"),
        "powerlaw_3.norm": Free(free=[0.0, 1.0]),
    }
    model = FitModel(expression="tbabs*(powerlaw+powerlaw)", parameters=parameters)
    (result,) = engine.fit(model, run.fits, spectra[1:2], {}, ())
    assert result.converged
    assert np.isnan(result.errors["powerlaw.norm"]) and np.isnan(result.errors["powerlaw_3.norm"])
    assert np.isfinite(result.errors["powerlaw.PhoIndex"])


def test_a_model_with_nothing_to_vary_but_norms(
    engine: EmbeddedEngine, run: config.Config, spectra: np.ndarray
) -> None:
    parameters = {"powerlaw.PhoIndex": 2.0, "powerlaw.norm": Free(free=[0.0, 1.0])}
    model = FitModel(expression="powerlaw", parameters=parameters)
    (result,) = engine.fit(model, run.fits, spectra[1:2], {}, ())
    assert result.converged and result.errors["powerlaw.norm"] > 0


def test_bad_spectra_are_flagged_and_the_batch_goes_on(
    engine: EmbeddedEngine, run: config.Config, spectra: np.ndarray
) -> None:
    few = np.zeros_like(spectra[0])
    few[100:105] = 1
    broken = spectra[1].copy()
    broken[300] = -1
    batch = np.stack([np.zeros_like(spectra[0]), few, broken, spectra[1]])
    settings = settings_of.baseline(run, "1T+IC_fixed")
    truth = {"apec.Redshift": np.full(4, 0.04320938)}
    fits = engine.fit(settings.model, settings, batch, truth, settings.at_truth)
    nothing, handful, negative, good = fits
    assert np.isnan(nothing.cstat) and not nothing.converged
    assert "no counts" in nothing.status
    assert nothing.errors["TBabs.nH"] == 0 and np.isnan(nothing.errors["apec.kT"])
    assert handful.bins == 0 and handful.status == (
        "no bin of at least 100 counts lies between 3 and 80 keV, where the spectrum has 5; lower "
        "group_min"
    )
    assert "negative counts" in negative.status and np.isnan(negative.cstat)
    assert good.status == "ok" and good.converged


def test_a_norm_that_is_not_free_stays_where_it_is(
    engine: EmbeddedEngine, run: config.Config, fits: list[dict[str, Any]], spectra: np.ndarray
) -> None:
    settings = settings_of.baseline(run, "1T+IC_fixed")
    norms = np.array([0.0, 7.7e-4, 2e-3])
    truth = {"apec.Redshift": np.full(3, fits[1]["z"]), "powerlaw.norm": norms}
    results = list(engine.fit(settings.model, settings, spectra[[1, 1, 1]], truth, tuple(truth)))
    assert [result.values["powerlaw.norm"] for result in results] == norms.tolist()
    above = [result.cstat - fits[1]["best_1T+IC_fixed"] for result in results]
    # The best fit is 7.7e-4, and its error 2.9e-4.
    assert -0.01 < above[1] < 0.1
    assert 5 < above[0] < 10 and 10 < above[2] < 30
    number = {"powerlaw.norm": 2e-3, "apec.Redshift": fits[1]["z"]}
    fixed = settings.model.model_copy(update={"parameters": settings.model.parameters | number})
    (same,) = engine.fit(fixed, settings, spectra[1:2], {}, ())
    assert same.cstat == pytest.approx(results[2].cstat, abs=1e-3)


def test_a_fit_that_ends_in_no_number_is_not_ok(
    engine: EmbeddedEngine,
    run: config.Config,
    spectra: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = fitting.Fitter.fit
    monkeypatch.setattr(
        fitting.Fitter, "fit", lambda *given: replace(whole(*given), cstat=float("nan"))
    )
    parameters = {"powerlaw.PhoIndex": 2.0, "powerlaw.norm": Free(free=[0.0, 1.0])}
    model = FitModel(expression="powerlaw", parameters=parameters)
    (result,) = engine.fit(model, run.fits, spectra[1:2], {}, ())
    assert "not finite" in result.status
    assert not result.converged
