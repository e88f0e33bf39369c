"""The lattice of starting points."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from icflow import config
from icflow.config import FitModel, Free, Link
from icflow.engines.embedded import lattice
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.engines.embedded.lattice import ABUNDANCES, Lattice
from icflow.engines.embedded.shapes import Shapes, model_counts
from icflow.statistic import channels

Z = 0.05


def plasmas(number: int) -> FitModel:
    """Plasmas that share abundance and redshift."""
    names = ["apec", *(f"apec_{i + 3}" for i in range(number - 1))]
    parameters: dict[str, Any] = {
        "TBabs.nH": 0.00858,
        "apec.Abundanc": Free(free=[0.0, 5.0]),
        "apec.Redshift": Z,
    }
    for name in names:
        parameters[f"{name}.kT"] = Free(free=[0.5, 15.0])
        parameters[f"{name}.norm"] = Free(free=[0.0, 100.0])
        if name != "apec":
            parameters |= {
                f"{name}.{shared}": Link(link=f"apec.{shared}")
                for shared in ("Abundanc", "Redshift")
            }
    return FitModel(expression=f"tbabs*({'+'.join(['apec'] * number)})", parameters=parameters)


def coarse(made: Lattice) -> tuple[Shapes, np.ndarray]:
    theta = np.where(np.isnan(made.model.start), 1.0, made.model.start)
    return made.tables.in_coarse_bins.exact(theta), theta


@pytest.fixture(scope="module")
def two(engine: EmbeddedEngine, run: config.Config) -> Lattice:
    return engine.task(plasmas(2), run.fits, ()).fitter.lattice


def test_a_point_of_the_lattice_is_found_again(two: Lattice) -> None:
    shapes, theta = coarse(two)
    nodes, position = two.tables.temperatures, two.model.position
    theta[position["apec.kT"]], theta[position["apec_3.kT"]] = nodes[4], nodes[11]
    theta[position["apec.Abundanc"]] = ABUNDANCES[1]
    theta[position["apec.norm"]], theta[position["apec_3.norm"]] = 0.3, 0.6
    counts = np.round(model_counts(shapes, theta))
    (score, start), *others = two.ranked(shapes, channels(counts), two.model.start.copy(), 6)
    kT = sorted(start[[position["apec.kT"], position["apec_3.kT"]]])
    assert kT == [nodes[4], nodes[11]]
    assert start[position["apec.Abundanc"]] == ABUNDANCES[1]
    norms = start[[position["apec.norm"], position["apec_3.norm"]]]
    assert sorted(norms) == pytest.approx([0.3, 0.6], rel=0.05)
    assert len(others) == 5 and all(score <= other for other, _ in others)


def test_several_redshifts_are_ranked_as_one_by_one(two: Lattice) -> None:
    thinned = Lattice(two.model, two.tables, 2)
    assert np.array_equal(thinned.temperatures, two.temperatures[::2])
    shapes, theta = coarse(two)
    counts = channels(np.round(model_counts(shapes, theta)))
    shapes = shapes._replace(
        plasma=np.concatenate([0.9 * shapes.plasma, shapes.plasma])[:, :, ::2],
        temperatures=thinned.temperatures,
    )
    thetas = [two.model.start.copy(), two.model.start + 1.0]
    together = thinned.ranked_along(shapes, counts, thetas, 2)
    alone = [
        pair
        for node, at in enumerate(thetas)
        for pair in thinned.ranked(
            shapes._replace(plasma=shapes.plasma[node : node + 1]), counts, at, 2
        )
    ]
    for one, other in zip(together, sorted(alone, key=lambda pair: pair[0]), strict=True):
        assert one[0] == pytest.approx(other[0], rel=1e-9)
        np.testing.assert_allclose(one[1], other[1], rtol=1e-6)


def test_starts_are_no_neighbours_and_no_mirror_images(two: Lattice) -> None:
    shapes, theta = coarse(two)
    counts = np.round(model_counts(shapes, theta))
    position = two.model.position
    places = []
    for _, start in two.ranked(shapes, channels(counts), two.model.start.copy(), 8):
        kT = np.sort(start[[position["apec.kT"], position["apec_3.kT"]]])
        cells = np.searchsorted(two.tables.temperatures, kT)
        places.append((*cells, ABUNDANCES.index(start[position["apec.Abundanc"]])))
    for i, place in enumerate(places):
        for other in places[:i]:
            assert np.abs(np.subtract(place, other)).max() >= 2


def test_three_plasmas_have_one_point_for_six_images(
    engine: EmbeddedEngine, run: config.Config
) -> None:
    made = engine.task(plasmas(3), run.fits, ()).fitter.lattice
    assert len(made.images) == 6
    shapes, theta = coarse(made)
    made.ranked(shapes, channels(np.round(model_counts(shapes, theta))), made.model.start.copy(), 1)
    assert made._points is not None
    n = len(made.slots[made.model.position["apec.kT"]])
    assert len(made._points[2]) == len(ABUNDANCES) * n * (n + 1) * (n + 2) // 6


def test_too_many_points_are_thinned(
    engine: EmbeddedEngine, run: config.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lattice, "MOST_POINTS", 300)
    made = engine.task(plasmas(2), run.fits, ()).fitter.lattice
    sizes = [len(values) for values in made.slots.values()]
    assert np.prod(sizes) <= 300
    # Plasmas alike keep the same temperatures, or they could not be exchanged.
    assert len(made.images) == 2
    assert max(sizes) < len(made.tables.temperatures)


def test_compiled_and_plain_code_agree(two: Lattice) -> None:
    random = np.random.default_rng(1)
    rows = random.uniform(1, 2, (8, 40))
    gram, pull = rows @ rows.T, rows @ random.uniform(3, 5, 40)
    places = random.integers(0, 8, (20, 2, 2))
    weights = random.uniform(0, 1, (20, 2, 2))
    held = np.array([np.nan, 0.7])
    arguments = gram, pull, places, weights, held
    fast, plain = lattice._screen(*arguments), lattice._screen.py_func(*arguments)
    np.testing.assert_allclose(fast[0], plain[0], rtol=1e-12)
    assert (fast[1][:, 1] == 0.7).all() and (fast[1] >= 0).all()


def test_norms_are_held_at_each_redshift_where_they_are_there(two: Lattice) -> None:
    shapes, theta = coarse(two)
    counts = channels(np.round(model_counts(shapes, theta)))
    shapes = shapes._replace(plasma=np.concatenate([shapes.plasma, shapes.plasma]))
    held = Lattice(two.model, two.tables)
    held._norms_free = np.array([True, False])
    thetas = [two.model.start.copy(), two.model.start.copy()]
    position = two.model.position["apec_3.norm"]
    thetas[0][position], thetas[1][position] = 0.2, 0.4
    starts = [start for _, start in held.ranked_along(shapes, counts, thetas, 2)]
    assert sorted(start[position] for start in starts) == [0.2, 0.2, 0.4, 0.4]


def test_norms_of_backgrounds_are_marginalised_over() -> None:
    """The lowest C/2 over the norms of backgrounds, with what is known of them."""
    random = np.random.default_rng(2)
    rows, weight = random.uniform(1, 2, (2, 5, 30)), random.uniform(0.5, 2, 30)
    counts, beside = random.uniform(3, 8, 30), np.array([3, 4])
    middle, spread = np.array([1.0, 0.9]), np.array([0.06, 0.1])
    arguments = rows, weight, counts, beside, middle, spread
    grams, pulls = lattice._equations(*arguments)
    for one, other in zip((grams, pulls), lattice._equations.py_func(*arguments), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)
    for z, own in enumerate(rows):

        def lowest(norms: np.ndarray, own: np.ndarray = own) -> float:
            sources, known = np.delete(own, beside, axis=0), own[beside]
            left = counts - norms @ sources
            info = (known * weight) @ known.T + np.diag(spread**-2)
            best = np.linalg.solve(info, (known * weight) @ left + middle * spread**-2)
            missed = left - best @ known
            return 0.5 * weight @ missed**2 + 0.5 * np.sum(((best - middle) / spread) ** 2)

        free, nothing = np.arange(3), lowest(np.zeros(3))
        for norms in random.uniform(0, 2, (5, 3)):
            change = 0.5 * norms @ grams[z][np.ix_(free, free)] @ norms - pulls[z][free] @ norms
            assert change == pytest.approx(lowest(norms) - nothing, rel=1e-9)
    alone = lattice._equations(rows, weight, counts, beside[:0], middle[:0], spread[:0])
    np.testing.assert_allclose(alone[0][1], (rows[1] * weight) @ rows[1].T, rtol=1e-12)
    np.testing.assert_allclose(alone[1][0], rows[0] @ (weight * counts), rtol=1e-12)
