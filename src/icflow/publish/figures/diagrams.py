"""What drawings are made of: boxes with words, arrows between points, in inches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from icflow.publish.figures import style

# Words stand on a pale ground of this opacity.
PALE = 0.25
TRAINING, TESTING = (0, (4, 2)), "-"


class Box(NamedTuple):
    """A box by its centre and size (inch), its words and its colour."""

    x: float
    y: float
    width: float
    height: float
    text: str
    color: str

    @property
    def left(self) -> float:
        """Where it begins."""
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        """Where it ends."""
        return self.x + self.width / 2

    @property
    def top(self) -> float:
        """How high it reaches."""
        return self.y + self.height / 2

    @property
    def bottom(self) -> float:
        """How low it reaches."""
        return self.y - self.height / 2

    def draw(self, axes: style.Axes, **words: object) -> None:
        """Draw the box and its words."""
        from matplotlib.colors import to_rgba
        from matplotlib.patches import FancyBboxPatch

        place, corners = (self.left, self.bottom), "round,pad=0,rounding_size=0.04"
        look: style.Look = {"fc": to_rgba(self.color, PALE), "ec": self.color, "lw": 0.9}
        axes.add_patch(FancyBboxPatch(place, self.width, self.height, boxstyle=corners, **look))
        options: style.Look = {"ha": "center", "va": "center", "fontsize": 7, **words}
        axes.text(self.x, self.y, self.text, **options)


def arrow(
    axes: style.Axes,
    points: Sequence[tuple[float, float]],
    dashes: object = TESTING,
    color: str = style.BLACK,
    size: float = 7,
) -> None:
    """Draw a line through some points, with a head at the last one."""
    *_, before, last = points
    look: style.Look = {"color": color, "lw": 0.8, "solid_capstyle": "butt"}
    axes.plot(*zip(*points, strict=True), ls=dashes, **look)
    head: style.Look = {"arrowstyle": "-|>", "lw": 0.8, "color": color, "mutation_scale": size}
    # The line is drawn already, and a dashed head would be ragged.
    dx, dy = last[0] - before[0], last[1] - before[1]
    length = max((dx**2 + dy**2) ** 0.5, 1e-9)
    start = (last[0] - 0.02 * dx / length, last[1] - 0.02 * dy / length)
    axes.annotate("", last, start, arrowprops=head | {"shrinkA": 0, "shrinkB": 0})


def canvas(axes: style.Axes, width: float, height: float, letter: str) -> None:
    """Prepare axes for a drawing of that many inches, named by a letter."""
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    place: style.Look = {"transform": axes.transAxes, "ha": "left", "va": "top"}
    axes.text(0.0, 1.0, f"({letter})", fontsize=9, fontweight="bold", **place)
