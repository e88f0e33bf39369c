"""The page of results: every table with its intervals, every figure, and how they were made.

Written in Markdown from the files of a finished run. What it says about the
detectors is put together from the numbers: one detector is called better than
another only where the paired interval of their difference leaves out zero.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from icflow.config import Config
from icflow.detection import differences, quality, table1
from icflow.detection.columns import TRUTH, columns_of
from icflow.detection.differences import BETTER, EVEN, WORSE, between, verdict
from icflow.detection.metrics import binomial
from icflow.errors import IcflowError
from icflow.files import write_text
from icflow.layout import Layout
from icflow.publish import measures
from icflow.publish.figures import every_dependence, registry
from icflow.publish.figures.base import read_metrics
from icflow.publish.findings import CLASSES, best, findings, listed, rivals, titled
from icflow.publish.pages import draw_small, fill, options
from icflow.publish.report import read_record, revision, summary
from icflow.tables import floats, markdown, read_table
from icflow.typing import Booleans

PAGE = "README.md"
LEAD = "forest"  # the figure that stands above everything else


def run(config: Config, files: Sequence[str], results: Path, output: Path) -> list[Path]:
    """Write the page, the tables behind it and its images.

    Parameters
    ----------
    config : Config
        The whole configuration.
    files : sequence of str
        The files that it was read from, for the commands on the page.
    results : path
        Folder of the results of a finished run.
    output : path
        Folder that gets ``README.md``, ``table1.csv``, ``differences.csv``,
        ``metrics.csv`` and the images. What somebody has written into
        ``summary.md`` there stands first, a page ``scans.md`` that is there is
        linked.

    Returns
    -------
    list of path
        The files written.

    Raises
    ------
    IcflowError
        If a result is missing or not what it should be.
    """
    layout = Layout(results)
    metrics = read_metrics(layout.metrics)
    images = {name: f"{registry.file_name(name)}.png" for name in registry.FIGURES}
    tables = {
        "table1.csv": table1.csv(metrics),
        "differences.csv": differences.csv(metrics),
        "metrics.csv": measures.csv(metrics),
    }
    page = fill(
        "results.md.j2",
        options=options(files),
        revision=revision(read_record(layout)),
        said=_by_hand(output / "summary.md"),
        scans=(output / "scans.md").is_file(),
        **_words(config, metrics, layout),
        **_figures(config, images),
    )
    for name, image in images.items():
        _draw(config, name, layout, output / image)
    for name, text in (tables | {PAGE: page}).items():
        write_text(output / name, text)
    return [output / name for name in (PAGE, *tables, *images.values())]


def _by_hand(path: Path) -> str:
    """Return what a person says of the results below the title of a page, if anybody does."""
    try:
        return re.sub(r"\A# .*", "", path.read_text(encoding="utf-8")).strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise IcflowError(f"{path}: cannot be read ({error}); mend it or remove it") from None


def _words(config: Config, metrics: Mapping[str, Any], layout: Layout) -> dict[str, Any]:
    """Return the sentences and tables of the page by their names in the template."""
    return {
        "findings": findings(metrics),
        "summary": summary(config),
        "bootstrap": metrics["bootstrap"],
        "table1": table1.markdown(metrics).strip(),
        "standings": standings(metrics),
        "ceiling": ceiling(metrics),
        "rates": rates(metrics),
        "probabilities": probabilities(metrics),
        "additions": additions(metrics, config),
        "fluxes": fluxes(config, metrics, layout.judged),
        "importances": importances(metrics),
    }


def _figures(config: Config, images: Mapping[str, str]) -> dict[str, Any]:
    """Return the figures, the one that leads apart, by their names in the template."""
    figures = {
        name: {"name": name, "image": image, **registry.words(config, name)}
        for name, image in images.items()
    }
    return {"lead": figures.pop(LEAD, None), "figures": list(figures.values())}


def _draw(config: Config, name: str, results: Layout, output: Path) -> None:
    settings = registry.settings(config, name)
    paths = registry.inputs(config, name, results)
    draw_small(lambda: registry.draw(settings, paths), output)


# --- words ------------------------------------------------------------------------


def standings(metrics: Mapping[str, Any]) -> list[str]:
    """Return sentences on the best detectors, over all and in each class."""
    competing = rivals(metrics)
    sentences = [_standing(metrics, competing, quantity, "") for quantity in ("bacc", "auc")]
    for key, words in CLASSES.items():
        names = [name for name in competing if metrics["detectors"][name]["sees"] == key]
        if 1 < len(names) < len(competing):
            sentences.append(_standing(metrics, names, "bacc", f"Of those {words}, "))
    return sentences


def _standing(
    metrics: Mapping[str, Any], names: Sequence[str], quantity: str, introduction: str
) -> str:
    first = best(metrics, names, quantity)
    said = {name: _said(metrics, first, name, quantity) for name in names if name != first}
    number = table1.interval(metrics["detectors"][first][quantity])
    text = f"{titled(metrics, first)} has the highest {_quantity(quantity)}, {number}"
    better, even = (
        [titled(metrics, name) for name, word in said.items() if word == wanted]
        for wanted in (BETTER, EVEN)
    )
    if better:
        beaten = "all others" if len(better) == len(said) > 1 else listed(better)
        text += f"; it is better than {beaten}"
    if even:
        text += f"{', and' if better else '; it is'} not told apart from {listed(even)}"
    return f"{introduction}{text}."


def _said(metrics: Mapping[str, Any], first: str, other: str, quantity: str) -> str:
    return verdict(quantity, between(metrics, first, other, quantity))


def _quantity(quantity: str) -> str:
    """Return the name of a quantity within a sentence."""
    title = quality.title(quantity)
    return title if title.startswith("Brier") else title[0].lower() + title[1:]


def ceiling(metrics: Mapping[str, Any]) -> dict[str, str] | None:
    """Return how far the others stay below the ceiling, as a table and in words."""
    top, entries = metrics["ceiling"], metrics["detectors"]
    others = [name for name in entries if name != top]
    if top is None or not others:
        return None
    said = {name: _said(metrics, name, top, "auc") for name in others}
    groups = [
        (words, [titled(metrics, name) for name, word in said.items() if word == wanted])
        for wanted, words in (
            (WORSE, "below it"),
            (EVEN, "not told apart from it"),
            (BETTER, "above it, which the exact evidence would not allow"),
        )
    ]
    words = "; ".join(f"{what}: {listed(names)}" for what, names in groups if names)
    return {
        "title": str(entries[top]["title"]),
        "auc": table1.interval(entries[top]["auc"]),
        "bacc": table1.interval(entries[top]["bacc"]),
        "words": f"By the area under the curve, {words}.",
        "table": differences.table(metrics, [(name, top) for name in others]),
    }


def additions(metrics: Mapping[str, Any], config: Config) -> list[str]:
    """Return sentences on what detectors that combine others add to each of them."""
    sentences = []
    for name, detector in config.detection.detectors.items():
        for part in detector.parts or ():
            gains = {q: between(metrics, name, part, q) for q in ("bacc", "auc", "brier")}
            numbers = [
                f"{_quantity(quantity)} {differences.signed(gain)}, {verdict(quantity, gain)}"
                for quantity, gain in gains.items()
            ]
            titles = f"{titled(metrics, name)} minus {titled(metrics, part)}"
            sentences.append(f"{titles}: {'; '.join(numbers)}.")
    return sentences


# --- tables -----------------------------------------------------------------------


def rates(metrics: Mapping[str, Any]) -> str:
    """Return the false-alarm rate, areas under the curves, and rates at fixed rates."""
    fixed = [quantity for quantity in quality.measured(metrics) if "_at_" in quantity]
    return markdown(measures.frame(metrics, ["false_alarm", "auc", "average_precision", *fixed]))


def probabilities(metrics: Mapping[str, Any]) -> str:
    """Return how good the probabilities are."""
    return markdown(measures.frame(metrics, ["brier", "log_loss", "ece"]))


def fluxes(config: Config, metrics: Mapping[str, Any], scores: Path) -> str:
    """Return the recall of the best detector of each class in bins of IC flux."""
    entries = metrics["detectors"]
    classes = [[name for name in entries if entries[name]["sees"] == key] for key in CLASSES]
    names = [best(metrics, members, "auc") for members in classes if members]
    columns = [columns_of(name).decision for name in names]
    table = read_table(scores, ["is_ic", *columns])
    is_ic = np.asarray(table["is_ic"], dtype=bool)
    if f"{TRUTH}ic_flux" not in table.colnames:
        raise IcflowError(f"{scores}: has no true fluxes; evaluate again")
    flux = 1e12 * floats(table, f"{TRUTH}ic_flux")[is_ic]
    edges = every_dependence.equal_numbers(flux, config.figures.bins)
    decisions = [np.asarray(table[column], dtype=bool)[is_ic] for column in columns]
    rows = []
    for low, high in pairwise(edges):
        here = (flux >= low) & ((flux < high) | (high == edges[-1]))
        cells = [f"{low:.2f} to {high:.2f}", f"{here.sum():,}"]
        rows.append([*cells, *(_recall(decision[here]) for decision in decisions)])
    header = ["IC flux (1e-12 erg/cm²/s)", "spectra", *(entries[name]["title"] for name in names)]
    return markdown(pd.DataFrame(rows, columns=header))


def _recall(decision: Booleans) -> str:
    """Return the fraction called IC of spectra that have it, with its binomial interval."""
    recall = float(np.mean(decision))
    low, high = map(float, binomial(recall, decision.size))
    return table1.interval({"value": recall, "lo": low, "hi": high})


def importances(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what carries the score of each detector that says so, the most important first."""
    tables = []
    for entry in metrics["detectors"].values():
        carried = entry.get("importances") or {}
        order = sorted(carried, key=lambda name: -(carried[name]["value"] or 0.0))[:8]
        losses = [table1.interval(carried[name]) for name in order]
        if order:
            table = markdown(pd.DataFrame({"Number": order, "Loss of area under ROC": losses}))
            tables.append({"title": entry["title"], "table": table})
    return tables
