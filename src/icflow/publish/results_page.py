"""The page of results: every table with its intervals, every figure, and how they were made.

Written in Markdown from the files of a finished run. What it says about the
detectors is put together from the numbers: one detector is called better than
another only where the paired interval of their difference leaves out zero.
"""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from icflow.config import Config, Figures
from icflow.detection import differences, quality, table1
from icflow.detection.differences import BETTER, EVEN, WORSE, between, verdict
from icflow.detection.metrics import binomial
from icflow.errors import IcflowError
from icflow.files import atomic_path, write_text
from icflow.publish.figures import every_dependence, registry
from icflow.publish.figures.base import read_metrics
from icflow.publish.report import summary
from icflow.stages import figures
from icflow.tables import floats, read_table

PRIORS = "priors"  # what detectors know that the others cannot be measured by
DPI = 100
COLOURS = 256  # of an image: its files stay small, its lines sharp
PAGE = "README.md"
CLASSES = {
    "never": "that never see a spectrum with IC",
    "threshold": "that see IC to choose their threshold",
    "training": "that are trained on IC",
}


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
        ``metrics.csv`` and the images. A page ``scans.md`` that is there is
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
    metrics = read_metrics(results / "evaluation" / "metrics.json")
    images = {name: f"{registry.file_name(name)}.png" for name in registry.FIGURES}
    for name, image in images.items():
        _draw(config, name, results, output / image)
    tables = {
        "table1.csv": table1.csv(metrics),
        "differences.csv": differences.csv(metrics),
        "metrics.csv": metrics_csv(metrics),
    }
    # Markdown, not HTML; the titles come from the user's own configuration.
    environment = Environment(  # noqa: S701
        loader=PackageLoader("icflow.publish"), undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    page = environment.get_template("results.md.j2").render(
        summary=summary(config),
        options=options(files),
        table1=table1.markdown(metrics).strip(),
        standings=standings(metrics),
        ceiling=ceiling(metrics),
        rates=rates(metrics),
        probabilities=probabilities(metrics),
        additions=additions(metrics, config),
        fluxes=fluxes(config, metrics, results / "evaluation" / "scores.ecsv"),
        importances=importances(metrics),
        figures=[
            {
                "name": name,
                "title": registry.title(name),
                "image": image,
                "alt": registry.kind(name).alt,
                "caption": registry.kind(name).caption(config),
            }
            for name, image in images.items()
        ],
        bootstrap=metrics["bootstrap"],
        scans=(output / "scans.md").is_file(),
    )
    for name, text in (tables | {PAGE: page}).items():
        write_text(output / name, text)
    return [output / name for name in (PAGE, *tables, *images.values())]


def options(files: Sequence[str]) -> str:
    """Return the files laid over the first one as a command line names them."""
    return "".join(f" {shlex.quote(file)}" for file in files[1:])


def _draw(config: Config, name: str, results: Path, output: Path) -> None:
    settings = registry.settings(config, name)
    small = Figures(**(config.figures.model_dump() | {"dpi": DPI}))
    paths = [results / path for path in registry.inputs(config, name)]
    draw_small(
        lambda drawn: figures.run(settings.model_copy(update={"figures": small}), paths, [drawn]),
        output,
    )


def draw_small(draw: Callable[[Path], None], output: Path) -> None:
    """Draw a figure for a page, with few colours; `draw` writes it as PNG where it is told to."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder) / "drawn.png"
        draw(drawn)
        with Image.open(drawn) as image, atomic_path(output) as temporary:
            plain = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
            plain.save(temporary, optimize=True)


# --- words ------------------------------------------------------------------------


def listed(words: Sequence[str]) -> str:
    """Return words as a sentence lists them."""
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


def _title(metrics: Mapping[str, Any], name: str) -> str:
    """Return a title in italics: some hold a comma."""
    return f"*{metrics['detectors'][name]['title']}*"


def _rivals(metrics: Mapping[str, Any]) -> list[str]:
    """Return the detectors that compete: all that do not know the priors."""
    entries = metrics["detectors"]
    return [name for name in entries if entries[name]["sees"] != PRIORS]


def best(metrics: Mapping[str, Any], names: Sequence[str], quantity: str) -> str:
    """Return the detector with the highest number, whether or not others come close."""
    return max(names, key=lambda name: metrics["detectors"][name][quantity]["value"] or -1.0)


def standings(metrics: Mapping[str, Any]) -> list[str]:
    """Return sentences on the best detectors, over all and in each class."""
    rivals = _rivals(metrics)
    sentences = [_standing(metrics, rivals, quantity, "") for quantity in ("bacc", "auc")]
    for key, words in CLASSES.items():
        names = [name for name in rivals if metrics["detectors"][name]["sees"] == key]
        if 1 < len(names) < len(rivals):
            sentences.append(_standing(metrics, names, "bacc", f"Of those {words}, "))
    return sentences


def _standing(
    metrics: Mapping[str, Any], names: Sequence[str], quantity: str, introduction: str
) -> str:
    first = best(metrics, names, quantity)
    said = {name: _said(metrics, first, name, quantity) for name in names if name != first}
    number = table1.interval(metrics["detectors"][first][quantity])
    text = f"{_title(metrics, first)} has the highest {_quantity(quantity)}, {number}"
    better, even = (
        [_title(metrics, name) for name, word in said.items() if word == wanted]
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
        (words, [_title(metrics, name) for name, word in said.items() if word == wanted])
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
            numbers = [
                f"{_quantity(quantity)} {differences.signed(found)}, {verdict(quantity, found)}"
                for quantity in ("bacc", "auc", "brier")
                for found in [between(metrics, name, part, quantity)]
            ]
            titles = f"{_title(metrics, name)} minus {_title(metrics, part)}"
            sentences.append(f"{titles}: {'; '.join(numbers)}.")
    return sentences


# --- tables -----------------------------------------------------------------------


def _table(metrics: Mapping[str, Any], quantities: Sequence[str]) -> str:
    """Return a Markdown table of numbers with intervals, one row per detector."""
    lines = [
        table1.bar(["Detector", *map(quality.title, quantities)]),
        table1.bar(["---", *["---:"] * len(quantities)]),
    ]
    for entry in metrics["detectors"].values():
        cells = [table1.interval(entry[quantity]) for quantity in quantities]
        lines.append(table1.bar([table1.escape_bar(entry["title"]), *cells]))
    return "\n".join(lines)


def rates(metrics: Mapping[str, Any]) -> str:
    """Return the false-alarm rate, areas under the curves, and rates at fixed rates."""
    fixed = [quantity for quantity in quality.measured(metrics) if "_at_" in quantity]
    return _table(metrics, ["false_alarm", "auc", "average_precision", *fixed])


def probabilities(metrics: Mapping[str, Any]) -> str:
    """Return how good the probabilities are."""
    return _table(metrics, ["brier", "log_loss", "ece"])


def metrics_csv(metrics: Mapping[str, Any]) -> str:
    """Return everything that is measured as CSV, one row for each detector and quantity."""
    lines = ["detector,quantity,value,lo,hi"]
    for name, entry in metrics["detectors"].items():
        for quantity in quality.measured(metrics):
            numbers = [table1.number(entry[quantity][key], 6) for key in ("value", "lo", "hi")]
            lines.append(",".join([name, quantity, *numbers]))
    return "\n".join(lines) + "\n"


def fluxes(config: Config, metrics: Mapping[str, Any], scores: Path) -> str:
    """Return the recall of the best detector of each class in bins of IC flux."""
    rivals = _rivals(metrics)
    groups = [
        [name for name in rivals if metrics["detectors"][name]["sees"] == key] for key in CLASSES
    ]
    names = [best(metrics, group, "auc") for group in groups if group]
    table = read_table(scores, ["is_ic", *(f"{name}_decision" for name in names)])
    is_ic = np.asarray(table["is_ic"], dtype=bool)
    if "truth.ic_flux" not in table.colnames:
        raise IcflowError(f"{scores}: has no true fluxes; run the evaluation again with --fluxes")
    flux = 1e12 * floats(table, "truth.ic_flux")[is_ic]
    edges = every_dependence.equal_numbers(flux, config.figures.bins)
    titles = [table1.escape_bar(metrics["detectors"][name]["title"]) for name in names]
    lines = [
        table1.bar(["IC flux (1e-12 erg/cm²/s)", "spectra", *titles]),
        table1.bar(["---", *["---:"] * (len(names) + 1)]),
    ]
    for number, (low, high) in enumerate(pairwise(edges)):
        here = (flux >= low) & ((flux < high) | (number == edges.size - 2))
        cells = [f"{low:.2f} to {high:.2f}", f"{here.sum():,}"]
        for name in names:
            decision = np.asarray(table[f"{name}_decision"], dtype=bool)[is_ic][here]
            recall = float(np.mean(decision))
            ends = [float(end) for end in binomial(recall, decision.size)]
            cells.append(
                table1.interval(dict(zip(("value", "lo", "hi"), (recall, *ends), strict=True)))
            )
        lines.append(table1.bar(cells))
    return "\n".join(lines)


def importances(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what carries the score of each detector that says so, the most important first."""
    found = []
    for entry in metrics["detectors"].values():
        carried = entry.get("importances") or {}
        order = sorted(carried, key=lambda name: -(carried[name]["value"] or 0.0))[:8]
        if order:
            lines = [table1.bar(["Number", "Loss of area under ROC"]), table1.bar(["---", "---:"])]
            lines += [
                table1.bar([table1.escape_bar(name), table1.interval(carried[name])])
                for name in order
            ]
            found.append({"title": entry["title"], "table": "\n".join(lines)})
    return found
