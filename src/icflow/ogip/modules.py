"""Modules of an instrument, with the exposures of the spectra at hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from icflow.config import Module
from icflow.errors import IcflowError
from icflow.ogip.spectra import SpectrumSet


def as_observed(modules: Sequence[Module], spectra: SpectrumSet, path: Path) -> list[Module]:
    """Return the modules with the exposures of some spectra: datasets may differ in exposure.

    Raises
    ------
    IcflowError
        If the spectra are of other modules; `path` names their file.
    """
    names, simulated = (
        [module.name for module in modules],
        [module.module for module in spectra.modules],
    )
    if names != simulated:
        raise IcflowError(
            f"{path}: its spectra are of {_listed(simulated)}, but instrument has "
            f"{_listed(names)}; simulate the dataset again"
        )
    return [
        module.model_copy(update={"exposure": recorded.exposure})
        for module, recorded in zip(modules, spectra.modules, strict=True)
    ]


def _listed(names: Sequence[str]) -> str:
    named = [name for name in names if name]
    return f"the modules {', '.join(named)}" if named else "a single module without name"
