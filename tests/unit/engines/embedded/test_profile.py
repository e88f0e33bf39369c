"""Ends of intervals, for profiles whose ends are known."""

from __future__ import annotations

import math

import pytest

from icflow.engines.embedded.profile import end_of_interval


@pytest.mark.parametrize("guess", [0.01, 0.5, 1.0, 7.0])
@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("delta", [1.0, 2.706])
def test_parabola(guess: float, side: int, delta: float) -> None:
    end = end_of_interval(lambda x: ((x - 3) / 2) ** 2, 3.0, 3 + side * guess, side * 99.0, delta)
    assert end == pytest.approx(3 + side * 2 * math.sqrt(delta), abs=0.05)


def test_limit_is_the_end_where_nothing_rises() -> None:
    assert end_of_interval(lambda x: 0.1 * x, 0.0, 0.2, 5.0, 1.0) == 5.0
    assert end_of_interval(lambda x: 0.0, 0.0, -0.2, -1.0, 1.0) == -1.0


def test_jump_and_kink() -> None:
    end = end_of_interval(lambda x: 0.0 if x < 2 else 30.0, 0.0, 5.0, 10.0, 1.0)
    assert end == pytest.approx(2.0, abs=0.01)
    end = end_of_interval(lambda x: 0.1 * x if x < 1 else 0.1 + 9 * (x - 1), 0.0, 0.5, 10.0, 1.0)
    assert end == pytest.approx(1.1, abs=0.01)


def test_a_lower_minimum_on_the_way_is_crossed() -> None:
    end = end_of_interval(lambda x: (x - 1) ** 2 - 1, 0.0, 0.5, 10.0, 1.0)
    assert end == pytest.approx(1 + math.sqrt(2), abs=0.02)
