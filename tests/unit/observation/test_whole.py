"""All that is done for an observation, in order."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from icflow.errors import IcflowError
from icflow.observation import whole


def test_a_folder_that_cannot_be_written_is_refused_before_the_analysis(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(whole.checks, "check_observation", lambda *_: None)
    config: Any = None
    with pytest.raises(IcflowError, match="cannot be written"):
        whole.run(config, "Coma", Path("/proc/none"))


def test_networks_and_ratios_are_trained_once_and_then_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SimpleNamespace(
        networks={"new": None, "old": None}, ratios={"known": None, "own": None}
    )
    done: list[Any] = []
    monkeypatch.setattr(whole.checks, "check_observation", lambda *_: done.append("check"))
    monkeypatch.setattr(whole.settings_of, "observe", lambda *_: settings)
    monkeypatch.setattr(whole.settings_of, "observe_network", lambda _, name, network: network)
    monkeypatch.setattr(whole.settings_of, "observe_ratio", lambda _, name, ratio: ratio)
    there = (tmp_path / "networks/old", tmp_path / "ratios/known")
    for kind in (whole.networks, whole.ratios):
        monkeypatch.setattr(kind, "is_trained", lambda _, path: path in there)
        monkeypatch.setattr(kind, "run", lambda own, path: done.append((own, path)))
    monkeypatch.setattr(
        whole.analysis, "run",
        lambda _, folder, given: f"{sorted(given.networks)}, {sorted(given.ratios)}",
    )  # fmt: skip
    monkeypatch.setattr(whole.style, "write", lambda draw, dpi, images: done.append(images))
    config: Any = SimpleNamespace(figures=SimpleNamespace(formats=["pdf"], dpi=100))
    assert whole.run(config, "Coma", tmp_path) == "['new', 'old'], ['known', 'own']"
    page = [tmp_path / "observation.pdf"]
    trained = [("new", tmp_path / "networks/new"), ("own", tmp_path / "ratios/own")]
    assert done == ["check", *trained, page]


def test_its_folder_is_below_the_results_unless_another_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(whole, "run", lambda config, name, folder: folder)
    config: Any = None
    assert whole.below(config, "Coma", Path("r")) == Path("r/observe/Coma")
    assert whole.below(config, "Coma", Path("r"), Path("here")) == Path("here")
