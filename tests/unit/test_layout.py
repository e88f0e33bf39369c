"""Where results lie, and what is refused among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from icflow.errors import IcflowError
from icflow.layout import Layout, figures_of, images_of, network_of, ratio_of, truth_of


def test_a_folder_has_the_name_of_the_command_that_writes_it() -> None:
    layout = Layout(Path("r"))
    assert layout.spectra("test_2T", 7) == Path("r/simulate/test_2T/shard-0007.pha")
    assert layout.truth("test_2T", 7) == Path("r/simulate/test_2T/shard-0007.truth.ecsv")
    assert layout.fits("test_2T", "2T", 12345) == Path("r/baseline/test_2T/2T/shard-12345.ecsv")
    assert layout.scores("cae", 3) == Path("r/score/cae/fold-3.ecsv")
    assert layout.scores("cae", 3, "prior") == Path("r/scan/prior/score/cae/fold-3.ecsv")
    assert layout.reconstructions("cae", 3) == Path("r/score/cae/fold-3-reconstructions.ecsv")


def test_wildcards_stay_as_they_are() -> None:
    shard = Layout().labels("{dataset}", "{shard}")
    assert shard == Path("results/label/{dataset}/shard-{shard}.ecsv")
    assert Layout().log(shard) == Path("results/logs/label/{dataset}/shard-{shard}.log")
    assert Layout().benchmark(shard).suffix == ".tsv"
    assert truth_of(Path("ten.pha")) == Path("ten.truth.ecsv")


def test_logs_of_what_lies_elsewhere_are_among_those_of_the_results() -> None:
    layout = Layout()
    assert layout.log(layout.responses("mine")) == Path("results/logs/responses/mine.log")
    assert layout.benchmark(layout.responses("mine")) == Path(
        "results/benchmarks/responses/mine.tsv"
    )
    fetched = layout.log(layout.fetched("resources/example/{resource}"))
    assert fetched == Path("results/logs/fetch/resources/example/{resource}.log")


def test_what_lies_within_an_observation_and_a_scan() -> None:
    layout = Layout(Path("r"))
    coma, prior = layout.observation("coma"), layout.scan("prior")
    assert layout.observed_network("coma", "cae") == network_of(coma, "cae")
    assert network_of(Path("here"), "cae") == Path("here/networks/cae")
    assert layout.observed_ratio("coma", "own") == ratio_of(coma, "own")
    assert ratio_of(Path("here"), "own") == Path("here/ratios/own")
    assert images_of(coma, ["png"]) == [Path("r/observe/coma/observation.png")]
    assert figures_of(prior, ["pdf"]) == [Path("r/scan/prior/figure.pdf")]


def test_results_of_an_earlier_version_are_refused_and_left_alone(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.check_version()
    (tmp_path / "simulate").mkdir()
    layout.check_version()
    for name in ("spectra", "fits"):
        (tmp_path / name).mkdir()
    with pytest.raises(IcflowError, match=r"holds spectra and fits, .*move that folder away"):
        layout.check_version()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fits", "simulate", "spectra"]


@pytest.mark.parametrize("name", ["observations", "scans", "figures/data"])
def test_any_folder_of_an_earlier_version_is_enough(tmp_path: Path, name: str) -> None:
    (tmp_path / "figures").mkdir()
    Layout(tmp_path).check_version()
    (tmp_path / name).mkdir()
    with pytest.raises(IcflowError, match=rf"holds {name}, folders of results made by an earlier"):
        Layout(tmp_path).check_version()
