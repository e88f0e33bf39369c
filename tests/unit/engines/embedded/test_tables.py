"""Which term gets which table, and that all tables together are the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from icflow import config
from icflow.config import AtomicData, FitModel, Free, Instrument, Link, Module
from icflow.engines.embedded import folded
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.engines.embedded.shapes import BACKGROUND, CURVE, PLASMA, ROW, model_counts
from icflow.engines.embedded.tables import Tables
from icflow.statistic import channels

MODEL = FitModel(
    expression="tbabs*(apec+apec+powerlaw+bremss)",
    parameters={
        "TBabs.nH": 0.5,
        "apec.kT": Free(free=[1.0, 12.0]),
        "apec.Abundanc": Free(free=[0.0, 2.0]),
        "apec.Redshift": Free(free=[0.02, 0.1]),
        "apec_3.kT": Free(free=[1.0, 12.0]),
        "apec_3.Abundanc": Link(link="apec.Abundanc"),
        "apec_3.Redshift": Link(link="apec.Redshift"),
        "powerlaw.PhoIndex": Free(free=[1.0, 3.0]),
        "bremss.kT": 6.0,
        **{f"{n}.norm": Free(free=[0.0, 10.0]) for n in ("apec", "apec_3", "powerlaw", "bremss")},
    },
)
VALUES = {
    "apec.kT": 4.3,
    "apec.Abundanc": 0.4,
    "apec.Redshift": 0.0513,
    "apec.norm": 0.1,
    "apec_3.kT": 8.8,
    "apec_3.norm": 0.2,
    "powerlaw.PhoIndex": 1.83,
    "powerlaw.norm": 0.01,
    "bremss.norm": 0.05,
    "TBabs.nH": 0.5,
    "bremss.kT": 6.0,
}
LINKED = {"apec_3.Abundanc": 0.4, "apec_3.Redshift": 0.0513}


@pytest.fixture(scope="module")
def pair(instrument: Instrument, atomdb: Any) -> EmbeddedEngine:
    """Two modules alike, the second with a third of the exposure and no background."""
    files = {name: getattr(instrument, name) for name in ("rmf", "arf")}
    modules = [
        Module(name="A", exposure=1e6, background=instrument.background, **files),
        Module(name="B", exposure=3e5, cross_normalisation=1.1, **files),
    ]
    return EmbeddedEngine(modules, AtomicData(folder=str(atomdb)))


def at_values(engine: EmbeddedEngine, run: config.Config, **more: float) -> tuple[Tables, Any]:
    task = engine.task(MODEL, run.fits, ())
    given = VALUES | {f"background.{name}": 1.0 for name in engine.backgrounds} | more
    return task.fitter.tables, np.array([given[name] for name in task.model.names])


def test_every_term_has_the_table_that_it_needs(engine: EmbeddedEngine, run: config.Config) -> None:
    tables, _ = at_values(engine, run)
    assert tables.terms[:, 0].tolist() == [PLASMA, PLASMA, CURVE, ROW, *[BACKGROUND] * 4]
    assert len(tables.plasma) == 1 and not tables.direct.terms


def test_tables_together_are_the_model(engine: EmbeddedEngine, run: config.Config) -> None:
    tables, theta = at_values(engine, run)
    exact = engine.predict(MODEL.expression, VALUES | LINKED)[35:1959]
    found = model_counts(tables.exact(theta), theta)
    assert np.abs(found / exact - 1).max() < 1e-5
    coarse = model_counts(tables.in_coarse_bins.exact(theta), theta)
    np.testing.assert_allclose(coarse, np.add.reduceat(found, tables.coarse), rtol=1e-7)
    # Smooth in redshift: the same on average, not in every bin.
    smooth = model_counts(tables.smooth(), theta)
    assert smooth.sum() == pytest.approx(coarse.sum(), rel=1e-3)


def test_bins_are_single_channels_where_lines_are(
    engine: EmbeddedEngine, run: config.Config
) -> None:
    tables, theta = at_values(engine, run)
    merged = tables.in_line_bins
    single = np.flatnonzero(np.diff(merged.runs) > 1)[0]
    # Iron and nickel stand below 9 keV, and nothing above 13 keV.
    assert 150 < single < 250 and len(merged.runs) < 600
    assert set(tables.coarse) <= set(merged.runs.tolist())
    exact = model_counts(tables.exact(theta), theta)
    found = model_counts(merged.exact(theta), theta)
    np.testing.assert_allclose(found, np.add.reduceat(exact, merged.runs), rtol=1e-7)
    coarse = tables.in_coarse_bins.exact(theta)
    for shapes, runs in ((tables.exact(theta), tables.runs), (merged.exact(theta), merged.runs)):
        blurred = tables.blurred(shapes, runs)
        for one, other in zip(blurred, coarse, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)


def test_channels_are_added_up_once(
    engine: EmbeddedEngine, run: config.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables, theta = at_values(engine, run)
    first = tables.in_coarse_bins.exact(theta).plasma
    tables, _ = at_values(engine, run)
    monkeypatch.setattr(folded.PlasmaTable, "merged", lambda *_: pytest.fail("added up"))
    assert np.array_equal(tables.in_coarse_bins.exact(theta).plasma, first)
    with pytest.raises(pytest.fail.Exception, match="added up"):
        tables.merged(tables.coarse[::2])


def test_counts_stand_in_bins_that_both_tables_and_spectrum_have(
    engine: EmbeddedEngine, run: config.Config
) -> None:
    tables, _ = at_values(engine, run)
    merged, n = tables.in_line_bins, tables.rows.shape[1]
    counts = np.random.default_rng(2).poisson(5.0, n).astype(float)
    whole = merged.data(channels(counts))
    np.testing.assert_array_equal(whole.counts, np.add.reduceat(counts, merged.runs))
    assert whole.starts.tolist() == list(range(len(merged.runs)))
    # Bins of three channels, which leave the first one out.
    starts = np.arange(1, n, 3)
    joined = merged.data(channels(counts), starts)
    first = merged.runs[joined.starts]
    assert first[0] == 0 and set(first[1:].tolist()) <= set(starts.tolist())
    assert set(starts[starts < 150].tolist()) <= set(first.tolist())
    np.testing.assert_array_equal(joined.starts[1:], joined.stops[:-1])
    np.testing.assert_array_equal(joined.counts, np.add.reduceat(counts, first))
    behind = channels(counts)._replace(behind=2 * counts, ratio=np.full(n, 2.5))
    other = merged.data(behind, starts)
    np.testing.assert_array_equal(other.behind, 2 * joined.counts)
    np.testing.assert_allclose(other.ratio, 2.5)


def test_modules_stand_side_by_side(
    engine: EmbeddedEngine, pair: EmbeddedEngine, run: config.Config
) -> None:
    one, at = at_values(engine, run)
    single = model_counts(one.exact(at), at)
    tables, theta = at_values(pair, run, **{"factor.B": 1.1})
    both = model_counts(tables.exact(theta), theta)
    n = len(single)
    assert tables.modules.tolist() == [[n, -1], [2 * n, tables.modules[1, 1]]]
    np.testing.assert_allclose(both[:n], single, rtol=1e-12)
    background = sum(row[35:1959] for row in engine.backgrounds.values())
    np.testing.assert_allclose(both[n:], 0.33 * (single - background), rtol=1e-9)
    predicted = pair.predict(MODEL.expression, VALUES | LINKED)
    chosen = pair.selection(run.fits.energies).channels
    assert np.abs(both / predicted[chosen] - 1).max() < 1e-5
    coarse = model_counts(tables.in_coarse_bins.exact(theta), theta)
    np.testing.assert_allclose(coarse, np.add.reduceat(both, tables.coarse), rtol=1e-7)


def test_a_mixture_is_put_together_again(pair: EmbeddedEngine, run: config.Config) -> None:
    tables, theta = at_values(pair, run, **{"factor.B": 1.1})
    shapes = tables.exact(theta)
    model, parts = tables.mixture(shapes, theta, 3)
    assert [part.first for part in parts] == [0, len(model) // 2]
    for table, amounts, first in parts:
        folded.add_mix(table, amounts, theta[3:4], first, model[None])
    np.testing.assert_allclose(model, model_counts(shapes, theta), rtol=1e-6)


def test_only_the_cells_around_temperatures_are_filled(
    engine: EmbeddedEngine, run: config.Config
) -> None:
    tables, theta = at_values(engine, run)
    nodes, limits = tables.neighbourhood(tables.cells(theta))
    every, cells = tables.temperatures, tables.cells(theta)
    for position, cell in zip((1, 5), cells, strict=True):
        assert every[cell] <= theta[position] < every[cell + 1]
        assert limits[position] == (every[cell - 1], every[cell + 2])
    part, whole = tables.exact(theta, nodes), tables.exact(theta)
    np.testing.assert_array_equal(part.plasma[:, :, nodes], whole.plasma[:, :, nodes])
    np.testing.assert_allclose(model_counts(part, theta), model_counts(whole, theta), rtol=1e-14)


def test_factors_are_drawn_with_the_spectra(pair: EmbeddedEngine) -> None:
    counts, truth = pair.fake(MODEL.expression, VALUES | LINKED, 1, "pair", range(3))
    assert truth["factor.B"].tolist() == [1.1] * 3
    expected = pair.predict(MODEL.expression, VALUES | LINKED)
    spread = np.sqrt(expected.sum() / 3)
    assert abs(counts.sum(axis=1).mean() - expected.sum()) < 5 * spread
