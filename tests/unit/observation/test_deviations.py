"""What an observed spectrum says about what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from observed_example import example, working_in

from icflow import settings as settings_of
from icflow.config import FitModel, Systematics
from icflow.models.scenario import at_source
from icflow.models.systematics import Deviates
from icflow.observation.deviations import Told, _Search, deviances
from icflow.observation.engine import ObservedEngine, draw_counts
from icflow.observation.simulations import Draws, allowed, draw_each, replicas
from icflow.ogip.observation import SpectrumFiles, read_observation
from icflow.statistic import Data, statistic

WRONG = Systematics.model_validate(
    {
        "background": {"aperture": 0.08},
        "area": [[3.0, 0.02], [40.0, 0.02], [79.0, 0.1]],
        "gain": {"offset": 60.0},
    }
)
# Of the deviates of a spectrum: 48 eV, and 2 % of the area at 40 keV.
OFF = {"gain.offset": 0.8, "area.1": -1.0}


@pytest.fixture(scope="module", autouse=True)
def folder(
    tmp_path_factory: pytest.TempPathFactory, rmf_path: Path, arf_path: Path, atomdb: Path
) -> Iterator[Path]:
    """A working directory with the resources."""
    with working_in(tmp_path_factory.mktemp("deviations")) as made:
        yield made


def files() -> SpectrumFiles:
    (module,) = read_observation("example", example().observations["example"])
    return module


def model_of(name: str) -> FitModel:
    return at_source(example().fits.models[name], 0.0432, 0.00858)


def engine_of(module: SpectrumFiles, systematics: Systematics = WRONG) -> ObservedEngine:
    settings = settings_of.observe(example(), "example")
    return ObservedEngine([module], settings, False, settings.atomic_data, systematics)


@pytest.fixture(scope="module")
def engine(folder: Path) -> ObservedEngine:
    return engine_of(files())


@pytest.fixture(scope="module")
def wrong(engine: ObservedEngine) -> ObservedEngine:
    """The engine of a spectrum that is wrong by `OFF`."""
    model = model_of("1T+IC")
    (fit,) = engine.fit(model)
    deviates = dict.fromkeys(engine.nominal.deviates, 0.0) | OFF
    values = fit.values | {"powerlaw.norm": 2e-3}
    (expected,) = engine.expected_each(model, [values], [deviates])
    counts = draw_counts(expected, 5, "wrong", [0]).astype(np.int64)
    both = model_of("2T+IC")
    (best,) = engine.fit(both, counts)
    return engine.telling(both, best, counts)


def test_squares_sum_to_the_statistic() -> None:
    counts, model = np.array([0.0, 4.0, 9.0, 300.0]), np.array([1.5, 6.0, 7.0, 300.0])
    bins = np.arange(4)
    plain = Data(counts, bins, bins + 1)
    roots = deviances(plain, model)
    assert np.sum(roots**2) == pytest.approx(statistic(plain, model))
    assert np.all(np.sign(roots)[:3] == [1, 1, -1]) and roots[3] == pytest.approx(0, abs=1e-6)
    behind = Data(counts, bins, bins + 1, np.array([8.0, 0.0, 3.0, 40.0]), np.array([4, 4, 0, 2.0]))
    # Of a bin without a background spectrum, its counts do not matter.
    held = behind._replace(behind=np.array([8.0, 0.0, 0.0, 40.0]))
    assert np.sum(deviances(behind, model) ** 2) == pytest.approx(statistic(held, model))


@pytest.mark.parametrize("behind", [False, True])
def test_the_search_starts_from_the_fit(behind: bool, engine: ObservedEngine) -> None:
    own = engine
    if behind:
        module = files()
        spectrum = replace(module.spectrum, backscal=4 * np.asarray(module.spectrum.backscal))
        described = WRONG.model_copy(update={"background": 0.0})
        own = engine_of(replace(module, background=None, behind=spectrum), described)
    model = model_of("1T+IC")
    (fit,) = own.fit(model)
    names = own.nominal.deviates
    search = _Search(own, model, fit)
    rows = search.residuals(np.zeros((1, len(fit.free) + len(names))))
    # Tables of spectra that are drawn and of fits are close, not equal.
    assert np.sum(rows**2) == pytest.approx(fit.cstat, abs=1.5)


def test_a_spectrum_tells_how_wrong_it_is(engine: ObservedEngine, wrong: ObservedEngine) -> None:
    told = wrong.told
    assert told is not None
    errors = np.sqrt(np.diag(told.root @ told.root.T))
    offset = list(told.names).index("gain.offset")
    assert abs(told.mean[offset] - OFF["gain.offset"]) < 4 * errors[offset]
    assert errors[offset] < 0.1, "60 eV is far more than such a spectrum leaves open"
    assert np.all(errors <= 1 + 1e-9) and np.all(np.abs(told.mean) < 3)
    # What nothing but the norm of a free background can take up stays unknown.
    assert errors[list(told.names).index("background.aperture")] > 0.5
    assert wrong.right().told is None and engine.told is None


def test_fits_have_the_likeliest_calibration(wrong: ObservedEngine) -> None:
    model, told = model_of("1T+IC"), wrong.told
    assert told is not None
    (fit,) = wrong.fit(model, wrong.counts[None])
    (as_if_right,) = wrong.right().fit(model, wrong.counts[None])
    assert fit.cstat < fit.dof + 4 * np.sqrt(2 * fit.dof) < as_if_right.cstat - 100
    # What is fitted is what is there, and a search from there has nowhere to go.
    assert fit.values["powerlaw.norm"] == pytest.approx(2e-3, abs=4 * fit.errors["powerlaw.norm"])
    (there,) = wrong.wrong_each(model, [fit.values], [told.likeliest])
    expected = wrong.expected(model, fit.values)
    used = wrong.used_channels()
    np.testing.assert_allclose(expected[used], there[used], rtol=1e-5)
    search = _Search(wrong, model, fit)
    at_start = np.sum(search.residuals(search._start[None]) ** 2)
    assert at_start == pytest.approx(fit.cstat + told.mean @ told.mean, abs=1.5)
    assert np.sum(search.residuals(search.minimum()[None]) ** 2) > at_start - 3


def test_simulated_spectra_are_as_wrong_as_the_observed_one(wrong: ObservedEngine) -> None:
    model = model_of("1T+IC")
    (fit,) = wrong.fit(model, wrong.counts[None])
    counts = replicas(wrong, model, fit, 12, Draws(3, "alike"))
    fits = wrong.fit(model, counts)
    cstat = np.array([own.cstat for own in fits])
    assert np.all(np.abs(cstat - fit.dof) < 6 * np.sqrt(2 * fit.dof))
    # They scatter about what they are drawn from, by more than noise alone.
    told = wrong.told
    for name in ("apec.kT", "apec.norm", "powerlaw.norm"):
        found = np.array([own.values[name] for own in fits])
        assert found.mean() == pytest.approx(fit.values[name], abs=1.2 * found.std())
    truth = allowed(wrong, model, counts, fits, {}, Draws(4, "again"))
    assert truth == [own.values for own in fits]
    assert told is not None and draw_each(wrong, model, truth, Draws(4, "again")).shape == (
        12,
        len(wrong.counts),
    )


def test_deviates_are_drawn_as_told() -> None:
    root = np.array([[0.1, 0.0], [0.3, 0.2]])
    told = Told(["gain.offset", "area.0"], np.array([0.5, -1.0]), root)
    assert told.likeliest == {"gain.offset": 0.5, "area.0": -1.0}
    drawn = [told.drawn(Deviates(1, "told", index)) for index in range(2000)]
    assert drawn[7] == told.drawn(Deviates(1, "told", 7)) != drawn[8]
    values = np.array([list(own.values()) for own in drawn])
    np.testing.assert_allclose(values.mean(axis=0), told.mean, atol=0.03)
    np.testing.assert_allclose(np.cov(values.T), root @ root.T, atol=0.01)
