"""All that is done for an observation, in order."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from icflow.errors import IcflowError
from icflow.layout import TRAINED_FOR, WEIGHTS
from icflow.observation import whole


def test_a_folder_that_cannot_be_written_is_refused_before_the_analysis(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(whole.checks, "check_observation", lambda *_: None)
    config: Any = None
    with pytest.raises(IcflowError, match="cannot be written"):
        whole.run(config, "Coma", Path("/proc/none"))


def test_networks_are_trained_again_where_settings_or_files_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[float] = []

    def run(settings: Any, folder: Path) -> None:
        trained.append(settings.redshift)
        (folder / WEIGHTS).touch()

    def of(redshift: float) -> Any:
        return SimpleNamespace(redshift=redshift, model_dump=lambda **_: {"redshift": redshift})

    monkeypatch.setattr(whole.networks, "run", run)
    for redshift, digest in ((0.02, "a"), (0.02, "a"), (0.03, "a"), (0.03, "b")):
        whole._train(of(redshift), {"a.pha": digest}, tmp_path)
    assert trained == [0.02, 0.03, 0.03]
    # One of which nobody knows what it was trained for, and one whose weights are lost.
    (tmp_path / TRAINED_FOR).unlink()
    whole._train(of(0.03), {"a.pha": "b"}, tmp_path)
    (tmp_path / WEIGHTS).unlink()
    whole._train(of(0.03), {"a.pha": "b"}, tmp_path)
    assert trained == [0.02, 0.03, 0.03, 0.03, 0.03]


def test_networks_and_ratios_are_trained_once_and_then_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SimpleNamespace(networks={"new": None}, ratios={"known": None, "own": None})
    done: list[Any] = []
    monkeypatch.setattr(whole.checks, "check_observation", lambda *_: done.append("check"))
    monkeypatch.setattr(whole.settings_of, "observe", lambda *_: settings)
    monkeypatch.setattr(whole, "_train", lambda own, files, path: done.append((own, path)))
    monkeypatch.setattr(whole.settings_of, "observe_network", lambda _, name, network: network)
    monkeypatch.setattr(whole.settings_of, "observe_ratio", lambda _, name, ratio: ratio)
    monkeypatch.setattr(
        whole.ratios, "is_trained", lambda _, path: path == tmp_path / "ratios/known"
    )
    monkeypatch.setattr(whole.ratios, "run", lambda ratio, path: done.append((ratio, path)))
    monkeypatch.setattr(
        whole.analysis, "run",
        lambda _, folder, given: f"{sorted(given.networks)}, {sorted(given.ratios)}",
    )  # fmt: skip
    monkeypatch.setattr(whole.style, "write", lambda draw, dpi, images: done.append(images))
    config: Any = SimpleNamespace(figures=SimpleNamespace(formats=["pdf"], dpi=100))
    assert whole.run(config, "Coma", tmp_path) == "['new'], ['known', 'own']"
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
