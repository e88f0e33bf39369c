"""A figure that a notebook shows as it is, whether or not pyplot is imported there."""

from __future__ import annotations

from io import BytesIO

from matplotlib.figure import Figure

from icflow.publish.figures.style import context

DPI = 150


class ShownFigure(Figure):
    """A figure that draws itself in the style of all figures where it is displayed."""

    def _repr_png_(self) -> bytes:
        image = BytesIO()
        with context():
            self.savefig(image, format="png", dpi=DPI)
        return image.getvalue()
