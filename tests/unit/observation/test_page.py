"""Numbers as the page of an observation writes them; the page is tested with the analysis."""

from __future__ import annotations

import pytest

from icflow.observation import page


@pytest.mark.parametrize(
    ("value", "interval", "text"),
    [
        (8.123, [8.0, 8.3], "$8.12_{-0.12}^{+0.18}$"),
        (8.123, [None, 8.3], r"$8.12_{-\mathrm{lim}}^{+0.18}$"),
        (2.5e-3, [2.1e-3, 2.8e-3], "$2.50_{-0.40}^{+0.30}$ × 10$^{-3}$"),
        (0.0, [None, 5.7e-3], r"$0.0_{-\mathrm{lim}}^{+5.7}$ × 10$^{-3}$"),
        # No power of ten that says nothing.
        (0.0, [None, 2.2], r"$0.0_{-\mathrm{lim}}^{+2.2}$"),
        (0.0, [None, 0.02], r"$0.000_{-\mathrm{lim}}^{+0.020}$"),
        # As many as there is room for.
        (1.0527849e-3, [1.0527842e-3, None], r"$1.05278_{-0.00000}^{+\mathrm{lim}}$ × 10$^{-3}$"),
        (3.0, None, "3"),
    ],
)
def test_values_have_the_digits_of_their_errors(
    value: float, interval: list[float | None] | None, text: str
) -> None:
    entry = {"value": value, "interval_90": interval, "free": True}
    assert page._value(entry) == text


def test_fixed_values_have_no_errors() -> None:
    assert page._value({"value": 0.05, "interval_90": [0.0, 0.1], "free": False}) == "0.05"
    assert page._value(None) == ""
