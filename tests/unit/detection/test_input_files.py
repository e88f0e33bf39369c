"""Which files an evaluation reads, of the run and at a point of a scan."""

from __future__ import annotations

from pathlib import Path

import pytest

from icflow import config as configuration
from icflow import settings as settings_of
from icflow.config import Config
from icflow.detection.base import FITS, INTEGRALS, RATIOS
from icflow.detection.input_files import InputFiles, files_of, fit_files
from icflow.layout import Layout

ROOT = Path(__file__).resolve().parents[3]
LAYOUT = Layout(Path("below"))


def run_of(*files: str) -> Config:
    """A run in shards that do not all end with a dataset."""
    tree = configuration.read_layers(ROOT / file for file in ("config.yaml", *files))
    above = {"shard_size": 300, "detection": {"fitted": 500}}
    return configuration.validate(configuration.overlay(tree, above), "here")


@pytest.fixture(scope="module")
def small() -> Config:
    """The default run."""
    return run_of()


def test_the_run_reads_what_its_detectors_do(small: Config) -> None:
    files = InputFiles.of(settings_of.evaluate(small), LAYOUT)
    networks = small.autoencoder.networks
    folds = range(small.autoencoder.training.folds_trained)
    assert set(files.scores) == {(network, fold) for network in networks for fold in folds}
    assert files.scores["cae", 0] == [LAYOUT.scores("cae", 0)]
    assert files.truth["test_2T"] == [LAYOUT.truth("test_2T", n) for n in range(4)]
    # Of the training spectra only the first are fitted.
    training = files.results[FITS]["train_2T", "2T_fixed"]
    assert training == [LAYOUT.fits("train_2T", "2T_fixed", n) for n in range(2)]
    assert ("test_2T", "2T_fixed") in files.results[INTEGRALS]
    assert files.results[RATIOS] == {}
    assert files.fluxes == LAYOUT.fluxes()


def test_a_point_of_a_scan_reads_scores_of_its_own_besides() -> None:
    run = run_of("config/scans/background.yaml")
    ((name, scan),) = run.scans.items()
    point = scan.points[-1]
    files = InputFiles.of(settings_of.scan_point(run, name, point.name), LAYOUT)
    assert {network for network, _ in files.scores} == {"ae", "cae", "dense"}
    for (network, fold), paths in files.scores.items():
        assert paths == [LAYOUT.scores(network, fold), LAYOUT.scores(network, fold, name)]
    assert set(files.truth) == set(point.test) != set(run.detection.test)
    assert files.fluxes == LAYOUT.fluxes(name)


def test_all_paths_are_those_of_every_group(small: Config) -> None:
    files = InputFiles.of(settings_of.evaluate(small), LAYOUT)
    paths = files.paths
    assert len(set(paths)) == len(paths)
    groups = (files.scores, files.results[FITS], files.results[INTEGRALS], files.truth)
    assert set(paths) == {path for group in groups for path in files_of(group)} | {files.fluxes}


def test_fits_of_the_test_spectra_that_no_detector_reads_are_made_too(small: Config) -> None:
    fits = fit_files(small, LAYOUT)
    read = InputFiles.of(settings_of.evaluate(small), LAYOUT).results[FITS]
    assert {key: fits[key] for key in read} == read
    for name in small.fits.baseline:
        assert fits["test_1T+IC", name] == [LAYOUT.fits("test_1T+IC", name, n) for n in range(4)]
