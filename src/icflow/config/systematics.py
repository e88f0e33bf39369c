"""Systematics: what is wrong, by how much, with what an analysis takes for known."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from icflow.sections import Number, Section

Scatter = Annotated[Number, Field(ge=0, le=1)]
# Energy (keV) and relative standard deviation there.
_Node = Annotated[list[Number], Field(min_length=2, max_length=2)]
# Smallest offset of an energy scale, eV: smaller ones are meant in keV.
LEAST_OFFSET = 1.0


def _in_order(nodes: list[list[float]]) -> list[list[float]]:
    energies = [energy for energy, _ in nodes]
    if energies[0] <= 0 or any(low >= high for low, high in itertools.pairwise(energies)):
        raise ValueError("energies of the nodes must be positive and increase")
    for energy, scatter in nodes:
        if not 0 <= scatter <= 1:
            raise ValueError(
                f"the node at {energy:g} keV has a scatter of {scatter:g}; it is relative, so give "
                "0 to 1"
            )
    return nodes


def _not_a_scatter(value: Any) -> Any:
    if isinstance(value, int | float):
        raise ValueError(
            f"is {value}; write nodes, energies in keV and a scatter at each: "
            "[[3.0, 0.02], [79.0, 0.02]]"
        )
    return value


def _not_an_offset(value: Any) -> Any:
    if isinstance(value, int | float):
        raise ValueError(f"is {value}; write {{offset: {float(value)}}}, in eV, or {{slope: …}}")
    return value


def _in_eV(offset: float) -> float:
    if 0 < offset < LEAST_OFFSET:
        raise ValueError(
            f"is {offset:g} eV, less than {LEAST_OFFSET:g}; if {offset:g} keV is meant, write "
            f"{1000 * offset:g}"
        )
    return offset


def component_kind(value: Any) -> str:
    """Tell which member of a union a value is: one number, or a number for each component."""
    return "<components>" if isinstance(value, Mapping) else "<number>"


ByComponent = Annotated[
    Annotated[Scatter, Tag("<number>")] | Annotated[dict[str, Scatter], Tag("<components>")],
    Discriminator(component_kind),
]
AreaScatter = Annotated[
    list[_Node], Field(min_length=2), AfterValidator(_in_order), BeforeValidator(_not_a_scatter)
]
_Offset = Annotated[Number, Field(ge=0, le=1000), AfterValidator(_in_eV)]


class Gain(Section):
    """Standard deviations of the energy scale: E becomes E (1 + slope) + offset."""

    slope: Annotated[Number, Field(ge=0, le=0.1)] = Field(0.0, description="of the slope, relative")
    offset: _Offset = Field(0.0, description="of the offset (eV)")


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
    gain: Annotated[Gain, BeforeValidator(_not_an_offset)] | None = Field(
        None, description="scatter of the energy scale of each module"
    )
    known: dict[str, Annotated[Number, Field(gt=0)]] = Field(
        {},
        description="parameters that are measured elsewhere, and by how much the value that an "
        "analysis is given (`at_truth`) is off",
    )
