"""What is simulated: models, datasets, the instrument."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from icflow.config.references import NameOf
from icflow.models.priors import Prior
from icflow.sections import (
    Interval,
    Number,
    Positive,
    Scatter,
    Section,
)


class Link(Section):
    """A parameter that equals another one of the same model."""

    link: str = Field(description="parameter of the same model that it equals")


class Free(Section):
    """A parameter that a fit varies within hard limits."""

    free: Interval = Field(description="hard limits between which the fit varies it")
    start: Number | None = Field(None, description="value that the first start takes")

    @model_validator(mode="after")
    def _start_inside(self) -> Free:
        if self.start is not None and not self.free[0] <= self.start <= self.free[1]:
            raise ValueError(f"start is {self.start}, outside the limits {self.free}")
        return self


def _kind(value: Any) -> str:
    """Tell which member of a union of parameter kinds a value is meant to be.

    The tags stand in the location of an error; their brackets keep them apart from keys.
    """
    if isinstance(value, Mapping):
        return "<link>" if "link" in value else "<varies>"
    if isinstance(value, Section):
        return "<link>" if isinstance(value, Link) else "<varies>"
    return "<number>"


_Fixed = Annotated[Number, Tag("<number>")]
_Linked = Annotated[Link, Tag("<link>")]
Drawn = Annotated[_Fixed | _Linked | Annotated[Prior, Tag("<varies>")], Discriminator(_kind)]
Fitted = Annotated[_Fixed | _Linked | Annotated[Free, Tag("<varies>")], Discriminator(_kind)]


class Scenario(Section):
    """A model to simulate: an XSPEC expression and what each parameter does."""

    expression: str = Field(description="XSPEC model expression")
    parameters: dict[str, Drawn] = Field(
        description="each parameter, named component.parameter as in PyXspec: a fixed value, "
        "`{link: parameter}`, `{uniform: [low, high]}` or `{log_uniform: [low, high]}`"
    )


class FitModel(Section):
    """A model to fit: an XSPEC expression and what each parameter does."""

    expression: str = Field(description="XSPEC model expression")
    parameters: dict[str, Fitted] = Field(
        description="each parameter, named component.parameter as in PyXspec: a fixed value, "
        "`{link: parameter}` or `{free: [low, high], start: value}`"
    )


class Dataset(Section):
    """Simulated spectra of one scenario."""

    scenario: Annotated[str, NameOf("scenarios")] = Field(description="name under `scenarios`")
    size: int = Field(ge=1, description="number of spectra")
    like: Annotated[str, NameOf("datasets")] | None = Field(
        None,
        description="dataset of the same sources, drawn with the same random numbers; what is not "
        "given here is as there",
    )
    parameters: dict[str, Drawn] = Field(
        {}, description="parameters that are drawn otherwise than `scenarios` says"
    )
    exposure: Positive | None = Field(
        None, description="exposure (s; default: `instrument.exposure`)"
    )
    background_scatter: Scatter | None = Field(
        None,
        ge=0,
        le=1,
        description="scatter of the background norms (default: `instrument.background_scatter`)",
    )
    ic: bool | None = Field(
        None,
        description="whether the spectra hold IC (default: yes, unless their scenario is that of "
        "`detection.training`)",
    )


# The keys of `icflow.engines.registry`.
EngineName = Literal["embedded", "xspec"]


class AtomicData(Section):
    """Settings of XSPEC's model library."""

    atomdb: str = Field("3.0.9", description="AtomDB version of the apec tables")
    folder: str = Field("resources/atomdb", description="folder that holds the apec tables")
    abundances: str = Field("angr", description="abundance table, as in XSPEC's `abund`")
    cross_sections: Literal["bcmc", "obcm", "vern"] = Field(
        "vern", description="photoelectric cross sections, as in XSPEC's `xsect`"
    )


class Instrument(Section):
    """Response, exposure and background of the simulated observation."""

    rmf: str = Field(description="response matrix file, OGIP RMF")
    arf: str | None = Field(
        None,
        description="ancillary response file, OGIP ARF; leave out if the RMF includes the area",
    )
    exposure: Positive = Field(description="exposure of every spectrum (s)")
    background: str | None = Field(
        None, description="background components and norms; leave out for none"
    )
    background_scatter: Scatter = Field(
        0.0,
        ge=0,
        le=1,
        description="relative standard deviation of each background norm from spectrum to spectrum",
    )

    @property
    def name(self) -> str:
        """The module's name; a single one needs none."""
        return ""
