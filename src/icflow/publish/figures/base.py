"""What a figure is: what it reads, what it depends on, how it is drawn.

A new figure is a module that says these once, as a `FigureKind`, and a line in
`icflow.publish.figures.registry`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from icflow.config import Autoencoder, Config, Dataset, Detection, Figures, Module
from icflow.detection import published
from icflow.detection.columns import columns_of
from icflow.detection.metrics import Estimate
from icflow.files import read_json
from icflow.layout import Layout
from icflow.sections import Section
from icflow.tables import read_table
from icflow.typing import Booleans, Floats

if TYPE_CHECKING:
    from astropy.table import Table
    from matplotlib.figure import Figure


class FigureSettings(Section):
    """What one figure depends on besides the content of the files that it reads.

    These are relative to the folder of the results. Sections of the configuration that a
    figure does not use are None.
    """

    name: str
    figures: Figures
    inputs: list[str]
    modules: list[Module] | None = None
    datasets: dict[str, Dataset] | None = None
    autoencoder: Autoencoder | None = None
    detection: Detection | None = None


@dataclass(frozen=True)
class FigureData:
    """What a figure is drawn from: its settings, and its input files in the order of their list."""

    settings: FigureSettings
    paths: Sequence[Path]

    @property
    def detection(self) -> Detection:
        """The section, of figures that have it among theirs."""
        assert self.settings.detection is not None
        return self.settings.detection

    @property
    def autoencoder(self) -> Autoencoder:
        """The section, of figures that have it among theirs."""
        assert self.settings.autoencoder is not None
        return self.settings.autoencoder

    @property
    def bins(self) -> int:
        """In how many bins a quantity is shown."""
        return self.settings.figures.bins

    def scores(self, names: Iterable[str], *said: str) -> tuple[Table, Booleans]:
        """Read the scores of the test spectra, which come first among the inputs.

        Parameters
        ----------
        names : iterable of str
            Detectors that must be in the table.
        said : str
            What it must hold of each of them: fields of `icflow.detection.columns.Columns`.

        Returns
        -------
        Table
        (n,) bool
            Whether a spectrum has IC.
        """
        columns = [getattr(columns_of(name), field) for name in names for field in said]
        table = read_table(self.paths[0], ["is_ic", *columns])
        return table, np.asarray(table["is_ic"], dtype=bool)


@dataclass(frozen=True)
class FigureKind:
    """One figure of the registry.

    Attributes
    ----------
    inputs : callable
        Takes the configuration and the layout of the results, gives the files to read.
    draw : callable
        Takes what the figure is drawn from, gives the figure.
    caption : callable
        Takes the configuration, gives the caption, which states the settings.
    alt : str
        What a reader who cannot see the figure should know that it shows.
    sections : tuple of str
        Sections of the configuration, besides ``figures``, that it depends on.
    title : str
        What to call it where it has no number.
    """

    inputs: Callable[[Config, Layout], list[Path]]
    draw: Callable[[FigureData], Figure]
    caption: Callable[[Config], str]
    alt: str
    sections: tuple[str, ...] = ()
    title: str = ""


# --- what figures read ----------------------------------------------------------------


def scores(config: Config, results: Layout) -> list[Path]:
    """Return the scores of the evaluation."""
    return [results.judged]


def metrics(config: Config, results: Layout) -> list[Path]:
    """Return the metrics of the evaluation."""
    return [results.metrics]


def examples(config: Config, results: Layout) -> list[Path]:
    """Return the example reconstructions of the constrained network in its first fold."""
    return [results.reconstructions(constrained(config), 0)]


def read_metrics(path: Path) -> dict[str, Any]:
    """Read ``metrics.json``.

    Raises
    ------
    IcflowError
        If it is missing or not whole.
    """
    return read_json(path, "detectors", "the metrics of an evaluation", "evaluate again")


def ends(estimates: Sequence[Estimate]) -> Floats:
    """Return values, lower and upper ends of intervals, (3, n)."""
    return np.array([[e.value, e.lo, e.hi] for e in estimates], dtype=np.float64).T


# --- what they say --------------------------------------------------------------------


def shown_module(config: Config, beyond: str = "") -> str:
    """Return a sentence for captions of figures that show the spectra of one module only.

    Parameters
    ----------
    beyond : str
        What the sentence says besides.
    """
    first, *others = config.modules
    if not others:
        return ""
    return f" Shown is {first.name}, the first of {len(others) + 1} modules" + (
        f"; {beyond}." if beyond else "."
    )


def chosen_here(config: Config) -> str:
    """Return a sentence for captions on what of the Coma cluster has not been published.

    Empty where no cluster of this name is shown.
    """
    if config.figures.cluster != "Coma":
        return ""
    fixed = config.datasets["Coma"].parameters
    names = sorted(name for name, value in fixed.items() if published.COMA.get(name) != value)
    return f" Of Coma {', '.join(names)} are chosen here, the rest is published." * bool(names)


def origin(config: Config, parameter: str) -> str:
    """Say whether what the components of the Coma cluster have of a parameter is published."""
    fixed = config.datasets["Coma"].parameters
    names = [name for name in fixed if name.endswith(f".{parameter}")]
    same = [published.COMA.get(name) == fixed[name] for name in names]
    return "published" if same and all(same) else "chosen here"


def folds(config: Config) -> range:
    """Return the folds that are trained."""
    return range(config.autoencoder.training.folds_trained)


def many(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 fold``, ``2 folds``, ``1,000 folds``."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


# Settings travel between stages as JSON with sorted keys, so the order in which
# the configuration lists things is lost; figures order them by these functions.


def network_order(autoencoder: Autoencoder) -> list[str]:
    """Return the networks, those as published and the most constrained first, then by name."""

    def place(name: str) -> tuple[bool, float, str]:
        network = autoencoder.networks[name]
        return network.kind != "published", -network.constraint, name

    return sorted(autoencoder.networks, key=place)


def constrained(config: Config) -> str:
    """Return the network to show: as published, its latents constrained, where there is such."""
    networks = config.autoencoder.networks
    names = network_order(config.autoencoder)
    names = [name for name in names if networks[name].kind == "published"] or names
    return next((name for name in names if networks[name].constraint > 0), names[0])


def label_order(autoencoder: Autoencoder) -> list[str]:
    """Return the labels: temperature, metallicity, redshift, norm, then others by name."""
    first = [name for name in ("kT", "Z", "z", "norm") if name in autoencoder.labels]
    return [*first, *sorted(set(autoencoder.labels) - set(first))]
