"""The figure of one fit: data, components and residuals, and the unfolded spectrum on demand."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from icflow.observation.fit_output import FitRecord
from icflow.observation.panels import (
    FLUX,
    Bins,
    Fitted,
    components,
    draw_folded,
    draw_residuals,
    draw_unfolded,
)
from icflow.observation.tables import fitted
from icflow.publish.figures import style
from icflow.publish.figures.example_spectra import Component, is_background

if TYPE_CHECKING:
    from astropy.table import Table

# The model in the table that `icflow.observation.tables.fitted` makes.
NAME = "fit"
LEAST = 10  # counts in a drawn bin
HEIGHTS = {"folded": 3.0, "residuals": 1.1, "unfolded": 2.2}
DOWN = 5.0  # how far below data and best fit components are drawn
WIDTH, HEIGHT, LEGEND = 5.2, 0.95, 0.5  # inch; the height is that of a unit of `HEIGHTS`
COLORS = (style.BLUE, style.VERMILLION, style.GREEN, style.PURPLE, style.ORANGE, style.SKY)


def of_fit(fit: FitRecord, unfolded: bool) -> style.Figure:
    """Draw a fit with its model and statistic as the title; see `draw`."""
    table = fitted(fit.engine, {NAME: (fit.model, fit.result.values)})
    numbers = f"{fit.statistic} = {fit.result.cstat:.1f}, {fit.result.dof} dof"
    return draw(table, f"{fit.settings.expression}\n{numbers}", unfolded)


def draw(table: Table, title: str, unfolded: bool) -> style.Figure:
    """Draw a fit.

    Parameters
    ----------
    table : Table
        Of the one model `NAME`.
    title : str
        Stands in the first panel.
    unfolded : bool
        Whether to draw a third panel: the source before the response.
    """
    model = Fitted(table, _parts(table), Bins(table, LEAST))
    panels = list(HEIGHTS) if unfolded else ["folded", "residuals"]
    heights = [HEIGHTS[panel] for panel in panels]
    figure, axes = style.grid(
        *(len(panels), 1, WIDTH, HEIGHT * sum(heights) + LEGEND),
        sharex=True,
        height_ratios=heights,
        gridspec_kw={"hspace": 0.0},
    )
    folded, residuals, *rest = axes[:, 0]
    draw_folded(folded, model)
    lowest = np.minimum(model.total, np.maximum(model.counts, 1)) * model.bins.scale
    folded.set_ylim(max(folded.get_ylim()[0], float(lowest.min()) / DOWN))
    folded.set_ylabel(style.RATE)
    style.note(folded, title, x=0.97, ha="right", fontsize=7)
    draw_residuals(residuals, model)
    residuals.set_ylabel("Residual (σ)")
    for panel in rest:
        draw_unfolded(panel, model)
        panel.set_ylabel(FLUX)
    style.energy_ticks(axes[-1, 0], *model.bins.range)
    axes[-1, 0].set_xlabel(style.ENERGY)
    entries = style.entries([folded])
    place: dict[str, Any] = {"loc": "outside upper center", "ncols": 3}
    figure.legend(entries.values(), entries.keys(), fontsize=7, **place)
    return figure


def _parts(table: Table) -> list[Component]:
    """Return the components: terms by their names, backgrounds as they are drawn elsewhere."""
    looks, parts = zip(cycle(COLORS), cycle(style.DASHES), strict=False), []
    for part in components(table, NAME):
        name = part.column.partition("/")[2]
        own = part if is_background(name) else Component(part.column, name, *next(looks))
        parts.append(own)
    return parts
