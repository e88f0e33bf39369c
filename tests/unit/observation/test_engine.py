"""Joint fits of two spectra with different areas and exposures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icflow import config as configuration
from icflow import settings as settings_of
from icflow import statistic as cstat
from icflow.config import AtomicData, FitModel, Free, Systematics
from icflow.engines.base import FitResult
from icflow.engines.embedded.deviations import deviates_in
from icflow.models.scenario import at_source
from icflow.models.systematics import Deviates
from icflow.observation.engine import ObservedEngine, draw_counts
from icflow.ogip.grouping import group_counts
from icflow.ogip.observation import SpectrumFiles
from icflow.ogip.response import read_arf, write_arf
from icflow.ogip.spectrum import read_spectrum
from icflow.settings import ObserveSettings

ROOT = Path(__file__).resolve().parents[3]
REDSHIFT, NH = 0.05, 0.00858
TRUTH = {
    "TBabs.nH": NH,
    "apec.kT": 8.0,
    "apec.Abundanc": 0.3,
    "apec.Redshift": REDSHIFT,
    "apec.norm": 0.1,
    "powerlaw.PhoIndex": 2.0,
    "powerlaw.norm": 6e-3,
    "factor.B": 1.07,
}


@pytest.fixture(scope="module")
def settings() -> ObserveSettings:
    paths = (ROOT / "config.yaml", ROOT / "config" / "observe-example.yaml")
    return settings_of.observe(configuration.load(*paths), "example")


@pytest.fixture(scope="module")
def modules(
    tmp_path_factory: pytest.TempPathFactory, rmf_path: Path, arf_path: Path
) -> list[SpectrumFiles]:
    """Two spectra: the second has 0.9 times the area, 0.7 of the exposure and no lines."""
    folder = tmp_path_factory.mktemp("joint")
    arf = read_arf(arf_path)
    write_arf(folder / "b.arf", arf.energy_lo, arf.energy_hi, 0.9 * arf.area)
    example = ROOT / "resources" / "example"
    text = (example / "background.yaml").read_text().replace("file: ", f"file: {example}/")
    (folder / "b.yaml").write_text(
        text[: text.index("  lines:")] + text[text.index("  focused:") :]
    )
    spectrum = read_spectrum(example / "observation.pha")
    return [
        SpectrumFiles("A", "a", spectrum, rmf_path, arf_path, example / "background.yaml"),
        SpectrumFiles(
            "B", "b", replace(spectrum, exposure=7e5), rmf_path, folder / "b.arf", folder / "b.yaml"
        ),
    ]


@pytest.fixture(scope="module")
def engine(settings: ObserveSettings, modules: list[SpectrumFiles], atomdb: Path) -> ObservedEngine:
    return ObservedEngine(modules, settings, False, AtomicData(folder=str(atomdb)))


@pytest.fixture(scope="module")
def model(settings: ObserveSettings) -> FitModel:
    return at_source(settings.models["1T+IC"], REDSHIFT, NH)


@pytest.fixture(scope="module")
def truth(engine: ObservedEngine) -> dict[str, float]:
    names = list(engine.engine.backgrounds)
    assert len(names) == 7
    shifts = np.linspace(0.96, 1.04, 7)
    return TRUTH | {f"background.{n}": float(x) for n, x in zip(names, shifts, strict=True)}


@pytest.fixture(scope="module")
def counts(engine: ObservedEngine, model: FitModel, truth: dict[str, float]) -> Any:
    return draw_counts(engine.expected(model, truth), 1, "joint", range(3))


def direct(engine: ObservedEngine, model: FitModel, fit: FitResult, counts: Any) -> float:
    """Return C by XSPEC's functions at the parameters of a fit."""
    expected = group_counts(engine.expected(model, fit.values), *engine.groups)
    return cstat.cstat(group_counts(counts.astype(float), *engine.groups), expected)


def test_the_truth_is_found_and_c_is_that_of_direct_evaluation(
    engine: ObservedEngine, model: FitModel, truth: dict[str, float], counts: Any
) -> None:
    fits = engine.fit(model, counts)
    for fit, row in zip(fits, counts, strict=True):
        assert fit.converged and fit.status == "ok"
        assert fit.cstat == pytest.approx(direct(engine, model, fit, row), abs=5e-3)
        at_truth = replace(fit, values=truth)
        assert 0 < direct(engine, model, at_truth, row) - fit.cstat < 35
        for name in ("apec.kT", "apec.norm", "powerlaw.norm", "factor.B"):
            assert abs(fit.values[name] - truth[name]) < 4 * fit.errors[name]
        assert fit.dof == fit.bins - 4 - 1 - 7
    assert 0.001 < fits[0].errors["factor.B"] < 0.02


def test_no_factor_is_better_than_the_fitted_one(
    engine: ObservedEngine, model: FitModel, counts: Any
) -> None:
    (best,) = engine.fit(model, counts[:1])
    sigma = best.errors["factor.B"]
    factors = best.values["factor.B"] + sigma * np.array([-3, -1, -0.1, 0.0, 0.1, 1, 3])
    rises = [
        fit.cstat - best.cstat
        for fit in engine.fit(model, np.repeat(counts[:1], 7, axis=0), {"factor.B": factors})
    ]
    assert min(rises) > -1e-3 and abs(rises[3]) < 1e-3
    assert rises[0] > 2 and rises[-1] > 2 and rises[1] < 1.5 > rises[-2]


def test_redshift_and_factor_may_be_free_together(
    engine: ObservedEngine, model: FitModel, counts: Any
) -> None:
    free = {"apec.Redshift": Free(free=[0.02, 0.08])}
    freed = model.model_copy(update={"parameters": model.parameters | free})
    (frozen,) = engine.fit(model, counts[:1])
    (fit,) = engine.fit(freed, counts[:1])
    assert fit.converged and fit.dof == frozen.dof - 1
    assert frozen.cstat - 30 < fit.cstat < frozen.cstat + 0.01
    assert fit.cstat == pytest.approx(direct(engine, freed, fit, counts[0]), abs=5e-3)
    assert abs(fit.values["apec.Redshift"] - REDSHIFT) < 4 * fit.errors["apec.Redshift"] < 0.01
    # Given the redshift that was found, a fit with it frozen ends no lower.
    (there,) = engine.fit(freed, counts[:1], {"apec.Redshift": [fit.values["apec.Redshift"]]})
    assert there.cstat == pytest.approx(fit.cstat, abs=0.02)


def test_what_has_no_table_is_evaluated_directly(
    engine: ObservedEngine, model: FitModel, counts: Any
) -> None:
    free = {"TBabs.nH": Free(free=[0.0, 5.0], start=NH)}
    freed = model.model_copy(update={"parameters": model.parameters | free})
    (frozen,) = engine.fit(model, counts[:1])
    (fit,) = engine.fit(freed, counts[:1])
    assert frozen.cstat - 10 < fit.cstat < frozen.cstat + 0.05
    assert fit.values["factor.B"] == pytest.approx(frozen.values["factor.B"], abs=0.01)


def test_spectra_without_counts_are_flagged(
    engine: ObservedEngine, model: FitModel, counts: Any
) -> None:
    empty, good = engine.fit(model, np.stack([np.zeros_like(counts[0]), counts[0]]))
    assert "no counts" in empty.status and np.isnan(empty.cstat)
    assert empty.values.keys() == good.values.keys() and good.status == "ok"


def test_components_of_all_spectra_stand_side_by_side(
    engine: ObservedEngine, model: FitModel, truth: dict[str, float]
) -> None:
    parts = engine.components(model, truth)
    n = engine.engine.foldings[0].n_channels
    assert list(parts) == [
        "TBabs*apec",
        "TBabs*powerlaw",
        "background.continuum",
        "background.aperture",
        "background.lines",
        "background.focused",
    ]
    assert not parts["background.lines"][n:].any()
    ratio = parts["TBabs*apec"][n : n + 1900] / parts["TBabs*apec"][:1900]
    np.testing.assert_allclose(ratio, 1.07 * 0.9 * 0.7, rtol=1e-9)
    assert (engine.module[:n] == "A").all() and (engine.module[n:] == "B").all()
    assert engine.unfolded(model, truth)["TBabs*powerlaw"].shape == (2 * n,)


def test_less_than_nothing_is_drawn_as_nothing() -> None:
    # Matrices with slightly negative elements may lead there.
    counts = draw_counts(np.array([-1e-6, 5.0]), 1, "negative", range(3))
    assert not counts[:, 0].any() and counts[:, 1].any()


@pytest.fixture
def wrong_by(
    settings: ObserveSettings, modules: list[SpectrumFiles], atomdb: Path
) -> Callable[[list[list[float]]], ObservedEngine]:
    """What makes an engine whose area scatters by nodes, and background and energy scale too."""

    def make(area: list[list[float]]) -> ObservedEngine:
        given = {"background": {"focused": 0.3}, "area": area, "gain": {"offset": 60.0}}
        own = Systematics.model_validate(given)
        return ObservedEngine(modules, settings, False, AtomicData(folder=str(atomdb)), own)

    return make


def test_what_is_wrong_is_drawn_for_each_spectrum(
    engine: ObservedEngine,
    wrong_by: Callable[[list[list[float]]], ObservedEngine],
    model: FitModel,
    truth: dict[str, float],
) -> None:
    wrong = wrong_by([[3.0, 0.02], [40.0, 0.02], [79.0, 0.1]])

    def drawn(engine: ObservedEngine, number: int, values: dict[str, float]) -> Any:
        deviates = [Deviates(1, "set", row) for row in range(number)]
        return np.array(list(engine.expected_each(model, [values] * number, deviates)))

    right = drawn(wrong.right(), 1, truth)[0]
    np.testing.assert_array_equal(right, drawn(engine, 1, truth)[0])
    rows = drawn(wrong, 150, truth)
    np.testing.assert_array_equal(rows[:3], drawn(wrong, 3, truth))
    low = np.where(wrong.used_channels(), wrong.energies[:, 0], -1.0)
    soft, hard = (low > 0) & (low < 6), low > 70
    # The area is that of the source: where particles are all there is, it changes next to nothing.
    for part, least, most in ((soft, 0.015, 0.03), (hard, 5e-5, 1e-3)):
        share = rows[:, part].sum(axis=1) / right[part].sum()
        assert share.mean() == pytest.approx(1.0, abs=4 * share.std() / np.sqrt(150) + 1e-3)
        assert least < share.std() < most
    # The area is wrong in both modules alike.
    first, second = (rows[:, soft & (wrong.module == name)].sum(axis=1) for name in ("A", "B"))
    assert np.corrcoef(first, second)[0, 1] > 0.9
    # Background norms of the fit are multiplied, not replaced.
    norm = next(name for name in truth if name.endswith("lines"))
    more = drawn(wrong, 1, truth | {norm: truth[norm] + 2})[0] - rows[0]
    lines = wrong.engine.backgrounds[norm.removeprefix("background.")]
    assert more.sum() == pytest.approx(2 * lines.sum(), rel=1e-3)


def test_each_module_is_fitted_with_its_own_calibration(
    engine: ObservedEngine,
    wrong_by: Callable[[list[list[float]]], ObservedEngine],
    model: FitModel,
    truth: dict[str, float],
    settings: ObserveSettings,
    modules: list[SpectrumFiles],
    atomdb: Path,
) -> None:
    wrong = wrong_by([[3.0, 0.02], [79.0, 0.1]])
    off = {"gain.A.offset": 1.0, "gain.B.offset": -0.7, "area.3": 0.9, "background.focused": 1.2}
    deviates = dict.fromkeys(wrong.nominal.deviates, 0.0) | off
    (expected,) = wrong.wrong_each(model, [truth], [deviates])
    counts = draw_counts(expected, 2, "joint and wrong", [0])
    (as_if_right,) = wrong.fit(model, counts)
    settling = wrong.settling(model, counts)
    (fit,) = settling.fit(model)
    found, errors = deviates_in(fit.values), deviates_in(fit.errors)
    assert found.keys() == {n for n in deviates if not n.endswith(".slope")}
    for name, value in found.items():
        assert value == pytest.approx(deviates[name], abs=4 * errors[name] + 0.1)
    assert errors["gain.A.offset"] < 0.1 > errors["gain.B.offset"]
    assert fit.cstat < fit.dof + 4 * np.sqrt(2 * fit.dof) < as_if_right.cstat - 100
    (there,) = settling.wrong_each(model, [fit.values], [settling.wrong(fit.values)])
    used = settling.used_channels()
    np.testing.assert_allclose(settling.expected(model, fit.values)[used], there[used], rtol=1e-5)
    (again,) = settling.right().fit(model)
    assert again.cstat == as_if_right.cstat
    # A spectrum by itself is fitted with what was found for both, and settles nothing.
    alone = ObservedEngine(modules[1:], settings, False, AtomicData(folder=str(atomdb)))
    calibrated = alone.calibrated_as(settling, fit.values)
    assert not calibrated.settles
    n = len(settling.module) // 2
    (own,) = calibrated.fit(model, counts[:, n:])
    assert own.cstat < own.dof + 4 * np.sqrt(2 * own.dof)
    (by_the_files,) = alone.fit(model, counts[:, n:])
    assert own.cstat < by_the_files.cstat - 50


def test_counts_that_nothing_reaches_are_told(
    settings: ObserveSettings,
    modules: list[SpectrumFiles],
    engine: ObservedEngine,
    arf_path: Path,
    atomdb: Path,
    tmp_path: Path,
) -> None:
    arf = read_arf(arf_path)
    write_arf(tmp_path / "a.arf", arf.energy_lo, arf.energy_hi, arf.area * (arf.energy_lo < 40))
    blind = replace(modules[0], arf=tmp_path / "a.arf", background=None)
    narrow = ObservedEngine([blind], settings, False, AtomicData(folder=str(atomdb)))
    seen = np.array([narrow.energies[first, 0] < 35 for first in narrow.groups[0]])
    assert 0 < len(narrow.unexplained) < np.count_nonzero(~seen)
    assert 0 < narrow.unexplained.sum() < narrow.source_counts[narrow.used_channels()].sum()
    # A background explains them.
    assert len(engine.unexplained) == 0
