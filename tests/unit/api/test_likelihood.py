"""The likelihood as a function for samplers, and what samplers make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy

import icflow
from icflow.api.instrument import engine_of
from icflow.config import AtomicData, Scenario

PRIORS = {"powerlaw.PhoIndex": {"uniform": [1.0, 3.0]}, "powerlaw.norm": {"uniform": [0.0, 2.0]}}
SHORT = 20.0  # s: few counts, so that priors matter


@pytest.fixture
def short(folder: Path) -> icflow.Spectrum:
    counts = np.random.default_rng(5).poisson(toy.expected() * SHORT / toy.EXPOSURE)
    toy.save(folder / "short.pha", toy.pha(counts=counts, EXPOSURE=SHORT))
    return icflow.read_spectrum("short.pha", energies=(2, 30), group_min=0)


def test_it_is_lowest_where_the_fit_is(short: icflow.Spectrum) -> None:
    model = icflow.Model("powerlaw", {"powerlaw.PhoIndex": (1, 3)})
    likelihood, fit = model.likelihood(short), model.fit(short)
    best = [fit.values[name] for name in likelihood.names]
    assert -2 * likelihood(best) == pytest.approx(fit.cstat, abs=1e-9)
    np.testing.assert_allclose(likelihood.gradient(best), 0, atol=0.05)
    fitted = (short.edges[:, 0] > 1.95) & (short.edges[:, 1] < 30.05)
    assert likelihood.counts(best).sum() == pytest.approx(short.counts[fitted].sum(), rel=0.01)
    assert likelihood.limits[0].tolist() == [1.0, 3.0]


@pytest.mark.parametrize("expression", ["powerlaw", "tbabs*powerlaw", "powerlaw+gaussian"])
def test_gradients_are_differences(short: icflow.Spectrum, expression: str) -> None:
    likelihood = icflow.Model(expression, {}).likelihood(short)
    at = {"powerlaw.PhoIndex": 1.9, "powerlaw.norm": 0.9, "TBabs.nH": 1.0}
    at |= {"gaussian.LineE": 7.0, "gaussian.Sigma": 0.5, "gaussian.norm": 0.3}
    values = np.array([at[name] for name in likelihood.names])
    for place in range(len(values)):
        step = np.zeros(len(values))
        step[place] = 1e-3
        slope = (likelihood(values + step) - likelihood(values - step)) / 2e-3
        assert likelihood.gradient(values)[place] == pytest.approx(slope, rel=1e-2, abs=2e-2)


def test_background_spectra_and_redshifts(folder: Path, atomdb: Path) -> None:
    toy.save(folder / "back.pha", toy.pha(counts=toy.draw() // 50))
    spectrum = icflow.read_spectrum("spec.pha", energies=(2, 10), background="back.pha")
    model = icflow.Model(
        "apec", {"apec.kT": 5, "apec.Abundanc": 0.3, "apec.Redshift": (0, 0.1)}, atomdb=atomdb
    )
    likelihood = model.likelihood(spectrum)
    assert likelihood.names == ("apec.Redshift", "apec.norm")
    values = np.array([0.05, 1.0])
    slope = (likelihood([0.052, 1.0]) - likelihood([0.048, 1.0])) / 0.004
    assert likelihood.gradient(values)[0] == pytest.approx(slope)


def test_the_evidence_is_that_of_integrate(short: icflow.Spectrum) -> None:
    dynesty = pytest.importorskip("dynesty")
    likelihood = icflow.Model("powerlaw", PRIORS).likelihood(short)
    sampler = dynesty.NestedSampler(
        likelihood, likelihood.prior_transform, 2, nlive=150, rstate=np.random.default_rng(1)
    )
    sampler.run_nested(dlogz=0.1, print_progress=False)
    log, error = sampler.results.logz[-1], sampler.results.logzerr[-1]
    engine = engine_of(short.instrument, AtomicData())
    scenario = Scenario.model_validate({"expression": "powerlaw", "parameters": PRIORS})
    random = [np.random.default_rng(2)]
    (integral,) = engine.integrate(scenario, (2, 30), short.counts[None], {}, (), random)
    assert abs(_common(short, likelihood, log) - integral.log) < 4 * np.hypot(error, integral.error)


def _common(short: icflow.Spectrum, likelihood: icflow.Likelihood, log: float) -> float:
    """Return an evidence in coarse bins: C there differs by a constant, here at the best fit."""
    from icflow.engines.embedded.shapes import model_counts
    from icflow.statistic import statistic

    fit = icflow.Model("powerlaw", PRIORS).fit(short)
    engine = engine_of(short.instrument, AtomicData())
    scenario = Scenario.model_validate({"expression": "powerlaw", "parameters": PRIORS})
    tables = engine.integrator(scenario, (2, 30), ()).fitter.tables
    theta = np.array([fit.values[name] for name in likelihood.names])
    channels = engine.selection((2, 30)).data(short.counts, 0, None)[1]
    smooth = model_counts(tables.smooth(), theta)
    coarse = float(statistic(tables.in_coarse_bins.data(channels), smooth))
    return log + 0.5 * (fit.cstat - coarse)


def test_a_chain_has_the_errors_of_the_fit(folder: Path) -> None:
    emcee = pytest.importorskip("emcee")
    spectrum = icflow.read_spectrum("spec.pha", energies=(2, 30))
    model = icflow.Model("powerlaw", {"powerlaw.PhoIndex": (1, 3), "powerlaw.norm": (0, 2)})
    likelihood, fit = model.likelihood(spectrum), model.fit(spectrum)
    start = np.random.default_rng(1).multivariate_normal(
        [fit.values[name] for name in likelihood.names], fit.covariance.to_numpy(), 16
    )
    sampler = emcee.EnsembleSampler(16, 2, likelihood)
    sampler.random_state = np.random.RandomState(1).get_state()
    sampler.run_mcmc(start, 200)
    chain = sampler.get_chain(discard=50, flat=True)
    errors = np.sqrt(np.diag(fit.covariance))
    np.testing.assert_allclose(chain.std(axis=0), errors, rtol=0.25)
    np.testing.assert_allclose(chain.mean(axis=0), start.mean(axis=0), atol=errors.max())


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda likelihood: likelihood([2.0]), "give the 2 parameters powerlaw.PhoIndex"),
        (lambda likelihood: likelihood.gradient([2.0, -1.0]), "outside of the limits"),
    ],
)
def test_what_it_cannot_tell(short: icflow.Spectrum, call: Any, sentence: str) -> None:
    likelihood = icflow.Model("powerlaw", PRIORS).likelihood(short)
    with pytest.raises(icflow.IcflowError, match=sentence):
        call(likelihood)


def test_priors(short: icflow.Spectrum) -> None:
    priors = PRIORS | {"powerlaw.norm": {"log_uniform": [0.01, 1.0]}}
    likelihood = icflow.Model("powerlaw", priors).likelihood(short)
    np.testing.assert_allclose(likelihood.prior_transform([0.5, 0.5]), [2.0, 0.1])
    density = 1 / (2 * 0.1 * np.log(100))
    assert likelihood.log_prior([2.0, 0.1]) == pytest.approx(np.log(density), rel=1e-4)
    assert likelihood.log_prior([2.0, 5.0]) == -np.inf
