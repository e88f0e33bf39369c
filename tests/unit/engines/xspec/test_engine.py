"""The xspec engine against a stand-in for PyXspec that records what it is asked for."""

from __future__ import annotations

import gc
import json
import math
import os
import re
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import Table

from icflow import cli
from icflow.config import AtomicData, FitControl, FitModel, Instrument, Systematics
from icflow.config.model import listed_modules
from icflow.engines.base import FitResult
from icflow.engines.xspec import engine as pyxspec
from icflow.engines.xspec import process
from icflow.engines.xspec import worker as pyxspec_worker
from icflow.engines.xspec.engine import PyXspecEngine
from icflow.engines.xspec.fitting import Plan
from icflow.errors import IcflowError
from icflow.models.systematics import Deviates, background_factors
from icflow.ogip.spectra import Recorded, SpectrumSet, read_spectra, write_spectra
from icflow.settings import FitSettings
from icflow.stages import baseline as fit_stage

CHANNELS = 12
EXPOSURE = 1000.0
MODEL = FitModel(
    expression="tbabs*(apec+apec)",
    parameters={
        "TBabs.nH": 0.01,
        "apec.kT": {"free": [1.0, 9.0]},
        "apec.Abundanc": {"free": [0.0, 4.0], "start": 0.5},
        "apec.Redshift": {"free": [0.0, 0.2]},
        "apec.norm": {"free": [0.0, 100.0]},
        "apec_3.kT": {"free": [1.0, 9.0]},
        "apec_3.Abundanc": {"link": "apec.Abundanc"},
        "apec_3.Redshift": {"link": "apec.Redshift"},
        "apec_3.norm": {"free": [0.0, 1.0]},
    },
)
ONE = FitControl(
    energies=[2.0, 11.0], group_min=0, background_range=0.1, starts=1, max_iterations=7
)
PLAIN = ONE.model_copy(update={"strategy": "plain"})


def script(calls: Path) -> str:
    """Return the calls since the set-up, which ends by looking at `apec`."""
    _, marker, rest = calls.read_text().partition("Model('apec')\n" + CLEAR)
    assert marker
    return rest


def expected(text: str) -> str:
    return textwrap.dedent(text).lstrip("\n")


BACKGROUND_RESPONSES = """\
AllData(1).multiresponse[1] = 'identity.rmf'
AllData(1).multiresponse[2] = 'source.rmf'
AllData(1).multiresponse[2].arf = 'lines.arf'
"""
FAKEIT = (
    "AllData.fakeit(1, FakeitSettings(response='source.rmf', arf='source.arf', "
    "exposure='1000.0', fileName='fake.pha'), noWrite=True)\n"
)
SOURCE = (
    "Model('tbabs*powerlaw')\nAllModels(1, '').setPars({1: '0.01,-1', 2: '2.0,-1', 3: '0.5,-1'})\n"
)
BACKGROUND_MODELS = """\
Model('constant*(bknpower)', 'background2', 2)
AllModels(1, 'background2').setPars({1: '1.0,-1', 2: '-0.05,-1', 3: '124.0,-1', 4: '-0.85,-1', \
5: '0.25,-1'})
Model('constant*(apec+lorentz)', 'background3', 3)
AllModels(1, 'background3').setPars({1: '1.0,-1', 2: '1.5,-1', 3: '1.2,-1', 4: '0.0,-1', \
5: '0.5,-1', 6: '3.5,-1', 7: '0.4,-1', 8: '0.25,-1'})
"""
CLEAR = "AllData.clear()\nAllModels.clear()\n"
POWERLAW = {"TBabs.nH": 0.01, "powerlaw.PhoIndex": 2.0, "powerlaw.norm": 0.5}


# --- what XSPEC is asked for -----------------------------------------------------------------


def test_every_setting_is_made_before_anything_else(engine: PyXspecEngine, calls: Path) -> None:
    head, _, _ = calls.read_text().partition("AllData.clear()")
    assert head == expected(
        """
        Xset.allowPrompting = False
        Xset.chatter = 0
        Xset.logChatter = 0
        Xset.abund = 'angr'
        Xset.xsect = 'vern'
        Xset.cosmo = '70 0 0.73'
        Xset.addModelString('APECROOT', '3.0.9')
        Fit.statMethod = 'cstat'
        Fit.method = 'leven'
        Fit.criticalDelta = 0.01
        Fit.delta = 0.01
        Fit.query = 'no'
        Fit.renorm('prefit')
        """
    )
    assert engine.versions() == {
        "ENGINE": "xspec",
        "XSPECVER": "12.99.9",
        "ATOMDB": "3.0.9",
        "ABUND": "angr",
        "XSECT": "vern",
    }


def test_tables_of_the_folder_are_used_where_they_are(
    calls: Path, instrument: Instrument, tmp_path: Path
) -> None:
    for part in ("coco", "line"):
        (tmp_path / f"apec_v3.0.9_{part}.fits").touch()
    engine = PyXspecEngine([instrument], AtomicData(folder=str(tmp_path)))
    root = engine.folder / "apec_v3.0.9"
    assert f"Xset.addModelString('APECROOT', {str(root)!r})" in calls.read_text()
    assert Path(f"{root}_coco.fits").resolve() == tmp_path / "apec_v3.0.9_coco.fits"


def test_the_script_of_a_prediction(engine: PyXspecEngine, calls: Path) -> None:
    counts = engine.predict("tbabs*powerlaw", POWERLAW)
    assert script(calls) == CLEAR + SOURCE + FAKEIT + BACKGROUND_RESPONSES + BACKGROUND_MODELS
    # The stand-in folds every source to its norm in each channel.
    np.testing.assert_allclose(counts, EXPOSURE * (0.5 + 0.25 + 0.75))
    assert counts.shape == (CHANNELS,)


def test_the_script_of_a_fake_spectrum(engine: PyXspecEngine, calls: Path) -> None:
    counts, truth = engine.fake("tbabs*powerlaw", POWERLAW, 3, "test", [5])
    lines = script(calls)
    seed = lines.split("Xset.seed = ")[1].split("\n")[0]
    assert lines == (
        CLEAR
        + SOURCE
        + FAKEIT
        + BACKGROUND_RESPONSES
        + BACKGROUND_MODELS
        + f"Xset.seed = {seed}\n"
        + FAKEIT
    )
    assert 0 < int(seed) < 2**31
    assert counts.dtype == np.int32
    assert abs(counts.sum() / (CHANNELS * EXPOSURE * 1.5) - 1) < 0.05
    assert {name: list(values) for name, values in truth.items()} == {
        name: [value] for name, value in POWERLAW.items()
    }


def test_a_fake_after_a_fake_takes_its_place(engine: PyXspecEngine, calls: Path) -> None:
    engine.fake("tbabs*powerlaw", POWERLAW, 3, "test", [5])
    before = script(calls)
    alone, _ = engine.fake("tbabs*powerlaw", POWERLAW, 3, "test", [6])
    kept = script(calls)[len(before) :]
    seed = kept.split("Xset.seed = ")[1].split("\n")[0]
    assert kept == f"Xset.seed = {seed}\n" + FAKEIT
    stronger = POWERLAW | {"powerlaw.norm": 0.6}
    other, _ = engine.fake("tbabs*powerlaw", stronger, 3, "test", [6])
    changed = script(calls)[len(before) + len(kept) :]
    assert changed == SOURCE.replace("'0.5,-1'", "'0.6,-1'") + kept
    # Whatever came before, the same spectrum has the same counts.
    engine.predict("tbabs*powerlaw", POWERLAW)
    again, _ = engine.fake("tbabs*powerlaw", stronger, 3, "test", [6])
    np.testing.assert_array_equal(again, other)
    again, _ = engine.fake("tbabs*powerlaw", POWERLAW, 3, "test", [6])
    np.testing.assert_array_equal(again, alone)
    assert (other != alone).any()


def test_a_fake_that_fails_leaves_nothing_behind(engine: PyXspecEngine, calls: Path) -> None:
    engine.fake("tbabs*powerlaw", POWERLAW, 3, "test", [5])
    wrong = [{"expression": "powerlaw", "parameters": {"x": 1.0}}] * 3
    with pytest.raises(IcflowError, match="names the parameters of powerlaw"):
        engine.process.ask({"do": "fake", "models": wrong, "seed": 1})
    before = script(calls)
    engine.fake("tbabs*powerlaw", POWERLAW, 3, "test", [5])
    assert script(calls)[len(before) :].startswith(CLEAR + SOURCE + FAKEIT)


def test_one_fakeit_is_enough_without_backgrounds(calls: Path, instrument: Instrument) -> None:
    alone = instrument.model_copy(update={"background": None})
    engine = PyXspecEngine([alone], AtomicData(folder="nowhere"))
    engine.fake("tbabs*powerlaw", POWERLAW, 3, "test", [5])
    assert script(calls).count("fakeit(") == 1


def test_the_script_of_a_fake_spectrum_with_scattered_backgrounds(
    calls: Path, instrument: Instrument
) -> None:
    scattered = instrument.model_copy(update={"systematics": Systematics(background=0.1)})
    engine = PyXspecEngine([scattered], AtomicData(folder="nowhere"))
    _, truth = engine.fake("tbabs*powerlaw", POWERLAW, 3, "test", [5])
    names = [name for name in truth if name.startswith("background.")]
    assert {name: truth[name][0] for name in names} == background_factors(
        dict.fromkeys(names, 0.1), Deviates(3, "test", 5)
    )
    models = BACKGROUND_MODELS
    for name in names:
        assert "1: '1.0,-1'" in models
        models = models.replace("1: '1.0,-1'", f"1: '{float(truth[name][0])!r},-1'", 1)
    assert models in script(calls)


def test_fakes_are_keyed_by_seed_dataset_and_index(engine: PyXspecEngine) -> None:
    def fake(seed: int, dataset: str, index: int) -> list[int]:
        counts, _ = engine.fake("tbabs*powerlaw", POWERLAW, seed, dataset, [0, index])
        return list(counts[1])

    first = fake(3, "test", 5)
    assert fake(3, "test", 5) == first
    for other in (fake(4, "test", 5), fake(3, "train", 5), fake(3, "test", 6)):
        assert other != first


LIMITS = "0.9,0.9,1.1,1.1"
# Temperatures a third and two thirds up their range, in the logarithm.
KT = [9.0 ** (1 / 3), 9.0 ** (2 / 3)]
GENERIC = (
    f"AllModels(1, '').setPars({{2: {KT[0]!r}, 3: 0.5, 5: 0.1, 6: {KT[1]!r}, 9: 0.001}})\n"
    "AllModels(1, 'background2').setPars({1: 1.0})\n"
    "AllModels(1, 'background3').setPars({1: 1.0})\n"
)
PERFORM = "Fit.perform()\n"


def fitted(
    engine: PyXspecEngine, calls: Path, control: FitControl
) -> tuple[FitResult, list[str], list[str]]:
    """Fit a spectrum; return the result, and the calls before the first fit and since."""
    counts = np.arange(100, 100 + CHANNELS, dtype=np.int32)[None]
    truth = {"apec.Redshift": np.array([0.05])}
    (result,) = engine.fit(MODEL, control, counts, truth, ["apec.Redshift"])
    assert result.status == "ok"
    before, iterations, rest = script(calls).partition("Fit.nIterations = 7\n")
    return result, before.splitlines(keepends=True), (iterations + rest).splitlines(keepends=True)


def test_the_script_of_a_plain_fit(engine: PyXspecEngine, calls: Path) -> None:
    _, before, fit = fitted(engine, calls, PLAIN)
    bounded = BACKGROUND_MODELS.replace("{1: '1.0,-1'", f"{{1: '1.0,0.01,{LIMITS}'")
    assert "".join(before) == (
        CLEAR
        + "Spectrum('spectrum.pha')\n"
        + "AllData(1).multiresponse[0] = 'source.rmf'\n"
        + "AllData(1).multiresponse[0].arf = 'source.arf'\n"
        + BACKGROUND_RESPONSES
        + "Model('tbabs*(apec+apec)')\n"
        + "AllModels(1, '').setPars({1: '0.01,-1', "
        + f"2: '{KT[0]!r},0.01,1.0,1.0,9.0,9.0', 3: '0.5,0.01,0.0,0.0,4.0,4.0', 4: '0.05,-1', "
        + "5: '0.1,0.01,0.0,0.0,100.0,100.0', "
        + f"6: '{KT[1]!r},0.01,1.0,1.0,9.0,9.0', 7: '=3', 8: '=4', "
        + "9: '0.001,0.01,0.0,0.0,1.0,1.0'})\n"
        + bounded
        + "AllData(1).ignore('**-2.0 11.0-**')\n"
    )
    # The second fit tells whether the first has converged.
    assert "".join(fit) == "Fit.nIterations = 7\n" + GENERIC + 2 * PERFORM


def test_a_plain_fit_of_xspec_is_a_false_convergence(engine: PyXspecEngine, calls: Path) -> None:
    result, *_ = fitted(engine, calls, PLAIN)
    assert result.cstat > 200
    assert result.values["background.lines"] == pytest.approx(1.05), "creeps up to its limit"
    assert result.gradient > 1, "what a second fit gains"
    assert not result.converged


def test_backgrounds_are_frozen_first_and_the_fit_repeated_until_it_gains_nothing(
    engine: PyXspecEngine, calls: Path
) -> None:
    result, _, fit = fitted(engine, calls, ONE)
    frozen, thawed = (
        [
            f"AllModels(1, '{name}').setPars({{1: '1.0,{sign}0.01,{LIMITS}'}})\n"
            for name in ("background2", "background3")
        ]
        for sign in ("-", "")
    )
    once = ["Fit.nIterations = 7\n", *GENERIC.splitlines(keepends=True)]
    once += [*frozen, PERFORM, *thawed, PERFORM]
    assert fit[: len(once)] == once
    rounds = fit.count(PERFORM) // 2
    assert rounds >= 2
    assert len(fit) == len(once) + (rounds - 1) * len([*frozen, PERFORM, *thawed, PERFORM])
    assert result.cstat == pytest.approx(100, abs=0.01)
    assert 0 <= result.gradient < 0.01
    assert result.converged


SEEDED = ONE.model_copy(update={"strategy": "seeded", "starts": 8})


def seed_with(engine: PyXspecEngine, monkeypatch: pytest.MonkeyPatch, *statuses: str) -> None:
    """Let the embedded engine end at the minimum of the stand-in, or as it is told."""
    plan = Plan.of(MODEL, ONE, ["apec.Redshift"], engine.background_limits(0.1))
    values = {name: low + 0.25 * (high - low) for name, (low, high) in plan.bounds.items()}
    seeds = [seed(values, status) for status in statuses]
    monkeypatch.setattr(
        pyxspec, "make_engine", lambda *_: SimpleNamespace(fit=lambda *_: [seeds.pop(0)])
    )


def test_an_xspec_that_starts_from_the_minimum_confirms_it(
    engine: PyXspecEngine, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed_with(engine, monkeypatch, "ok", "no minimum was found")
    result, _, fit = fitted(engine, calls, SEEDED)
    assert "".join(fit) == (
        "Fit.nIterations = 7\n"
        "AllModels(1, '').setPars({2: 3.0, 3: 1.0, 5: 25.0, 6: 3.0, 9: 0.25})\n"
        "AllModels(1, 'background2').setPars({1: 0.9500000000000001})\n"
        "AllModels(1, 'background3').setPars({1: 0.9500000000000001})\n" + PERFORM
    )
    assert (result.cstat, result.starts, result.converged) == (100, 1, True)
    # Without a minimum XSPEC searches by itself.
    counts = np.full((1, CHANNELS), 50, dtype=np.int32)
    (alone,) = engine.fit(MODEL, SEEDED, counts, {}, [])
    assert alone.status == "ok"
    assert alone.cstat == pytest.approx(100, abs=0.01)
    assert "1.0,-0.01" in calls.read_text()


def performs(engine: PyXspecEngine, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    """Start an XSPEC whose first fits do what these words say."""
    monkeypatch.setenv("FAKE_XSPEC_PERFORMS", words)
    engine.process.stop()


@pytest.mark.parametrize(("last", "gain"), [("rise", -40.0), ("fail", math.inf)])
def test_the_better_of_two_fits_is_kept(
    last: str,
    gain: float,
    engine: PyXspecEngine,
    calls: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Backgrounds frozen, then free, and once more.
    performs(engine, monkeypatch, f"fit fit fit {last}")
    result, _, fit = fitted(engine, calls, ONE)
    assert fit.count(PERFORM) == 4
    assert result.cstat == pytest.approx(100, abs=1)
    assert result.values["background.lines"] == pytest.approx(0.95, abs=0.02)
    assert result.gradient == pytest.approx(gain, rel=0.2)
    assert not result.converged


def test_a_start_that_fails_costs_no_other(
    engine: PyXspecEngine, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = ONE.model_copy(update={"starts": 2})
    for words in ("fail", "fit fit fit rise"):
        performs(engine, monkeypatch, words)
        result, *_ = fitted(engine, calls, two)
        assert result.cstat == pytest.approx(100, abs=0.01)
        assert result.converged


def test_a_fit_that_fails_leaves_no_background_frozen(
    engine: PyXspecEngine, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, fit = fitted(engine, calls, ONE)
    # That of the second start fails; intervals are those of the first.
    performs(engine, monkeypatch, fit.count(PERFORM) * "fit " + "fail")
    calls.unlink()
    result, *_ = fitted(engine, calls, PROFILE.model_copy(update={"starts": 2}))
    assert result.dof == result.bins - len(result.free)
    assert tuple(result.intervals) == result.free
    assert math.isfinite(result.errors["background.lines"])


@pytest.mark.parametrize("errors", ["hessian", "profile"])
def test_a_minimum_that_xspec_leaves_is_kept(
    errors: str, engine: PyXspecEngine, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed_with(engine, monkeypatch, "ok")
    performs(engine, monkeypatch, "rise rise")
    result, *_ = fitted(engine, calls, SEEDED.model_copy(update={"errors": errors}))
    assert result.cstat == 100
    assert result.values["apec.kT"] == 3.0
    assert result.gradient < -1
    assert not result.converged
    assert math.isnan(result.errors["apec.kT"])
    assert np.isnan(result.covariance).all()
    assert result.intervals == {}


def seed(values: dict[str, float], status: str) -> FitResult:
    """A fit of the embedded engine."""
    numbers = {"dof": 1, "bins": 9, "starts": 8, "agreeing": 8, "iterations": 9}
    return FitResult(
        100.0, converged=True, gradient=0.0, values=values, errors={}, free=tuple(values),
        status=status, **numbers,
    )  # fmt: skip


def test_state_is_cleared_before_every_spectrum(engine: PyXspecEngine, calls: Path) -> None:
    counts = np.full((3, CHANNELS), 50, dtype=np.int32)
    list(engine.fit(MODEL, ONE, counts, {}, []))
    engine.predict("tbabs*powerlaw", POWERLAW)
    assert script(calls).count(CLEAR) == 4


# --- results -----------------------------------------------------------------------------------


def test_the_result_of_a_fit(engine: PyXspecEngine) -> None:
    counts = np.full((1, CHANNELS), 50, dtype=np.int32)
    truth = {"apec.Redshift": np.array([0.05])}
    (result,) = engine.fit(MODEL, ONE, counts, truth, ["apec.Redshift"])
    for name in ("apec.kT", "apec_3.kT"):
        assert result.values[name] == pytest.approx(3.0, abs=0.01)
    assert result.values["apec_3.Redshift"] == 0.05
    assert result.values["background.lines"] == pytest.approx(0.95, abs=1e-3)
    assert result.errors["TBabs.nH"] == result.errors["apec.Redshift"] == 0
    assert result.errors["apec_3.Abundanc"] == result.errors["apec.Abundanc"] == pytest.approx(0.2)
    assert result.errors["background.lines"] == pytest.approx(0.7)
    assert result.free == (
        "apec.kT",
        "apec.Abundanc",
        "apec.norm",
        "apec_3.kT",
        "apec_3.norm",
        "background.continuum",
        "background.lines",
    )
    # The selection takes the channels that start at 2 keV or later and end before 11 keV.
    assert (result.bins, result.dof) == (8, 1)
    assert (result.starts, result.agreeing) == (1, 1)
    assert result.cstat == pytest.approx(100, abs=0.01)
    np.testing.assert_allclose(np.sqrt(np.diag(result.covariance)), 0.1 * np.arange(1, 8))
    np.testing.assert_allclose(result.covariance[0, 1], 0.5 * 0.1 * 0.2)


def test_the_best_of_several_starts_is_kept(engine: PyXspecEngine, calls: Path) -> None:
    control = ONE.model_copy(update={"starts": 5})
    counts = np.full((1, CHANNELS), 50, dtype=np.int32)
    (result,) = engine.fit(MODEL, control, counts, {}, [])
    plan = Plan.of(MODEL, control, [], engine.background_limits(control.background_range))
    assert len({tuple(start.values()) for start in plan.starts}) == 5
    for start in plan.starts:
        assert f"2: {start['apec.kT']!r}, 3" in calls.read_text()
        for name, (low, high) in plan.bounds.items():
            assert low <= start[name] <= high
    assert result.starts == result.agreeing == 5
    assert result.cstat == pytest.approx(100, abs=0.01)


def test_background_norms_have_ranges_of_their_own(engine: PyXspecEngine) -> None:
    every, some = engine.background_limits(0.1), engine.background_limits({"lines": 0.9})
    assert every.keys() == some.keys() == set(engine.factors)
    assert some["background.lines"] == pytest.approx((0.1, 1.9))
    assert some["background.continuum"] == (1.0, 1.0)
    control = ONE.model_copy(update={"background_range": {"lines": 0.9}})
    plan = Plan.of(MODEL, control, [], engine.background_limits(control.background_range))
    assert [name for name in plan.bounds if name.startswith("background.")] == ["background.lines"]


def test_a_parameter_on_its_limit_has_no_error(
    engine: PyXspecEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_XSPEC_PEGS", "1")
    engine.process.stop()
    counts = np.full((1, CHANNELS), 50, dtype=np.int32)
    (result,) = engine.fit(MODEL, ONE, counts, {}, [])
    assert result.at_bound == ("apec.kT",)
    assert math.isnan(result.errors["apec.kT"])
    assert np.isnan(result.covariance[0]).all()
    assert np.isfinite(result.covariance[1:, 1:]).all()


PROFILE = ONE.model_copy(update={"errors": "profile", "delta": 2.706})
FREE = (
    "apec.kT",
    "apec.Abundanc",
    "apec.Redshift",
    "apec.norm",
    "apec_3.kT",
    "apec_3.norm",
    "background.continuum",
    "background.lines",
)
LABELS = ("2", "3", "4", "5", "6", "9", "background2:1", "background3:1")


def profile(
    engine: PyXspecEngine, monkeypatch: pytest.MonkeyPatch, errors: dict[str, object]
) -> FitResult:
    """Fit with intervals, where XSPEC's `error` does as the stand-in is told."""
    monkeypatch.setenv("FAKE_XSPEC_ERRORS", json.dumps(errors))
    engine.process.stop()
    counts = np.full((1, CHANNELS), 50, dtype=np.int32)
    (result,) = engine.fit(MODEL, PROFILE, counts, {}, [])
    assert result.status == "ok"
    return result


def test_the_script_and_the_result_of_intervals(
    engine: PyXspecEngine, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = profile(engine, monkeypatch, {})
    searches = [f"Fit.error('stopat 20 0.01 2.706 {label}')\n" for label in LABELS]
    # After the fit and its repetition, from its end, nothing else.
    assert calls.read_text().endswith(PERFORM + "".join(searches))
    assert tuple(result.intervals) == result.free == FREE
    for name, (low, high) in result.intervals.items():
        width = math.sqrt(2.706) * result.errors[name]
        assert low == pytest.approx(result.values[name] - width)
        assert high == pytest.approx(result.values[name] + width)
    # The intervals are those of the repeated fit, which has converged further.
    assert result.cstat == pytest.approx(100, abs=1e-4)


def test_no_intervals_unless_they_are_asked_for(engine: PyXspecEngine, calls: Path) -> None:
    counts = np.full((1, CHANNELS), 50, dtype=np.int32)
    (result,) = engine.fit(MODEL, ONE, counts, {}, [])
    assert result.intervals == {}
    assert "Fit.error" not in calls.read_text()


def test_an_interval_that_is_not_found_costs_no_other(
    engine: PyXspecEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = {"3": "raise", "6": [0.0, 5.0, "FFFTFFTFF"], "background2:1": [0.0, 0.0, "FFFFFFTTF"]}
    result = profile(engine, monkeypatch, errors)
    np.testing.assert_array_equal(result.intervals["apec.Abundanc"], [np.nan, np.nan])
    np.testing.assert_array_equal(result.intervals["apec_3.kT"], [1.0, 5.0])
    np.testing.assert_array_equal(result.intervals["background.continuum"], [np.nan, np.nan])
    for name in set(FREE) - {"apec.Abundanc", "apec_3.kT", "background.continuum"}:
        assert np.isfinite(result.intervals[name]).all()


def test_a_lower_minimum_that_a_search_meets_is_the_fit(
    engine: PyXspecEngine, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = profile(engine, monkeypatch, {"4": 7.0})
    assert result.cstat == pytest.approx(93, abs=1e-4)
    assert list(result.intervals) == list(FREE)
    assert np.isfinite(list(result.intervals.values())).all()
    # Three searches, then a fit from the new minimum, then all of them.
    searches = [line.split()[-1][:-2] for line in calls.read_text().splitlines() if "error" in line]
    assert searches == ["2", "3", "4", *LABELS]


def test_searches_that_never_end_at_a_minimum_give_no_intervals(
    engine: PyXspecEngine, calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = profile(engine, monkeypatch, {"2": -1.0})
    assert result.cstat == pytest.approx(100 - pyxspec_worker.MOST_MOVES, abs=1e-4)
    assert result.intervals == {}
    assert calls.read_text().count("Fit.error") == pyxspec_worker.MOST_MOVES


def test_the_columns_of_intervals(calls: Path, instrument: Instrument, tmp_path: Path) -> None:
    write_shard(tmp_path / "a.pha", spectra(600, 601))
    settings = fit_settings(instrument).model_copy(update={"errors": "profile", "delta": 2.706})
    fit_stage.run(settings, tmp_path / "a.pha", tmp_path / "a.ecsv")
    table = Table.read(tmp_path / "a.ecsv", format="ascii.ecsv")
    for name in set(FREE) - {"apec.Redshift"}:
        assert np.all(table[f"{name}_lower"] < table[name])
        assert np.all(table[f"{name}_upper"] > table[name])
    assert str(table["apec.kT_lower"].unit) == "keV"
    assert "apec.Redshift_lower" not in table.colnames


# --- what goes wrong ---------------------------------------------------------------------------


def spectra(*totals: int) -> np.ndarray:
    """Spectra of equal channels apart from the last one, with these numbers of counts."""
    counts = np.full((len(totals), CHANNELS), 50, dtype=np.int32)
    counts[:, -1] = np.array(totals) - 50 * (CHANNELS - 1)
    return counts


def test_a_crash_of_xspec_costs_nothing(
    engine: PyXspecEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    undisturbed = list(engine.fit(MODEL, ONE, spectra(600, 601), {}, []))
    monkeypatch.setenv("FAKE_XSPEC_ONCE", str(tmp_path / "once"))
    engine.process.stop()
    results = list(engine.fit(MODEL, ONE, spectra(600, 601), {}, []))
    assert (tmp_path / "once").exists()
    assert [result.status for result in results] == ["ok", "ok"]
    assert [result.values for result in results] == [result.values for result in undisturbed]
    said = capsys.readouterr().err
    assert "row 0: XSPEC ended with status -11; a new process takes it up again" in said


def test_a_spectrum_that_kills_xspec_twice_is_flagged(
    engine: PyXspecEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_XSPEC_KILLS", "601")
    monkeypatch.setenv("FAKE_XSPEC_FAILS", "602")
    engine.process.stop()
    first, killed, failed, last = engine.fit(MODEL, ONE, spectra(600, 601, 602, 603), {}, [])
    assert first.status == last.status == "ok"
    assert killed.status == "XSPEC ended with status -11, twice on this spectrum"
    assert failed.status == "XSPEC: Error executing command: fit (in fit.perform())"
    for result in (killed, failed):
        assert math.isnan(result.cstat)
        assert not result.converged
        assert result.values.keys() == first.values.keys()
        assert math.isnan(result.values["apec.kT"])
        assert result.errors["TBabs.nH"] == 0


def test_an_xspec_that_hangs_is_killed(
    engine: PyXspecEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FAKE_XSPEC_HANGS", str(tmp_path / "hung"))
    monkeypatch.setattr(process, "LIMIT", 1)
    engine.process.stop()
    results = list(engine.fit(MODEL, ONE, spectra(*range(600, 607)), {}, []))
    assert (tmp_path / "hung").exists()
    assert [result.status for result in results] == ["ok"] * 7
    assert "row 5: XSPEC took longer than 2 s; a new process" in capsys.readouterr().err


def test_limits_that_xspec_does_not_take_are_noticed(
    engine: PyXspecEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_XSPEC_KT_BELOW", "8.0")
    engine.process.stop()
    (result,) = engine.fit(MODEL, ONE, spectra(600), {}, [])
    assert result.status == (
        "XSPEC: apec.kT has the limits [1.0, 1.0, 8.0, 8.0] after setting "
        f"{9.0 ** (1 / 3)!r},0.01,1.0,1.0,9.0,9.0"
    )


def test_an_empty_spectrum_is_flagged(engine: PyXspecEngine) -> None:
    control = ONE.model_copy(update={"group_min": 100})
    empty, full = engine.fit(MODEL, control, spectra(50 * 11, 600) * [[0], [4]], {}, [])
    assert empty.status == "the spectrum has no counts in the energy range of the fit"
    assert full.status == "ok"


def test_energies_that_select_nothing_are_an_error(engine: PyXspecEngine) -> None:
    control = ONE.model_copy(update={"energies": [100.0, 200.0]})
    with pytest.raises(IcflowError, match="select no channel"):
        list(engine.fit(MODEL, control, spectra(600), {}, []))


def test_counts_of_other_models_are_refused(
    engine: PyXspecEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_XSPEC_STALE", "1")
    engine.process.stop()
    with pytest.raises(IcflowError, match=r"spectrum 7 of test: XSPEC: XSPEC faked \d+ "):
        engine.fake("tbabs*powerlaw", POWERLAW, 3, "test", [7])


def test_an_xspec_that_is_too_old_for_a_model_ends_the_job(engine: PyXspecEngine) -> None:
    model = FitModel(expression="bwcycl", parameters={"bwcycl.norm": {"free": [0.0, 1.0]}})
    problem = r"^XSPEC 12\.99\.9 cannot define bwcycl \(Model Command Error\): .* newer XSPEC"
    with pytest.raises(IcflowError, match=problem):
        list(engine.fit(model, ONE, spectra(600, 601), {}, []))
    with pytest.raises(IcflowError, match="cannot define bwcycl"):
        engine.fake("bwcycl", {}, 3, "test", [7])


def test_missing_tables_are_named(
    calls: Path, instrument: Instrument, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_XSPEC_NO_TABLES", "1")
    with pytest.raises(IcflowError, match=r"apec is zero everywhere.*AtomDB tables 3\.0\.9"):
        PyXspecEngine([instrument], AtomicData(folder="nowhere"))


def test_several_modules_are_refused(calls: Path, instrument: Instrument) -> None:
    with pytest.raises(IcflowError, match=r"takes one module of an instrument, not 2 .*embedded"):
        PyXspecEngine([instrument, instrument], AtomicData(folder="nowhere"))
    assert not calls.exists()


def test_other_parameter_names_are_refused(engine: PyXspecEngine) -> None:
    request = {
        "do": "predict",
        "models": [{"expression": "powerlaw", "parameters": {"powerlaw.x": 1.0}}],
    }
    with pytest.raises(IcflowError, match=r"names the parameters of powerlaw powerlaw\.PhoIndex"):
        engine.process.ask(request)


@pytest.mark.parametrize(
    ("python", "reason"),
    [
        (None, "No module named 'xspec'"),
        ("/no/such/python", "No such file or directory"),
        ("false", "XSPEC ended with status 1 when it started; HEADAS is"),
    ],
)
def test_without_xspec_three_ways_to_get_it(
    python: str | None,
    reason: str,
    instrument: Instrument,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if python is None:
        monkeypatch.delenv(process.PYTHON, raising=False)
    else:
        monkeypatch.setenv(process.PYTHON, python)
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "empty"))
    settings = fit_settings(instrument).model_dump(mode="json", exclude_none=True)
    write_shard(tmp_path / "a.pha", spectra(600))
    arguments = ["--settings", json.dumps(settings), "--output", str(tmp_path / "a.ecsv")]
    assert cli.main(["label", *arguments, str(tmp_path / "a.pha")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("icflow: error: engine: xspec needs XSPEC with PyXspec")
    assert reason in error
    for way in (
        "containers/heasoft.def",
        "HEASARC's conda channel",
        "HEADAS",
        "ICFLOW_XSPEC_PYTHON",
    ):
        assert way in error
    assert error.count("\n") == 1
    assert not (tmp_path / "a.ecsv").exists()
    assert list(tmp_path.glob("*.partial*")) == []


def test_the_process_and_its_files_go_with_the_engine(calls: Path, instrument: Instrument) -> None:
    engine = PyXspecEngine([instrument], AtomicData(folder="nowhere"))
    folder, running = engine.folder, engine.process.process
    assert running is not None
    assert running.poll() is None
    assert folder.is_dir()
    del engine
    gc.collect()
    assert running.poll() is not None
    assert not folder.exists()


def test_models_beside_xspec_are_those_of_the_wheel(
    calls: Path, instrument: Instrument, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(pyxspec.library, "prefer_wheel", lambda: asked.append(True))
    PyXspecEngine([instrument], AtomicData(folder="nowhere"))
    assert asked


def test_xspec_is_imported_by_the_worker_and_to_ask_for_its_version(root: Path) -> None:
    importing = {
        path.name
        for path in (root / "src").rglob("*.py")
        if "import xspec\n" in path.read_text(encoding="utf-8")
    }
    assert importing == {"worker.py", "version.py"}


# --- the stage -----------------------------------------------------------------------------------


def fit_settings(instrument: Instrument) -> FitSettings:
    return FitSettings(
        engine="xspec",
        atomic_data=AtomicData(folder="nowhere"),
        modules=listed_modules(instrument),
        name="label",
        model=MODEL,
        at_truth=["apec.Redshift"],
        **ONE.model_dump(),
    )


def write_shard(path: Path, counts: np.ndarray) -> None:
    number = len(counts)
    write_spectra(
        path,
        SpectrumSet(
            counts=counts,
            index=np.arange(number),
            truth={"apec.Redshift": np.full(number, 0.05)},
            modules=(Recorded(np.arange(CHANNELS), EXPOSURE),),
            dataset="test",
            scenario="2T",
        ),
    )


def test_a_shard_with_every_kind_of_trouble(
    calls: Path, instrument: Instrument, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_XSPEC_KILLS", "601")
    monkeypatch.setenv("FAKE_XSPEC_FAILS", "603")
    monkeypatch.setenv("FAKE_XSPEC_ONCE", str(tmp_path / "once"))
    write_shard(tmp_path / "a.pha", spectra(600, 601, 602, 603, 604))
    fit_stage.run(fit_settings(instrument), tmp_path / "a.pha", tmp_path / "a.ecsv")
    table = Table.read(tmp_path / "a.ecsv", format="ascii.ecsv")
    assert list(table["index"]) == [0, 1, 2, 3, 4]
    assert list(np.isfinite(table["cstat"])) == [True, False, True, False, True]
    assert [status == "ok" for status in table["status"]] == [True, False, True, False, True]
    assert "TBabs.nH_error" not in table.colnames
    assert table.meta["ENGINE"] == "xspec"
    assert table.meta["XSPECVER"] == "12.99.9"
    assert len(read_spectra(tmp_path / "a.pha").index) == 5


def test_fits_by_another_xspec_than_that_of_the_run_are_refused(
    calls: Path, instrument: Instrument, tmp_path: Path
) -> None:
    write_shard(tmp_path / "a.pha", spectra(600))
    settings = fit_settings(instrument).model_copy(update={"xspec": "12.9.1"})
    with pytest.raises(IcflowError, match=r"XSPEC is 12\.99\.9 here and was 12\.9\.1 when the run"):
        fit_stage.run(settings, tmp_path / "a.pha", tmp_path / "a.ecsv")
    assert not (tmp_path / "a.ecsv").exists()


def label(settings: FitSettings, folder: Path, name: str) -> list[str]:
    """Return the command that fits the spectra of a folder."""
    text = json.dumps(settings.model_dump(mode="json", exclude_none=True))
    command = [sys.executable, "-m", "icflow.cli", "label", "--settings", text]
    return [*command, "--output", str(folder / name), str(folder / "a.pha")]


def test_a_shard_that_the_embedded_engine_seeds(
    calls: Path, instrument: Instrument, tmp_path: Path
) -> None:
    """XSPEC is given the minimum that the embedded engine finds for each spectrum."""
    alone = instrument.model_copy(update={"background": None})
    free = {"powerlaw.PhoIndex": {"free": [-2.0, 4.0]}, "powerlaw.norm": {"free": [0.0, 9.0]}}
    model = FitModel(expression="powerlaw", parameters=free)
    settings = fit_settings(alone).model_copy(
        update={"model": model, "at_truth": [], "strategy": "seeded", "starts": 4}
    )
    write_shard(tmp_path / "a.pha", spectra(600, 700))
    fit_stage.run(settings, tmp_path / "a.pha", tmp_path / "a.ecsv")
    embedded = settings.model_copy(update={"engine": "embedded", "strategy": "thorough"})
    fit_stage.run(embedded, tmp_path / "a.pha", tmp_path / "b.ecsv")
    seeds = Table.read(tmp_path / "b.ecsv", format="ascii.ecsv")
    found = re.findall(r"setPars\(\{1: ([-\d.e]+), 2: ([-\d.e]+)\}\)", calls.read_text())
    starts = [tuple(map(float, pair)) for pair in found]
    assert len(starts) == len(seeds) == 2
    for start, row in zip(starts, seeds, strict=True):
        minimum = row["powerlaw.PhoIndex"], row["powerlaw.norm"]
        assert start == pytest.approx(minimum, rel=1e-6, abs=1e-6)
    table = Table.read(tmp_path / "a.ecsv", format="ascii.ecsv")
    assert list(table["status"]) == ["ok", "ok"]
    assert table.meta["strategy"] == "seeded"


def test_a_killed_shard_goes_on_where_it_was(
    calls: Path, instrument: Instrument, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shard(tmp_path / "a.pha", spectra(600, 601, 602, 603))
    settings = fit_settings(instrument)
    fit_stage.run(settings, tmp_path / "a.pha", tmp_path / "undisturbed.ecsv")
    monkeypatch.setenv("FAKE_XSPEC_KILLS_PARENT", "602")
    killed = subprocess.run(label(settings, tmp_path, "killed.ecsv"), check=False)
    assert killed.returncode == -signal.SIGKILL
    monkeypatch.delenv("FAKE_XSPEC_KILLS_PARENT")
    assert not (tmp_path / "killed.ecsv").exists()
    kept = (tmp_path / "killed.ecsv.partial.jsonl").read_text()
    assert kept.count('"answer"') == 2
    calls.unlink()
    fit_stage.run(settings, tmp_path / "a.pha", tmp_path / "killed.ecsv")
    assert calls.read_text().count("Spectrum(") == 2
    assert list(tmp_path.glob("*.partial*")) == []
    undisturbed = (tmp_path / "undisturbed.ecsv").read_bytes()
    assert (tmp_path / "killed.ecsv").read_bytes() == undisturbed


def test_a_machine_without_memory_costs_the_spectrum_another_run(
    calls: Path, instrument: Instrument, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shard(tmp_path / "a.pha", spectra(600, 601, 602, 603))
    settings = fit_settings(instrument)
    fit_stage.run(settings, tmp_path / "a.pha", tmp_path / "undisturbed.ecsv")
    monkeypatch.setenv("FAKE_XSPEC_MEMORY", "601")
    with pytest.raises(IcflowError, match=r"killed twice on 1 of 4 spectra, .* more memory"):
        fit_stage.run(settings, tmp_path / "a.pha", tmp_path / "a.ecsv")
    assert not (tmp_path / "a.ecsv").exists()
    monkeypatch.delenv("FAKE_XSPEC_MEMORY")
    calls.unlink()
    fit_stage.run(settings, tmp_path / "a.pha", tmp_path / "a.ecsv")
    assert calls.read_text().count("Spectrum(") == 1
    assert (tmp_path / "a.ecsv").read_bytes() == (tmp_path / "undisturbed.ecsv").read_bytes()


def test_where_xspec_does_not_start_again_the_rest_is_left_for_another_try(
    calls: Path, engine: PyXspecEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.process.stop()
    monkeypatch.setenv("FAKE_XSPEC_KILLS", "601")
    engine.process.start()
    truth = {"apec.Redshift": np.full(3, 0.05)}
    results = engine.fit(MODEL, ONE, spectra(600, 601, 602), truth, ["apec.Redshift"])
    assert next(results).status == "ok"
    engine.process.python = "/bin/false"
    with pytest.raises(IcflowError, match="engine: xspec needs XSPEC"):
        next(results)


def test_a_full_disk_loses_nothing_that_was_finished(
    calls: Path, instrument: Instrument, tmp_path: Path
) -> None:
    """A limit on the size of files stands in for the disk."""
    number = 60
    write_shard(tmp_path / "a.pha", spectra(*range(600, 600 + number)))
    settings = fit_settings(instrument)
    fit_stage.run(settings, tmp_path / "a.pha", tmp_path / "undisturbed.ecsv")
    full = subprocess.run(
        label(settings, tmp_path, "full.ecsv"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
        # The record of the calls would meet the limit first.
        env=os.environ | {"FAKE_XSPEC_CALLS": ""},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert full.returncode == 1
    assert "icflow: error: " in full.stderr
    assert "File too large" in full.stderr
    assert "Traceback" not in full.stderr
    # The last line is in pieces.
    kept = (tmp_path / "full.ecsv.partial.jsonl").read_bytes().count(b"\n") - 1
    assert 0 < kept < number
    calls.unlink()
    fit_stage.run(settings, tmp_path / "a.pha", tmp_path / "full.ecsv")
    assert calls.read_text().count("Spectrum(") == number - kept
    undisturbed = (tmp_path / "undisturbed.ecsv").read_bytes()
    assert (tmp_path / "full.ecsv").read_bytes() == undisturbed
