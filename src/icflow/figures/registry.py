"""All figures by number. A new figure is a new module and one line here."""

from __future__ import annotations

from icflow.config import Config
from icflow.errors import IcflowError
from icflow.figures import (
    architecture,
    confusion,
    dependence,
    example_spectra,
    latents,
    losses,
    reconstruction_errors,
    reconstructions,
)
from icflow.figures.base import FigureKind, FigureSettings

FIGURES: dict[int, FigureKind] = {
    1: example_spectra.FIGURE,
    2: architecture.FIGURE,
    3: reconstructions.FIGURE,
    4: losses.FIGURE,
    5: reconstruction_errors.FIGURE,
    6: confusion.FIGURE,
    7: latents.FIGURE,
    8: dependence.FIGURE,
}


def kind(number: int) -> FigureKind:
    """Return a figure of the registry.

    Raises
    ------
    IcflowError
        If there is none of that number.
    """
    if number not in FIGURES:
        known = ", ".join(map(str, FIGURES))
        raise IcflowError(f"there is no figure {number}; choose one of {known}")
    return FIGURES[number]


def settings(config: Config, number: int) -> FigureSettings:
    """Return the part of the configuration that a figure depends on."""
    sections = {name: getattr(config, name) for name in kind(number).sections}
    return FigureSettings(number=number, figures=config.figures, **sections)


def inputs(config: Config, number: int) -> list[str]:
    """Return the files that a figure reads, relative to the folder of the results."""
    return kind(number).inputs(config)


def outputs(config: Config, number: int) -> list[str]:
    """Return the files that a figure makes, relative to the folder of the results."""
    return [f"figures/figure{number}.{suffix}" for suffix in config.figures.formats]
