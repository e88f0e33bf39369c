"""How many counts spectra can have: no spectrum has more, and most about as many."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from icflow import brightness, config
from icflow import settings as settings_of
from icflow.brightness import Sight
from icflow.config import Config
from icflow.engines.registry import make_engine
from icflow.errors import IcflowError
from icflow.ogip.matching import matched
from icflow.ogip.response import read_arf, read_rmf

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, rmf_path: Path, arf_path: Path, atomdb: Path) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def run() -> Config:
    return config.load("config.yaml")


def sights(run: Config) -> list[Sight]:
    made = []
    for key, module in run.keyed_modules():
        rmf = read_rmf(module.rmf)
        assert module.arf is not None
        arf, _ = matched(rmf, read_arf(module.arf))
        made.append(Sight.of(key, module, rmf, arf, run.fits))
    return made


def changed(run: Config, **fits: object) -> Config:
    return run.model_copy(update={"fits": run.fits.model_copy(update=fits)})


@pytest.mark.parametrize("dataset", ["test_2T", "test_1T+IC"])
def test_no_simulated_spectrum_is_brighter(run: Config, dataset: str) -> None:
    (sight,) = sights(run)
    rates = brightness._Rates(run)
    model = run.simulated(dataset)
    engine = make_engine("embedded", settings_of.simulate(run, dataset).modules, run.atomic_data)
    counts, _ = engine.fake(model.expression, model.parameters, run.seed, dataset, range(40))
    found = counts[:, sight.noticed].sum(axis=1) / 1e6
    assert found.max() < rates.highest(dataset, sight) < 8 * found.max()
    assert 0.3 < rates.typical(dataset, sight) / np.median(found) < 3


def test_what_leads_into_channels_is_the_sum_of_the_matrix(run: Config) -> None:
    (sight,) = sights(run)
    expected = sight.rmf.matrix[:, np.flatnonzero(sight.noticed)].sum(axis=1)
    np.testing.assert_allclose(sight.rmf.into(sight.noticed), expected, atol=1e-9)


@pytest.mark.parametrize(("expected", "least"), [(1e-6, 1), (0.5, 3), (50.0, 100), (5.0, 4)])
def test_the_chance_is_no_less_than_that_of_a_poisson_number(expected: float, least: int) -> None:
    terms = (math.exp(n * math.log(expected) - expected - math.lgamma(n + 1)) for n in range(least))
    assert brightness._chance(expected, least) >= 1 - math.fsum(terms)


def test_what_may_have_a_bin_passes(run: Config) -> None:
    # The brightest spectra of both kinds have 1.5 to 3 million counts.
    for group_min in (0, 10**5, 10**6):
        brightness.check(run, sights(changed(run, group_min=group_min)))
    with pytest.raises(IcflowError, match=r"^fits.group_min is 100000000, and in 1e\+06 s no"):
        brightness.check(run, sights(changed(run, group_min=10**8)))
    # With all channels, a bin holds whatever there is.
    everything = changed(run, group_min=10**8, energies=[1.0, 200.0])
    brightness.check(everything, sights(everything))


def test_every_module_needs_bins_of_its_own() -> None:
    run = config.load("config.yaml", "config/two-modules.yaml")
    first, second = run.modules
    modules = [first, second.model_copy(update={"exposure": 0.01})]
    run = run.model_copy(update={"instrument": modules})
    with pytest.raises(IcflowError, match=r"no spectrum of FPMB .* raise instrument.FPMB.exposure"):
        brightness.check(run, sights(run))


def test_a_model_that_cannot_be_evaluated_here_is_left_to_the_fits(
    run: Config, tmp_path: Path
) -> None:
    # Such as XSPEC's own tables, which are not in the folder, or abundances of its users.
    for update in ({"folder": str(tmp_path)}, {"abundances": "mine"}):
        data = run.atomic_data.model_copy(update=update)
        other = changed(run.model_copy(update={"atomic_data": data}), group_min=10**8)
        brightness.check(other, sights(other))


@pytest.mark.parametrize("norm", [0.0, 1e-12])
def test_networks_do_not_learn_the_background_alone(run: Config, norm: float) -> None:
    def drawn(norm: float, dataset: str) -> Config:
        given = run.datasets[dataset].model_copy(
            update={"parameters": {"apec.norm": norm, "apec_3.norm": norm}}
        )
        return run.model_copy(update={"datasets": {**run.datasets, dataset: given}})

    faint = drawn(norm, "train_2T")
    with pytest.raises(IcflowError, match=r"^datasets\.train_2T, .* alone; raise the norms"):
        brightness.check(faint, sights(faint))
    for passing in (drawn(1e-5, "train_2T"), drawn(norm, "test_2T")):
        brightness.check(passing, sights(passing))
