"""Likelihood ratios for observations, trained in seconds for the spectrum that XSPEC made."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from observed_example import example, working_in

from icflow import settings as settings_of
from icflow.config import Config
from icflow.errors import IcflowError
from icflow.files import check_output, inputs_kept
from icflow.layout import TRAINED, WEIGHTS
from icflow.models.scenario import at_source
from icflow.networks import ratio as networks
from icflow.observation import fits as observed_fits
from icflow.observation import ratios as observed_ratios
from icflow.observation import scores as observed_scores
from icflow.observation.analysis import Analysis, TrainedFolders
from icflow.observation.engine import ObservedEngine
from icflow.observation.ratios import Estimator
from icflow.observation.scores import OBSERVED, REPLICAS
from icflow.observation.simulations import Draws, FittedSpectra, ModelFitter, draw_each, replicas
from icflow.ogip.spectrum import read_spectrum, write_spectrum
from icflow.settings import ObserveSettings

ROOT = Path(__file__).resolve().parents[3]
# Enough to see that something is learnt.
FEW = {"thermal": "2T", "alternative": "1T+IC", "at_truth": ["apec.Redshift"], "spectra": 2000,
       "units": 32, "layers": 1, "batch": 100}  # fmt: skip
DETECTOR = {"title": "Ratio", "method": "ratio_estimator", "ratio": "own"}
# The source is brighter than those of the default run.
SOURCE = {
    "2T": {"apec.norm": {"uniform": [0.3, 0.7]}, "apec_3.norm": {"uniform": [0.05, 0.3]}},
    "1T+IC": {"apec.norm": {"uniform": [0.3, 0.7]}, "powerlaw.norm": {"uniform": [5e-4, 5e-3]}},
}
NUMBER = 20


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, rmf_path: Path, arf_path: Path, atomdb: Path
) -> Any:
    """A working directory with the resources."""
    with (
        working_in(tmp_path_factory.mktemp("ratios")) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, number in (("PREPARED", 400), ("VALIDATED", 400), ("CALIBRATED", 600)):
            patch.setattr(networks, name, number)
        patch.setattr(observed_ratios, "COMPARED", 100)
        yield folder


def loaded(**changes: Any) -> Config:
    """Return the configuration of the example with a detector that reads a ratio."""
    above = {
        "observe": {"detectors": {"ratio": DETECTOR}},
        "ratios": {"own": FEW},
        "scenarios": {name: {"parameters": priors} for name, priors in SOURCE.items()},
    }
    return example(above, changes)


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    output = folder / "first"
    observed_ratios.run(settings_of.observe_ratio(loaded(), "example", "own"), output)
    return output


def opened(config: Config) -> tuple[ObserveSettings, ObservedEngine]:
    settings = settings_of.observe(config, "example")
    return settings, observed_fits.open_source(settings)[1]


def estimator(config: Config, folder: Path) -> tuple[Estimator, ObserveSettings, ObservedEngine]:
    settings, engine = opened(config)
    return Estimator(settings.ratios["own"], settings, engine, folder), settings, engine


def simulated(config: Config, engine: ObservedEngine, name: str) -> tuple[np.ndarray, list[Any]]:
    """Return spectra like the example of which scenarios draw the parameters."""
    scenario = at_source(config.scenarios[name], 0.0432, 0.00858)
    random = np.random.default_rng(1)
    model = at_source(config.fits.models[name], 0.0432, 0.00858)
    standard = observed_fits.best_fits(engine, {name: model})[name].values
    truth = []
    for _ in range(NUMBER):
        drawn = {
            parameter: float(prior.quantile(random.random()))
            for parameter, prior in scenario.parameters.items()
            if hasattr(prior, "quantile")
        }
        backgrounds = {n: 1.0 for n in standard if n.startswith("background.")}
        truth.append({**standard, **drawn, **backgrounds})
        if name == "2T":
            truth[-1]["apec_3.Abundanc"] = truth[-1]["apec.Abundanc"]
    return draw_each(engine, model, truth, Draws(1, f"test/{name}")), truth


def test_ratios_tell_spectra_like_the_observed_one_apart(trained: Path) -> None:
    config = loaded()
    own, settings, engine = estimator(config, trained)
    # The observed spectrum is like those of the training.
    own.check_spectrum(engine.counts[None])
    sets, models = {}, {n: at_source(m, 0.0432, 0.00858) for n, m in settings.models.items()}
    fitter = ModelFitter(engine, settings.observe, models, "powerlaw.norm", 1e-4)
    sets[OBSERVED] = fitter.fit(engine.counts[None])
    for name in ("2T", "1T+IC"):
        sets[name] = fitter.fit(*simulated(config, engine, name))
    sets[REPLICAS] = FittedSpectra(
        sets["2T"].counts, sets["2T"].fits, sets["2T"].added, sets["2T"].truth
    )
    tables = {name: own.table(spectra.counts) for name, spectra in sets.items()}
    thermal, with_ic = (np.asarray(tables[name]["log_ratio"]) for name in ("2T", "1T+IC"))
    assert np.median(thermal) < -1
    assert np.median(with_ic) > 1
    # As the analysis judges them.
    scores = observed_scores.judge(settings.observe, sets, 1, ratios={"own": tables})
    score = scores["ratio"]
    assert score.threshold == 0.0
    assert score.score == pytest.approx(float(tables[OBSERVED]["log_ratio"][0]))
    assert score.scores["1T+IC"] == pytest.approx(with_ic)
    assert 0 < score.false_alarm <= 1


def test_joint_observations_are_read_with_what_may_be_wrong_with_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PREPARED", "VALIDATED", "CALIBRATED", "PIECE"):
        monkeypatch.setattr(networks, name, 60)
    given = loaded().observations["example"].model_dump(exclude_none=True)
    files = {key: given.pop(key) for key in ("spectrum", "rmf", "arf", "background")}
    spectrum = read_spectrum(files["spectrum"])
    for number, name in enumerate("AB"):
        half = np.random.default_rng(number).binomial(spectrum.counts, 0.5)
        write_spectrum(f"{name}.pha", dataclasses.replace(spectrum, counts=half, exposure=5e5))
    spectra = {name: {**files, "spectrum": f"{name}.pha"} for name in "AB"}
    wrong = {
        "background": {"focused": 0.3},
        "area": [[3.0, 0.02], [79.0, 0.1]],
        "gain": {"offset": 60.0},
    }
    joint = {**given, "spectra": spectra}
    config = loaded(observations={"joint": joint}, observe={"systematics": wrong})
    output, few = folder / "joint", {"spectra": 120, "batch": 30}
    training = settings_of.observe_ratio(config, "joint", "own")
    small = training.ratio.model_copy(update=few)
    observed_ratios.run(training.model_copy(update={"ratio": small}), output)
    settings = settings_of.observe(config, "joint").model_copy(update={"ratios": {"own": small}})
    analysis = Analysis(settings, TrainedFolders(ratios={"own": output}))
    # Two nodes, an energy scale of each spectrum, and the sky that both see.
    for population in analysis.ratios["own"]._hypotheses.populations:
        assert population.wrong == 5
    analysis._fit()
    fitter = ModelFitter(analysis.engine, settings.observe, analysis.models, "powerlaw.norm", 1e-4)
    analysis.spectra[OBSERVED] = fitter.fit(analysis.engine.counts[None])
    for name in ("2T", "1T+IC"):
        fit = analysis.fits[name]
        values = fit.values | ({"powerlaw.norm": 4e-3} if name == "1T+IC" else {})
        best = dataclasses.replace(fit, values=values)
        counts = replicas(analysis.engine, analysis.models[name], best, 6, Draws(1, name))
        analysis.spectra[name] = fitter.fit(counts, [values] * 6)
    analysis.spectra[REPLICAS] = analysis.spectra["2T"]
    analysis._score()
    score = analysis.scores["ratio"]
    assert np.isfinite(score.score) and 0 < score.false_alarm <= 1
    assert np.median(score.scores["1T+IC"]) > max(np.median(score.scores["2T"]), 0)


def test_an_interrupted_training_gives_the_same_bytes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PREPARED", "VALIDATED", "CALIBRATED", "PIECE"):
        monkeypatch.setattr(networks, name, 100)
    given = settings_of.observe_ratio(loaded(), "example", "own")
    few = given.ratio.model_copy(update={"spectra": 400, "batch": 50})
    settings = given.model_copy(update={"ratio": few})
    expected, output = folder / "at-once", folder / "again"
    observed_ratios.run(settings, expected)
    whole, calls = networks._Trainer._take_step, 0

    def interrupted(trainer: Any, *batch: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 20:
            raise KeyboardInterrupt
        whole(trainer, *batch)

    monkeypatch.setattr(networks._Trainer, "_take_step", interrupted)
    monkeypatch.setattr(networks._Clock, "tick", lambda clock: clock.call and clock.call())
    with pytest.raises(KeyboardInterrupt):
        observed_ratios.run(settings, output)
    monkeypatch.setattr(networks._Trainer, "_take_step", whole)
    drawn = []
    monkeypatch.setattr(
        networks._Trainer, "_seen",
        lambda self, purpose, n, own=networks._Trainer._seen: drawn.append(purpose)
        or own(self, purpose, n),
    )  # fmt: skip
    observed_ratios.run(settings, output)
    # The pieces were drawn before; what tells that they are the right ones is drawn again.
    assert drawn == ["validation"]
    assert sorted(path.name for path in output.iterdir()) == sorted(TRAINED)
    for name in TRAINED:
        assert (output / name).read_bytes() == (expected / name).read_bytes()


def test_what_the_scenarios_do_not_hold_is_refused(trained: Path) -> None:
    own, _, engine = estimator(loaded(), trained)
    # As bright as those of the default run.
    with pytest.raises(IcflowError, match=r"ratios\.own: the observed spectrum is unlike all"):
        own.check_spectrum(engine.counts[None] // 5)


def test_what_they_do_not_hold_by_far_is_refused_before_the_training(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = loaded().observations["example"].model_dump(exclude_none=True)
    spectrum = read_spectrum(given["spectrum"])
    faint = dataclasses.replace(spectrum, counts=spectrum.counts // 5)
    write_spectrum("faint.pha", faint)
    files = {key: given[key] for key in ("rmf", "arf", "background")}
    config = loaded(observations={"example": {**files, "spectrum": "faint.pha"}})
    monkeypatch.setattr(networks._Trainer, "run", lambda *_: pytest.fail("was trained"))
    with pytest.raises(IcflowError, match=r"ratios\.own: the observed spectrum is unlike all"):
        observed_ratios.run(settings_of.observe_ratio(config, "example", "own"), folder / "faint")
    assert not (folder / "faint").exists()


def test_a_ratio_of_another_training_is_refused(trained: Path) -> None:
    other = loaded(observations={"example": {"redshift": 0.05}})
    with pytest.raises(IcflowError, match=r"trained with other settings of ratios\.own"):
        estimator(other, trained)


def test_a_ratio_is_trained_again_if_what_it_is_for_changes(
    trained: Path, folder: Path, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {
        "redshift": {"observations": {"example": {"redshift": 0.05}}},
        "spectra": {"ratios": {"own": {"spectra": 3000}}},
        "priors": {"scenarios": {"2T": {"parameters": {"apec.kT": {"uniform": [1.0, 9.0]}}}}},
    }
    given = settings_of.observe_ratio(loaded(), "example", "own")
    assert observed_ratios.is_trained(given, trained)
    assert not observed_ratios.is_trained(given, folder / "nowhere")
    shutil.copy(trained / WEIGHTS, tmp_path)
    assert not observed_ratios.is_trained(given, tmp_path), "no history"
    with inputs_kept():
        for name, change in changes.items():
            other = settings_of.observe_ratio(loaded(**change), "example", "own")
            assert not observed_ratios.is_trained(other, trained), name
        # Nothing that was read stands in the way of the next training.
        check_output(trained / WEIGHTS)


def test_ratios_that_cannot_be_estimated_are_refused_first(folder: Path) -> None:
    config = loaded(ratios={"own": {"at_truth": ["apec.kT"]}})
    with pytest.raises(IcflowError, match=r"detectors\.ratio\.ratio: own takes apec\.kT as known"):
        observed_scores.check_detectors(settings_of.observe(config, "example"))
    with pytest.raises(IcflowError, match=r"detectors\.ratio\.ratio is 'none', allowed: own"):
        loaded(observe={"detectors": {"ratio": {"ratio": "none"}}})
    settings, engine = opened(loaded())
    engine.behind = np.ones(engine.n_channels)
    with pytest.raises(IcflowError, match="example has a background spectrum, and networks learn"):
        Estimator(settings.ratios["own"], settings, engine, folder)
