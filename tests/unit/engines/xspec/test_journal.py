"""Answers of XSPEC that a crash does not lose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from icflow.config import AtomicData, FitControl, FitModel, Instrument
from icflow.engines.base import FitResult
from icflow.engines.xspec import engine as pyxspec
from icflow.engines.xspec.engine import PyXspecEngine
from icflow.engines.xspec.journal import Journal
from icflow.typing import DrawnCounts

CONTROL = FitControl(
    energies=[2.0, 11.0], group_min=0, background_range=0.1, starts=1, max_iterations=7
)
MODEL = FitModel(
    expression="powerlaw",
    parameters={"powerlaw.PhoIndex": {"free": [1.0, 3.0]}, "powerlaw.norm": {"free": [0.0, 1.0]}},
)
COUNTS = np.full((3, 12), 50, dtype=np.int32) + np.arange(3, dtype=np.int32)[:, None]


class Crash(Exception):
    """A node that dies."""


def fits(
    engine: PyXspecEngine,
    output: Path,
    stop: int | None = None,
    control: FitControl = CONTROL,
    counts: DrawnCounts = COUNTS,
) -> list[FitResult]:
    """Fit spectra as a stage does, which dies when so many are done."""
    results = []
    with engine.keeping(output):
        for number, result in enumerate(engine.fit(MODEL, control, counts, {}, []), start=1):
            results.append(result)
            if number == stop:
                raise Crash
    return results


@pytest.fixture
def spectra(calls: Path) -> Callable[[], int]:
    """How many spectra XSPEC has loaded since the last time."""
    loaded = 0

    def count() -> int:
        nonlocal loaded
        before, loaded = loaded, calls.read_text().count("Spectrum(")
        return loaded - before

    return count


def test_fits_go_on_and_end_with_the_same_results(
    engine: PyXspecEngine, spectra: Callable[[], int], tmp_path: Path
) -> None:
    output = tmp_path / "new" / "a.ecsv"
    undisturbed = fits(engine, output)
    assert spectra() == 3
    assert list(output.parent.iterdir()) == []
    for stop, asked in ((2, 2), (2, 0)):
        with pytest.raises(Crash):
            fits(engine, output, stop)
        assert spectra() == asked
    results = fits(engine, output)
    assert spectra() == 1
    for result, expected in zip(results, undisturbed, strict=True):
        assert result.values == expected.values
        assert result.errors == expected.errors
        np.testing.assert_array_equal(result.covariance, expected.covariance)
    assert list(output.parent.iterdir()) == []


def test_fakes_go_on_with_the_same_counts(
    engine: PyXspecEngine, calls: Path, tmp_path: Path
) -> None:
    def fake(*indices: int) -> DrawnCounts:
        parameters = {"powerlaw.PhoIndex": 2.0, "powerlaw.norm": 0.5}
        counts, truth = engine.fake("powerlaw", parameters, 3, "test", indices)
        assert truth.keys() == parameters.keys()
        return counts

    undisturbed = fake(0, 1, 2)
    with pytest.raises(Crash), engine.keeping(tmp_path / "a.pha"):
        fake(0, 1)
        raise Crash
    seeds = calls.read_text().count("Xset.seed")
    with engine.keeping(tmp_path / "a.pha"):
        np.testing.assert_array_equal(fake(0, 1, 2), undisturbed)
    assert calls.read_text().count("Xset.seed") == seeds + 1


@pytest.mark.parametrize(
    "change", ["settings", "grouping", "spectra", "response", "version", "code"]
)
def test_what_was_kept_for_something_else_is_not_used(
    change: str,
    engine: PyXspecEngine,
    instrument: Instrument,
    spectra: Callable[[], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(Crash):
        fits(engine, tmp_path / "a.ecsv", 2)
    assert spectra() == 2
    control, counts = CONTROL, COUNTS
    if change == "settings":
        control = CONTROL.model_copy(update={"max_iterations": 8})
    elif change == "grouping":
        control = CONTROL.model_copy(update={"group_min": 60})
    elif change == "spectra":
        counts = COUNTS + 1
        counts[:, 0] -= 1
    elif change == "response":
        # FITS readers ignore what follows the last block.
        path = Path(instrument.rmf)
        path.write_bytes(path.read_bytes() + bytes(2880))
    elif change == "code":
        monkeypatch.setattr(pyxspec, "code_digest", lambda _: "of an edited engine")
    else:
        monkeypatch.setenv("FAKE_XSPEC_VERSION", "12.99.10")
        engine = PyXspecEngine([instrument], AtomicData(folder="nowhere"))
    fits(engine, tmp_path / "a.ecsv", None, control, counts)
    assert spectra() == 3


def test_another_process_finds_the_same_questions(
    engine: PyXspecEngine,
    instrument: Instrument,
    spectra: Callable[[], int],
    tmp_path: Path,
) -> None:
    """Its folder has another name."""
    with pytest.raises(Crash):
        fits(engine, tmp_path / "a.ecsv", 2)
    assert spectra() == 2
    fits(PyXspecEngine([instrument], AtomicData(folder="nowhere")), tmp_path / "a.ecsv")
    assert spectra() == 1


def ask(journal: Journal, *questions: str) -> list[str]:
    """Ask questions whose answers are themselves; return those that were not answered before."""
    asked: list[str] = []

    def answer(question: str) -> dict[str, str]:
        asked.append(question)
        return {"is": question}

    for question in questions:
        assert journal.answer(question, lambda q=question: answer(q)) == {"is": question}
    return asked


@pytest.mark.parametrize(
    "damage", [lambda text: text[:-9], lambda text: text[:-20] + bytes(19) + b"\n"]
)
def test_a_line_in_pieces_is_asked_again(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a")
    assert ask(journal, "one", "two", "two") == ["one", "two"]
    journal.path.write_bytes(damage(journal.path.read_bytes()))
    assert ask(Journal(tmp_path / "a"), "one", "two") == ["two"]
    assert ask(Journal(tmp_path / "a"), "one", "two") == []


def test_two_processes_may_work_on_the_same_output(tmp_path: Path) -> None:
    first, second = Journal(tmp_path / "a"), Journal(tmp_path / "a")
    assert ask(first, "one") == ["one"]
    assert ask(second, "one", "two") == ["one", "two"]
    assert ask(first, "two") == ["two"]
    assert ask(Journal(tmp_path / "a"), "one", "two") == []
    second.delete()
    assert ask(first, "one", "three") == ["three"]
    first.delete()
    assert list(tmp_path.iterdir()) == []


def test_numbers_come_back_bit_by_bit(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "a")
    journal.answer("x", lambda: {"x": 1 / 3, "nan": float("nan")})
    again = Journal(tmp_path / "a").answer("x", lambda: {})
    assert again["x"] == 1 / 3
    assert np.isnan(again["nan"])


def test_nothing_stays_where_nothing_was_done(engine: PyXspecEngine, tmp_path: Path) -> None:
    output = tmp_path / "new" / "a"
    with pytest.raises(Crash), engine.keeping(output):
        raise Crash
    assert not output.parent.exists()
