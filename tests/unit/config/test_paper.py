"""Settings of the paper, as the default configuration and `config/paper.yaml` resolve them."""

from __future__ import annotations

from pathlib import Path

import pytest

from icflow import config as configuration
from icflow import settings as settings_of
from icflow.config import Config
from icflow.detection.published import PUBLISHED

ROOT = Path(__file__).resolve().parents[3]
DEFAULT = ROOT / "config.yaml"


@pytest.fixture(scope="module")
def default() -> Config:
    return configuration.load(DEFAULT)


@pytest.fixture(scope="module")
def paper() -> Config:
    return configuration.load(DEFAULT, ROOT / "config/paper.yaml")


def test_networks_and_their_training_are_the_published_ones(paper: Config) -> None:
    cae, ae = (settings_of.train(paper, network, 9) for network in ("cae", "ae"))
    assert (cae.constraint, ae.constraint) == (0.1, 0.0)
    assert (cae.kind, cae.energies) == ("published", [1.6, 120.0])
    assert cae.labels == {
        "kT": "fit:apec.kT",
        "Z": "truth:apec.Abundanc",
        "z": "truth:apec.Redshift",
        "norm": "fit:apec.norm",
    }
    shape = cae.architecture
    assert (shape.widths, shape.dense, shape.latents) == ([4, 16, 32, 64, 128], [500, 50], 4)
    assert shape.kernel == 3
    training = cae.training
    assert (training.recipe, training.patience) == ("paper", 10)
    assert (training.batch, training.epochs) == (150, 300)
    assert (training.spectra, training.folds, training.folds_trained) == (10_000, 10, 10)
    assert paper.datasets["train_2T"].size == 10_000
    # The text has 0.01, with which all latents die in the first epoch (docs/notes/networks.md).
    assert training.learning_rate == 0.001
    assert ae.training == training
    assert ae.architecture == shape
    assert paper.detection.score_energies == [3.0, 80.0]


def test_the_constraint_of_the_default_run_is_the_published_one(default: Config) -> None:
    assert settings_of.train(default, "cae", 0).constraint == 0.1
    assert settings_of.train(default, "ae", 0).constraint == 0.0


def test_fits_from_one_start_are_plain_and_all_others_thorough(default: Config) -> None:
    """The rows that stand beside the published fits are fitted as XSPEC did."""
    detectors = default.detection.detectors
    plain = set()
    for name in ("one_start_fixed", "one_start_free"):
        assert name in PUBLISHED
        assert detectors[name].method == "cstat_rule"
        plain |= {str(detectors[name].thermal), str(detectors[name].alternative)}
    assert len(plain) == 4
    for name in default.fits.baseline:
        fit = settings_of.baseline(default, name)
        assert fit.strategy == ("plain" if name in plain else "thorough"), name
        assert (fit.starts == 1) == (name in plain)
        assert (fit.energies, fit.group_min, fit.background_range) == ([3.0, 80.0], 100, 0.1)
        assert fit.at_truth == (["apec.Redshift"] if "fixed" in name else [])


def test_coma_is_as_published(default: Config) -> None:
    """The temperatures are those of Gastaldello et al. (2015)."""
    assert default.figures.cluster == "Coma"
    coma = default.datasets["Coma"]
    assert (coma.scenario, coma.size) == ("2T", 1)
    assert coma.parameters["apec.kT"] == 9.03
    assert coma.parameters["apec_3.kT"] == 1.02
    assert coma.parameters["apec.Redshift"] == pytest.approx(0.023, abs=2e-4)


def test_spectra_are_simulated_as_published(default: Config) -> None:
    sizes = {name: dataset.size for name, dataset in default.datasets.items()}
    assert (sizes["train_2T"], sizes["test_2T"], sizes["test_1T+IC"]) == (10_000, 1_000, 1_000)
    assert [module.exposure for module in default.modules] == [1e6]
    for scenario in default.scenarios.values():
        written = scenario.model_dump(mode="json")["parameters"]
        assert written["TBabs.nH"] == 0.00858
        assert written["apec.kT"] == {"uniform": [1.0, 10.0]}
        assert written["apec.Abundanc"] == {"uniform": [0.1, 1.0]}
        assert written["apec.Redshift"] == {"uniform": [0.01, 0.1]}
    with_ic = default.scenarios["1T+IC"].model_dump(mode="json")["parameters"]
    assert with_ic["powerlaw.PhoIndex"] == 2.0
    assert with_ic["powerlaw.norm"] == {"uniform": [2e-4, 2e-3]}
