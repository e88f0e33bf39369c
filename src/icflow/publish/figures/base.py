"""What a figure is: what it reads, what it depends on, how it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from icflow.config import Autoencoder, Config, Dataset, Detection, Figures, Instrument, Section

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class FigureSettings(Section):
    """What one figure depends on besides its input files.

    Sections of the configuration that a figure does not use are None.
    """

    name: str
    figures: Figures
    instrument: Instrument | None = None
    datasets: dict[str, Dataset] | None = None
    autoencoder: Autoencoder | None = None
    detection: Detection | None = None


@dataclass(frozen=True)
class FigureKind:
    """One figure of the registry.

    Attributes
    ----------
    sections : tuple of str
        Sections of the configuration, besides ``figures``, that it depends on.
    inputs : callable
        Takes the configuration, gives the files to read, relative to the
        folder of the results.
    draw : callable
        Takes the settings and the paths of the inputs, gives the figure.
    caption : callable
        Takes the configuration, gives the caption, which states the settings.
    alt : str
        What a reader who cannot see the figure should know that it shows.
    title : str
        What to call it where it has no number.
    """

    sections: tuple[str, ...]
    inputs: Callable[[Config], list[str]]
    draw: Callable[[FigureSettings, Sequence[Path]], Figure]
    caption: Callable[[Config], str]
    alt: str
    title: str = ""


def folds(config: Config) -> range:
    """Return the folds that are trained."""
    return range(config.autoencoder.training.folds_trained)


def many(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: ``1 fold``, ``2 folds``, ``1,000 spectra``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


# Settings travel between stages as JSON with sorted keys, so the order in which
# the configuration lists things is lost; figures order them by these functions.


def network_order(autoencoder: Autoencoder) -> list[str]:
    """Return the networks, those as published and the most constrained first, then by name."""

    def place(name: str) -> tuple[bool, float, str]:
        network = autoencoder.networks[name]
        return network.kind != "convolutional", -network.constraint, name

    return sorted(autoencoder.networks, key=place)


def label_order(autoencoder: Autoencoder) -> list[str]:
    """Return the labels: temperature, metallicity, redshift, norm, then others by name."""
    known = [name for name in ("kT", "Z", "z", "norm") if name in autoencoder.labels]
    return [*known, *sorted(set(autoencoder.labels) - set(known))]
