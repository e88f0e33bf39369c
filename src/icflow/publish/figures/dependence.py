"""Figure 8: how precision, recall and balanced accuracy depend on the spectrum."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from icflow.config import Config, Detection
from icflow.detection import metrics
from icflow.detection.columns import TRUTH, columns_of
from icflow.detection.detectors import in_order
from icflow.detection.quality import TITLES
from icflow.detection.table1 import QUANTITIES
from icflow.errors import IcflowError
from icflow.layout import Layout
from icflow.publish.figures import judged, style
from icflow.publish.figures.base import FigureData, ends, origin
from icflow.seeds import generator
from icflow.tables import floats
from icflow.truth import read_truth
from icflow.typing import Booleans, Floats

if TYPE_CHECKING:
    from astropy.table import Table

REPEATS = 1000
# The detectors of the figure, with the colours of the paper.
LOOKS: dict[str, style.Look] = {
    "cae": {"color": style.BLUE, "marker": "o", "ls": "-"},
    "one_start_fixed": {"color": style.RED, "marker": "s", "ls": "--", "mfc": "white"},
}


def shown(detection: Detection) -> list[str]:
    """Return the two detectors that the paper shows; all, if there is none of them."""
    names = in_order(detection.detectors)
    return [name for name in names if name in LOOKS] or names


def _inputs(config: Config, results: Layout) -> list[Path]:
    cluster = config.figures.cluster
    return [results.judged, *([] if cluster is None else [results.truth(cluster, 0)])]


def draw(data: FigureData) -> style.Figure:
    """Draw a panel for each metric (rows) and true parameter (columns)."""
    names = shown(data.detection)
    table, is_ic = data.scores(names, "score", "decision")
    parameters = observables(table)
    if not parameters:
        raise IcflowError(
            f"{data.paths[0]}: has no true temperature, metallicity, redshift or norm to bin by; "
            "take figure 8 out of the targets for scenarios without plasma"
        )
    cluster = _cluster(data)
    figure, axes = style.grid(
        len(QUANTITIES), len(parameters), style.DOUBLE_COLUMN, 5.0, sharex="col", sharey="row"
    )
    for panels, (quantity, values) in zip(axes.T, parameters.items(), strict=True):
        edges = bin_edges(values[is_ic], data.bins)
        centres = 0.5 * (edges[:-1] + edges[1:])
        for position, name in enumerate(names):
            decision = np.asarray(table[columns_of(name).decision], dtype=bool)
            binned = in_bins(values, edges, decision, is_ic, f"{name}:{quantity}")
            # Moved by a part of a bin, so that error bars stay apart.
            x = centres + (position - 0.5 * (len(names) - 1)) * 0.09 * np.diff(edges)
            look = LOOKS.get(name) or style.look(position)
            look = look | {"label": data.detection.detectors[name].title}
            for panel, metric in zip(panels, QUANTITIES, strict=True):
                style.error_bars(panel, x, ends(binned[metric]), lw=0.9, **look)
        judged.note(panels[0], absent(values, edges, is_ic), y=0.9)
        if quantity in cluster:
            look = {"color": style.BLACK, "lw": 0.8, "ls": (0, (5, 3))}
            for panel in panels:
                panel.axvline(cluster[quantity], label=data.settings.figures.cluster, **look)
        panels[-1].set_xlabel(style.capital(style.label(quantity)))
        panels[-1].set_xlim(edges[0], edges[-1])
    for panel, metric in zip(axes[:, 0], QUANTITIES, strict=True):
        panel.set_ylabel(TITLES[metric])
        panel.set_ylim(0, 1.03)
    for panel in (*axes[0], *axes[-1]):
        panel.axhline(0.5, color=style.GREY, lw=0.6, zorder=0)
    drawn = style.entries([axes[0, 0]])
    # What is not measured is named last.
    titles = sorted(drawn, key=lambda title: title == data.settings.figures.cluster)
    handles = [drawn[title] for title in titles]
    figure.legend(handles, titles, loc="outside upper center", ncols=min(len(titles), 4))
    return figure


def _cluster(data: FigureData) -> dict[str, float]:
    """Return where the cluster lies among the spectra, nothing if none is to be marked."""
    from astropy.table import Table  # slow to import, and rules ask this module as well

    if len(data.paths) == 1:
        return {}
    parameters = read_truth(data.paths[1]).parameters
    table = Table({f"{TRUTH}{name}": values[:1] for name, values in parameters.items()})
    return {name: float(values[0]) for name, values in observables(table).items()}


def observables(table: Table) -> dict[str, Floats]:
    """Return the true quantities that all scenarios have, one value per spectrum.

    So that spectra of one, two or more plasmas share an axis, ``kT`` is the
    mean temperature of the plasmas weighted with their norms and ``norm`` is
    the sum of the norms; redshift ``z`` and metallicity ``Z`` are those of the
    first plasma. A quantity that some spectra lack is left out.
    """
    truth = {
        name.removeprefix(TRUTH): floats(table, name)
        for name in table.colnames
        if name.startswith(TRUTH)
    }
    plasmas = [name.removesuffix(".kT") for name in truth if name.endswith(".kT")]
    plasmas = [name for name in plasmas if f"{name}.norm" in truth]
    quantities: dict[str, Floats] = {}
    for quantity, parameter in (("z", "Redshift"), ("Z", "Abundanc")):
        column = next((truth[n] for n in truth if n.endswith(f".{parameter}")), None)
        if column is not None:
            quantities[quantity] = column
    if plasmas:
        norms = np.nan_to_num(np.stack([truth[f"{name}.norm"] for name in plasmas]))
        heats = np.nan_to_num(np.stack([truth[f"{name}.kT"] for name in plasmas]))
        total = norms.sum(axis=0)
        weighted = (norms * heats).sum(axis=0)
        quantities["kT"] = weighted / np.where(total > 0, total, np.nan)
        quantities["norm"] = np.where(total > 0, total, np.nan)
    order = [name for name in ("z", "kT", "Z", "norm") if name in quantities]
    return {name: quantities[name] for name in order if np.isfinite(quantities[name]).all()}


def bin_edges(values: Floats, bins: int) -> Floats:
    """Return the edges of equal bins over the range of `values`.

    `values` are those of the IC spectra, so that every bin can hold both
    classes: the summed norm of two plasmas exceeds what one can have.
    """
    if values.size == 0:
        return np.linspace(0.0, 1.0, bins + 1)
    low, high = float(values.min()), float(values.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, bins + 1)


def absent(values: Floats, edges: Floats, is_ic: Booleans) -> str:
    """Say which class has no spectra between the outer edges, empty if both have some.

    Without one of them precision and balanced accuracy are undefined in every bin.
    """
    inside = np.isnan(values) | ((values >= edges[0]) & (values <= edges[-1]))
    return judged.absent(inside, is_ic, "in this range")


def in_bins(
    values: Floats,
    edges: Floats,
    decision: Booleans,
    is_ic: Booleans,
    name: str,
) -> dict[str, list[metrics.Estimate]]:
    """Return the metrics with their intervals in each bin of a parameter.

    Spectra without a value count in every bin: those of a class that knows no
    such parameter. The precision is that at the prevalence of IC in the whole sample: how many
    spectra of either class fall into a bin was decided by the simulation, and
    says nothing about a detector. Metrics that a bin leaves undefined, for want
    of spectra of one class or of detections, are NaN.
    """
    prevalence = float(is_ic.mean())
    wanted = metrics.METRICS | {
        "precision": lambda counts: counts.precision_at(prevalence),
    }
    bins = edges.size - 1
    # The last bin holds its upper edge, as in numpy.histogram.
    position = np.where(values == edges[-1], bins - 1, np.searchsorted(edges, values, "right") - 1)
    random = generator(0, name)
    binned: dict[str, list[metrics.Estimate]] = {metric: [] for metric in wanted}
    for number in range(bins):
        here = (position == number) | np.isnan(values)
        estimates = metrics.estimates(decision[here], is_ic[here], REPEATS, random, wanted)
        for metric, estimate in estimates.items():
            binned[metric].append(estimate)
    return binned


def _caption(config: Config) -> str:
    titles = [config.detection.detectors[name].title for name in shown(config.detection)]
    return (
        f"Precision, recall and balanced accuracy of {' and '.join(titles)} against the true "
        "redshift, temperature, metallicity and norm of the test spectra, in "
        f"{config.figures.bins} equal bins over the range of the spectra with IC. Where a spectrum "
        "has several plasmas, the temperature is their mean weighted with the norms, and the norm "
        "their sum; inverse Compton emission counts in neither. The precision is that at the "
        "prevalence of IC in the whole test set, whatever the bin holds. Bars: 68.3 % intervals of "
        f"{REPEATS:,} bootstrap resamplings within each class; points are moved sideways for "
        f"legibility, and missing where a bin leaves the metric undefined.{_marked(config)} "
        "Grey: a coin toss."
    )


def _marked(config: Config) -> str:
    """Return a sentence for the caption on the dashed lines, empty where there are none."""
    cluster = config.figures.cluster
    if cluster is None:
        return ""
    text = f" Vertical dashed lines: {cluster} as configured"
    if cluster != "Coma":
        return f"{text}."
    heat, norm = (origin(config, name) for name in ("kT", "norm"))
    text += (
        f", its redshift {origin(config, 'Redshift')}, its metallicity {origin(config, 'Abundanc')}"
    )
    plasmas = [name for name in config.simulated(cluster).parameters if name.endswith(".kT")]
    if len(plasmas) < 2:
        return f"{text}, its temperature {heat}, its norm {norm}."
    return (
        f"{text}; its temperature is the mean of those of its plasmas, {heat}, weighted with their "
        f"norms, {norm}, and its norm is the sum of these."
    )


FIGURE = judged.kind(
    inputs=_inputs,
    draw=draw,
    caption=_caption,
    alt=(
        "Precision, recall and balanced accuracy in bins of redshift, temperature, metallicity and "
        "norm, with error bars, of the conditional autoencoder and of the fit with known redshift; "
        "vertical dashed lines mark the values of a cluster."
    ),
)
