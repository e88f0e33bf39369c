"""Table 1 in the forms in which it is read: CSV, LaTeX, Markdown and HTML rows.

All forms are made from the content of ``metrics.json``, so that they agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from icflow import tables
from icflow.detection.base import SEES
from icflow.detection.metrics import ENDS
from icflow.detection.published import SOURCE
from icflow.detection.quality import TITLES
from icflow.tables import decimal, latex_text

if TYPE_CHECKING:
    import pandas as pd

QUANTITIES = ("precision", "recall", "bacc")


def csv(metrics: Mapping[str, Any]) -> str:
    """Return Table 1 as CSV: one row per detector, ``nan`` where undefined."""
    import pandas as pd  # slow to import, and figures use the words of this module

    rows = [
        {
            "detector": name,
            **{
                f"{quantity}{end}": decimal(entry[quantity][key], 6)
                for quantity in QUANTITIES
                for key, end in ENDS.items()
            },
            "n_test": entry["n_test"],
        }
        for name, entry in metrics["detectors"].items()
    ]
    return tables.csv(pd.DataFrame(rows))


def frame(
    metrics: Mapping[str, Any],
    text: Callable[[str], str] = str,
    number: Callable[[Mapping[str, float | None]], str] | None = None,
) -> pd.DataFrame:
    """Return Table 1 as texts, the published values beside ours.

    Parameters
    ----------
    metrics : mapping
        The content of ``metrics.json``.
    text : callable, optional
        How a text is written.
    number : callable, optional
        How a number with its interval is written; `interval` by default.

    Returns
    -------
    DataFrame
        One row per detector, columns ``Detector``, ``sees of IC`` and, for each
        of `QUANTITIES`, its heading and ``published``.
    """
    import pandas as pd

    number = number or interval
    columns = ["Detector", "sees of IC"]
    for quantity in QUANTITIES:
        columns += [TITLES[quantity], "published"]
    rows = [
        [
            text(entry["title"]),
            SEES[entry["sees"]].word,
            *(
                cell
                for quantity in QUANTITIES
                for cell in (number(entry[quantity]), text(published(entry, quantity)))
            ),
        ]
        for entry in metrics["detectors"].values()
    ]
    return pd.DataFrame(rows, columns=columns)


def markdown(metrics: Mapping[str, Any]) -> str:
    """Return Table 1 in Markdown."""
    return f"{tables.markdown(frame(metrics), words=2)}\n\n{caption(metrics)}\n"


def latex(metrics: Mapping[str, Any]) -> str:
    """Return Table 1 as a LaTeX ``table``."""
    import pandas as pd

    table = frame(metrics, latex_text, _latex_range)
    table.columns = pd.MultiIndex.from_tuples(
        [("", name) for name in table.columns[:2]]
        + [(TITLES[quantity], what) for quantity in QUANTITIES for what in ("here", "published")]
    )
    rules = {"toprule": r":hline\hline", "midrule": ":hline", "bottomrule": ":hline"}
    styled = table.style.hide(axis="index").set_table_styles(
        [{"selector": place, "props": rule} for place, rule in rules.items()]
    )
    text: str = styled.to_latex(
        environment="table*",
        position_float="centering",
        caption=latex_text(caption(metrics)),
        label="tab:detectors",
        column_format="llcccccc",
        multicol_align="c",
    )
    return text


def caption(metrics: Mapping[str, Any]) -> str:
    """Return the caption, which states the settings that the numbers depend on."""
    sentences = [
        f"Detection of inverse Compton emission in simulated spectra: {sample(metrics)}.",
        f"Population: {metrics['population']}.",
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


def sample(metrics: Mapping[str, Any]) -> str:
    """Return how many test spectra there are of which scenario."""
    return " and ".join(
        f"{entry['size']:,} {entry['scenario']}"
        for entry in metrics["datasets"].values()
        if entry["role"] == "test"
    )


def _networks(metrics: Mapping[str, Any]) -> list[str]:
    training = metrics["training"]
    if not training:
        return []
    scaled = ", and so is the score, each fold's scaled to have this threshold"
    scaled *= training["folds_trained"] > 1
    return [
        f"Autoencoders: {training['folds_trained']} of {training['folds']} folds of "
        f"{training['spectra']:,} spectra, trained for {epochs(training['epochs'])}; the "
        f"threshold is the median over the folds{scaled}.",
        *(f"{sentence}." for sentence in training.get("labels", [])),
    ]


def _fits(metrics: Mapping[str, Any]) -> list[str]:
    versions = metrics["versions"]
    if not versions:
        return []
    return ["Settings: " + ", ".join(f"{key} {value}" for key, value in versions.items()) + "."]


def interval(estimate: Mapping[str, float | None]) -> str:
    """Return a number with its interval, as text."""
    value, low, high = (decimal(estimate[key], 3) for key in ENDS)
    return "undefined" if value == "nan" else f"{value} ({low}–{high})"


def _latex_range(estimate: Mapping[str, float | None]) -> str:
    value, low, high = (estimate[key] for key in ENDS)
    if value is None or low is None or high is None:
        return "--"
    return rf"${value:.3f}_{{-{max(value - low, 0):.3f}}}^{{+{max(high - value, 0):.3f}}}$"
