"""Figures in a notebook."""

from __future__ import annotations

import matplotlib
from PIL import Image

from icflow.publish.figures import style
from icflow.publish.figures.shown import DPI


def test_a_figure_is_displayed_as_an_image_of_its_size(tmp_path) -> None:
    figure, axes = style.grid(1, 1, 4.0, 2.0)
    axes[0, 0].plot([1, 2], [1, 3])
    (tmp_path / "shown.png").write_bytes(figure._repr_png_())
    with Image.open(tmp_path / "shown.png") as image:
        assert image.size == (4 * DPI, 2 * DPI)


def test_the_style_of_the_user_has_no_say() -> None:
    figure, axes = style.grid(1, 1, 4.0, 2.0)
    axes[0, 0].set_xlabel("Energy (keV)")
    plain = figure._repr_png_()
    with matplotlib.rc_context({"savefig.facecolor": "black", "font.size": 30}):
        assert figure._repr_png_() == plain
