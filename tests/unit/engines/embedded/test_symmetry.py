"""Plasmas that can be exchanged."""

from __future__ import annotations

import numpy as np

from icflow.engines.embedded.shapes import PLASMA, ROW, Box
from icflow.engines.embedded.symmetry import exchangeable, first_image, is_first, orders

# kT 0, 3, 5; abundance 1; redshift 2; norms 4, 6, 7.
THREE = np.array(
    [
        [PLASMA, 0, 4, 0, 1, 2],
        [PLASMA, 0, 6, 3, 1, 2],
        [ROW, 0, 8, 0, 0, 0],
        [PLASMA, 0, 7, 5, 1, 2],
    ]
)


def box(**changed: float) -> Box:
    upper = np.full(9, 10.0)
    for name, value in changed.items():
        upper[int(name[1:])] = value
    return Box(np.arange(9), np.zeros(9), upper)


def test_three_plasmas_alike_have_six_orders() -> None:
    (group,) = exchangeable(THREE, box())
    assert group[:, 3].tolist() == [0, 3, 5]
    found = orders([group], [0, 1, 3, 5])
    assert found[0].tolist() == [0, 1, 2, 3]
    assert len({tuple(order) for order in found}) == len(found) == 6
    assert all(order[1] == 1 for order in found)


def test_other_limits_tables_and_priors_tell_plasmas_apart() -> None:
    (group,) = exchangeable(THREE, box(p3=12.0))
    assert group[:, 3].tolist() == [0, 5]
    assert exchangeable(THREE, box(p3=12.0, p6=9.0, p7=8.0)) == []
    other = THREE.copy()
    other[:, 1] = [0, 1, 0, 2]
    assert exchangeable(other, box()) == []
    priors = dict.fromkeys(range(9), "flat") | {5: "steep", 0: "steep"}
    (group,) = exchangeable(THREE, box(), priors)
    assert group[:, 3].tolist() == [0, 5]


def test_what_is_frozen_cannot_be_exchanged() -> None:
    free = np.array([0, 1, 4, 5, 6, 7])
    (group,) = exchangeable(THREE, Box(free, np.zeros(6), np.full(6, 10.0)))
    assert group[:, 3].tolist() == [0, 5]


def test_orders_that_lead_out_of_the_parameters_are_left_out() -> None:
    (group,) = exchangeable(THREE, box())
    # The norm of the third plasma is not among them.
    found = orders([group], [0, 3, 5, 4, 6])
    assert [order.tolist() for order in found] == [[0, 1, 2, 3, 4], [1, 0, 2, 4, 3]]


def test_one_of_all_images_is_kept() -> None:
    images = orders(exchangeable(THREE, box()), [0, 1, 3, 5])
    points = np.indices((4, 2, 4, 4)).reshape(4, -1).T
    kept = points[is_first(points, images)]
    assert len(kept) == 2 * 20  # multisets of three out of four
    assert (np.diff(kept[:, [0, 2, 3]], axis=1) >= 0).all()
    ordered = first_image(points.astype(float), images)
    np.testing.assert_array_equal(ordered[:, [0, 2, 3]], np.sort(points[:, [0, 2, 3]], axis=1))
    np.testing.assert_array_equal(ordered[:, 1], points[:, 1])
    np.testing.assert_array_equal(first_image(ordered, ()), ordered)
