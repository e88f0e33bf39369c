"""From a training on drawn spectra to the likelihood ratios of simulated ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icflow import config
from icflow import settings as settings_of
from icflow.config import Config
from icflow.errors import IcflowError
from icflow.layout import Layout
from icflow.networks import ratio as networks
from icflow.settings import RatioSettings
from icflow.stages import estimate, ratio, simulate
from icflow.tables import read_table

# Enough to see that something is learnt, in seconds.
FEW = {"spectra": 2000, "units": 32, "layers": 1, "batch": 100}


@pytest.fixture(scope="module")
def run_config(root: Path, rmf_path: Path, arf_path: Path, atomdb: Path) -> Config:
    background = str(root / "resources/background/nustar_fpma.yaml")
    changes: dict[str, Any] = {
        "instrument": {"rmf": str(rmf_path), "arf": str(arf_path), "background": background},
        "atomic_data": {"folder": str(atomdb)},
        "datasets": {"test_2T": {"size": 60}, "test_1T+IC": {"size": 60}},
        "figures": {"example": 0},
        "ratios": {
            "known": {"thermal": "2T", "alternative": "1T+IC", "at_truth": ["apec.Redshift"], **FEW}
        },
    }
    tree = config.load(root / "config.yaml").model_dump(mode="json", exclude_none=True)
    return config.validate(config.overlay(tree, changes), "test")


@pytest.fixture(scope="module")
def results(run_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PREPARED", "VALIDATED", "CALIBRATED"):
            patch.setattr(networks, name, 500)
        root = tmp_path_factory.mktemp("ratio")
        own = settings_of.ratio(run_config, "known")
        ratio.run(own, Layout(root).ratio("known"))
    for name in ("test_2T", "test_1T+IC"):
        simulate.run(settings_of.simulate(run_config, name), 0, 60, Layout(root).spectra(name, 0))
    return root


def estimated(run_config: Config, results: Path, dataset: str) -> Any:
    layout = Layout(results)
    output = layout.estimates(dataset, "known", 0)
    settings = settings_of.ratio(run_config, "known")
    estimate.run(settings, results, layout.spectra(dataset, 0), output)
    return read_table(output, ("index", "log_ratio", "unlike"))


def test_a_short_training_tells_most_spectra_apart(run_config: Config, results: Path) -> None:
    thermal, ic = (estimated(run_config, results, name) for name in ("test_2T", "test_1T+IC"))
    assert np.mean(np.asarray(thermal["log_ratio"]) < 0) > 0.9
    assert np.mean(np.asarray(ic["log_ratio"]) > 0) > 0.9
    assert np.mean(np.asarray(thermal["unlike"])) < 0.1
    assert thermal["index"].tolist() == list(range(60))


def test_both_modules_are_read_with_what_may_be_wrong_with_them(
    run_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PREPARED", "VALIDATED", "CALIBRATED", "PIECE"):
        monkeypatch.setattr(networks, name, 60)
    tree = run_config.model_dump(mode="json", exclude_none=True)
    wrong = {
        "background": {"lines": 0.1, "focused": 0.3},
        "area": [[3.0, 0.02], [79.0, 0.1]],
        "gain": {"offset": 60.0},
    }
    both = tree["instrument"] | {"systematics": wrong}
    factor = {"uniform": [0.97, 1.03]}
    tree["instrument"] = [
        both | {"name": "FPMA"},
        both | {"name": "FPMB", "exposure": 9e5, "cross_normalisation": factor},
    ]
    for scenario in ("2T", "1T+IC"):
        tree["scenarios"][scenario]["parameters"]["apec.Redshift"] = 0.05
    tree["ratios"]["known"]["at_truth"] = []
    run, layout = config.validate(tree, "test"), Layout(tmp_path)
    settings = settings_of.ratio(run, "known").model_copy(update={"spectra": 120, "batch": 30})
    ratio.run(settings, layout.ratio("known"))
    odds = []
    for dataset in ("test_2T", "test_1T+IC"):
        simulate.run(settings_of.simulate(run, dataset), 0, 25, layout.spectra(dataset, 0))
        output = layout.estimates(dataset, "known", 0)
        estimate.run(settings, tmp_path, layout.spectra(dataset, 0), output)
        odds.append(np.asarray(read_table(output, ("log_ratio",))["log_ratio"]))
    # More right than by the noise of 25.
    assert np.mean(odds[0] < 0) > 0.75 < np.mean(odds[1] > 0)


def test_the_folder_holds_weights_and_history_and_no_checkpoint(results: Path) -> None:
    folder = Layout(results).ratio("known")
    assert sorted(path.name for path in folder.iterdir()) == ["history.ecsv", "weights.safetensors"]
    history = read_table(folder / "history.ecsv", ("epoch", "train_loss", "validation_loss"))
    assert history["epoch"].tolist() == list(range(1, networks.EPOCHS + 1))
    assert history["validation_loss"][-1] < 0.2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"units": 16}, r"was trained with other settings of ratios\.known"),
        ({"at_truth": []}, r"was trained with other settings of ratios\.known"),
    ],
)
def test_refuses_the_network_of_other_settings(
    run_config: Config, results: Path, change: dict[str, Any], reason: str
) -> None:
    settings = settings_of.ratio(run_config, "known").model_copy(update=change)
    spectra = Layout(results).spectra("test_2T", 0)
    with pytest.raises(IcflowError, match=reason):
        estimate.run(settings, results, spectra, results / "other.ecsv")


def test_refuses_spectra_of_another_exposure(
    run_config: Config, results: Path, tmp_path: Path
) -> None:
    settings = settings_of.simulate(run_config, "test_2T")
    modules = [settings.modules[0].model_copy(update={"exposure": 5e4})]
    spectra = tmp_path / "short.pha"
    simulate.run(settings.model_copy(update={"modules": modules}), 0, 2, spectra)
    with pytest.raises(IcflowError, match=r"short\.pha: its exposure is 50000 s.*exposure: 50000"):
        estimate.run(settings_of.ratio(run_config, "known"), results, spectra, tmp_path / "o.ecsv")


def test_refuses_a_network_that_is_missing(run_config: Config, results: Path) -> None:
    settings = settings_of.ratio(run_config, "known").model_copy(update={"name": "none"})
    assert isinstance(settings, RatioSettings)
    with pytest.raises(IcflowError, match="no such file; train the network first"):
        estimate.run(settings, results, Layout(results).spectra("test_2T", 0), results / "o.ecsv")
