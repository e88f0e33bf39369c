"""Flow charts of Mermaid, as pages have them for GitHub, drawn as SVG without a browser."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

WIDTH, HEIGHT = 92, 26  # of a box
ACROSS, DOWN = 124, 54  # from box to box


class FlowChart(SphinxDirective):
    """Draws lines such as ``simulate --> label --> train``, first boxes at the top."""

    has_content: ClassVar[bool] = True

    def run(self) -> list[nodes.Node]:
        """Return the drawing."""
        chains = [line.replace(" ", "").split("-->") for line in self.content]
        edges = [edge for chain in chains for edge in pairwise(chain)]
        return [nodes.raw("", svg(edges), format="html")]


def svg(edges: list[tuple[str, str]]) -> str:
    """Return the drawing of a graph without circles."""
    places = placed(edges)
    width = ACROSS * (1 + max(x for x, _ in places.values()))
    height = DOWN * (1 + max(y for _, y in places.values()))
    label = ", ".join(f"{start} to {end}" for start, end in edges)
    return "\n".join(
        [
            f'<svg class="flowchart" role="img" aria-label="{label}" '
            f'viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">',
            '<defs><marker id="tip" viewBox="0 0 6 6" refX="6" refY="3" markerWidth="6" '
            'markerHeight="6" orient="auto"><path d="M0 0L6 3L0 6z" fill="currentColor"/>'
            "</marker></defs>",
            *(_arrow(places[start], places[end]) for start, end in edges),
            *(_box(name, place) for name, place in places.items()),
            "</svg>",
        ]
    )


def placed(edges: list[tuple[str, str]]) -> dict[str, tuple[int, int]]:
    """Return column and row of each box: below all that lead to it, below the first if free."""
    names = list(dict.fromkeys(name for edge in edges for name in edge))
    rows = dict.fromkeys(names, 0)
    for _ in names:
        for start, end in edges:
            rows[end] = max(rows[end], rows[start] + 1)
    places: dict[str, tuple[int, int]] = {}
    for name in sorted(names, key=rows.__getitem__):
        column = min((places[start][0] for start, end in edges if end == name), default=0)
        while (column, rows[name]) in places.values():
            column += 1
        places[name] = column, rows[name]
    return places


def _box(name: str, place: tuple[int, int]) -> str:
    x, y = _centre(place)
    return (
        f'<rect x="{x - WIDTH / 2}" y="{y - HEIGHT / 2}" width="{WIDTH}" height="{HEIGHT}" rx="4" '
        'fill="none" stroke="currentColor"/>'
        f'<text x="{x}" y="{y}" text-anchor="middle" dominant-baseline="central" '
        f'fill="currentColor" font-size="14">{name}</text>'
    )


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    """Return an arrow that passes by the boxes between two."""
    (x, y), (to_x, to_y) = _centre(start), _centre(end)
    right, to_right = x + WIDTH / 2, to_x + WIDTH / 2
    if start[0] < end[0]:  # out at the side, in from above
        path = f"M{right} {y}Q{to_x} {y} {to_x} {to_y - HEIGHT / 2}"
    elif start[0] > end[0]:  # out below, in at the side
        path = f"M{x} {y + HEIGHT / 2}Q{x} {to_y} {to_right} {to_y}"
    elif end[1] == start[1] + 1:
        path = f"M{x} {y + HEIGHT / 2}L{to_x} {to_y - HEIGHT / 2}"
    else:  # out and in at the side
        out = right + ACROSS - WIDTH
        path = f"M{right} {y}C{out} {y} {out} {to_y} {to_right} {to_y}"
    return f'<path d="{path}" fill="none" stroke="currentColor" marker-end="url(#tip)"/>'


def _centre(place: tuple[int, int]) -> tuple[float, float]:
    return ACROSS * (place[0] + 0.5), DOWN * (place[1] + 0.5)
