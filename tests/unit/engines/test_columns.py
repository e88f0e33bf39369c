"""Fits as columns of a table."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator
from dataclasses import replace

from icflow.engines.base import FitResult, failed_fit
from icflow.engines.columns import columns_of

GOOD = FitResult(
    cstat=12.5, dof=5, bins=8, converged=True, starts=3, agreeing=2, iterations=4, gradient=1e-9,
    values={"a.kT": 5.0, "a.norm": 0.1}, errors={"a.kT": 0.2, "a.norm": 0.0}, free=("a.kT",),
    at_bound=("a.kT", "a.Z"), intervals={"a.kT": (4.8, 5.3)},
)  # fmt: skip


def test_a_row_for_each_and_an_error_where_it_was_fitted() -> None:
    failed = failed_fit({"a.kT": False, "a.norm": True}, ["a.kT"], "no counts")
    columns = columns_of([GOOD, failed])
    assert columns["status"] == ["ok", "no counts"]
    assert columns["at_bound"] == ["a.kT,a.Z", ""]
    assert columns["a.kT"][0] == 5.0 and math.isnan(columns["a.kT"][1])
    assert columns["a.kT_error"][0] == 0.2 and "a.norm_error" not in columns
    assert {len(values) for values in columns.values()} == {2}


def test_profiles_have_both_ends() -> None:
    columns = columns_of([GOOD, replace(GOOD, intervals={})], intervals=True)
    assert columns["a.kT_lower"][0] == 4.8 and columns["a.kT_upper"][0] == 5.3
    assert math.isnan(columns["a.kT_upper"][1]) and "a.norm_lower" not in columns


def test_without_fits_there_are_no_parameters() -> None:
    assert columns_of([])["cstat"] == []


def test_fits_of_a_large_set_are_not_kept() -> None:
    def fits() -> Iterator[FitResult]:
        given: list[weakref.ref[FitResult]] = []
        for number in range(4):
            # Whoever loops still holds the last one.
            assert all(earlier() is None for earlier in given[:-1])
            result = replace(GOOD, cstat=float(number))
            given.append(weakref.ref(result))
            yield result
            del result

    assert columns_of(fits())["cstat"] == [0.0, 1.0, 2.0, 3.0]
