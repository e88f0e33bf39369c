"""Stages that take up their work where a crash has left it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import eye_array

from icflow.config import FitModel, Instrument, Scenario
from icflow.engines.base import FitResult
from icflow.ogip.response import Rmf, write_rmf
from icflow.ogip.spectrum import SpectrumSet, read_spectra, write_spectra
from icflow.settings import FitSettings, SimulateSettings
from icflow.stages import baseline as fit
from icflow.stages import simulate
from icflow.stages.partial import Partial

CHANNELS = 4
RESULT = FitResult(
    cstat=1.0, dof=1, bins=1, converged=True, starts=1, agreeing=1, iterations=1, gradient=0.0,
    values={"powerlaw.norm": 1.0}, errors={"powerlaw.norm": 0.1}, free=("powerlaw.norm",),
)  # fmt: skip


class Engine:
    """Fits by adding counts up, and stops in the middle if it is told to."""

    def __init__(self, last: float = np.inf) -> None:
        self.last = last
        self.seen: list[int] = []

    def versions(self) -> dict[str, str]:
        return {"ENGINE": "embedded"}

    def fake(
        self, expression: str, parameters: Any, seed: int, dataset: str, indices: Sequence[int]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        self.seen += indices
        self.dataset = dataset
        if max(indices) > self.last:
            raise MemoryError
        counts = np.array([[index] * CHANNELS for index in indices], dtype=np.int32)
        return counts, {"powerlaw.norm": np.sqrt(np.array(indices) + 0.1)}

    def fit(
        self, model: Any, control: Any, counts: np.ndarray, truth: Any, at_truth: Any
    ) -> Iterator[FitResult]:
        for row in range(len(counts)):
            total = int(counts[row].sum())
            self.seen.append(total)
            if total > self.last:
                raise MemoryError
            value = np.float64(1 / 3 * total) if total else np.nan
            yield FitResult(
                cstat=value,
                dof=np.int64(total),
                bins=CHANNELS,
                converged=np.bool_(total > 0),
                starts=1,
                agreeing=1,
                iterations=2,
                gradient=1e-7,
                values={"powerlaw.PhoIndex": 2.0, "powerlaw.norm": value},
                errors={"powerlaw.PhoIndex": 0.0, "powerlaw.norm": float(truth["x"][row])},
                free=("powerlaw.norm",),
                at_bound=("powerlaw.norm",) if total % 8 else (),
                status="ok" if total else "no counts",
                covariance=np.array([[value]]),
            )


@pytest.fixture
def instrument(tmp_path: Path) -> Instrument:
    low = np.arange(1.0, CHANNELS + 1)
    rmf = Rmf(low, low + 1, eye_array(CHANNELS, format="csr"), np.arange(CHANNELS), low, low + 1)
    write_rmf(tmp_path / "a.rmf", rmf)
    return Instrument(rmf=str(tmp_path / "a.rmf"), exposure=10.0)


@pytest.fixture
def settings(instrument: Instrument) -> FitSettings:
    model = FitModel(expression="powerlaw", parameters={"powerlaw.norm": {"free": [0.0, 1.0]}})
    return FitSettings(
        engine="embedded", atomic_data={}, instrument=instrument, name="label", model=model,
        at_truth=[], energies=[1.0, 4.0], group_min=0, background_range=0.1, starts=1,
        max_iterations=5,
    )  # fmt: skip


@pytest.fixture
def spectra(tmp_path: Path) -> Path:
    """Spectra with 0, 4, 8, 12, 16 counts."""
    counts = np.repeat(np.arange(5, dtype=np.int32)[:, None], CHANNELS, axis=1)
    path = tmp_path / "a.pha"
    write_spectra(
        path,
        SpectrumSet(
            counts=counts, index=np.arange(5), exposure=10.0, truth={"x": np.sqrt(np.arange(5.0))},
            channel=np.arange(CHANNELS), respfile=None, ancrfile=None, dataset="a", scenario="b",
        ),
    )  # fmt: skip
    return path


def run_fit(
    monkeypatch: pytest.MonkeyPatch, settings: FitSettings, spectra: Path, output: Path, last: float
) -> list[int]:
    engine = Engine(last)
    monkeypatch.setattr(fit, "make_engine", lambda *_: engine)
    if last < np.inf:
        with pytest.raises(MemoryError):
            fit.run(settings, spectra, output)
    else:
        fit.run(settings, spectra, output)
    return engine.seen


def test_fits_go_on_and_end_with_the_same_bytes(
    settings: FitSettings, spectra: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, output = tmp_path / "whole.ecsv", tmp_path / "new" / "a.ecsv"
    assert run_fit(monkeypatch, settings, spectra, whole, np.inf) == [0, 4, 8, 12, 16]
    assert run_fit(monkeypatch, settings, spectra, output, 8) == [0, 4, 8, 12]
    assert not output.exists()
    # Dies again at once, nothing is lost.
    assert run_fit(monkeypatch, settings, spectra, output, 8) == [12]
    assert run_fit(monkeypatch, settings, spectra, output, np.inf) == [12, 16]
    assert output.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in output.parent.iterdir()) == ["a.ecsv"]


def test_a_line_in_pieces_is_done_again(
    settings: FitSettings, spectra: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, kept = tmp_path / "a.ecsv", tmp_path / "a.ecsv.partial.jsonl"
    run_fit(monkeypatch, settings, spectra, output, 8)
    for damage in (lambda text: text[:-9], lambda text: text[:-20] + bytes(19) + b"\n"):
        kept.write_bytes(damage(kept.read_bytes()))
        assert run_fit(monkeypatch, settings, spectra, output, 8) == [8, 12]
    assert len(kept.read_bytes().splitlines()) == 1 + 3


@pytest.mark.parametrize("change", ["settings", "spectra", "response"])
def test_what_was_kept_for_something_else_is_not_used(
    change: str,
    settings: FitSettings,
    spectra: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "a.ecsv"
    run_fit(monkeypatch, settings, spectra, output, 8)
    if change == "settings":
        settings = settings.model_copy(update={"starts": 2})
    else:
        path = spectra if change == "spectra" else Path(settings.instrument.rmf)
        # FITS readers ignore what follows the last block.
        path.write_bytes(path.read_bytes() + bytes(2880))
    assert run_fit(monkeypatch, settings, spectra, output, np.inf) == [0, 4, 8, 12, 16]


def test_of_two_processes_one_keeps_its_results(tmp_path: Path) -> None:
    output = tmp_path / "a.ecsv"
    with Partial(output, "key") as first:
        first.add(1)
        with Partial(output, "key") as second:
            assert second.results == []
            second.add(2)
        assert first.path.exists()
        first.add(3)
        lines = first.path.read_text().splitlines()
        assert lines[1:] == ['{"number": 1, "result": 1}', '{"number": 2, "result": 3}']
    assert not first.path.exists()


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(ValueError, match="stop"), Partial(tmp_path / "a", "key") as partial:
        partial.add({"x": float("nan")})
        raise ValueError("stop")
    with Partial(tmp_path / "a", "key") as partial:
        assert np.isnan(partial.results[0]["x"])


def test_nothing_stays_where_nothing_was_done(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop"), Partial(tmp_path / "a", "key"):
        raise ValueError("stop")
    assert list(tmp_path.iterdir()) == []


def test_simulations_go_on_and_end_with_the_same_bytes(
    instrument: Instrument, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SimulateSettings(
        engine="embedded", seed=1, atomic_data={}, instrument=instrument, dataset="a", draws="a",
        scenario="b", model=Scenario(expression="powerlaw", parameters={}),
    )  # fmt: skip

    def run(output: Path, last: float) -> list[int]:
        engine = Engine(last)
        monkeypatch.setattr(simulate, "make_engine", lambda *_: engine)
        if last < np.inf:
            with pytest.raises(MemoryError):
                simulate.run(settings, 100, 5, output)
        else:
            simulate.run(settings, 100, 5, output)
        return engine.seen

    monkeypatch.setattr(simulate, "BLOCK", 2)
    whole, output = tmp_path / "whole.pha", tmp_path / "b.pha"
    assert run(whole, np.inf) == [100, 101, 102, 103, 104]
    assert run(output, 103) == [100, 101, 102, 103, 104]
    assert run(output, np.inf) == [104]
    assert output.read_bytes() == whole.read_bytes()
    assert list(tmp_path.glob("*.partial*")) == []


def test_spectra_are_drawn_as_those_that_they_are_like_and_fitted_with_their_own_exposure(
    instrument: Instrument,
    settings: FitSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[tuple[Engine, Instrument]] = []

    def make(_: str, modules: list[Instrument], __: Any) -> Engine:
        made.append((Engine(), modules[0]))
        return made[-1][0]

    for stage in (simulate, fit):
        monkeypatch.setattr(stage, "make_engine", make)
    spectra = tmp_path / "short.pha"
    simulation = SimulateSettings(
        engine="embedded", seed=1, atomic_data={}, dataset="short", draws="long", scenario="b",
        instrument=instrument.model_copy(update={"exposure": 2.5}),
        model=Scenario(expression="powerlaw", parameters={}),
    )  # fmt: skip
    simulate.run(simulation, 0, 3, spectra)
    assert made[0][0].dataset == "long"
    assert read_spectra(spectra).dataset == "short"
    monkeypatch.setattr(Engine, "fit", lambda *_: iter([RESULT] * 3))
    fit.run(settings, spectra, tmp_path / "short.ecsv")
    assert settings.instrument.exposure == 10.0
    assert made[1][1] == simulation.instrument
