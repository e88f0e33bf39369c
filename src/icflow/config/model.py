"""What is simulated: models, datasets, the instrument."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from icflow.config.references import NameOf
from icflow.config.systematics import Systematics
from icflow.models.priors import Prior, forms
from icflow.sections import MOST, Interval, Number, Positive, Section

# Several lines of a YAML block are one expression.
ExpressionText = Annotated[str, AfterValidator(lambda text: " ".join(text.split()))]
MODULE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


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

    expression: ExpressionText = Field(description="XSPEC model expression")
    parameters: dict[str, Drawn] = Field(
        description="each parameter, named component.parameter as in PyXspec: a fixed value, "
        f"`{{link: parameter}}`, {forms()}"
    )


class FitModel(Section):
    """A model to fit: an XSPEC expression and what each parameter does."""

    expression: ExpressionText = Field(description="XSPEC model expression")
    parameters: dict[str, Fitted] = Field(
        description="each parameter, named component.parameter as in PyXspec: a fixed value, "
        "`{link: parameter}` or `{free: [low, high], start: value}`"
    )


class Dataset(Section):
    """Simulated spectra of one scenario."""

    scenario: Annotated[str, NameOf("scenarios")] = Field(description="name under `scenarios`")
    size: int = Field(ge=1, le=MOST, description="number of spectra")
    like: Annotated[str, NameOf("datasets")] | None = Field(
        None,
        description="dataset of the same sources, drawn with the same random numbers; what is not "
        "given here is as there",
    )
    parameters: dict[str, Drawn] = Field(
        {}, description="parameters that are drawn otherwise than `scenarios` says"
    )
    exposure: Positive | None = Field(
        None, description="exposure of all modules (s; default: `instrument.exposure`)"
    )
    systematics: Systematics | None = Field(
        None, description="instead of those of the modules, of all (default: `instrument`'s)"
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


class _Folding(Section):
    """What the spectra of one module are folded with."""

    rmf: str = Field(description="response matrix file, OGIP RMF")
    arf: str | None = Field(
        None,
        description="ancillary response file, OGIP ARF; leave out if the RMF includes the area",
    )
    exposure: Positive = Field(description="exposure of every spectrum (s)")
    background: str | None = Field(
        None, description="background components and norms; leave out for none"
    )
    systematics: Systematics = Field(
        Systematics(), description="what varies from spectrum to spectrum unknown to an analysis"
    )


class Instrument(_Folding):
    """Response, exposure and background of an instrument that is a single module."""

    @property
    def name(self) -> str:
        """The module's name; a single one needs none."""
        return ""

    @property
    def cross_normalisation(self) -> float:
        """The factor of the module; nothing is beside it."""
        return 1.0


def _drawn_factor(value: Any) -> str:
    return "<varies>" if isinstance(value, Mapping | Prior) else "<number>"


Factor = Annotated[
    Annotated[Positive, Tag("<number>")] | Annotated[Prior, Tag("<varies>")],
    Discriminator(_drawn_factor),
]


class Module(_Folding):
    """One of several modules of an instrument: it has a name and a factor too."""

    name: str = Field("", description="several modules: name of the module, letters and digits")
    cross_normalisation: Factor = Field(
        1.0,
        description="several modules: factor between this one and the first that spectra are drawn "
        f"with, a number, {forms()}",
    )

    @model_validator(mode="after")
    def _positive_factor(self) -> Module:
        factor = self.cross_normalisation
        if isinstance(factor, Prior) and factor.bounds[0] <= 0:
            raise ValueError(
                f"cross_normalisation reaches down to {factor.bounds[0]:g}; factors are positive"
            )
        return self


def _several(value: Any) -> str:
    return "<modules>" if isinstance(value, list) else "<module>"


def _told_apart(modules: list[Module]) -> list[Module]:
    """Check the names of modules, and that factors are relative to the first one."""
    names = [module.name for module in modules]
    for position, name in enumerate(names):
        if not MODULE_NAME.fullmatch(name):
            raise ValueError(
                f"module {position + 1} has the name {name!r}; name each module with letters, "
                "digits and _, because parameters are named after them"
            )
        if names.index(name) < position:
            raise ValueError(f"two modules have the name {name!r}; rename one")
    if modules and modules[0].cross_normalisation != 1.0:
        raise ValueError(
            f"cross_normalisation is given for {names[0]}, the first module, which the others are "
            "relative to; leave it out there"
        )
    return modules


# A single module is a mapping, several are a list.
Modules = Annotated[
    Annotated[Instrument, Tag("<module>")]
    | Annotated[list[Module], Field(min_length=1), AfterValidator(_told_apart), Tag("<modules>")],
    Discriminator(_several),
]


def listed_modules(instrument: Instrument | list[Module]) -> list[Module]:
    """Return the modules of an instrument; the name of a single one is empty."""
    if isinstance(instrument, list):
        return instrument
    return [Module(**{name: getattr(instrument, name) for name in _Folding.model_fields})]
