"""Systematics: what is wrong, by how much, with what an analysis takes for known."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag

from icflow.sections import Number, Section

Scatter = Annotated[Number, Field(ge=0, le=1)]
# Energy (keV) and relative standard deviation there.
_Node = Annotated[list[Annotated[Number, Field(ge=0)]], Field(min_length=2, max_length=2)]


def _in_order(nodes: list[list[float]]) -> list[list[float]]:
    energies, scatters = zip(*nodes, strict=True)
    if energies[0] <= 0 or any(low >= high for low, high in itertools.pairwise(energies)):
        raise ValueError("energies of the nodes must be positive and increase")
    if max(scatters) > 1:
        raise ValueError(f"a scatter is {max(scatters):g}; it is relative, so give 1 at most")
    return nodes


def _kind(value: Any) -> str:
    return "<components>" if isinstance(value, Mapping) else "<number>"


ByComponent = Annotated[
    Annotated[Scatter, Tag("<number>")] | Annotated[dict[str, Scatter], Tag("<components>")],
    Discriminator(_kind),
]
AreaScatter = Annotated[list[_Node], Field(min_length=2), AfterValidator(_in_order)]


class Gain(Section):
    """Standard deviations of the energy scale: E becomes E (1 + slope) + offset."""

    slope: Annotated[Number, Field(ge=0, le=0.1)] = Field(0.0, description="of the slope, relative")
    offset: Annotated[Number, Field(ge=0, le=1000)] = Field(0.0, description="of the offset (eV)")


class Systematics(Section):
    """What varies from spectrum to spectrum without an analysis knowing it: standard deviations."""

    background: ByComponent = Field(
        0.0,
        description="relative scatter of the norms of the background: of every component, or "
        "`{component: scatter}`",
    )
    area: AreaScatter | None = Field(
        None,
        description="relative scatter of the effective area, of source and focused background "
        "alike: `[[keV, scatter], …]`, a smooth curve through these nodes",
    )
    gain: Gain | None = Field(None, description="scatter of the energy scale of each module")
    known: dict[str, Annotated[Number, Field(gt=0)]] = Field(
        {},
        description="parameters that are measured elsewhere, and by how much the value that an "
        "analysis is given (`at_truth`) is off",
    )

    def scatter_of(self, component: str) -> float:
        """Return the relative scatter of the norm of a background component."""
        if isinstance(self.background, Mapping):
            return self.background.get(component, 0.0)
        return self.background

    @property
    def calibrated(self) -> bool:
        """Whether effective area and energy scale are as the response files say."""
        return self.area is None and self.gain is None
