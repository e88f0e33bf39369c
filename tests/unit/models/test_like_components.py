"""Like components in an order of their own."""

from __future__ import annotations

import numpy as np

from icflow.models.like_components import in_order

COLUMNS = {
    "apec.norm": np.array([1.0, 2.0, 3.0]),
    "apec.kT": np.array([5.0, 9.0, 4.0]),
    "apec_3.norm": np.array([10.0, 20.0, 30.0]),
    "apec_3.kT": np.array([7.0, 3.0, 4.0]),
    "TBabs.nH": np.array([0.1, 0.2, 0.3]),
}


def test_the_cooler_plasma_comes_first_with_all_that_is_its_own() -> None:
    ordered = in_order(COLUMNS)
    assert list(ordered) == list(COLUMNS)
    assert ordered["apec.kT"].tolist() == [5.0, 3.0, 4.0]
    assert ordered["apec_3.kT"].tolist() == [7.0, 9.0, 4.0]
    # Equally hot ones stay as they are.
    assert ordered["apec.norm"].tolist() == [1.0, 20.0, 3.0]
    assert ordered["apec_3.norm"].tolist() == [10.0, 2.0, 30.0]
    assert ordered["TBabs.nH"] is COLUMNS["TBabs.nH"]


def test_a_parameter_that_only_one_of_them_has_stays() -> None:
    columns = {**COLUMNS, "apec.Redshift": np.array([0.1, 0.2, 0.3])}
    assert in_order(columns)["apec.Redshift"].tolist() == [0.1, 0.2, 0.3]


def test_without_temperatures_the_first_parameter_decides() -> None:
    columns = {"powerlaw.norm": np.array([2.0]), "powerlaw_2.norm": np.array([1.0])}
    assert {name: values[0] for name, values in in_order(columns).items()} == {
        "powerlaw.norm": 1.0,
        "powerlaw_2.norm": 2.0,
    }
