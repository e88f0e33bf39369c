"""Fits, integrals and likelihood ratios."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from icflow.config.model import FitModel
from icflow.config.references import Name, NameOf
from icflow.config.systematics import ByComponent, Systematics, component_kind
from icflow.defaults import CROSS_NORMALISATION
from icflow.sections import MOST, WIDEST, Energies, Factors, Number, Positive, Section

Errors = Literal["hessian", "profile", "marginal"]

_Fraction = Annotated[Number, Field(ge=0, lt=1)]
# How far background norms may leave theirs: each, or those of components by name.
Reach = Annotated[
    Annotated[_Fraction, Tag("<number>")] | Annotated[dict[str, _Fraction], Tag("<components>")],
    Discriminator(component_kind),
]


# How a minimum is looked for.
Strategy = Literal["thorough", "plain", "seeded"]


class Fit(Section):
    """One fit of every spectrum of a dataset."""

    model: Annotated[str, NameOf("fits.models")] = Field(description="name under `fits.models`")
    at_truth: list[str] = Field([], description="parameters frozen at their simulated values")
    strategy: Strategy | None = Field(
        None, description="how its minimum is looked for (default: `fits.strategy`)"
    )
    background_range: Reach | None = Field(
        None,
        description="how far it lets background norms leave their defaults (default: "
        "`fits.background_range`)",
    )


class FitControl(Section):
    """Settings that all fits share."""

    energies: Energies = Field(description="energies that are fitted (keV)")
    group_min: int = Field(
        ge=0, le=MOST, description="lowest number of counts in a group of channels"
    )
    background_range: Reach = Field(
        description="fraction by which each background norm may leave its default, where the "
        "background file gives it no `range`: of every component, or `{component: fraction}`, "
        "where those without stay",
    )
    strategy: Strategy = Field(
        "thorough",
        description="how a minimum is looked for: `thorough`, from several starts; `plain`, one "
        "fit of XSPEC from one generic start, which the embedded engine makes step by step as "
        "XSPEC would; or `seeded`, by XSPEC from where the embedded engine has found it",
    )
    starts: int = Field(
        ge=1,
        le=MOST,
        description="starting points per fit; the best minimum is kept (with `seeded`, those of "
        "the embedded engine)",
    )
    max_iterations: int = Field(
        ge=1, le=MOST, description="most iterations from one starting point"
    )
    errors: Errors = Field(
        "hessian",
        description="errors: `hessian`, from the curvature at the minimum; `profile`, intervals in "
        "which C rises by `delta` as well (slower); or `marginal`, intervals of the likelihood "
        "averaged over all other free parameters within their limits as well (slower)",
    )
    delta: Positive = Field(
        1.0,
        description="rise of C at the ends of an interval: 1 for 68 %, 2.706 for 90 %, which is "
        "what averaged ones hold",
    )
    cross_normalisation: Factors = Field(
        list(CROSS_NORMALISATION),
        description="several modules: limits of the factors between the first module and the "
        "others",
    )


class Fits(FitControl):
    """Settings that all fits share, the models, and which fits are made."""

    models: dict[str, FitModel] = Field(description="models to fit, by name")
    label: Fit = Field(description="fit of the training spectra that gives the labels")
    baseline: dict[Name, Fit] = Field(description="fits of the test spectra, by name")


class Ratio(Section):
    """A network that estimates the likelihood ratio of two scenarios."""

    thermal: Annotated[str, NameOf("scenarios")] = Field(
        description="scenario without IC, name under `scenarios`"
    )
    alternative: Annotated[str, NameOf("scenarios")] = Field(
        description="scenario with IC, name under `scenarios`"
    )
    at_truth: list[str] = Field(
        [], description="parameters that are known, as simulated or as measured"
    )
    systematics: Systematics | None = Field(
        None, description="those that it is trained with, of all modules (default: `instrument`'s)"
    )
    exposure: Positive | None = Field(
        None, description="exposure of all modules (s; default: `instrument.exposure`)"
    )
    spectra: int = Field(
        20_000, ge=2000, le=MOST, description="simulated spectra that it learns from"
    )
    batch: int = Field(512, ge=2, le=MOST, description="spectra in a batch")
    units: int = Field(128, ge=1, le=WIDEST, description="width of its layers")
    layers: int = Field(2, ge=1, le=100, description="number of its layers")
    learning_rate: Positive = Field(2e-3, description="highest learning rate")


class Integrated(Section):
    """An evidence: the likelihood of a spectrum averaged over the priors of a scenario."""

    scenario: Annotated[str, NameOf("scenarios")] = Field(
        description="name under `scenarios`, of the priors"
    )
    at_truth: list[str] = Field([], description="parameters that are known, as simulated")
    background_scatter: ByComponent | None = Field(
        None,
        description="scatter of the background norms that the priors know of (default: "
        "`systematics.background` of the instrument)",
    )
