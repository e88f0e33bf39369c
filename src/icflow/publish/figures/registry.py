"""All figures: those of the paper by number, further ones by name.

A new figure is a new module and one line here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from icflow.config import Config
from icflow.errors import IcflowError
from icflow.layout import Layout
from icflow.publish.figures import (
    architecture,
    confusion,
    curves,
    dependence,
    differences,
    efficiency,
    every_dependence,
    example_spectra,
    forest,
    latents,
    losses,
    reconstruction_errors,
    reconstructions,
    reliability,
    style,
)
from icflow.publish.figures.base import FigureData, FigureKind, FigureSettings

FIGURES: dict[str, FigureKind] = {
    "1": example_spectra.FIGURE,
    "2": architecture.FIGURE,
    "3": reconstruction_errors.DISTRIBUTIONS,
    "4": reconstruction_errors.NUMBERS,
    "5": curves.AUTOENCODER_PRECISION,
    "6": confusion.FIGURE,
    "7": latents.FIGURE,
    "8": dependence.FIGURE,
    "forest": forest.FIGURE,
    "examples": example_spectra.EXAMPLES,
    "reconstructions": reconstructions.FIGURE,
    "losses": losses.FIGURE,
    "confusion": confusion.ALL,
    "roc": curves.ROC,
    "precision_recall": curves.PRECISION_RECALL,
    "differences": differences.FIGURE,
    "reliability": reliability.FIGURE,
    "dependence": every_dependence.PARAMETERS,
    "physics": every_dependence.PHYSICS,
    "efficiency": efficiency.FIGURE,
}


def kind(name: str) -> FigureKind:
    """Return a figure of the registry.

    Raises
    ------
    IcflowError
        If there is none of that name.
    """
    if name not in FIGURES:
        raise IcflowError(f"there is no figure {name}; choose one of {', '.join(FIGURES)}")
    return FIGURES[name]


def file_name(name: str) -> str:
    """Return the name of a figure's files, without suffix."""
    return f"figure{name}" if name.isdigit() else name


def title(name: str) -> str:
    """Return what a figure is called above its caption."""
    return kind(name).title or f"Figure {name}"


def caption(config: Config, name: str) -> str:
    """Return what stands below a figure: what it shows, with the settings that it depends on."""
    return kind(name).caption(config)


def words(config: Config, name: str) -> dict[str, str]:
    """Return title, caption and alt text of a figure, under these names."""
    return {"title": title(name), "caption": caption(config, name), "alt": kind(name).alt}


def settings(config: Config, name: str) -> FigureSettings:
    """Return the part of the configuration that a figure depends on."""
    sections = {section: getattr(config, section) for section in kind(name).sections}
    files = [path.as_posix() for path in inputs(config, name, Layout(Path()))]
    return FigureSettings(name=name, figures=config.figures, inputs=files, **sections)


def inputs(config: Config, name: str, results: Layout) -> list[Path]:
    """Return the files that a figure reads."""
    return kind(name).inputs(config, results)


def outputs(config: Config, name: str, results: Layout) -> list[Path]:
    """Return the files that a figure makes."""
    return [results.figure(file_name(name), suffix) for suffix in config.figures.formats]


def draw(settings: FigureSettings, paths: Sequence[Path]) -> style.Figure:
    """Draw a figure from the files that `inputs` names, in that order.

    Raises
    ------
    IcflowError
        If there is no such figure, or an input is missing or not what the figure reads.
    """
    return kind(settings.name).draw(FigureData(settings, paths))


def write(settings: FigureSettings, paths: Sequence[Path], outputs: Sequence[Path]) -> None:
    """Draw a figure and write it; see `draw` and `icflow.publish.figures.style.write`."""
    style.write(lambda: draw(settings, paths), settings.figures.dpi, outputs)
