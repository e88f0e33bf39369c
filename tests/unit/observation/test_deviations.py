"""What is wrong with spectra, as fits settle it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from observed_example import example, working_in

from icflow import settings as settings_of
from icflow.config import FitModel, Free, Systematics
from icflow.engines.embedded.deviations import DEVIATE, MANY, MEASURED, deviates_in
from icflow.engines.embedded.fitting import DIRECT_BOTTOM
from icflow.models.scenario import at_source
from icflow.observation.engine import ObservedEngine, draw_counts
from icflow.observation.simulations import Draws, allowed, draw_each, replicas
from icflow.ogip.observation import SpectrumFiles, read_observation
from icflow.statistic import Data, binned, statistic
from icflow.typing import Counts

WRONG = Systematics.model_validate(
    {
        "background": {"aperture": 0.08},
        "area": [[3.0, 0.02], [40.0, 0.02], [79.0, 0.1]],
        "gain": {"offset": 60.0},
    }
)
# Of the deviates of a spectrum: 48 eV, and 2 % of the area at 40 keV.
OFF = {"gain.offset": 0.8, "area.40": -1.0}


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


def drawn(engine: ObservedEngine, off: dict[str, float]) -> Counts:
    """A spectrum with IC that is wrong by some deviates."""
    model = model_of("1T+IC")
    (fit,) = engine.fit(model)
    deviates = dict.fromkeys(engine.nominal.deviates, 0.0) | off
    values = fit.values | {"powerlaw.norm": 2e-3}
    (expected,) = engine.expected_each(model, [values], [deviates])
    return draw_counts(expected, 5, "wrong", [0]).astype(np.int64)


@pytest.fixture(scope="module")
def wrong(engine: ObservedEngine) -> ObservedEngine:
    """The engine of a spectrum that is wrong by `OFF`."""
    return engine.settling(model_of("2T+IC"), drawn(engine, OFF))


def test_a_spectrum_tells_how_wrong_it_is(engine: ObservedEngine, wrong: ObservedEngine) -> None:
    model, k = model_of("1T+IC"), len(wrong.engine.deviations)
    (fit,) = wrong.fit(model)
    found, errors = deviates_in(fit.values), deviates_in(fit.errors)
    # A slope of the energy scale that is not said to be wrong is not settled.
    assert list(found) == [name for name in engine.nominal.deviates if name != "gain.slope"]
    assert abs(found["gain.offset"] - OFF["gain.offset"]) < 4 * errors["gain.offset"] < 0.4
    assert all(0 < error <= 1 + 1e-9 for error in errors.values())
    # What the norm of the source can take up stays as it was measured elsewhere.
    assert errors["area.3"] > 0.5 and errors["background.aperture"] < 0.9
    assert fit.values["powerlaw.norm"] == pytest.approx(2e-3, abs=4 * fit.errors["powerlaw.norm"])
    # Deviates are neither parameters nor bins, and background norms are no more than they say.
    assert fit.bins == wrong.n_bins and fit.dof == fit.bins - len(fit.free)
    assert fit.covariance.shape == (len(fit.free),) * 2 and MEASURED not in fit.values
    assert not [name for name in fit.free if name.startswith(DEVIATE)]
    assert fit.values["background.aperture"] == 1.0 and "background.lines" in fit.free
    (as_if_right,) = wrong.right().fit(model)
    assert fit.cstat < fit.dof + 4 * np.sqrt(2 * fit.dof) < as_if_right.cstat - 100
    assert (engine.settles, wrong.settles, wrong.right().settles) == (False, True, False)
    assert wrong.counts[-k:].tolist() == [MANY] * k


def test_the_statistic_counts_how_far_deviates_are_from_what_was_measured(
    wrong: ObservedEngine,
) -> None:
    model = model_of("1T+IC")
    (fit,) = wrong.fit(model)
    off = np.array(list(deviates_in(fit.values).values()))
    (there,) = wrong.expected_each(model, [fit.values], [wrong.wrong(fit.values)])
    data = Data(wrong.source_counts.astype(float), *wrong.groups)
    own = statistic(
        data._replace(counts=binned(data, data.counts)), binned(data, there[: -len(off)])
    )
    # Tables of spectra that are drawn and of fits are close, not equal.
    assert fit.cstat == pytest.approx(own + off @ off, abs=1.5)
    np.testing.assert_allclose(there[-len(off) :], MANY + np.sqrt(MANY) * off)
    used = wrong.used_channels()
    expected = wrong.expected(model, fit.values)[: wrong.n_channels]
    np.testing.assert_allclose(expected[used], there[: wrong.n_channels][used], rtol=1e-5)


def test_the_minimum_is_that_of_all_that_is_free(wrong: ObservedEngine) -> None:
    model = model_of("1T+IC")
    (fit,) = wrong.fit(model)
    (expected,) = wrong.expected_each(model, [fit.values], [wrong.wrong(fit.values)])
    # What is expected there is fitted there, deviates included, wherever tables are right about.
    (there,) = wrong.fit(model, np.rint(expected).astype(np.int64)[None])
    for name, value in deviates_in(fit.values).items():
        assert there.values[DEVIATE + name] == pytest.approx(value, abs=0.1)
    assert there.cstat < 30
    # A deviate that is measured to be elsewhere is fitted there, if the spectrum says little; by so
    # little that no temperature leaves its cell.
    counts = wrong.counts.copy()
    place = list(wrong.engine.deviations.at).index("area.3")
    counts[place - len(wrong.engine.deviations)] += round(0.5 * MANY**0.5)
    (moved,) = wrong.fit(model, counts[None])
    error = fit.errors["deviate.area.3"]
    change = moved.values["deviate.area.3"] - fit.values["deviate.area.3"]
    assert change == pytest.approx(0.5 * error**2, abs=0.02)
    assert moved.cstat == pytest.approx(fit.cstat, abs=10)


@pytest.mark.parametrize("offset", [-2.5, 3.0])
def test_a_scale_that_is_far_off_is_found(engine: ObservedEngine, offset: float) -> None:
    counts = drawn(engine, {"gain.offset": offset})
    far = engine.settling(model_of("2T+IC"), counts)
    (fit,) = far.fit(model_of("1T+IC"))
    assert fit.values["deviate.gain.offset"] == pytest.approx(offset, abs=0.15)
    assert fit.cstat < fit.dof + 4 * np.sqrt(2 * fit.dof) + offset**2


# How much is left in C at the bottom: without tables, slopes are numerical.
@pytest.mark.parametrize(
    ("name", "limits", "left"),
    [("apec.Redshift", [0.02, 0.07], 0.05), ("TBabs.nH", [0.0, 5.0], DIRECT_BOTTOM)],
)
def test_whatever_is_free_is_settled_together(
    wrong: ObservedEngine, name: str, limits: list[float], left: float
) -> None:
    model = model_of("1T+IC")
    (fit,) = wrong.fit(model)
    parameters = {**model.parameters, name: Free(free=limits)}
    (found,) = wrong.fit(model.model_copy(update={"parameters": parameters}))
    assert found.status == "ok" and found.dof == fit.dof - 1
    assert fit.cstat - 12 < found.cstat < fit.cstat + left
    # A redshift takes up what a wrong energy scale does, but for its lines.
    assert found.errors["deviate.gain.offset"] >= 0.99 * fit.errors["deviate.gain.offset"]


def test_background_spectra_stand_between_channels_and_deviates(engine: ObservedEngine) -> None:
    module, total = files(), np.sum(list(engine.nominal.backgrounds.values()), axis=0)
    (counts,) = draw_counts(4 * total, 1, "behind", [0]).astype(np.int64)
    backscal = 4 * np.asarray(module.spectrum.backscal)
    spectrum = replace(module.spectrum, counts=counts, backscal=backscal)
    described = WRONG.model_copy(update={"background": 0.0})
    behind = engine_of(replace(module, background=None, behind=spectrum), described)
    model = model_of("1T+IC")
    made = behind.settling(model)
    n, k = made.n_channels, len(made.engine.deviations)
    (fit,) = made.fit(model)
    assert made.counts.shape == (2 * n + k,) and k == 4
    assert set(deviates_in(fit.values)) == {"area.3", "area.40", "area.79", "gain.offset"}
    (alone,) = made.right().fit(model)
    assert alone.cstat - 30 < fit.cstat < alone.cstat and fit.dof == alone.dof
    drawn = replicas(made, model, fit, 2, Draws(3, "behind"))
    assert drawn.shape == (2, 2 * n + k)
    assert all(own.status == "ok" for own in made.fit(model, drawn))
    assert made.behind_per_bin == behind.behind_per_bin


def test_simulated_spectra_are_as_wrong_as_the_observed_one(wrong: ObservedEngine) -> None:
    model, k = model_of("1T+IC"), len(wrong.engine.deviations)
    (fit,) = wrong.fit(model)
    counts = replicas(wrong, model, fit, 40, Draws(3, "alike"))
    fits = wrong.fit(model, counts)
    cstat = np.array([own.cstat for own in fits])
    assert np.all(np.abs(cstat - fit.dof) < 6 * np.sqrt(2 * fit.dof))
    # Deviates are measured about those that they are drawn with, and found with their errors.
    truth = np.array(list(deviates_in(fit.values).values()))
    pulls = (counts[:, -k:] - MANY) / np.sqrt(MANY) - truth
    assert np.all(np.abs(pulls.mean(axis=0)) < 4 / np.sqrt(40))
    assert 0.8 < pulls.std() < 1.2
    for name in ("apec.norm", "powerlaw.norm", "deviate.gain.offset", "deviate.area.40"):
        found = np.array([own.values[name] for own in fits])
        assert found.mean() == pytest.approx(fit.values[name], abs=0.8 * found.std())
        assert 0.6 * fit.errors[name] < found.std() < 1.5 * fit.errors[name]
    # What is drawn again is wrong as was settled for each.
    truths = allowed(wrong, model, counts, fits, {}, Draws(4, "again"))
    assert truths == [own.values for own in fits]
    again = draw_each(wrong, model, truths, Draws(4, "again"))
    assert again.shape == counts.shape
    scatter = (again[:, -k:] - MANY) / np.sqrt(MANY) - [
        list(deviates_in(own).values()) for own in truths
    ]
    assert 0.8 < scatter.std() < 1.2


def test_nothing_is_settled_where_nothing_is_wrong(engine: ObservedEngine) -> None:
    right = engine.right().settling(model_of("2T+IC"), engine.counts[None])
    assert not right.settles and right.engine is engine.nominal
