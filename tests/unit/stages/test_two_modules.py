"""Two modules from the simulation to Table 1: config/two-modules.yaml with few spectra."""

from __future__ import annotations

import csv
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from icflow import config as configuration
from icflow import settings as settings_of
from icflow.config import Config
from icflow.config.reading import read_tree
from icflow.detection.detectors import fits_read, integrals_needed
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.errors import IcflowError
from icflow.layout import Layout
from icflow.ogip.spectra import SpectrumSet, read_spectra
from icflow.publish.figures import registry
from icflow.stages import (
    baseline,
    components,
    evaluate,
    figures,
    fluxes,
    integrate,
    score,
    simulate,
    train,
)
from icflow.tables import floats, read_table

CHANNELS = 4096  # of each module
SIZES = {
    "train_2T": 12,
    "train_1T+IC": 1,
    "validation_2T": 4,
    "validation_1T+IC": 4,
    "test_2T": 4,
    "test_1T+IC": 4,
    "Coma": 1,
}


class Run(NamedTuple):
    config: Config
    layout: Layout

    def shard(self, dataset: str) -> SpectrumSet:
        return read_spectra(self.layout.spectra(dataset, 0))


def small_config(root: Path, atomdb: Path, rmf: Path, arf: Path) -> Config:
    tree: dict[str, Any] = {}
    for name in ("config.yaml", "config/two-modules.yaml"):
        tree = configuration.overlay(tree, read_tree(root / name))
    for module in tree["instrument"]:
        module |= {"rmf": str(rmf), "arf": str(arf), "background": str(root / module["background"])}
    above = {
        "shard_size": 20,
        "atomic_data": {"folder": str(atomdb)},
        "datasets": {name: {"size": size} for name, size in SIZES.items()},
        "fits": {"starts": 2},
        "autoencoder": {
            "architecture": {"widths": [2, 4], "dense": [8]},
            "training": {
                "spectra": 12, "folds": 3, "folds_trained": 1, "epochs": 1, "batch": 4,
                "device": "cpu",
            },
        },
        "detection": {"fitted": 10, "bootstrap": 100, "ceiling": "bayes_factor"},
        "figures": {"formats": ["png"], "dpi": 50},
    }  # fmt: skip
    tree = configuration.overlay(tree, above)
    tree["autoencoder"]["networks"] = {
        "ae": {"constraint": 0.0},
        "dense": {"kind": "dense", "constraint": 0.0, "epochs": 1},
    }
    tree["fits"]["baseline"] = {k: tree["fits"]["baseline"][k] for k in ("2T_fixed", "1T+IC_fixed")}
    chosen = ("ae", "delta_cstat_fixed", "bayes_factor")
    tree["detection"]["detectors"] = {k: tree["detection"]["detectors"][k] for k in chosen}
    return configuration.validate(tree, "two modules")


def train_networks(run: Run) -> None:
    """Train and score in a process of its own, as the workflow does: without XSPEC's library."""
    config, layout = run
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        for network in config.autoencoder.networks:
            training = settings_of.train_fold(config, network, 0)
            process.submit(train.run, training, layout.root).result()
            scores = settings_of.score(config, network, 0), layout.root, layout.scores(network, 0)
            process.submit(score.run, *scores).result()


@pytest.fixture(scope="module")
def run(
    root: Path,
    atomdb: Path,
    rmf_path: Path,
    arf_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    """Everything up to Table 1, by the stages one after another."""
    config = small_config(root, atomdb, rmf_path, arf_path)
    layout = Layout(tmp_path_factory.mktemp("two-modules"))
    run = Run(config, layout)
    for name, size in SIZES.items():
        simulate.run(settings_of.simulate(config, name), 0, size, layout.spectra(name, 0))
    training, test = config.detection.training, config.detection.test
    shard = layout.spectra(training, 0)
    baseline.run(settings_of.label(config), shard, layout.labels(training, 0))
    for dataset, fit in fits_read(config):
        output = layout.fits(dataset, fit, 0)
        baseline.run(settings_of.baseline(config, fit), layout.spectra(dataset, 0), output)
    for dataset, integral in integrals_needed(config.detection, config.datasets):
        output = layout.integrals(dataset, integral, 0)
        integrate.run(settings_of.integrate(config, integral), layout.spectra(dataset, 0), output)
    train_networks(run)
    for name in (*test, "Coma"):
        settings = settings_of.simulate(config, name)
        components.run(settings, layout.spectra(name, 0), 0, layout.components(name))
    fluxes.run(settings_of.fluxes(config), layout.root, layout.fluxes())
    evaluation = layout.judged.parent, layout.tables[0].parent
    evaluate.run(settings_of.evaluate(config), layout.root, *evaluation)
    return run


def test_spectra_are_those_of_both_modules(run: Run) -> None:
    shard = run.shard("test_2T")
    assert shard.counts.shape == (4, 2 * CHANNELS)
    assert [module.module for module in shard.modules] == ["FPMA", "FPMB"]
    assert [module.exposure for module in shard.modules] == [1e6, 9.5e5]
    factor = shard.truth["factor.FPMB"]
    assert np.all((factor > 0.97) & (factor < 1.03))
    assert len(np.unique(factor)) == 4
    # Each module has noise of its own, and its counts go with exposure and factor. The factor is
    # that of the source alone.
    engine = EmbeddedEngine(run.config.modules, run.config.atomic_data)
    net = shard.counts - sum(engine.backgrounds.values())
    first, second = (net[:, inside] for inside in shard.bounds)
    assert not np.array_equal(first, second)
    ratio = second[:, :500].sum(1) / first[:, :500].sum(1)
    np.testing.assert_allclose(ratio, 0.95 * factor, rtol=1e-2)


@pytest.mark.parametrize(
    ("dataset", "fit"), [("test_2T", "2T_fixed"), ("test_1T+IC", "1T+IC_fixed")]
)
def test_joint_fits_of_the_true_model_find_the_truth(run: Run, dataset: str, fit: str) -> None:
    truth = run.shard(dataset).truth
    table = read_table(run.layout.fits(dataset, fit, 0))
    assert set(table["status"]) == {"ok"}
    assert {"factor.FPMB", "background.FPMA.lines", "background.FPMB.lines"} <= set(
        table.meta["free"]
    )
    pull = (floats(table, "factor.FPMB") - truth["factor.FPMB"]) / floats(
        table, "factor.FPMB_error"
    )
    assert np.all(np.abs(pull) < 4)
    assert np.all(floats(table, "factor.FPMB_error") < 5e-3)
    reduced = floats(table, "cstat") / floats(table, "dof")
    assert np.all(np.abs(reduced - 1) < 5 * np.sqrt(2 / floats(table, "dof")))


def test_evidences_know_the_prior_of_the_factor(run: Run) -> None:
    for dataset in run.config.detection.test:
        for integral in run.config.integrals:
            table = read_table(run.layout.integrals(dataset, integral, 0))
            assert np.all(np.isfinite(floats(table, "log_evidence")))
            if integral.startswith(run.config.datasets[dataset].scenario):
                assert np.all(np.abs(floats(table, "log_evidence")) < 500)
                assert np.all(floats(table, "error") < 0.2)


@pytest.mark.parametrize("network", ["ae", "dense"])
def test_networks_read_both_modules(run: Run, network: str) -> None:
    table = read_table(run.layout.scores(network, 0))
    example = read_table(run.layout.reconstructions(network, 0))
    shown = example[np.asarray(example["dataset"]) == "test_2T"]
    module, energy = np.asarray(shown["module"]), floats(shown, "energy")
    assert module.tolist() == [0] * 2960 + [1] * 2960
    np.testing.assert_array_equal(energy[module == 0], energy[module == 1])
    shard = run.shard("test_2T")
    for number, inside in enumerate(shard.bounds):
        counts = shard.counts[0, inside][:2960]
        rate = counts / (shard.modules[number].exposure * 0.04)
        np.testing.assert_allclose(floats(shown, "rate")[module == number], rate, rtol=5e-4)
    scored = (energy > 3) & (energy < 80)
    difference = floats(shown, "rate") - floats(shown, "reconstruction")
    row = table[(np.asarray(table["dataset"]) == "test_2T") & (np.asarray(table["index"]) == 0)]
    np.testing.assert_allclose(row["R_a"], np.mean(difference[scored] ** 2), rtol=1e-4)


def test_table_1_and_the_figures_of_spectra(run: Run) -> None:
    with run.layout.tables[0].open() as file:
        rows = {row["detector"]: row for row in csv.DictReader(file)}
    assert list(rows) == list(run.config.detection.detectors)
    assert rows["bayes_factor"]["n_test"] == "8"
    scores = read_table(run.layout.judged)
    assert "truth.factor.FPMB" in scores.colnames
    for figure in ("1", "examples", "reconstructions"):
        output = run.layout.figure(registry.file_name(figure), "png")
        figures.run(registry.settings(run.config, figure), run.layout.root, [output])
        assert output.stat().st_size > 1000
        assert "Shown is FPMA, the first of 2 modules" in registry.caption(run.config, figure)


def test_components_are_those_of_the_first_module(run: Run) -> None:
    table = read_table(run.layout.components("test_2T"))
    shard = run.shard("test_2T")
    np.testing.assert_array_equal(table["counts"], shard.counts[0, shard.bounds[0]])
    expected = floats(table, "source") + sum(
        floats(table, name) for name in table.colnames if name.startswith("background.")
    )
    pull = (np.sum(table["counts"]) - expected.sum()) / np.sqrt(expected.sum())
    assert abs(pull) < 5


def test_spectra_of_other_modules_are_refused(run: Run, tmp_path: Path) -> None:
    settings = settings_of.baseline(run.config, "2T_fixed")
    alone = settings.model_copy(update={"modules": settings.modules[:1]})
    with pytest.raises(
        IcflowError, match=r"its spectra are of the modules FPMA, FPMB, but instrument has .* FPMA;"
    ):
        baseline.run(alone, run.layout.spectra("test_2T", 0), tmp_path / "fits.ecsv")
