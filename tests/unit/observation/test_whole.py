"""All that is done for an observation, in order."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from icflow.errors import IcflowError
from icflow.layout import TRAINED_OBSERVED
from icflow.observation import whole


def test_a_folder_that_cannot_be_written_is_refused_before_the_analysis(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(whole.checks, "check_observation", lambda *_: None)
    config: Any = None
    with pytest.raises(IcflowError, match="cannot be written"):
        whole.run(config, "Coma", Path("/proc/none"))


def test_networks_are_trained_once_and_then_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "networks/there"
    there.mkdir(parents=True)
    (there / TRAINED_OBSERVED[0]).touch()
    settings = SimpleNamespace(networks={"there": None, "new": None})
    done: list[Any] = []
    monkeypatch.setattr(whole.checks, "check_observation", lambda *_: done.append("check"))
    monkeypatch.setattr(whole.settings_of, "observe", lambda *_: settings)
    monkeypatch.setattr(whole.settings_of, "observe_network", lambda _, name, network: network)
    monkeypatch.setattr(whole.networks, "run", lambda network, path: done.append((network, path)))
    monkeypatch.setattr(whole.analysis, "run", lambda _, folder, given: f"{sorted(given)}")
    monkeypatch.setattr(whole.style, "write", lambda draw, dpi, images: done.append(images))
    config: Any = SimpleNamespace(figures=SimpleNamespace(formats=["pdf"], dpi=100))
    assert whole.run(config, "Coma", tmp_path) == "['new', 'there']"
    page = [tmp_path / "observation.pdf"]
    assert done == ["check", ("new", tmp_path / "networks/new"), page]
