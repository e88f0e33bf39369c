"""Spectra with background spectra: the statistic and the fits of XSPEC, and simulations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icflow.config import AtomicData, FitControl, FitModel, Free
from icflow.observation.engine import ObservedEngine, draw_counts, expected_background
from icflow.ogip.grouping import group_counts
from icflow.ogip.observation import SpectrumFiles
from icflow.ogip.spectrum import read_background, read_spectrum
from icflow.statistic import NONE, Data, statistic

FILES = Path(__file__).parents[2] / "data/xspec_reference/files"
CASES = {case["name"]: case for case in json.loads((FILES / "cases.json").read_text())}
CONTROL = FitControl(
    energies=[3.0, 30.0],
    group_min=0,
    background_range=0,
    starts=8,
    max_iterations=500,
    cross_normalisation=[0.1, 10.0],
)
POWERLAW = FitModel(
    expression="powerlaw",
    parameters={
        "powerlaw.PhoIndex": Free(free=[-1.0, 6.0]),
        "powerlaw.norm": Free(free=[0.0, 1e3]),
    },
)
NAMES = ("powerlaw.PhoIndex", "powerlaw.norm")


def engine_of(case: dict[str, Any], atomdb: Path) -> ObservedEngine:
    modules = []
    for number, name in enumerate(case["spectra"]):
        spectrum = read_spectrum(FILES / name)
        file = spectrum.backfile
        behind = None if file is None else read_background(spectrum, FILES / file)
        own = "AB"[number] if len(case["spectra"]) > 1 else ""
        modules.append(
            SpectrumFiles(own, name, spectrum, FILES / "toy.rmf", FILES / "toy.arf", None, behind)
        )
    return ObservedEngine(modules, CONTROL, False, AtomicData(folder=str(atomdb)))


def values_of(case: dict[str, Any], parameters: list[Any]) -> dict[str, float]:
    """Return parameters of a case by name; XSPEC's ``constant`` is in single precision."""
    if not case["data_groups"]:
        return dict(zip(NAMES, parameters, strict=True))
    first, second = parameters
    factor = float(np.float32(second[0]))
    return dict(zip(NAMES, first[1:], strict=True)) | {"factor.B": factor}


def value_at(engine: ObservedEngine, values: dict[str, float]) -> float:
    """Return the statistic by XSPEC's functions."""

    def bins(row: Any) -> Any:
        return group_counts(np.asarray(row, dtype=float), *engine.groups)

    n = engine.n_channels
    behind = (bins(engine.counts[n:]), engine.ratio) if len(engine.behind) else (NONE, NONE)
    data = Data(bins(engine.source_counts), *engine.groups, *behind)
    return float(statistic(data, bins(engine.components(POWERLAW, values)["powerlaw"])))


@pytest.mark.parametrize("name", CASES)
def test_statistic_and_fits_are_those_of_xspec(name: str, atomdb: Path) -> None:
    case = CASES[name]
    engine = engine_of(case, atomdb)
    free = 3 if case["data_groups"] else 2
    assert engine.n_bins - free == case["dof"]
    values = values_of(case, case["parameters"])
    assert value_at(engine, values) == pytest.approx(case["statistic"], rel=1e-9)
    if "fit" not in case:
        return
    (fit,), best = engine.fit(POWERLAW), case["fit"]
    assert fit.converged and fit.cstat < best["statistic"] + 0.01
    assert fit.cstat == pytest.approx(value_at(engine, fit.values), abs=1e-3)
    assert fit.dof == case["dof"]
    for parameter, sigma in zip(NAMES, best["sigmas"][0][-2:], strict=True):
        # XSPEC leaves second derivatives of the model out.
        assert fit.errors[parameter] == pytest.approx(sigma, rel=0.05)


def test_background_spectra_are_simulated_with_their_sources(atomdb: Path) -> None:
    engine = engine_of(CASES["w_and_c_joint"], atomdb)
    values = dict(zip(NAMES, (2.0, 0.05), strict=True)) | {"factor.B": 2.0}
    n, (first, second) = engine.n_channels, (slice(0, 400), slice(400, 800))
    expected = engine.expected(POWERLAW, values)
    assert expected.shape == (2 * n,) == engine.counts.shape
    parts = engine.components(POWERLAW, values)
    np.testing.assert_allclose(expected[:n], parts["powerlaw"] + parts["background.file"])
    # The second spectrum has no background spectrum.
    behind = expected[n:]
    assert not behind[second].any() and not parts["background.file"][second].any()
    assert behind.sum() == pytest.approx(engine.counts[n:].sum())
    ratio = engine.ratio[0]
    np.testing.assert_allclose(parts["background.file"][first] * ratio, behind[first])
    (each,) = engine.expected_each(POWERLAW, [values])
    np.testing.assert_allclose(each, expected)
    drawn = draw_counts(expected, 1, "drawn", range(40))
    assert drawn.shape == (40, 2 * n)
    assert drawn.sum() == pytest.approx(40 * expected.sum(), rel=0.01)
    fits = engine.fit(POWERLAW, drawn)
    pulls = np.array([(fit.values[NAMES[0]] - 2.0) / fit.errors[NAMES[0]] for fit in fits])
    assert abs(pulls.mean()) < 4 / np.sqrt(40) and 0.6 < pulls.std() < 1.5


def test_counts_of_background_spectra_in_a_bin(atomdb: Path) -> None:
    engine = engine_of(CASES["w_and_c_joint"], atomdb)
    starts, stops = (ends[engine.ratio > 0] for ends in engine.groups)
    held = sum(engine.counts[800 + a : 800 + b].sum() for a, b in zip(starts, stops, strict=True))
    assert engine.behind_per_bin == pytest.approx(held / len(starts))
    assert engine_of(CASES["c_grouped5"], atomdb).behind_per_bin == np.inf


def test_an_expected_background_is_spread_over_runs_of_counts() -> None:
    counts = np.array([0, 30, 0, 0, 10, 5, 6, 1])
    used = np.array([1.0, 1, 1, 0, 1, 1, 1, 1])
    expected = expected_background(np.where(used > 0, counts, 0), used)
    np.testing.assert_allclose(expected, [15, 15, 21 / 4, 0, 21 / 4, 21 / 4, 21 / 4, 1])
    np.testing.assert_allclose(expected_background(counts[:2], None), [15, 15])
