"""What wrong calibration makes of rows of counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from icflow.engines.embedded.correction import Correction, moved

AREA = np.array([1.0, 1.1, 0.9, 1.0, 1.2, 1.0, 1.0, 1.0])
PLACES = np.arange(9.0) + 0.6
ROWS = np.random.default_rng(1).random((2, 3, 8))


def test_edges_that_stay_move_nothing() -> None:
    counts = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0])
    np.testing.assert_allclose(moved(counts, np.arange(7.0)), counts, rtol=1e-12)


def test_what_leaves_the_channels_is_lost() -> None:
    counts = np.ones(6)
    found = moved(counts, np.minimum(np.arange(7.0) + 2, 6.0))
    np.testing.assert_allclose(found, [1, 1, 1, 1, 0, 0], atol=1e-12)


def test_rows_are_corrected_each_by_itself() -> None:
    correction = Correction(AREA, PLACES)
    found = correction(ROWS)
    assert found.shape == ROWS.shape
    np.testing.assert_allclose(found[1, 2], moved(AREA * ROWS[1, 2], PLACES), rtol=1e-14)
    # A sum of what is corrected is the corrected sum: even a step is not cut off.
    step = np.array([0.0, 0.0, 0.0, 5.0, 0.0, 0.0, 0.0, 0.0])
    both = correction(np.stack([step, ROWS[0, 0], step + ROWS[0, 0]]))
    assert both[0].min() < 0
    np.testing.assert_allclose(both[0] + both[1], both[2], atol=1e-14)


def test_particles_do_not_come_through_the_optics() -> None:
    np.testing.assert_allclose(Correction(AREA, None)(ROWS), AREA * ROWS)
    assert np.array_equal(Correction(AREA, None)(ROWS, optics=False), ROWS)
    single = ROWS.astype(np.float32)
    assert Correction(None, None)(single).dtype == np.float64


def test_corrections_are_told_apart() -> None:
    every = [Correction(a, p) for a in (None, AREA, AREA**2) for p in (None, PLACES)]
    assert len({correction.digest for correction in every}) == len(every)
    assert replace(every[-1], places=PLACES.copy()).digest == every[-1].digest


def test_counts_reach_no_further_than_said() -> None:
    lone = np.zeros(40)
    lone[20] = 1.0
    correction = Correction(None, np.clip(np.arange(41.0) - 3.4, 0, 40))
    reached = np.flatnonzero(np.abs(correction(lone)) > 1e-12)
    assert 20 < reached.max() <= 20 + correction.farthest
    assert Correction(AREA, None).farthest == 0
