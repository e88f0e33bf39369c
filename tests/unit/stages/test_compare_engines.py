"""`icflow compare-engines` with two engines whose differences are known."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from results import made_up

from icflow import cli
from icflow import config as configuration
from icflow.engines.base import FitResult
from icflow.models.expression import parse
from icflow.models.scenario import complete, draw
from icflow.ogip.response import read_rmf
from icflow.publish.figures import engine_comparison
from icflow.stages import compare_engines as compare

CHANNELS = 4096


class Engine:
    """Expects 200 counts in every channel; the one called xspec is a little off."""

    def __init__(self, name: str, *_: object) -> None:
        self.name, self.off = name, name == "xspec"
        self.fits = 0

    def versions(self) -> dict[str, str]:
        return {"ENGINE": self.name, "XSPECVER": f"{self.name}-1", "ATOMDB": "3.0.9"}

    def predict(self, expression: str, parameters: Any) -> np.ndarray:
        counts = np.full(CHANNELS, 200.0)
        counts[100] *= 1 + 1e-5 * self.off
        return counts

    def fake(
        self, expression: str, parameters: Any, seed: int, dataset: str, indices: Any
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        values = [
            draw(complete(parse(expression), parameters, ""), seed, dataset, i) for i in indices
        ]
        truth = {name: np.array([v[name] for v in values]) for name in values[0]}
        return np.full((len(indices), CHANNELS), 200, dtype=np.int32), truth

    def fit(
        self, model: Any, fit: Any, counts: Any, truth: Any, at_truth: Any
    ) -> Iterator[FitResult]:
        self.fits += 1
        good = not (self.off and self.fits == 2)
        values = {"apec.kT": 5.0 + 0.2 * self.off, "powerlaw.norm": 1.0}
        yield made_up(
            cstat=1900.0 + 0.5 * self.off if good else np.nan,
            converged=good,
            iterations=0,
            values=values if good else dict.fromkeys(values, np.nan),
            errors={"apec.kT": 0.1, "powerlaw.norm": 0.0},
            free=("apec.kT",),
            status="ok" if good else "XSPEC: failed",
        )


def test_differences_are_tabulated_and_drawn(
    root: Path, rmf_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "make_engine", Engine)
    monkeypatch.setattr(compare, "read_rmf", lambda _: read_rmf(rmf_path))
    config = configuration.load(root / "config.yaml")
    output, figures = tmp_path / "a" / "b.ecsv", [tmp_path / "c.pdf", tmp_path / "c.png"]
    text = compare.run(config, 2, output, figures)
    table = Table.read(output, format="ascii.ecsv")
    fits, datasets = list(config.fits.baseline), config.detection.test
    assert len(table) == 2 * len(fits) * len(datasets)
    assert list(table["fit"]) == fits * 4
    np.testing.assert_allclose(table["counts_difference"], 1e-5)
    # 100 counts group single channels: C changes by m δ² where the model is off by δ.
    np.testing.assert_allclose(table["cstat_at_truth_difference"], 200 * 1e-10, rtol=0.01)
    good = np.arange(len(table)) != 1
    np.testing.assert_allclose(table["cstat_difference"][good], 0.5)
    np.testing.assert_allclose(table["apec.kT_difference"][good], 2.0)
    assert np.isnan(table["cstat_difference"][1])
    assert table["status_xspec"][1] == "XSPEC: failed"
    assert table.meta["xspec_XSPECVER"] == "xspec-1"
    assert table.meta["embedded_XSPECVER"] == "embedded-1"
    assert all(path.stat().st_size > 5000 for path in figures)
    assert "expected counts differ by at most 1.0e-05, relative" in text
    for position, (name, fit) in enumerate(config.fits.baseline.items()):
        strategy = fit.strategy or config.fits.strategy
        lower = 3 if position == 1 else 4  # a failed fit is no better
        assert (
            f"  {name} ({strategy}): +0.500 to +0.500, median +0.500; XSPEC in 0, the embedded "
            f"engine in {lower} of 4\n" in text
        )
    assert set(table["strategy"]) == {"thorough", "plain"}
    assert f"  test_2T 0, {fits[0]}: embedded lower by 0.5" in text
    assert text.count("lower by 0.5") == compare.TOLD
    assert list(np.unique(table["lower"])) == ["embedded", "neither"]
    assert (table["seconds_xspec"] >= 0).all()
    assert "HEADAS" not in text
    assert f"failed fits: 1 of {len(table)}" in text


def test_the_figure_stands_beside_the_table(
    root: Path, rmf_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "make_engine", Engine)
    monkeypatch.setattr(compare, "read_rmf", lambda _: read_rmf(rmf_path))
    monkeypatch.setattr(
        Engine, "versions", lambda _: {"XSPECVER": "HEASoft at /opt/heasoft", "ATOMDB": "3.0.9"}
    )
    text = compare.run(configuration.load(root / "config.yaml"), 1, tmp_path / "a" / "b.ecsv", [])
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"b.ecsv", "b.pdf", "b.png"}
    assert "both take their models from the HEASoft of HEADAS" in text


def test_ticks_reach_as_far_as_there_are_values() -> None:
    ticks, texts = engine_comparison._ticks(0, np.array([-3.0, 35614.0]))
    assert ticks == [-1.0, 0.0, 1.0, 100.0, 10000.0]
    assert texts[-1] == "$10^{4}$"
    assert engine_comparison._ticks(-2, np.array([0.0]))[0] == [-0.01, 0.0, 0.01]
    # No closer on one side than on the other.
    ticks, _ = engine_comparison._ticks(0, np.array([-150.0, 2e4]))
    assert ticks == [-100.0, -1.0, 0.0, 1.0, 100.0, 10000.0]


def test_a_row_may_lack_parameters() -> None:
    table = compare.tabulate([{"fit": "a", "x_difference": 1.0}, {"fit": "b", "y_difference": 2.0}])
    assert table.colnames == ["fit", "x_difference", "y_difference"]
    assert np.isnan(table["x_difference"][1])


def test_without_xspec_nothing_is_written(
    root: Path,
    rmf_path: Path,
    arf_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ICFLOW_XSPEC_PYTHON", shutil.which("false") or os.devnull)
    monkeypatch.chdir(root)
    output = ["--output", str(tmp_path / "a.ecsv"), "--figure", str(tmp_path / "a.pdf")]
    assert cli.main(["compare-engines", *output]) == 1
    assert capsys.readouterr().err.startswith("icflow: error: engine: xspec needs XSPEC")
    assert list(tmp_path.iterdir()) == []
