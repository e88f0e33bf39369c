"""The analysis of an observation, on the spectrum that XSPEC made."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from astropy.io import fits
from matplotlib.text import Text
from observed_example import example, working_in
from scipy.stats import kstest

import icflow
from icflow import config as configuration
from icflow import layout
from icflow import settings as settings_of
from icflow.cli import main
from icflow.config import Config, Systematics
from icflow.errors import IcflowError
from icflow.files import check_output, inputs_kept
from icflow.models.scenario import at_source
from icflow.networks import fold
from icflow.observation import analysis as observe
from icflow.observation import fits as observed_fits
from icflow.observation import networks as observed_networks
from icflow.observation import page as page
from icflow.observation import scores as observed_scores
from icflow.observation import summary as summary_module
from icflow.observation import words as observed_words
from icflow.observation.analysis import TrainedFolders
from icflow.observation.engine import ObservedEngine, draw_counts
from icflow.observation.scores import OBSERVED, REPLICAS
from icflow.observation.simulations import (
    UNFIT,
    Draws,
    FittedSpectra,
    ModelFitter,
    allowed,
    draw_each,
    replicas,
)
from icflow.observation.summary import DOUBTFUL
from icflow.ogip.observation import read_observation
from icflow.ogip.spectra import read_spectra
from icflow.ogip.spectrum import read_spectrum, write_spectrum
from icflow.tables import floats, read_table

ROOT = Path(__file__).resolve().parents[3]
RADIO = {"flux_density": 100.0, "frequency": 1400.0, "spectral_index": 1.0}


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, rmf_path: Path, arf_path: Path, atomdb: Path
) -> Any:
    """A working directory with the resources."""
    with working_in(tmp_path_factory.mktemp("observe")) as folder:
        yield folder


def loaded(**observing: Any) -> Config:
    """Return the configuration of the example with few simulations."""
    return example({"observations": observing})


def observe_fewer(config: Config, name: str, output: Path) -> str:
    """Analyse an observation with half as many simulations as a configuration may ask for."""
    settings = settings_of.observe(config, name)
    few = settings.observe.model_copy(update={"simulations": 10, "false_alarm": 0.1})
    return observe.run(settings.model_copy(update={"observe": few}), output)


def with_network(config: Config, network: str) -> Config:
    """Return a configuration with a detector that reads a network, trained in seconds."""
    detector = {"title": "AE", "method": "reconstruction_error", "network": network}
    above = {
        "autoencoder": {"training": {"spectra": 60, "folds": 3, "epochs": 2, "batch": 10}},
        "observe": {"detectors": {"ae": detector}},
    }
    tree = config.model_dump(mode="json", exclude_none=True)
    return configuration.validate(configuration.overlay(tree, above), "config.yaml")


@pytest.fixture(scope="module")
def made(folder: Path) -> Path:
    """What the analysis of the example writes, with a network among its detectors."""
    config = with_network(loaded(example={"radio": RADIO}), "ae")
    network = folder / "example" / "networks" / "ae"
    observed_networks.run(settings_of.observe_network(config, "example", "ae"), network)
    printed = observe.run(
        settings_of.observe(config, "example"), folder / "example", TrainedFolders({"ae": network})
    )
    summary = summary_of(folder / "example")
    assert printed == observed_words.printed(summary)
    assert printed.splitlines()[0] == summary["verdict"]
    assert "bins of at least 100 counts\nBins 1924, 3 to 80 keV, statistic C" in printed
    return folder / "example"


def summary_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return content


@pytest.fixture(scope="module")
def summary(made: Path) -> dict[str, Any]:
    return summary_of(made)


def test_the_verdict_is_an_object_in_python(made: Path, summary: dict[str, Any]) -> None:
    verdict = icflow.Verdict(made)
    assert verdict.decision == summary["decision"]
    assert verdict.false_alarm == summary["false_alarm"]
    assert repr(verdict).startswith(summary["verdict"])
    assert summary["verdict"][:40] in verdict._repr_html_()
    assert len(verdict.page().axes) > 5


@pytest.fixture(scope="module")
def engine(folder: Path) -> ObservedEngine:
    settings = settings_of.observe(loaded(), "example")
    (module,) = read_observation("example", settings.observation)
    return ObservedEngine([module], settings, False, settings.atomic_data)


def models(redshift: float = 0.0432, nH: float = 0.00858) -> dict[str, Any]:
    settings = settings_of.observe(loaded(), "example")
    return {name: at_source(model, redshift, nH) for name, model in settings.models.items()}


def test_the_fits_end_where_those_of_xspec_do(summary: dict[str, Any], reference: Path) -> None:
    expected = json.loads((reference / "fits.json").read_text())[1]
    # The redshift is given to four digits only, and the areas of the background come from files.
    assert summary["cstat"]["2T"] == pytest.approx(expected["best_2T_fixed"], abs=0.5)
    assert summary["cstat"]["1T+IC"] == pytest.approx(expected["best_1T+IC_fixed"], abs=0.5)
    assert summary["cstat"]["2T+IC"] <= min(summary["cstat"].values()) + 1e-3
    fit = summary["fits"]["1T+IC"]
    assert (fit["dof"], fit["bins"]) == (1916, 1924)
    truth = json.loads((reference / "observation.json").read_text())["truth"]
    for name, value in (("apec.kT", truth["kT1"]), ("apec.Abundanc", truth["Z"])):
        low, high = fit["parameters"][name]["interval_90"]
        assert low < value < high


def test_the_flux_and_its_limits_hold_the_truth(summary: dict[str, Any], reference: Path) -> None:
    norm = json.loads((reference / "observation.json").read_text())["truth"]["ic"]
    truth = norm * math.log(4) * 1.602176634e-9
    for flux in (summary["ic_flux"], *summary["ic_flux_by_model"].values()):
        assert flux["energies"] == [20.0, 80.0] and flux["unit"] == "erg/cm^2/s"
        low, high = flux["interval_90"]
        assert low < flux["interval_68"][0] + 1e-20 and flux["interval_68"][1] < high
        assert low <= truth <= high
        assert flux["value"] < flux["upper_limit_90"] < flux["upper_limit_3_sigma"]
        assert flux["rise_of_cstat"]["3_sigma"] > flux["rise_of_cstat"]["90"] + 2.9
        assert flux["upper_limit_90"] > truth
    # C is lower than without IC by less than 2.71, so the interval reaches down to 0.
    assert summary["ic_added"]["delta_cstat"] < 2.7
    assert summary["ic_flux"]["interval_90"][0] == 0.0


def test_the_verdict_and_what_it_rests_on(summary: dict[str, Any]) -> None:
    assert 1 / 21 <= summary["false_alarm"] <= 1
    assert summary["false_alarm"] == summary["detectors"]["ic_added"]["false_alarm"]
    assert summary["decision"] == ("IC" if summary["false_alarm"] < 0.06 else "no IC")
    assert "example" in summary["verdict"] and "20–80 keV" in summary["verdict"]
    assert next(iter(summary["detectors"])) == "ic_added"
    for detector in summary["detectors"].values():
        assert {n["number"] for n in detector["excess"].values()} == {20}
        assert 0 <= detector["missed"] <= 1
    assert all(0.02 < fit["goodness"] <= 1 for fit in summary["fits"].values())
    assert summary["warnings"] == []


def test_a_radio_flux_gives_a_magnetic_field(summary: dict[str, Any]) -> None:
    field = summary["magnetic_field"]
    ratio = summary["ic_flux"]["upper_limit_3_sigma"] / summary["ic_flux"]["upper_limit_90"]
    assert field["lower_limit_90"] / field["lower_limit_3_sigma"] == pytest.approx(ratio**0.5)
    assert 0.05 < field["lower_limit_90"] < field["value"] < 1


def test_the_tables_hold_the_fits(made: Path, summary: dict[str, Any]) -> None:
    spectrum = read_table(made / "spectrum.ecsv")
    assert len(spectrum) == 1924 and spectrum["counts"].sum() == summary["observation"]["counts"]
    for model in ("2T", "1T+IC"):
        parts = [
            name for name in spectrum.colnames
            if name.startswith(f"{model}/") and "unfolded" not in name
        ]  # fmt: skip
        total = np.sum([spectrum[name] for name in parts], axis=0)
        assert total.sum() == pytest.approx(spectrum["counts"].sum(), rel=1e-3)
        counts = np.asarray(spectrum["counts"], dtype=float)
        cstat = 2 * np.sum(total - counts + counts * np.log(counts / total))
        assert cstat == pytest.approx(summary["cstat"][model], abs=0.05)
    # E² N(E) of a power law of photon index 2 is its norm, but for absorption.
    unfolded = spectrum["1T+IC/unfolded/TBabs*powerlaw"]
    norm = summary["fits"]["1T+IC"]["parameters"]["powerlaw.norm"]["value"]
    np.testing.assert_allclose(unfolded, norm, rtol=5e-3)
    simulations = read_table(made / "simulations.ecsv")
    assert list(simulations["model"]) == ["2T"] * 40 + ["1T+IC"] * 20
    assert list(simulations["set"]) == ["replicas"] * 20 + ["allowed"] * 40
    added = simulations["cstat.2T"] - simulations["cstat.2T+IC"]
    falls = simulations["score.ic_added"] > 0
    np.testing.assert_allclose(simulations["score.ic_added"][falls], added[falls], atol=0.01)
    # Elsewhere there is nothing to gain by IC, and a little of it makes C rise.
    assert 5 < falls.sum() < 55 and np.all(added[~falls] < 0.02)
    assert len(set(simulations["score.ic_added"])) == 60, "no two spectra share a score"
    drawn = simulations["set"] == "replicas"
    for name, detector in summary["detectors"].items():
        excess = np.array(simulations[f"excess.{name}"])
        observed = detector["score"] - detector["expected"] - 1e-4 * excess.std()
        rank = 1 + np.sum(excess[drawn] >= observed)
        assert detector["false_alarm"] == pytest.approx(rank / 21)
    norms = np.array(simulations["truth.powerlaw.norm"][40:])
    assert 0 <= norms.min() < 0.4 * norms.max()
    assert np.isnan(simulations["truth.apec_3.kT"][40:]).all()
    profile = read_table(made / "profile.ecsv")
    assert profile["delta_cstat"].min() < 0.05 and profile["delta_cstat"][-1] > 9
    at_limit = np.interp(
        summary["ic_flux"]["upper_limit_90"], profile["flux"], profile["delta_cstat"]
    )
    rise = summary["ic_flux"]["rise_of_cstat"]["90"]
    assert at_limit == pytest.approx(rise, rel=0.1) and 0.3 < rise < 6


def test_the_page_is_drawn(made: Path, tmp_path: Path) -> None:
    outputs = [str(tmp_path / f"page.{suffix}") for suffix in ("pdf", "png")]
    arguments = ["observe-figure", str(made), "--dpi", "60", "--output", *outputs]
    assert main(arguments) == 0
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF-")
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(IcflowError, match="not the summary of an observation"):
        page.draw(tmp_path)


WARNING = "the redshift 0.05 is doubtful: fitted, it is 0.0432, and C falls by 2757, which is far"


@pytest.mark.parametrize("decision", ["no IC", "IC", "no model fits"])
@pytest.mark.parametrize(("warnings", "describes"), [(0, True), (6, False)])
def test_nothing_on_the_page_lies_upon_another(
    made: Path,
    summary: dict[str, Any],
    tmp_path: Path,
    decision: str,
    warnings: int,
    describes: bool,
) -> None:
    without = {"upper_limit_90": 1.9e-12, "upper_limit_3_sigma": 3.1e-12, "describes": describes}
    without |= {"model": "2T+IC", "cstat": 2311.7, "dof": 1914}
    wrong = {"systematics": {"without": without}, "warnings": [WARNING] * warnings}
    changed = summary | wrong | {"decision": decision}
    changed["verdict"] = observed_words.verdict(changed)
    assert decision == "no model fits" or len(changed["verdict"]) > 3 * page.WRAP
    for file in layout.OBSERVED[1:]:
        (tmp_path / file).symlink_to(made / file)
    (tmp_path / layout.OBSERVED[0]).write_text(json.dumps(changed))
    figure = page.draw(tmp_path)
    figure.draw_without_rendering()
    texts = [text for part in figure.subfigs for text in part.texts if text.get_text()]
    legends = [legend for part in figure.subfigs for legend in part.legends]
    boxes = [artist.get_window_extent().padded(-1) for artist in (*texts, *legends)]
    panels = [panel.get_tightbbox().padded(-1) for panel in figure.axes if panel.axison]
    for number, box in enumerate(boxes):
        assert figure.bbox.count_contains(box.corners()) == 4, texts[number]
        for other in (*boxes[number + 1 :], *panels):
            assert not box.overlaps(other), (number, box, other)


def test_systematics_enter_what_is_simulated(folder: Path, summary: dict[str, Any]) -> None:
    config = loaded(example={})
    given = {"area": [[3.0, 0.05], [40.0, 0.05], [79.0, 0.2]], "background": {"focused": 0.5}}
    own = config.observe.model_copy(update={"systematics": Systematics.model_validate(given)})
    run = config.model_copy(update={"observe": own})
    output = folder / "systematics"
    observe_fewer(run, "example", output)
    wrong = summary_of(output)
    flux, right = wrong["ic_flux"], wrong["systematics"]["without"]
    assert wrong["systematics"]["given"] == given | {"known": {}}
    # Without, all is as it is where none are given; with them, limits are higher.
    for level in ("90", "3_sigma"):
        key = f"upper_limit_{level}"
        assert right[key] == pytest.approx(summary["ic_flux"][key], rel=1e-9)
        assert flux[key] > right[key]
    assert summary["systematics"] is None
    assert flux["rise_of_cstat"]["3_sigma"] >= flux["rise_of_cstat"]["90"] + 2.9
    # Little is wrong with the observed spectrum, and fits have it in them.
    likeliest = wrong["systematics"]["likeliest"]
    assert set(likeliest) == {"area.3", "area.40", "area.79", "background.focused"}
    assert all(abs(own["value"]) < 2 and own["error"] <= 1 + 1e-9 for own in likeliest.values())
    assert wrong["notes"][0].startswith("every fit settles calibration and background")
    assert wrong["fits"]["2T"]["parameters"] != summary["fits"]["2T"]["parameters"]
    assert 0.02 < wrong["fits"]["2T"]["goodness"] < 0.99 and wrong["warnings"] == []
    assert "this decides, with calibration and background as wrong as" in wrong["verdict"]
    assert right["describes"] and 0.02 < right["goodness"] <= 1
    assert (right["model"], right["cstat"]) == ("2T+IC", pytest.approx(summary["cstat"]["2T+IC"]))
    assert right["dof"] == summary["fits"]["2T+IC"]["dof"]
    shown = " ".join(text.get_text() for text in page.draw(output).findobj(Text))
    assert "if calibration and background were right:  below" in shown
    # Simulated spectra are drawn with what was settled for the one that they are drawn from.
    table = read_table(output / "simulations.ecsv")
    replicas, others = (table[table["set"] == part] for part in ("replicas", "allowed"))
    for name in ("area.40", "background.focused"):
        assert np.ptp(replicas[f"truth.{name}"]) == 0 < np.ptp(others[f"truth.{name}"])
    # In the words of datasets: the logarithm of a factor, and a factor.
    logarithm = 0.05 * likeliest["area.40"]["value"]
    assert replicas["truth.area.40"][0] == pytest.approx(logarithm, abs=0.02)
    spread = np.sqrt(np.log1p(0.5**2))
    factors = np.exp(spread * likeliest["background.focused"]["value"] - spread**2 / 2)
    assert replicas["truth.background.focused"][0] == pytest.approx(factors, rel=0.5)
    assert not any("deviate" in name for name in table.colnames)


@pytest.fixture(scope="module")
def far(folder: Path) -> observe.Analysis:
    """The analysis of a spectrum whose energy scale is off by three sigma, up to its limits."""
    given = Systematics.model_validate({"gain": {"offset": 60.0}})
    config = loaded()
    observing = config.observe.model_copy(update={"systematics": given})
    settings = settings_of.observe(config.model_copy(update={"observe": observing}), "example")
    analysis = observe.Analysis(settings, observe.NOTHING)
    model = analysis.models["1T+IC"]
    (best,) = analysis.engine.fit(model)
    deviates = dict.fromkeys(analysis.engine.nominal.deviates, 0.0) | {"gain.offset": 3.0}
    (expected,) = analysis.engine.expected_each(model, [best.values], [deviates])
    analysis.engine.counts = draw_counts(expected, 5, "far", [0])[0].astype(np.int64)
    analysis._fit()
    analysis._find_limits()
    return analysis


def test_checks_are_made_with_what_fits_have_settled(
    far: observe.Analysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = far.engine.source_counts
    made = observed_fits.engine_for

    def engine_for(*given: Any) -> ObservedEngine:
        engine = made(*given)
        engine.counts = counts
        return engine

    monkeypatch.setattr(observed_fits, "engine_for", engine_for)
    far._check_given()
    (settled,) = far.checks.values()
    # What the energy scale explains is no doubt about the redshift.
    assert [check.kind for check in settled] == ["Redshift", "nH"]
    assert max(check.delta_cstat for check in settled) < DOUBTFUL
    assert settled[0].best == pytest.approx(0.0432, abs=1e-3)
    engine = far.engine
    far.engine = engine.right()
    far._check_given()
    far.engine = engine
    (by_the_files,) = far.checks.values()
    assert by_the_files[0].delta_cstat > 10 * DOUBTFUL


def test_a_bad_fit_says_nothing_of_what_limits_were_if_nothing_were_wrong(
    far: observe.Analysis, summary: dict[str, Any]
) -> None:
    fit, right = far.fits["2T+IC"], far.if_right
    assert right is not None and right.goodness < 1e-6
    assert fit.cstat < fit.dof + 4 * np.sqrt(2 * fit.dof) < right.fit.cstat - 300
    # What stands if all is right may be nonsense then, and is not told.
    assert right.limits.upper["3_sigma"] != pytest.approx(
        far.limits["2T+IC"].upper["3_sigma"], rel=0.1
    )
    for goodness, describes in ((UNFIT, True), (0.999 * UNFIT, False), (right.goodness, False)):
        far.if_right = right._replace(goodness=goodness)
        told = summary_module._systematics(far)
        assert told is not None and told["without"]["describes"] is describes
    assert (told["without"]["cstat"], told["without"]["dof"]) == (right.fit.cstat, right.fit.dof)
    changed = summary | {"systematics": told, "decision": "no IC"}
    said = observed_words.verdict(changed)
    assert said.endswith(
        f"(if nothing were, 2T+IC would not describe the spectrum, C {right.fit.cstat:.0f} for "
        f"{right.fit.dof} dof, and its limits would mean nothing)"
    )
    assert any("right:  2T+IC would not describe" in line for line in page._flux_lines(changed))


def test_networks_are_trained_with_systematics(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fold, "run", lambda *_: None)
    config, shares = with_network(loaded(example={}), "ae"), []
    given = Systematics.model_validate({"area": [[3.0, 0.3], [79.0, 0.3]]})
    for number, wrong in enumerate((None, given)):
        observing = config.observe.model_copy(update={"systematics": wrong})
        run = config.model_copy(update={"observe": observing})
        output = tmp_path / str(number)
        observed_networks.run(settings_of.observe_network(run, "example", "ae"), output)
        counts = read_spectra(output / layout.TRAINING_SPECTRA).counts.sum(axis=1)
        shares.append(counts / counts.mean())
    assert shares[0].std() < 0.02 < 0.1 < shares[1].std()


def test_what_is_wrong_must_be_of_the_observation(folder: Path) -> None:
    with pytest.raises(IcflowError, match=r"observe: systematics\.known has no use here"):
        tree = loaded().model_dump(mode="json", exclude_none=True)
        tree["observe"]["systematics"] = {"known": {"apec.Redshift": 0.001}}
        configuration.validate(tree, "config.yaml")
    config = loaded(example={})
    own = Systematics(background={"continum": 0.1})
    observing = config.observe.model_copy(update={"systematics": own})
    run = config.model_copy(update={"observe": observing})
    with pytest.raises(IcflowError, match="'continum', which the background does not have"):
        observe.run(settings_of.observe(run, "example"), folder / "bad")


@pytest.mark.parametrize(("name", "rise"), [("C", "Δ$C$"), ("W", "Δ$W$"), ("W + C", "Δ$(W + C)$")])
def test_the_page_calls_the_statistic_by_its_name(
    made: Path, summary: dict[str, Any], tmp_path: Path, name: str, rise: str
) -> None:
    assert summary["observation"]["statistic"] == "C"
    assert {check["statistic"] for check in summary["checks"]} == {"C"}
    changed = json.loads(json.dumps(summary))
    changed["observation"]["statistic"] = name
    for check in changed["checks"]:
        check["statistic"] = name
    for file in layout.OBSERVED[1:]:
        (tmp_path / file).symlink_to(made / file)
    (tmp_path / layout.OBSERVED[0]).write_text(json.dumps(changed))
    texts = [text.get_text() for text in page.draw(tmp_path).findobj(Text)]
    assert sum(f"${name}$ = " in text for text in texts) == 2
    assert f"${name}$ / dof" in texts and f"{rise} (2T+IC)" in texts
    assert sum(rise in text for text in texts) == 2
    assert name == "C" or not any("$C$" in text for text in texts)


def test_bright_ic_is_detected_in_two_spectra(folder: Path, engine: ObservedEngine) -> None:
    norm = 1e-2
    values = {"apec.kT": 6.0, "apec.Abundanc": 0.3, "apec.norm": 0.1, "powerlaw.norm": norm}
    frozen = {n: s for n, s in models()["1T+IC"].parameters.items() if isinstance(s, float)}
    backgrounds = {f"background.{name}": 1.0 for name in engine.engine.backgrounds}
    expected = engine.expected(models()["1T+IC"], values | frozen | backgrounds)
    spectrum = read_spectrum("resources/example/observation.pha")
    given = loaded().observations["example"].model_dump(exclude_none=True)
    files = {key: given.pop(key) for key in ("spectrum", "rmf", "arf", "background")}
    for i, name in enumerate("AB"):
        counts = draw_counts(0.5 * expected, 5, name, [i])[0].astype(np.int64)
        write_spectrum(f"{name}.pha", replace(spectrum, counts=counts, exposure=5e5))
    spectra = {name: {**files, "spectrum": f"{name}.pha"} for name in "AB"}
    config = loaded(bright={**given, "spectra": spectra})
    sentence = observe_fewer(config, "bright", folder / "bright")
    summary = summary_of(folder / "bright")
    assert summary["decision"] == "IC" and sentence.startswith("Inverse Compton emission is detec")
    assert summary["false_alarm"] == pytest.approx(1 / 11)
    low, high = summary["ic_flux"]["interval_90"]
    assert 0 < low < norm * math.log(4) * 1.602176634e-9 < high
    # Little, because a plasma of 15 keV looks much the same; but more than 2T ever makes.
    assert summary["ic_added"]["delta_cstat"] > 3
    factor = summary["fits"]["1T+IC"]["parameters"]["factor.B"]
    assert factor["interval_90"][0] < 1 < factor["interval_90"][1]
    assert [check["spectrum"] for check in summary["checks"]] == ["A", "A", "B", "B"]
    table = read_table(folder / "bright" / "spectrum.ecsv")
    assert set(table["module"]) == {"A", "B"}
    assert page.draw(folder / "bright") is not None


# --- checks of what is given ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "given"), [("Redshift", {"redshift": 0.0482}), ("nH", {"nH": 0.8})]
)
def test_a_wrong_redshift_or_column_density_shows(
    engine: ObservedEngine, kind: str, given: dict[str, float]
) -> None:
    model = models(**given)["1T+IC"]
    (fit,) = engine.fit(model)
    check = observed_fits.check_given(engine, model, fit, kind)
    assert check is not None
    assert check.delta_cstat > DOUBTFUL
    truth = {"Redshift": 0.0432, "nH": 0.00858}[kind]
    close = {"Redshift": 5e-4, "nH": 0.3}[kind]
    assert abs(check.best - truth) < close


def test_a_model_without_the_parameter_is_not_checked(engine: ObservedEngine) -> None:
    model = models()["1T+IC"]
    fixed = {n: s for n, s in model.parameters.items() if not n.endswith("Redshift")}
    (fit,) = engine.fit(model)
    other = model.model_copy(update={"parameters": fixed})
    assert observed_fits.check_given(engine, other, fit, "Redshift") is None


# --- scores --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "bayes_factor"}, ["ic_added.method", "reads integrals", "choose a method"]),
        ({"method": "magic"}, ["observe.detectors.ic_added.method is 'magic'"]),
        ({"method": "fit_classifier"}, ["observe.simulations is 20", "learn from half"]),
    ],
)
def test_a_detector_that_cannot_score_is_refused_first(
    change: dict[str, Any], words: list[str]
) -> None:
    config = loaded()
    detector = config.observe.detectors["ic_added"].model_copy(update=change)
    detectors = config.observe.detectors | {"ic_added": detector}
    with pytest.raises(IcflowError) as caught:
        observe_settings = config.observe.model_copy(update={"detectors": detectors})
        settings = settings_of.observe(config, "example").model_copy(
            update={"observe": observe_settings}
        )
        observed_scores.check_detectors(settings)
    assert all(word in str(caught.value) for word in words)


def test_a_detector_that_learns_needs_twice_the_simulations_to_decide() -> None:
    given = loaded().observe
    learns = given.detectors["delta_cstat"].model_copy(update={"method": "fit_discriminant"})
    change = {
        "simulations": 50,
        "false_alarm": 0.02,
        "detectors": given.detectors | {"learns": learns},
        "decides": "learns",
    }
    observe_settings = given.model_copy(update=change)
    settings = settings_of.observe(loaded(), "example").model_copy(
        update={"observe": observe_settings}
    )
    with pytest.raises(IcflowError, match=r"is 50, too few for observe.decides: .* 100 and more"):
        observed_scores.check_detectors(settings)
    enough = observe_settings.model_copy(update={"simulations": 100})
    observed_scores.check_detectors(settings.model_copy(update={"observe": enough}))


def test_networks_that_cannot_be_trained_are_refused_first(folder: Path) -> None:
    settings = settings_of.observe(with_network(loaded(), "cae"), "example")
    with pytest.raises(IcflowError, match=r"detectors.ae.network: .*label fits \(kT, norm\)"):
        observe.run(settings, folder / "refused")
    with pytest.raises(IcflowError, match=r"detectors.ae.network is 'magic', allowed: ae, cae"):
        with_network(loaded(), "magic")


def test_networks_read_all_spectra_of_a_joint_fit(folder: Path) -> None:
    files = {
        name: str(getattr(loaded().observations["example"], name))
        for name in ("spectrum", "rmf", "arf", "background")
    }
    other = folder / "other.pha"
    with fits.open(files["spectrum"]) as hdus:
        hdus["SPECTRUM"].data["COUNTS"][-1] += 1
        hdus.writeto(other, checksum=True)
    spectra_of = {"FPMA": files, "FPMB": files | {"spectrum": str(other)}}
    two = {"redshift": 0.05, "nH": 0.01, "spectra": spectra_of}
    config = with_network(loaded(two=two), "ae")
    settings, output = settings_of.observe(config, "two"), folder / "two" / "networks" / "ae"
    observed_networks.run(settings_of.observe_network(config, "two", "ae"), output)
    training = read_spectra(output / layout.TRAINING_SPECTRA)
    assert [module.module for module in training.modules] == ["FPMA", "FPMB"]
    modules = read_observation("two", settings.observation)
    counts = np.concatenate([module.spectrum.counts for module in modules])
    assert training.counts.shape == (60, counts.size)
    # The observed spectra, and twice as many counts in one and in the other.
    brighter = np.repeat([[1, 1], [2, 1], [1, 2]], counts.size // 2, axis=1)
    spectra = FittedSpectra((counts * brighter).astype(np.int32), {}, np.zeros(3))
    table = observed_networks.scores(
        settings, "ae", output, modules, {OBSERVED: spectra, "2T": spectra, "1T+IC": spectra}
    )
    observed = floats(table[np.asarray(table["dataset"]) == OBSERVED], "R_a")
    assert np.all(np.isfinite(observed))
    assert observed[1] > observed[0] < observed[2]
    assert observed[1] != observed[2]


def test_a_network_of_other_settings_is_refused(made: Path) -> None:
    config = with_network(loaded(), "ae")
    training = config.autoencoder.training.model_copy(update={"spectra": 90})
    autoencoder = config.autoencoder.model_copy(update={"training": training})
    settings = settings_of.observe(
        config.model_copy(update={"autoencoder": autoencoder}), "example"
    )
    modules = read_observation("example", settings.observation)
    dark = FittedSpectra(
        np.zeros((1, modules[0].spectrum.counts.size), dtype=np.int32), {}, np.zeros(1)
    )
    with pytest.raises(IcflowError, match=r"trained with training\.spectra 60, wanted is 90"):
        observed_networks.scores(
            settings, "ae", made / "networks/ae", modules, {"2T": dark, "1T+IC": dark}
        )


def test_a_network_is_trained_again_if_what_it_is_for_changes(made: Path, folder: Path) -> None:
    output = made / "networks/ae"

    def is_trained(path: Path = output, **changes: Any) -> bool:
        config = with_network(loaded(example={"radio": RADIO, **changes}), "ae")
        return observed_networks.is_trained(
            settings_of.observe_network(config, "example", "ae"), path
        )

    assert is_trained()
    assert not is_trained(folder / "nowhere")
    with inputs_kept():
        assert not is_trained(redshift=0.05)
        assert not is_trained(energies=[4.0, 80.0])
        # Nothing that was read stands in the way of the next training.
        check_output(output / layout.WEIGHTS)


def test_networks_belong_to_the_content_of_files(made: Path, tmp_path: Path) -> None:
    given = loaded().observations["example"]
    files = {key: Path(str(getattr(given, key))) for key in ("spectrum", "arf", "background")}
    own = {key: tmp_path / path.name for key, path in files.items()}
    named = [Path("resources/example") / name for name in ("be.arf", "fcxb.arf")]
    for path in (*files.values(), *named):
        shutil.copy(path, tmp_path)
    paths = {key: str(path) for key, path in own.items()}
    config = with_network(loaded(example={"radio": RADIO, **paths}), "ae")
    settings = settings_of.observe(config, "example")
    dark = FittedSpectra(np.zeros((1, 4096), dtype=np.int32), {}, np.zeros(1))

    def drawn_with() -> str:
        modules = observed_fits.read_source(settings)
        with pytest.raises(IcflowError, match="trained with spectra drawn with files and") as said:
            observed_networks.scores(settings, "ae", made / "networks/ae", modules, {"2T": dark})
        return str(said.value)

    found = [drawn_with()]
    for path in (*own.values(), tmp_path / "be.arf"):
        if path.suffix == ".yaml":
            path.write_text(path.read_text() + "# another one\n")
        else:
            with fits.open(path, mode="update") as hdus:
                hdus[1].header["HISTORY"] = "another one"
        found.append(drawn_with())
    assert len(set(found)) == 5


def test_too_few_simulations_for_the_level_are_refused() -> None:
    tree = yaml.safe_load((ROOT / "config.yaml").read_text())
    tree["observe"]["simulations"] = 50
    with pytest.raises(IcflowError, match=r"observe: simulations is 50, too few .* 100 and more"):
        configuration.validate(tree, "config.yaml")


def test_an_observation_that_is_not_in_the_configuration(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [str(ROOT / "config.yaml"), str(ROOT / "config" / "observe-example.yaml")]
    assert main(["observe", "virgo", "--config", *names]) == 1
    assert "NAME is 'virgo', allowed: example" in capsys.readouterr().err
    names.append(str(ROOT / "config" / "xspec.yaml"))
    assert main(["observe", "example", "--config", *names]) == 1
    assert "analysed by the embedded engine" in capsys.readouterr().err


# --- on simulated observations ---------------------------------------------------------------

NORM = "powerlaw.norm"
SOURCES = {
    "2T": {"apec.kT": 4.0, "apec_3.kT": 9.0, "apec_3.norm": 0.2, NORM: 0.0},
    "1T+IC": {"apec.kT": 6.0, NORM: 6e-4},
    "2T+IC": {"apec.kT": 4.0, "apec_3.kT": 9.0, "apec_3.norm": 0.2, NORM: 1e-3},
}


def simulated_observations(engine: ObservedEngine, name: str, number: int) -> Any:
    """Return counts of observations of a source like the example."""
    model = models()[name]
    frozen = {n: s for n, s in model.parameters.items() if isinstance(s, float)}
    values = {"apec.Abundanc": 0.4, "apec.norm": 0.3} | SOURCES[name] | frozen
    linked = {f"apec_3.{kind}": values[f"apec.{kind}"] for kind in ("Abundanc", "Redshift")}
    backgrounds = {f"background.{name}": 1.0 for name in engine.engine.backgrounds}
    expected = engine.expected(model, linked | values | backgrounds)
    return draw_counts(expected, 3, f"observed {name}", range(number))


@pytest.mark.parametrize(("source", "model"), [("1T+IC", "1T+IC"), ("2T+IC", "2T+IC")])
def test_upper_limits_hold_the_truth_as_often_as_they_say(
    engine: ObservedEngine, source: str, model: str
) -> None:
    number, truth = 20, SOURCES[source][NORM]
    observed = simulated_observations(engine, source, number)
    fitted = models()[model]
    free = engine.fit(fitted, observed)
    there = engine.fit(fitted, observed, {NORM: np.full(number, truth)})
    covered = 0
    for row, (best, true) in enumerate(zip(free, there, strict=True)):
        profile = observed_fits.Profile(engine, fitted, NORM, observed[row : row + 1])
        rise, _ = profile.upper_rises(best, 24, Draws(1, f"{source}/{row}"))
        covered += best.values[NORM] >= truth or true.cstat - best.cstat <= rise
    # 18 of 20 on average; fewer than 15 one time in a hundred.
    assert covered >= 15


def test_false_alarms_of_simulated_observations_are_uniform(engine: ObservedEngine) -> None:
    observe_settings = loaded().observe
    own = models()
    names = ("2T", "1T+IC")
    fitter = ModelFitter(engine, observe_settings, own, NORM, 3e-4)
    found: dict[str, list[float]] = {}
    for row, counts in enumerate(simulated_observations(engine, "2T", 16)):
        spectra = {OBSERVED: fitter.fit(counts[None])}
        for name in names:
            best = spectra[OBSERVED].fits[name][0]
            drawn = replicas(engine, own[name], best, 20, Draws(row, name))
            spectra[name] = fitter.fit(drawn, [best.values] * 20)
            if name == "2T":
                spectra[REPLICAS] = spectra[name]
                fits = spectra[name].fits[name]
                truth = allowed(engine, own[name], drawn, fits, {}, Draws(row, "t"))
                each = draw_each(engine, own[name], truth, Draws(row, "t"))
                spectra[name] = fitter.fit(each, truth)
        for name, score in observed_scores.judge(observe_settings, spectra, 1).items():
            found.setdefault(name, []).append(score.false_alarm)
    assert found.keys() == {"ic_added", "delta_cstat", "cstat_rule"}
    random = np.random.default_rng(1)
    for name, values in found.items():
        spread = np.array(values) - random.random(16) / 21
        assert kstest(spread, "uniform").pvalue > 0.01, name
        assert np.sum(np.array(values) <= 0.1) <= 5, name


# --- words ---------------------------------------------------------------------------------


def test_verdicts_in_words(summary: dict[str, Any]) -> None:
    none = observed_words.verdict(summary | {"decision": "no IC", "false_alarm": 0.25})
    assert none.startswith("No inverse Compton emission is needed in example: 25.0 % of simulated")
    assert "× 10⁻¹² erg/cm²/s (90 %)" in none
    maybe = observed_words.verdict(summary | {"decision": "no IC", "false_alarm": 0.03})
    assert maybe.startswith("Inverse Compton emission is possible in example, but not established")
    some = observed_words.verdict(summary | {"decision": "IC", "false_alarm": 0.0025})
    assert "only 0.25 % of simulated 2T spectra" in some
    lost = observed_words.verdict(summary | {"decision": "no model fits"})
    assert lost.startswith("None of the models describes example")


def test_warnings_in_words(summary: dict[str, Any]) -> None:
    doubt = {
        "parameter": "redshift",
        "spectrum": "",
        "given": 0.05,
        "best": 0.0432,
        "delta_cstat": 2757.3,
        "statistic": "C",
        "doubtful": True,
    }
    fits = {"2T": {"goodness": 0.001, "converged": False}}
    words = observed_words.warnings({"checks": [doubt], "fits": fits})
    assert words[0] == "the redshift 0.05 is doubtful: fitted, it is 0.0432, and C falls by 2757"
    assert len(words) == 3
