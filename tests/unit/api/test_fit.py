"""Fits from Python: what they say is what `icflow fit` says."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import toy
from matplotlib import pyplot

import icflow
from icflow.cli import main

MODEL = icflow.Model("powerlaw", {"powerlaw.PhoIndex": (1, 3)})


@pytest.fixture
def fit(folder: Path) -> icflow.Fit:
    return MODEL.fit(icflow.read_spectrum("spec.pha", energies=(2, 30), group_min=20))


def test_it_is_that_of_the_command(
    folder: Path, fit: icflow.Fit, capsys: pytest.CaptureFixture[str]
) -> None:
    fit.save("python.json")
    words = ["--limits", "powerlaw.PhoIndex=1:3", "--energies", "2", "30", "--group-min", "20"]
    command = ["fit", "spec.pha", "--expression", "powerlaw", *words, "--output", "command.json"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    written = [json.loads(Path(f"{name}.json").read_text()) for name in ("python", "command")]
    assert written[0] == written[1]
    assert repr(fit) == printed.rstrip("\n").replace("--limits", "parameters")


def test_a_lone_start_is_told_in_notebooks_too(fit: icflow.Fit) -> None:
    assert fit.notes == []
    record = fit._record
    result = dataclasses.replace(record.result, agreeing=1, starts=8)
    lone = icflow.Fit(dataclasses.replace(record, result=result), fit.model)
    (note,) = lone.notes
    assert "only 1 of 8 starts led to the lowest C" in note and "--" not in note
    assert note in lone._repr_html_() and note in repr(lone)


def test_fit_of_two_spectra(folder: Path) -> None:
    toy.save(folder / "other.pha", toy.pha(counts=toy.draw(norm=1.1), INSTRUME="TOY2"))
    joint = MODEL.fit(["spec.pha", "other.pha"])
    assert joint.values["factor.TOY2"] == pytest.approx(1.1, abs=0.01)
    assert joint.parameters.loc["factor.TOY2", ["low", "high"]].tolist() == [0.8, 1.25]
    alone = MODEL.using({"factor.TOY2": 1.0}).fit(["spec.pha", "other.pha"])
    assert alone.values["factor.TOY2"] == 1.0 and alone.cstat > joint.cstat + 100
    with pytest.raises(icflow.IcflowError, match=r"parameters factor\.B: 'powerlaw' has no such"):
        MODEL.using({"factor.B": 1.0}).fit("spec.pha")
    assert set(joint.intervals(0.68).index) == set(joint.covariance.index)


def test_factors_stay_between_their_limits(folder: Path) -> None:
    toy.save(folder / "other.pha", toy.pha(counts=toy.draw(norm=1.1), INSTRUME="TOY2"))
    joint = MODEL.fit(["spec.pha", "other.pha"], cross_normalisation=(0.9, 1.05))
    assert joint.values["factor.TOY2"] == 1.05
    assert joint.parameters.loc["factor.TOY2", ["low", "high"]].tolist() == [0.9, 1.05]
    assert MODEL.likelihood(["spec.pha", "other.pha"], cross_normalisation=(0.9, 1.05)).limits[
        -1
    ].tolist() == [0.9, 1.05]


def test_backgrounds_of_a_fit(folder: Path, fit: icflow.Fit) -> None:
    """Given where the fit is made, they count; their norms are as free as is said."""
    toy.save(folder / "back.pha", toy.pha(counts=toy.draw() // 50))
    assert MODEL.fit("spec.pha", background="back.pha").statistic == "W"
    (folder / "flat.yaml").write_text(toy.FLAT)
    spectrum = icflow.read_spectrum("spec.pha", energies=(2, 30), background="flat.yaml")
    known = MODEL.fit(spectrum)
    assert known.values["background.flat"] == 1.0
    assert known.values["powerlaw.PhoIndex"] > fit.values["powerlaw.PhoIndex"]
    free = MODEL.fit(spectrum, background_range=0.2)
    assert free.parameters.loc["background.flat", ["low", "high"]].tolist() == [0.8, 1.2]
    assert free.cstat < known.cstat
    bright = MODEL.using({"powerlaw.PhoIndex": 2, "powerlaw.norm": 1}).predict(spectrum.instrument)
    dark = MODEL.using({"powerlaw.PhoIndex": 2, "powerlaw.norm": 1}).predict(
        icflow.Instrument("resp.rmf", "area.arf", toy.EXPOSURE)
    )
    np.testing.assert_allclose(bright - dark, 2.0, rtol=1e-3)


def test_a_plain_fit_may_end_above_the_lowest_minimum(folder: Path) -> None:
    spectrum = icflow.read_spectrum("spec.pha", energies=(2, 30))
    plain = MODEL.fit(spectrum, strategy="plain")
    assert "1 of 1 starts" in repr(plain)
    assert plain.cstat == pytest.approx(MODEL.fit(spectrum).cstat, abs=0.01)


def test_numbers_of_a_fit(fit: icflow.Fit) -> None:
    table = fit.parameters
    assert table.columns.tolist() == ["value", "error", "low", "high", "free", "unit"]
    assert table.loc["powerlaw.PhoIndex", ["low", "high", "free"]].tolist() == [1.0, 3.0, True]
    assert table["unit"].tolist() == MODEL.parameters["unit"].tolist() != ["", ""]
    assert table["error"].pow(2).to_numpy() == pytest.approx(np.diag(fit.covariance))
    assert fit.dof == fit.bins - 2 and fit.converged and fit.statistic == "C"
    assert "<table" in fit._repr_html_()


def test_intervals_end_where_the_statistic_has_risen(fit: icflow.Fit, folder: Path) -> None:
    low = fit.intervals(0.90).loc["powerlaw.PhoIndex", "low"]
    frozen = MODEL.using({"powerlaw.PhoIndex": low})
    there = frozen.fit(icflow.read_spectrum("spec.pha", energies=(2, 30), group_min=20))
    assert there.cstat - fit.cstat == pytest.approx(2.7055, abs=0.02)


def test_averaged_intervals_are_those_of_the_curvature_where_no_limit_is_near(
    fit: icflow.Fit,
) -> None:
    found = fit.intervals(0.6827, "marginal")
    errors = fit.parameters.loc[found.index, "error"]
    assert (found["high"] - fit.parameters.loc[found.index, "value"]).to_numpy() == pytest.approx(
        errors.to_numpy(), rel=0.05
    )
    assert found.equals(fit.intervals(0.6827, "marginal"))


def test_what_is_no_minimum_has_no_averages(folder: Path) -> None:
    plain = MODEL.fit(icflow.read_spectrum("spec.pha", group_min=20), strategy="plain")
    with pytest.raises(icflow.IcflowError, match="no averaged intervals: the fit is not a minimum"):
        plain.intervals(0.9, "marginal")


def test_flux_and_its_error_are_those_of_fits_to_many(fit: icflow.Fit, folder: Path) -> None:
    value, error = fit.flux(2, 10)
    instrument = icflow.read_spectrum("spec.pha").instrument
    fits = MODEL.fit_many(fit.best.fake(instrument, n=60), instrument, energies=(2, 30))
    fluxes = [
        fit.best.using(fits.loc[row, ["powerlaw.PhoIndex", "powerlaw.norm"]].to_dict()).flux(2, 10)
        for row in fits.index
    ]
    assert np.mean(fluxes) == pytest.approx(value, rel=3e-3)
    assert np.std(fluxes) == pytest.approx(error, rel=0.3)


def test_fluxes_of_a_fit_with_links(folder: Path) -> None:
    given = {"TBabs.nH": 5, "powerlaw_3.PhoIndex": "powerlaw.PhoIndex", "powerlaw.norm": 0.5}
    model = icflow.Model("tbabs*(powerlaw+powerlaw)", given | {"powerlaw_3.norm": 0.5})
    fit = model.fit(icflow.read_spectrum("spec.pha", energies=(3, 30)))
    assert fit.best.settings["powerlaw_3.PhoIndex"].link == "powerlaw.PhoIndex"
    value, error = fit.flux(2, 10)
    assert value == pytest.approx(fit.best.flux(2, 10))
    assert fit.flux(2, 10, absorbed=False).value > 1.2 * value
    assert fit.flux(2, 10, component="powerlaw").value == pytest.approx(value / 2)
    # The index of both: no other parameter is free.
    index, sigma = fit.parameters.loc["powerlaw.PhoIndex", ["value", "error"]]
    moved = model.using({"powerlaw.PhoIndex": index + sigma}).flux(2, 10)
    assert error == pytest.approx(abs(moved - value), rel=0.02)
    assert repr(fit.flux(2, 10)) == f"({value:.4g} +/- {error:.2g}) erg/cm2/s"


def test_goodness_of_a_model_that_does_not_fit(fit: icflow.Fit, folder: Path) -> None:
    assert fit.goodness(40) > 0.02
    assert fit.goodness(40) == fit.goodness(40)
    assert len({fit.goodness(40, seed=seed) for seed in range(4)}) > 1
    assert (fit.goodness(7) * 8) % 1 == pytest.approx(0)
    wrong = icflow.Model("powerlaw", {"powerlaw.PhoIndex": 2.2}).fit("spec.pha")
    assert wrong.goodness(40) < 0.02


def test_a_fit_can_be_copied_and_kept(fit: icflow.Fit) -> None:
    again = pickle.loads(pickle.dumps(copy.deepcopy(fit)))
    assert repr(again) == repr(fit)
    assert again.flux(2, 10) == fit.flux(2, 10)
    assert again.goodness(10) == fit.goodness(10)


def test_figures(fit: icflow.Fit, folder: Path) -> None:
    before = dict(matplotlib.rcParams)
    figure = fit.plot(unfolded=True)
    assert dict(matplotlib.rcParams) == before and not pyplot.get_fignums()
    assert len(figure.axes) == 3 and len(fit.plot().axes) == 2
    fit.save("fit.png")
    assert (folder / "fit.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda fit: fit.intervals(90), "level is 90; give a probability"),
        (lambda fit: fit.intervals(0.9, "hessian"), "errors is 'hessian'; give 'profile' or"),
        (lambda fit: fit.goodness(0), "n is 0"),
        (lambda fit: fit.goodness(9, seed="x"), "seed is 'x'"),
        (lambda fit: fit.save(3), "path is 3; give the name of a file"),
        (lambda fit: fit.save("/proc/none/fit.json"), "cannot be written"),
        (lambda fit: fit.flux(2, 10, component="apec"), "component is 'apec'"),
        (lambda fit: fit.save("fit.txt"), "choose one of these suffixes"),
    ],
)
def test_what_cannot_be_done(fit: icflow.Fit, call: Any, sentence: str) -> None:
    with pytest.raises(icflow.IcflowError, match=sentence):
        call(fit)
