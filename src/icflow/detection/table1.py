"""Table 1 in the forms in which it is read: CSV, LaTeX, Markdown and HTML rows.

All forms are made from the content of ``metrics.json``, so that they agree.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from icflow.detection.published import SOURCE

QUANTITIES = ("precision", "recall", "bacc")
# What a detector sees of spectra with IC, in one word or two (`icflow.detection.detectors.SEES`).
SEEN = {"never": "nothing", "threshold": "threshold", "training": "training", "priors": "priors"}
HEADINGS = {"precision": "Precision", "recall": "Recall", "bacc": "Balanced accuracy"}

_LATEX_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "–": "--", "Δ": r"$\Delta$",
}  # fmt: skip


def csv(metrics: Mapping[str, Any]) -> str:
    """Return Table 1 as CSV: one row per detector, ``nan`` where undefined."""
    header = ["detector"]
    for quantity in QUANTITIES:
        header += [quantity, f"{quantity}_lo", f"{quantity}_hi"]
    lines = [",".join([*header, "n_test"])]
    for name, entry in metrics["detectors"].items():
        numbers = [
            number(entry[quantity][key], 6)
            for quantity in QUANTITIES
            for key in ("value", "lo", "hi")
        ]
        lines.append(",".join([name, *numbers, str(entry["n_test"])]))
    return "\n".join(lines) + "\n"


def markdown(metrics: Mapping[str, Any]) -> str:
    """Return Table 1 in Markdown, the published values beside ours."""
    header = ["Detector", "sees of IC"]
    for quantity in QUANTITIES:
        header += [HEADINGS[quantity], "published"]
    lines = [bar(header), bar(["---", "---"] + ["---:"] * (len(header) - 2))]
    for entry in metrics["detectors"].values():
        cells = [escape_bar(entry["title"]), SEEN[entry["sees"]]]
        for quantity in QUANTITIES:
            cells += [interval(entry[quantity]), published(entry, quantity)]
        lines.append(bar(cells))
    return "\n".join(lines) + f"\n\n{caption(metrics)}\n"


def latex(metrics: Mapping[str, Any]) -> str:
    """Return Table 1 as a LaTeX ``table``, the published values beside ours."""
    lines = [
        r"\begin{table*}",
        r"\centering",
        rf"\caption{{{_escape(caption(metrics))}}}",
        r"\label{tab:detectors}",
        r"\begin{tabular}{llcccccc}",
        r"\hline\hline",
        " & ".join(["", "", *(rf"\multicolumn{{2}}{{c}}{{{HEADINGS[q]}}}" for q in QUANTITIES)])
        + r" \\",
        " & ".join(["Detector", "sees of IC", *["here", "published"] * 3]) + r" \\",
        r"\hline",
    ]
    for entry in metrics["detectors"].values():
        cells = [_escape(entry["title"]), SEEN[entry["sees"]]]
        for quantity in QUANTITIES:
            cells += [_latex_range(entry[quantity]), _escape(published(entry, quantity))]
        lines.append(" & ".join(cells) + r" \\")
    lines += [r"\hline", r"\end{tabular}", r"\end{table*}"]
    return "\n".join(lines) + "\n"


def caption(metrics: Mapping[str, Any]) -> str:
    """Return the caption, which states the settings that the numbers depend on."""
    sentences = [
        f"Detection of inverse Compton emission in simulated spectra: {_sample(metrics)}.",
        f"Intervals hold 68.3 % of {metrics['bootstrap']:,} bootstrap resamplings within each "
        "class, thresholds as chosen.",
        "A detector sees no spectrum with IC (nothing), those that choose its threshold "
        "(threshold), or is trained on some too (training); or it knows what the spectra of both "
        "classes were drawn from (priors).",
        *_networks(metrics),
        *_fits(metrics),
        f"Published values: {SOURCE}.",
    ]
    return " ".join(sentences)


def published(entry: Mapping[str, Any], quantity: str) -> str:
    """Return the published value of a quantity, or a dash."""
    return f"{entry['published'][quantity]:.2f}" if entry["published"] else "–"


def epochs(trained: Mapping[str, int]) -> str:
    """Return for how many epochs each network was trained, as a clause.

    Parameters
    ----------
    trained : dict of int
        Epochs by network.
    """
    alike: dict[int, list[str]] = {}
    for network, number in trained.items():
        alike.setdefault(number, []).append(network.upper())
    if len(alike) == 1:
        return f"{next(iter(alike)):,} epochs"
    clauses = [f"{number:,} epochs ({', '.join(names)})" for number, names in alike.items()]
    return " and ".join([", ".join(clauses[:-1]), clauses[-1]])


def _sample(metrics: Mapping[str, Any]) -> str:
    return " and ".join(
        f"{entry['size']:,} {entry['scenario']}"
        for entry in metrics["datasets"].values()
        if entry["role"] == "test"
    )


def _networks(metrics: Mapping[str, Any]) -> list[str]:
    training = metrics["training"]
    if not training:
        return []
    return [
        f"Autoencoders: {training['folds_trained']} of {training['folds']} folds of "
        f"{training['spectra']:,} spectra, trained for {epochs(training['epochs'])}; the "
        "threshold is the median over the folds."
    ]


def _fits(metrics: Mapping[str, Any]) -> list[str]:
    versions = metrics["versions"]
    if not versions:
        return []
    return ["Settings: " + ", ".join(f"{key} {value}" for key, value in versions.items()) + "."]


def number(value: float | None, digits: int) -> str:
    """Return a number as text, ``nan`` where it is undefined."""
    return "nan" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def interval(estimate: Mapping[str, float | None]) -> str:
    """Return a number with its interval, as text."""
    value, low, high = (number(estimate[key], 3) for key in ("value", "lo", "hi"))
    return "undefined" if value == "nan" else f"{value} ({low}–{high})"


def _latex_range(estimate: Mapping[str, float | None]) -> str:
    value, low, high = (estimate[key] for key in ("value", "lo", "hi"))
    if value is None or low is None or high is None:
        return "--"
    return rf"${value:.3f}_{{-{max(value - low, 0):.3f}}}^{{+{max(high - value, 0):.3f}}}$"


def _escape(text: str) -> str:
    return "".join(_LATEX_SPECIAL.get(letter, letter) for letter in text)


def escape_bar(text: str) -> str:
    """Return text for a cell of a Markdown table."""
    return text.replace("|", r"\|")


def bar(cells: Sequence[str]) -> str:
    """Return a row of a Markdown table."""
    return "| " + " | ".join(cells) + " |"
