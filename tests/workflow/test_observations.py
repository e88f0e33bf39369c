"""Observations through Snakemake: made by their target, remade when what they depend on changes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from running import ROOT, Project, nest

from icflow import config
from icflow.config.reading import read_tree

EXAMPLE = read_tree(ROOT / "config" / "observe-example.yaml")["observations"]["example"]
CHANGE: dict[str, Any] = {
    "observations/example": EXAMPLE,
    "observe/simulations": 20,
    "observe/false_alarm": 0.1,
    "observe/detectors/fit_discriminant/method": "cstat_rule",
    "ratios/own": {"thermal": "2T", "alternative": "1T+IC"},
}
AUTOENCODER = {"title": "AE", "method": "reconstruction_error", "network": "ae"}
RATIO = {"title": "Ratio", "method": "ratio_estimator", "ratio": "own"}
ALL = {"observe_source": 1, "observe_figure": 1, "observe": 1}


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project.make(tmp_path_factory.mktemp("observations") / "observed")
    assert project.jobs("observe", change=CHANGE) == ALL
    status, output = project.run("observe", change=CHANGE)
    assert status == 0, output
    return project


def test_everything_is_there_and_up_to_date(observed: Project) -> None:
    folder = observed.results / "observe" / "example"
    assert {"verdict", "false_alarm", "ic_flux", "cstat"} <= set(
        json.loads((folder / "summary.json").read_text())
    )
    assert (folder / "observation.pdf").stat().st_size > 10_000
    assert (folder / "observation.png").stat().st_size > 10_000
    assert observed.jobs("observe", change=CHANGE) == {}


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("figures/dpi", 90, {"observe_figure": 1, "observe": 1}),
        ("observations/example/group_min", 50, ALL),
        ("observe/simulations", 21, ALL),
        # Another observation is made by itself.
        ("observations/other", EXAMPLE | {"redshift": 0.05}, ALL),
        ("observe/detectors/ae", AUTOENCODER, ALL | {"observe_network": 1}),
        ("observe/detectors/ratio", RATIO, ALL | {"observe_ratio": 1}),
        ("autoencoder/training/epochs", 3, {}),
        ("datasets/test_2T/size", 50, {}),
    ],
)
def test_a_change_reruns_what_depends_on_it(
    observed: Project, key: str, value: Any, expected: dict[str, int]
) -> None:
    change = config.overlay(nest(CHANGE), nest({key: value}))
    assert observed.jobs("observe", change=change) == expected


def test_observations_that_are_not_there_are_refused(fresh: Project) -> None:
    status, output = fresh.run("observe")
    assert status == 1
    assert "observations: names none; add one as docs/observe.md shows" in output
    change = CHANGE | {"observations/example/spectrum": "mine.pha"}
    status, output = fresh.run(change=change)
    assert status == 1
    assert "observations.example.spectrum: mine.pha: no such file" in output
    assert "Traceback" not in output
    assert not fresh.results.exists()
