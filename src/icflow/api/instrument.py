"""What spectra are simulated with: response, exposure and background."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from os import PathLike, fspath
from typing import Any

from icflow.api.arguments import listed, number
from icflow.config import AtomicData, Module, checked
from icflow.config.model import MODULE_NAME
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.errors import IcflowError
from icflow.models import library
from icflow.typing import Floats

# A file.
Name = str | PathLike[str]
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
            "rmf": fspath(self.rmf),
            "arf": None if self.arf is None else fspath(self.arf),
            "exposure": number(self.exposure, "s", "exposure"),
            "background": None if self.background is None else fspath(self.background),
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


@lru_cache(KEPT)
def _engine(modules: tuple[str, ...], atomic_data: AtomicData) -> EmbeddedEngine:
    read = [checked(Module, json.loads(text), "Instrument") for text in modules]
    return EmbeddedEngine(read, atomic_data)
