"""Where labels of latents come from, as the configuration writes it."""

from __future__ import annotations

import re
from typing import NamedTuple

_SOURCE = re.compile(r"(log )?(fit|truth|ordered):(.+)")


class LabelSource(NamedTuple):
    """Where a label comes from.

    Attributes
    ----------
    logarithm : bool
        Whether the label is the natural logarithm of the parameter.
    origin : str
        ``fit``: the label fit, ``truth``: as simulated, ``ordered``: as simulated,
        like components in order of temperature, the cooler one first.
    parameter : str
        Name of the parameter.
    """

    logarithm: bool
    origin: str
    parameter: str

    @classmethod
    def parse(cls, text: str) -> LabelSource | None:
        """Return the source that `text` means, None if it means nothing."""
        found = _SOURCE.fullmatch(text)
        return None if found is None else cls(found[1] is not None, found[2], found[3])
