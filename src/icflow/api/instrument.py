"""What spectra are simulated with: response, exposure and background."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from os import PathLike
from typing import Any

import numpy as np

from icflow.api.arguments import energies as energies_of
from icflow.api.arguments import listed, number, optional_path, path
from icflow.config import AtomicData, Module, checked
from icflow.config.model import MODULE_NAME
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.engines.embedded.folding import Binning, Groups
from icflow.errors import IcflowError
from icflow.models import library
from icflow.ogip.bins import bins_of_counts
from icflow.ogip.noticed import check_covered, noticed_channels
from icflow.typing import Counts, Floats

# A file.
Name = str | PathLike[str]
# Energies that are fitted where none are chosen, keV.
DEFAULT = (3.0, 80.0)
# Engines that are kept: their responses take a second to read.
KEPT = 4


@dataclass(frozen=True)
class Instrument:
    """Response, exposure and background of spectra to simulate, and of spectra that are arrays.

    Attributes
    ----------
    rmf : path
        Redistribution matrix, OGIP.
    arf : path, optional
        Effective area; left out where the matrix includes it.
    exposure : float or Quantity
        Seconds.
    background : path, optional
        Description of background components (YAML), as ``instrument.background`` of a
        configuration.
    systematics : mapping, optional
        What varies from spectrum to spectrum, as ``instrument.systematics`` of a configuration:
        ``{"background": 0.05}``.
    name : str
        Of one of several modules, which are given as a list.

    Raises
    ------
    IcflowError
        When it is used: if a file is missing or is not what it should be, or the exposure is not
        positive.

    Examples
    --------
    >>> import icflow
    >>> toy = icflow.Instrument("resp.rmf", "area.arf", exposure=1e4)
    >>> toy.edges.shape
    (400, 2)
    """

    rmf: Name
    arf: Name | None = None
    exposure: Any = 1.0
    background: Name | None = None
    systematics: Mapping[str, Any] | None = None
    name: str = ""

    @property
    def module(self) -> Module:
        """The same as a configuration has it."""
        given = {
            "rmf": path(self.rmf, "rmf"),
            "arf": optional_path(self.arf, "arf"),
            "exposure": number(self.exposure, "s", "exposure"),
            "background": optional_path(self.background, "background"),
            "systematics": dict(self.systematics or {}),
            "name": self.name,
        }
        return checked(Module, given, "Instrument")

    @property
    def edges(self) -> Floats:
        """Nominal limits of the channels, keV, shape (n_channels, 2)."""
        return engine_of(self, AtomicData()).channel_edges


def engine_of(
    instruments: Instrument | Sequence[Instrument], atomic_data: AtomicData
) -> EmbeddedEngine:
    """Return the engine of an instrument, or of several modules; the last few are kept.

    Raises
    ------
    IcflowError
        If it is no instrument, a file cannot be used, or several modules cannot be told apart.
    """
    given = listed(instruments)
    if not given or not all(isinstance(instrument, Instrument) for instrument in given):
        raise IcflowError(
            f"instrument is {instruments!r}; give icflow.Instrument(rmf, arf, exposure)"
        )
    modules = [instrument.module for instrument in given]
    names = [module.name for module in modules]
    if len(set(names)) < len(names) or (len(names) > 1 and not all(map(MODULE_NAME.match, names))):
        raise IcflowError(
            f"several instruments are named {', '.join(map(repr, names))}; give each a name of its "
            "own, of letters and digits, because parameters are named after them"
        )
    engine = _engine(tuple(module.json_text() for module in modules), atomic_data)
    # The model library has one state for all engines.
    library.configure(atomic_data)
    return engine


def energies_in(engine: EmbeddedEngine, energies: Any) -> tuple[float, float]:
    """Return the energies to fit, keV: those given, or all from 3 to 80.

    Raises
    ------
    IcflowError
        If those given reach outside a response.
    """
    if energies is None:
        return DEFAULT
    low, high = energies_of(energies)
    rmfs = [folding.response.rmf for folding in engine.foldings]
    first = max(float(rmf.e_min.min()) for rmf in rmfs)
    last = min(float(rmf.e_max.max()) for rmf in rmfs)
    check_covered(low, high, (first, last), "the response", "energies")
    return low, high


def bins_in(engine: EmbeddedEngine, energies: Sequence[float], least: int) -> Binning:
    """Return what makes the bins of spectra that are arrays: those that fits of their files have.

    Parameters
    ----------
    energies : sequence of float
        Lowest and highest, keV.
    least : int
        Counts in a bin.
    """
    rmfs = [folding.response.rmf for folding in engine.foldings]
    inside = [noticed_channels(rmf.e_min, rmf.e_max, *energies) for rmf in rmfs]
    first = np.cumsum([0, *map(len, inside)])

    def bins(counts: Counts) -> Groups:
        parts = []
        for noticed, start in zip(inside, first, strict=False):
            own = counts[start : start + len(noticed)]
            held = int(own[noticed].sum())
            if held < least:
                raise IcflowError(
                    f"holds {held} counts between the energies, and bins have at least {least}; "
                    "lower group_min"
                )
            starts, stops = bins_of_counts(own, noticed, least)
            parts.append((starts + start, stops + start))
        starts, stops = (np.concatenate(part) for part in zip(*parts, strict=True))
        return starts, stops

    return bins


@lru_cache(KEPT)
def _engine(modules: tuple[str, ...], atomic_data: AtomicData) -> EmbeddedEngine:
    read = [checked(Module, json.loads(text), "Instrument") for text in modules]
    return EmbeddedEngine(read, atomic_data)
