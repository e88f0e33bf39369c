"""What figures share: panels, intervals, legends and the words on axes."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from icflow.publish.figures import style


@pytest.mark.parametrize(("number", "shape"), [(3, (1, 3)), (4, (1, 4)), (7, (2, 4))])
def test_places_without_a_panel_are_hidden(number: int, shape: tuple[int, int]) -> None:
    figure, axes = style.panels(number, 4, (1.5, 0.5))
    assert axes.shape == shape
    assert [panel.get_visible() for panel in axes.flat].count(True) == number
    assert figure.get_size_inches().tolist() == [style.DOUBLE_COLUMN, 1.5 * shape[0] + 0.5]


def test_intervals_that_leave_out_their_value_have_no_negative_length() -> None:
    estimates = np.array([[0.5, 0.2, np.nan], [0.4, 0.3, np.nan], [0.7, 0.4, np.nan]])
    below, above = style.lengths(estimates)
    np.testing.assert_allclose(below, [0.1, 0.0, np.nan])
    np.testing.assert_allclose(above, [0.2, 0.2, np.nan])


def test_looks_come_round_again() -> None:
    assert style.look(0) != style.look(1)
    assert style.look(0)["color"] == style.look(len(style.SERIES))["color"]


@pytest.mark.parametrize("color", style.SERIES)
def test_lines_are_seen_on_white(color: str) -> None:
    def linear(share: float) -> float:
        return share / 12.92 if share <= 0.04045 else float(((share + 0.055) / 1.055) ** 2.4)

    weights = (0.2126, 0.7152, 0.0722)
    light = sum(w * linear(c) for w, c in zip(weights, to_rgb(color), strict=True))
    assert 1.05 / (light + 0.05) > 2  # contrast, as the WCAG define it


@pytest.mark.parametrize(
    ("limits", "numbers"),
    [
        ((0.6, 5.5), ["1", "2", "5"]),
        ((0.12, 4500), ["1", "10", "100", "1,000"]),
        ((1e-3, 1), ["0.001", "0.01", "0.1", "1"]),
        ((2e-4, 1e-3), [r"2$\times$10$^{-4}$", r"5$\times$10$^{-4}$", "10$^{-3}$"]),
    ],
)
def test_few_numbers_stand_at_a_logarithmic_axis(
    limits: tuple[float, float], numbers: list[str]
) -> None:
    _, axes = style.grid(1, 1, style.DOUBLE_COLUMN, 2)
    axes[0, 0].set_xlim(*limits)
    style.log_axis(axes[0, 0])
    axis = axes[0, 0].xaxis
    texts = {
        float(place): axis.get_major_formatter()(place, 0)
        for place in (*axis.get_majorticklocs(), *axis.get_minorticklocs())
        if limits[0] * 0.999 <= place <= limits[1] * 1.001
    }
    assert [texts[place] for place in sorted(texts) if texts[place]] == numbers


def test_what_several_panels_show_is_named_once() -> None:
    _, axes = style.grid(1, 2, style.DOUBLE_COLUMN, 2)
    for panel, labels in zip(axes[0], (("a", "b"), ("b", "c")), strict=True):
        for label in labels:
            panel.plot([0, 1], label=label)
    assert list(style.entries(axes[0])) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "label"), [("redshift $z$", "Redshift $z$"), ("$kT$ (keV)", "$kT$ (keV)"), ("", "")]
)
def test_labels_begin_with_a_capital_or_a_symbol(text: str, label: str) -> None:
    assert style.capital(text) == label


@pytest.mark.parametrize(
    ("value", "scatter", "text"),
    [
        (-0.0074, 0.27, "−0.01 ± 0.27"),
        (3.2e-5, 0.035, "0.000 ± 0.035"),
        (12.3, 45.0, "+12 ± 45"),
        (0.5, 0.0, "+0.50 ± 0.00"),
    ],
)
def test_numbers_have_as_many_decimals_as_their_scatter(
    value: float, scatter: float, text: str
) -> None:
    assert style.within(value, scatter) == text
