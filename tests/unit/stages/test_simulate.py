"""Spectra of a dataset, and the fits of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from results import made_up
from scipy.sparse import eye_array

from icflow.config import FitModel, Instrument, Module, Scenario
from icflow.config.model import listed_modules
from icflow.engines.base import FitResult
from icflow.ogip.response import Rmf, write_rmf
from icflow.ogip.spectra import read_spectra
from icflow.settings import FitSettings, SimulateSettings
from icflow.stages import baseline, simulate

CHANNELS = 4


class Engine:
    """Fakes spectra of equal channels, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.blocks: list[list[int]] = []
        self.dataset = ""

    def versions(self) -> dict[str, str]:
        return {"ENGINE": "embedded"}

    def keeping(self, output: Path) -> AbstractContextManager[None]:
        return nullcontext()

    def fake(
        self, expression: str, parameters: Any, seed: int, dataset: str, indices: Sequence[int]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        self.blocks.append(list(indices))
        self.dataset = dataset
        counts = np.array([[index] * CHANNELS for index in indices], dtype=np.int32)
        return counts, {"powerlaw.norm": np.sqrt(np.array(indices) + 0.1)}

    def fit(
        self, model: Any, control: Any, counts: np.ndarray, truth: Any, at_truth: Any
    ) -> Iterator[FitResult]:
        for _ in counts:
            yield made_up(bins=1)


@pytest.fixture
def instrument(tmp_path: Path) -> Instrument:
    low = np.arange(1.0, CHANNELS + 1)
    rmf = Rmf(low, low + 1, eye_array(CHANNELS, format="csr"), np.arange(CHANNELS), low, low + 1)
    write_rmf(tmp_path / "a.rmf", rmf)
    return Instrument(rmf=str(tmp_path / "a.rmf"), exposure=10.0)


def simulation(instrument: Instrument, **names: str) -> SimulateSettings:
    model = Scenario(expression="powerlaw", parameters={})
    return SimulateSettings(
        engine="embedded",
        seed=1,
        atomic_data={},
        modules=listed_modules(instrument),
        scenario="b",
        model=model,
        **names,
    )


def test_blocks_of_spectra_stand_in_order(
    instrument: Instrument, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine()
    monkeypatch.setattr(simulate, "make_engine", lambda *_: engine)
    monkeypatch.setattr(simulate, "BLOCK", 2)
    simulate.run(simulation(instrument, dataset="a", draws="a"), 100, 5, tmp_path / "a.pha")
    assert engine.blocks == [[100, 101], [102, 103], [104]]
    shard = read_spectra(tmp_path / "a.pha")
    np.testing.assert_array_equal(shard.index, np.arange(100, 105))
    np.testing.assert_array_equal(shard.counts[:, 0], np.arange(100, 105))
    np.testing.assert_allclose(shard.truth["powerlaw.norm"], np.sqrt(shard.index + 0.1))


def test_spectra_are_drawn_as_those_that_they_are_like_and_fitted_with_their_own_exposure(
    instrument: Instrument, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[Engine, Module]] = []

    def make(_: str, modules: Sequence[Instrument], __: Any) -> Engine:
        made.append((Engine(), modules[0]))
        return made[-1][0]

    for stage in (simulate, baseline):
        monkeypatch.setattr(stage, "make_engine", make)
    spectra = tmp_path / "short.pha"
    short = instrument.model_copy(update={"exposure": 2.5})
    simulate.run(simulation(short, dataset="short", draws="long"), 0, 3, spectra)
    assert made[0][0].dataset == "long"
    assert read_spectra(spectra).dataset == "short"
    settings = FitSettings(
        engine="embedded",
        atomic_data={},
        modules=listed_modules(instrument),
        name="label",
        at_truth=[],
        model=FitModel(expression="powerlaw", parameters={"powerlaw.norm": {"free": [0.0, 1.0]}}),
        energies=[1.0, 4.0],
        group_min=0,
        background_range=0.1,
        starts=1,
        max_iterations=5,
    )
    baseline.run(settings, spectra, tmp_path / "short.ecsv")
    assert settings.modules[0].exposure == 10.0
    assert made[1][1] == listed_modules(short)[0]
