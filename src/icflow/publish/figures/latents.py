"""Figure 7: latents of the test spectra against the parameters that they stand for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from icflow import settings as settings_of
from icflow.config import Config
from icflow.detection.base import with_ic
from icflow.detection.columns import TRUTH
from icflow.layout import Layout
from icflow.networks.labels import LabelSource
from icflow.publish.figures import style
from icflow.publish.figures.base import (
    FigureData,
    FigureKind,
    constrained,
    folds,
    label_order,
    many,
)
from icflow.tables import floats, read_table, rows_of, stack, strings
from icflow.typing import Floats

if TYPE_CHECKING:
    from astropy.table import Table

PER_ROW = 4
# Half the width between the quartiles of a Gaussian, in standard deviations.
QUARTILE = 0.6744897501960817
TAIL = 0.005  # fraction of the latents on either side that may lie outside of a panel
# Marker of the spectra of a class, without and with IC; the paper has these too. Letters like them
# stand before the numbers of the class.
LOOKS: dict[bool, style.Look] = {
    False: {"color": style.THERMAL, "mew": 0, "ms": 2.0, "alpha": 0.7, "label": "Without IC"},
    True: {"color": style.IC, "mfc": "none", "mew": 0.4, "ms": 2.4, "label": "With IC"},
}
SIGNS = {False: "●", True: "○"}


class Points(NamedTuple):
    """Spectra of a class in the plane of one label.

    Attributes
    ----------
    truth, latent : (n,) float
        What the label is and what the network makes of it, in the same unit.
    """

    truth: Floats
    latent: Floats


def _inputs(config: Config, results: Layout) -> list[Path]:
    """Return the scores of the evaluation and of the network, and the label fits."""
    network = constrained(config)
    return [
        results.judged,
        *(results.scores(network, fold) for fold in folds(config)),
        *(results.labels(name, n) for name in _fitted(config) for n in config.shards(name)),
    ]


def _fitted(config: Config) -> list[str]:
    """Return the test datasets whose labels are fitted, as those of the training spectra are.

    Spectra with IC have one plasma, so that its parameters are what the labels stand for.
    """
    needed = any("fit:" in source for source in config.autoencoder.labels.values())
    has_ic = with_ic(config.datasets, config.detection.training)
    frozen = {*config.fits.label.at_truth}
    return [
        name
        for name in config.detection.test
        if needed and not has_ic[name] and frozen <= {*config.simulated(name).parameters}
    ]


def draw(data: FigureData) -> style.Figure:
    """Draw one panel per label: latents of both classes, and the 1:1 line."""
    names = label_order(data.autoencoder)
    spectra = read(data, names)
    figure, axes = style.panels(len(names), PER_ROW, (2.0, 0.2))
    for panel, name in zip(axes.flat, names, strict=False):
        panel.set_xlabel(style.capital(style.label(name)), labelpad=2)
        _panel(panel, spectra[name])
    for row in axes:
        row[0].set_ylabel("Latent (unit of the parameter)")
    drawn = style.entries(list(axes.flat))
    if drawn:
        figure.legend(
            drawn.values(), drawn, loc="outside upper center", ncols=len(drawn), markerscale=2
        )
    return figure


def read(data: FigureData, names: Sequence[str]) -> dict[str, dict[bool, Points]]:
    """Return the test spectra by label and by whether they hold IC.

    Latents are the median over the folds. What they stand for is the label as the network was
    taught it: simulated, or from the fit of one plasma; of spectra with IC the true parameter of
    their plasma takes the place of the fit.

    Raises
    ------
    IcflowError
        If a file is missing or lacks a spectrum.
    """
    judged, is_ic = data.scores([])
    scored, fits = _tables(data, names)
    datasets = np.array(strings(judged, "dataset"))
    spectra: dict[str, dict[bool, list[Points]]] = {name: {} for name in names}
    for dataset in dict.fromkeys(datasets.tolist()):
        here, has_ic = judged[datasets == dataset], bool(is_ic[datasets == dataset].any())
        own = [_rows(table, dataset, here) for table in scored]
        fit = _rows(fits[dataset], dataset, here) if dataset in fits else None
        for name in names:
            latent = np.median([floats(table, f"latent_{name}") for table in own], axis=0)
            source = LabelSource.parse(data.autoencoder.labels[name])
            assert source is not None  # The configuration has been checked.
            truth = _truth(source, name, own[0], here, fit)
            spectra[name].setdefault(has_ic, []).append(Points(truth, latent))
    return {
        name: {
            is_ic: Points(*map(np.concatenate, zip(*parts, strict=True)))
            for is_ic, parts in classes.items()
        }
        for name, classes in spectra.items()
    }


def _tables(data: FigureData, names: Sequence[str]) -> tuple[list[Table], dict[str, Table]]:
    """Read the scores of every fold, and the label fits of each dataset that has some."""
    columns = ["dataset", "index", *(f"{kind}_{n}" for n in names for kind in ("latent", "label"))]
    scored, fits = [], defaultdict(list)
    for path in data.paths[1:]:
        # label/DATASET/shard-N.ecsv and score/NETWORK/fold-N.ecsv
        if path.parent.parent.name == "label":
            table = read_table(path, ["index"])
            table["dataset"] = path.parent.name
            fits[path.parent.name].append(table)
        else:
            scored.append(read_table(path, columns)[columns])
    return scored, {dataset: stack(tables) for dataset, tables in fits.items()}


def _rows(table: Table, dataset: str, judged: Table) -> Table:
    """Return the rows of the spectra of a dataset, in the order of the evaluation."""
    own = table[np.array(strings(table, "dataset")) == dataset]
    return own[rows_of(own["index"], judged["index"], f"test spectra of {dataset}")]


def _truth(
    source: LabelSource, name: str, scored: Table, judged: Table, fit: Table | None
) -> Floats:
    if source.origin != "fit":
        return floats(scored, f"label_{name}")
    if fit is not None:
        values = floats(fit, source.parameter)
    elif f"{TRUTH}{source.parameter}" in judged.colnames:
        values = floats(judged, f"{TRUTH}{source.parameter}")
    else:
        values = np.full(len(judged), np.nan)
    with np.errstate(invalid="ignore"):
        return np.log(values) if source.logarithm else values


def _panel(axes: style.Axes, classes: Mapping[bool, Points]) -> None:
    usable = {
        is_ic: Points(*(values[np.isfinite(p.truth) & np.isfinite(p.latent)] for values in p))
        for is_ic, p in classes.items()
    }
    usable = {is_ic: points for is_ic, points in usable.items() if points.truth.size}
    if not usable:
        style.note(axes, "no labels")
        return
    low, high = limits(*(np.concatenate(parts) for parts in zip(*usable.values(), strict=True)))
    for row, (is_ic, points) in enumerate(usable.items()):
        look: style.Look = {"marker": "o", "ls": "none", "rasterized": True, **LOOKS[is_ic]}
        # Open circles, which stray further, leave the dots inside of them visible.
        look["zorder"] = 2 if is_ic else 3
        axes.plot(points.truth, points.latent, **look)
        bias, scatter = bias_and_scatter(*points)
        text = f"{SIGNS[is_ic]} {style.within(bias, scatter)}"
        style.note(axes, text, y=0.96 - 0.1 * row, color=look["color"])
    axes.plot([low, high], [low, high], color=style.BLACK, lw=1.0, ls="--", zorder=4)
    axes.set(xlim=(low, high), ylim=(low, high), box_aspect=1)


def limits(truth: Floats, latent: Floats) -> tuple[float, float]:
    """Return axis limits that show all labels and nearly all latents."""
    low = min(float(truth.min()), float(np.quantile(latent, TAIL)))
    high = max(float(truth.max()), float(np.quantile(latent, 1 - TAIL)))
    margin = 0.04 * (high - low) or 0.5
    return low - margin, high + margin


def bias_and_scatter(truth: Floats, latent: Floats) -> tuple[float, float]:
    """Return the median of latent − label, and its robust standard deviation.

    The scatter is half the distance of the quartiles over that of a Gaussian of
    unit standard deviation, so that few outliers do not decide it.
    """
    first, middle, third = np.quantile(latent - truth, [0.25, 0.5, 0.75])
    return float(middle), float(third - first) / (2 * QUARTILE)


def _caption(config: Config) -> str:
    network = constrained(config)
    training = settings_of.train(config, network, 0).training
    fitted = "from a fit of one plasma" if _fitted(config) else "as simulated"
    return (
        f"Latents of the network {network!r} against the parameters that they stand for, of the "
        "test spectra without (blue, filled) and with inverse Compton emission (red, open). "
        f"Temperature and norm of the former are {fitted}, those of the latter are the true ones "
        f"of their plasma. Latents: median of {many(training.folds_trained, 'fold')} (training: "
        f"{training.spectra:,} spectra, {training.epochs:,} epochs). Dashed: equality. Numbers: "
        "median of latent minus parameter ± standard deviation from the quartiles, of either "
        f"class after its symbol. The lowest and highest {100 * TAIL:g} % of the latents may lie "
        "outside of a panel."
    )


FIGURE = FigureKind(
    sections=("autoencoder",),
    inputs=_inputs,
    draw=draw,
    caption=_caption,
    alt=(
        "Latents against true parameters (temperature, metallicity, redshift, norm), one panel "
        "each, as filled circles for test spectra without and open circles for test spectra with "
        "inverse Compton emission, with the dashed line of equality, bias and scatter."
    ),
)
