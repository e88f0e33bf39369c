"""Responses, the channels of several modules, and bins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

from icflow import cache
from icflow.config import AtomicData, FitControl, FitModel, Instrument, Module
from icflow.engines.embedded import folding
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.engines.embedded.folding import Behind, Response, Selection
from icflow.errors import IcflowError
from icflow.models import library
from icflow.models.background import (
    AreaNodes,
    BackgroundComponent,
    read_background,
    write_background,
)
from icflow.ogip.response import Rmf


def response(matrix: np.ndarray) -> Response:
    n_energies, n_channels = matrix.shape
    edges = np.linspace(1.0, 5.0, n_energies + 1)
    bounds = np.linspace(1.0, 5.0, n_channels + 1)
    return Response(
        Rmf(
            edges[:-1],
            edges[1:],
            csr_array(matrix),
            np.arange(n_channels),
            bounds[:-1],
            bounds[1:],
            telescope="T",
            instrument="I",
        ),
        None,
    )


def test_the_key_of_a_response_names_all_that_folding_depends_on() -> None:
    matrix = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    other = np.array([[0.5, 0.0, 0.0], [0.0, 0.5, 1.0]])
    # The same numbers in the same channels, but in other rows.
    assert response(matrix).key != response(other).key
    assert response(matrix).key == response(matrix.copy()).key
    wider = np.pad(matrix, ((0, 0), (0, 1)))
    assert response(matrix).key != response(wider).key


def test_photons_are_redistributed() -> None:
    matrix = np.array([[0.5, 0.5, 0.0], [0.0, 0.25, 0.75]])
    made = response(matrix)
    np.testing.assert_allclose(made.fold(np.array([4.0, 8.0])), [2.0, 4.0, 6.0])
    np.testing.assert_allclose(
        made.fold(np.array([4.0, 8.0]), np.array([2.0, 0.5])), [4.0, 5.0, 3.0]
    )
    several = np.random.default_rng(1).random((5, 2))
    assert np.array_equal(made.fold(several), [made.fold(photons) for photons in several])


def test_a_background_is_folded_anew_where_it_differs(
    engine: EmbeddedEngine, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICFLOW_CACHE", str(tmp_path))
    part = read_background(root / "resources/background/nustar_fpma.yaml")[0]
    own = engine.foldings[0].response
    first = folding.fold_background(part, own)

    def fold(component: BackgroundComponent, response: Response) -> np.ndarray:
        raise AssertionError("folded")

    monkeypatch.setattr(folding, "_fold_background", fold)
    monkeypatch.setattr(cache, "_recent", {})
    assert np.array_equal(folding.fold_background(part, own), first)
    values = {name: 2 * value for name, value in part.values.items()}
    nodes = AreaNodes(nodes=[[1.0, 0.5], [200.0, 0.9]], interpolation="loglog")
    for other in (
        replace(part, values=values),
        replace(part, redistribution="source"),
        replace(part, area=nodes),
    ):
        with pytest.raises(AssertionError, match="folded"):
            folding.fold_background(other, own)
    with pytest.raises(AssertionError, match="folded"):
        folding.fold_background(part, response(np.eye(3)))
    # Abundances are set for all calls of the library.
    monkeypatch.setattr(library, "_configured", AtomicData(abundances="wilm"))
    with pytest.raises(AssertionError, match="folded"):
        folding.fold_background(part, own)


def test_a_range_of_the_background_file_goes_before_that_of_fits(
    instrument: Instrument, atomdb: Path, tmp_path: Path
) -> None:
    parts = read_background(str(instrument.background))
    ranges = {"aperture": 0.3, "focused": 2.0, "lines": 0.0}
    path = tmp_path / "ranges.yaml"
    write_background(path, "x", [replace(c, range=ranges.get(c.name)) for c in parts])
    data = AtomicData(folder=str(atomdb))
    engine = EmbeddedEngine([instrument.model_copy(update={"background": str(path)})], data)
    expected = {
        "background.continuum": pytest.approx((0.9, 1.1)),
        "background.aperture": pytest.approx((0.7, 1.3)),
        "background.lines": (1.0, 1.0),
        "background.focused": (0.0, 3.0),
    }
    assert engine.background_limits(0.1) == expected
    # Of components by name, others staying where the file says nothing.
    each = {"continuum": 0.2, "aperture": 0.4}
    expected["background.continuum"] = pytest.approx((0.8, 1.2))
    assert engine.background_limits(each) == expected
    expected["background.continuum"] = (1.0, 1.0)
    assert engine.background_limits({"aperture": 0.4}) == expected
    control = FitControl(
        energies=[3.0, 80.0], group_min=1, background_range=0.0, starts=1, max_iterations=9
    )
    model = FitModel(expression="powerlaw", parameters={"powerlaw.PhoIndex": 2.0})
    plan = engine.plan(model, control, ())
    # Free where the file says so, whatever the fit says.
    assert [plan.names[p] for p in plan.free] == ["background.aperture", "background.focused"]
    box = plan.box()
    assert box.lower.tolist() == pytest.approx([0.7, 0.0])
    assert box.upper.tolist() == pytest.approx([1.3, 3.0])
    given = engine.plan(model, control, (), {"background.aperture": (0.5, 1.5)})
    assert given.box().lower.tolist() == pytest.approx([0.5, 0.0])


@pytest.fixture(scope="module")
def pair(instrument: Instrument, atomdb: object) -> EmbeddedEngine:
    files = {name: getattr(instrument, name) for name in ("rmf", "arf", "background")}
    modules = [Module(name=name, exposure=1e6, **files) for name in "AB"]
    return EmbeddedEngine(modules, AtomicData(folder=str(atomdb)))


def test_backgrounds_have_the_names_of_their_modules(
    engine: EmbeddedEngine, pair: EmbeddedEngine
) -> None:
    n = engine.n_channels
    assert list(engine.backgrounds) == ["continuum", "aperture", "lines", "focused"]
    assert list(pair.backgrounds)[3:5] == ["A.focused", "B.continuum"]
    both = pair.backgrounds["B.lines"]
    assert not both[:n].any()
    np.testing.assert_array_equal(both[n:], engine.backgrounds["lines"])


def test_norms_of_a_component_have_one_range_in_all_modules(pair: EmbeddedEngine) -> None:
    limits = pair.background_limits({"focused": 0.9})
    for module in "AB":
        assert limits[f"background.{module}.focused"] == pytest.approx((0.1, 1.9))
        assert limits[f"background.{module}.lines"] == (1.0, 1.0)


def test_channels_and_bins_of_modules_stand_one_after_another(
    engine: EmbeddedEngine, pair: EmbeddedEngine, spectra: np.ndarray
) -> None:
    alone, both = Selection(engine.foldings, [3.0, 80.0]), Selection(pair.foldings, [3.0, 80.0])
    assert alone.channels[[0, -1]].tolist() == [35, 1958]
    n, width = engine.n_channels, len(alone.channels)
    assert both.channels.tolist() == [*alone.channels, *(alone.channels + n)]
    first, inside = alone.data(spectra[1], 100, None)
    data, counts = both.data(np.concatenate([spectra[1], spectra[1]]), 100, None)
    np.testing.assert_array_equal(counts.counts, np.tile(inside.counts, 2))
    # Each module has bins of its own counts, or there is no fit.
    few = np.zeros_like(spectra[1])
    few[100] = 7
    with pytest.raises(IcflowError, match=r"^B: no bin of at least 100 counts .* spectrum has 7;"):
        both.data(np.concatenate([spectra[1], few]), 100, None)
    for one, other, shift in zip(first[:3], data[:3], (0, width, width), strict=True):
        np.testing.assert_array_equal(other, np.concatenate([one, one + shift]))
    coarse = both.coarse_bins()
    assert coarse.tolist() == [*alone.coarse_bins(), *(alone.coarse_bins() + width)]


def test_bins_may_be_given(engine: EmbeddedEngine, spectra: np.ndarray) -> None:
    selection = Selection(engine.foldings, [3.0, 80.0])
    groups = np.array([40, 60]), np.array([60, 61])
    data, _ = selection.data(spectra[1], 100, groups)
    assert data.counts.tolist() == [spectra[1][40:60].sum(), spectra[1][60]]
    assert data.starts.tolist() == [5, 25] and data.stops.tolist() == [25, 26]


def test_spectra_without_counts_are_refused(engine: EmbeddedEngine, pair: EmbeddedEngine) -> None:
    for made, subject in ((engine, "the spectrum has"), (pair, "the spectra have")):
        selection = Selection(made.foldings, [3.0, 80.0])
        with pytest.raises(IcflowError, match=f"{subject} no counts in the energy range"):
            selection.data(np.zeros(made.n_channels, dtype=int), 100, None)


def test_areascal_multiplies_source_and_backgrounds_by_channel(engine: EmbeddedEngine) -> None:
    areas = np.ones(engine.n_channels)
    areas[100:200], areas[200:210] = 0.5, 0.0
    scaled = engine.scaled([areas])
    model = {"powerlaw.PhoIndex": 2.0, "powerlaw.norm": 1e-3}
    plain = engine.predict("powerlaw", model)
    np.testing.assert_allclose(scaled.predict("powerlaw", model), areas * plain, rtol=1e-12)
    for name, row in engine.backgrounds.items():
        np.testing.assert_allclose(scaled.backgrounds[name], areas * row, rtol=1e-12)
    assert engine.scaled([np.ones(engine.n_channels)]).foldings[0] is engine.foldings[0]


def test_a_background_spectrum_comes_in_the_same_bins(
    engine: EmbeddedEngine, spectra: np.ndarray
) -> None:
    selection = Selection(engine.foldings, [3.0, 80.0])
    groups = np.array([40, 60]), np.array([60, 61])
    behind = Behind(spectra[2:4], np.array([2.0, 4.0]))
    data, channels = selection.data(spectra[1], 100, groups, behind, 1)
    assert data.behind.tolist() == [spectra[3][40:60].sum(), spectra[3][60]]
    assert data.ratio.tolist() == [2.0, 4.0]
    np.testing.assert_array_equal(channels.behind, spectra[3][selection.channels])
    assert channels.ratio[[0, 5, 24, 25, 100]].tolist() == [2.0, 2.0, 2.0, 4.0, 4.0]
