"""The figure of `icflow compare-engines`: what two engines make of the same spectra."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from icflow.publish.figures import style
from icflow.tables import floats
from icflow.typing import Floats

if TYPE_CHECKING:
    from astropy.table import Table

LINEAR = 0.01  # in C: below, the axis of differences is linear
SMALLEST = 1e-16  # relative differences that are exactly 0 are drawn here
MOST_STEPS = 3  # between ticks, both sides together
SUFFIX = "_difference"
NOT_PARAMETERS = ("counts_difference", "cstat_difference", "cstat_at_truth_difference")


def draw(table: Table) -> style.Figure:
    """Draw differences of expected counts, of C and of parameters, each in a panel."""
    figure, axes = style.grid(1, 3, style.DOUBLE_COLUMN, 2.8, width_ratios=(1, 1, 1.4))
    counts, statistic, parameters = axes[0]
    _counts(counts, table)
    _statistic(statistic, table)
    _parameters(parameters, table)
    style.legend_above(figure, statistic, most=4)
    return figure


def _counts(axes: style.Axes, table: Table) -> None:
    """One point for each spectrum, against how many there are."""
    spectra = [f"{row['dataset']}/{row['index']}" for row in table]
    _, first = np.unique(spectra, return_index=True)
    values = np.maximum(np.sort(floats(table, "counts_difference")[first]), SMALLEST)
    axes.plot(_ranks(values), values, "o", color=style.BLACK, ls="")
    axes.set_yscale("log")
    axes.axhline(1e-6, color=style.GREY, ls="--", lw=0.8)
    _number(axes)
    axes.set_ylabel("Largest relative difference of counts")


def _statistic(axes: style.Axes, table: Table) -> None:
    """One series of points for each fit, sorted by C."""
    fits = list(dict.fromkeys(str(fit) for fit in table["fit"]))
    shown = [np.zeros(1)]
    for number, fit in enumerate(fits):
        values = floats(table, "cstat_difference")[np.asarray(table["fit"]) == fit]
        values = np.sort(values[np.isfinite(values)])
        shown.append(values)
        axes.plot(_ranks(values), values, label=fit, **style.look(number) | {"ls": ""})
    axes.axhline(0, color=style.GREY, lw=0.8)
    axes.set_yscale("symlog", linthresh=LINEAR)
    _number(axes)
    values = np.concatenate(shown)
    axes.set_yticks(*_ticks(round(math.log10(LINEAR)), values))
    axes.set_ylim(min(2 * values.min(), -2 * LINEAR), max(2 * values.max(), 2 * LINEAR))
    axes.yaxis.set_tick_params(which="minor", left=False, right=False)
    axes.set_ylabel("$C$ of XSPEC − $C$ of embedded")


def _ranks(values: Floats) -> Floats:
    return np.arange(1.0, values.size + 1)


def _number(axes: style.Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("Spectrum, sorted")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.set_minor_locator(MaxNLocator(1))


def _parameters(axes: style.Axes, table: Table) -> None:
    """One row for each parameter, one point for each fit."""
    names = [
        column.removesuffix(SUFFIX)
        for column in table.colnames
        if column.endswith(SUFFIX) and column not in NOT_PARAMETERS
    ]
    shown = [np.zeros(1)]
    for row, name in enumerate(names):
        values = floats(table, name + SUFFIX)
        values = values[np.isfinite(values)]
        shown.append(values)
        axes.plot(values, np.full(values.size, row), "|", color=style.BLUE, ms=7)
    axes.axvline(0, color=style.GREY, lw=0.8)
    axes.set_xscale("symlog", linthresh=1)
    values = np.concatenate(shown)
    axes.set_xticks(*_ticks(0, values))
    axes.set_xlim(min(2 * values.min(), -2), max(2 * values.max(), 2))
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.minorticks_off()
    axes.set_xlabel("(XSPEC − embedded) / error")


def _ticks(first: int, values: Floats) -> tuple[list[float], list[str]]:
    """Return few ticks of an axis that is linear up to a power of ten, and what they say.

    On each side they reach as far as there are values, in steps that both sides have.
    """

    def last(largest: float) -> int:
        return math.floor(math.log10(largest)) if largest > 10.0**first else first

    lasts = [last(-values.min(initial=0.0)), last(values.max(initial=0.0))]
    step = max(1, math.ceil((sum(lasts) - 2 * first) / MOST_STEPS))
    below, above = (list(range(first, end + 1, step)) for end in lasts)
    ticks = [*(-(10.0**power) for power in reversed(below)), 0.0, *(10.0**power for power in above)]
    texts = [rf"$-10^{{{power}}}$" for power in reversed(below)]
    return ticks, [*texts, "0", *(rf"$10^{{{power}}}$" for power in above)]
