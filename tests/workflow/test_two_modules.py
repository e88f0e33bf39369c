"""Two modules from the simulation to Table 1: config/two-modules.yaml with few spectra."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml
from running import ROOT, TINY, Project

from icflow import config as configuration
from icflow import settings as settings_of
from icflow.config import Config
from icflow.config.reading import read_tree
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.errors import IcflowError
from icflow.layout import Layout
from icflow.ogip.spectra import SpectrumSet, read_spectra
from icflow.publish.figures import registry
from icflow.stages import baseline, integrate
from icflow.tables import floats, read_table

CHANNELS = 4096  # of each module
FIGURES = ("1", "reconstructions")
# What is left of the configuration: a detector of each kind with what it reads.
KEPT = {
    "detection.detectors": ("ae", "delta_cstat_fixed"),
    "fits.baseline": ("2T_fixed", "1T+IC_fixed"),
    "autoencoder.networks": ("ae", "dense"),
}
FEW: dict[str, Any] = {
    "shard_size": 20,
    "datasets": {
        "train_2T": {"size": 12},
        "validation_2T": {"size": 4},
        "validation_1T+IC": {"size": 4},
        "test_2T": {"size": 4},
        "test_1T+IC": {"size": 4},
    },
    "autoencoder": {
        "architecture": {"widths": [2, 4], "dense": [8]},
        "networks": {"dense": {"epochs": 1}},
        "training": {"spectra": 12, "folds_trained": 1, "epochs": 1, "batch": 4},
    },
    "detection": {"fitted": 10},
    "figures": {"formats": ["png"], "dpi": 50},
}
FILES = (TINY, "config/two-modules.yaml", "few.yaml")


class Run(NamedTuple):
    config: Config
    layout: Layout

    def shard(self, dataset: str) -> SpectrumSet:
        return read_spectra(self.layout.spectra(dataset, 0))


def reduced() -> dict[str, Any]:
    """Return the default configuration without most of what it measures."""
    tree = read_tree(ROOT / "config.yaml")
    for key, names in KEPT.items():
        section, part = key.split(".")
        tree[section][part] = {name: tree[section][part][name] for name in names}
    for key in ("training_ic", "ceiling"):
        tree["detection"].pop(key, None)
    return tree


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Everything up to Table 1, and two figures, by Snakemake."""
    project = Project.make(tmp_path_factory.mktemp("two-modules") / "run")
    folder = project.folder
    (folder / "config.yaml").write_text(yaml.safe_dump(reduced()))
    (folder / "few.yaml").write_text(yaml.safe_dump(FEW))
    (folder / "config/two-modules.yaml").write_text((ROOT / "config/two-modules.yaml").read_text())
    figures = [f"results/figures/{registry.file_name(name)}.png" for name in FIGURES]
    status, output = project.run("evaluate", *figures, options=["--configfile", *FILES])
    assert status == 0, output
    config = configuration.load(*(folder / name for name in ("config.yaml", *FILES)))
    return Run(config, Layout(folder / "results"))


@pytest.fixture(autouse=True)
def inside(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths of the configuration are relative to the folder of the run."""
    monkeypatch.chdir(run.layout.root.parent)


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


@pytest.mark.parametrize("scenario", ["2T", "1T+IC"])
def test_evidences_know_the_prior_of_the_factor(run: Run, scenario: str, tmp_path: Path) -> None:
    logs = {}
    for integral in run.config.integrals:
        output = tmp_path / f"{integral}.ecsv"
        settings = settings_of.integrate(run.config, integral)
        integrate.run(settings, run.layout.spectra(f"test_{scenario}", 0), output)
        table = read_table(output)
        assert np.all(np.isfinite(floats(table, "log_evidence")))
        if integral.startswith(scenario):
            assert np.all(np.abs(floats(table, "log_evidence")) < 500)
            assert np.all(floats(table, "error") < 0.2)
        logs[integral] = floats(table, "log_evidence").mean()
    assert max(logs, key=lambda name: logs[name]).startswith(scenario)


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
    assert rows["ae"]["n_test"] == "8"
    scores = read_table(run.layout.judged)
    assert "truth.factor.FPMB" in scores.colnames
    for figure in FIGURES:
        assert run.layout.figure(registry.file_name(figure), "png").stat().st_size > 1000
        assert "Shown is FPMA, the first of 2 modules" in registry.caption(run.config, figure)


def test_components_are_those_of_the_first_module(run: Run) -> None:
    cluster = run.config.figures.cluster
    table, shard = read_table(run.layout.components(cluster)), run.shard(cluster)
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
