"""Observed sources, and how they are analysed."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field, model_validator

from icflow.config.detection import Detector
from icflow.config.references import Name, NameOf
from icflow.config.systematics import Systematics
from icflow.defaults import CROSS_NORMALISATION
from icflow.models.priors import Prior
from icflow.sections import MOST, Energies, Factors, Measured, Number, Positive, Section

ModelName = Annotated[str, NameOf("fits.models")]
FittedName = Annotated[str, NameOf("observe.thermal", "observe.with_ic", "observe.both")]
SimulatedName = Annotated[str, NameOf("observe.thermal", "observe.with_ic")]


class _Companions(Section):
    """The files that belong to a spectrum."""

    rmf: str | None = Field(
        None, description="redistribution matrix (default: RESPFILE of the spectrum)"
    )
    arf: str | None = Field(
        None,
        description="effective area (default: ANCRFILE of the spectrum); `none` if the RMF "
        "includes it",
    )
    background: str | None = Field(
        None,
        description="background components and norms; or `file` for the background spectrum that "
        "BACKFILE names, or the name of another one; `none` for none",
    )


class ObservedSpectrum(_Companions):
    """An observed spectrum and what belongs to it."""

    spectrum: str = Field(description="spectrum, OGIP PHA, or a row: `two.pha{2}`")


class Radio(Section):
    """Synchrotron emission of the electrons that make the inverse Compton emission."""

    flux_density: Positive = Field(description="radio flux density (mJy)")
    frequency: Positive = Field(description="frequency at which it was measured (MHz)")
    spectral_index: Number = Field(
        gt=0, lt=4, description="spectral index α, flux density ∝ frequency^−α"
    )


class Observation(_Companions):
    """A source that was observed: one spectrum, or several that are fitted jointly."""

    spectrum: str | None = Field(
        None, description="spectrum, OGIP PHA, or a row of several: `two.pha{2}`; or give `spectra`"
    )
    spectra: dict[Name, ObservedSpectrum] | None = Field(
        None, description="spectra of several modules or pointings by name, fitted jointly"
    )
    cross_normalisation: Factors = Field(
        list(CROSS_NORMALISATION),
        description="limits of the factors between the first spectrum, by name, and the others",
    )
    redshift: Measured = Field(ge=0, le=10, description="redshift, frozen in all fits")
    nH: Measured = Field(
        ge=0, description="Galactic column density (1e22 cm^-2), frozen in all fits"
    )
    energies: Energies | None = Field(
        None, description="energies that are fitted (keV; default: fits.energies)"
    )
    group_min: int | None = Field(
        None,
        ge=0,
        le=MOST,
        description="lowest number of counts in a group of channels (default: the grouping in the "
        "file, or fits.group_min if it has none)",
    )
    radio: Radio | None = Field(
        None, description="radio emission, for the magnetic field; leave out if there is none"
    )
    priors: dict[SimulatedName, dict[str, Prior]] = Field(
        {},
        description="for each model, priors that parameters of its simulated spectra are drawn "
        "from instead of being fitted",
    )

    @model_validator(mode="after")
    def _one_form(self) -> Observation:
        if (self.spectrum is None) == (self.spectra is None):
            raise ValueError("give either spectrum, or spectra by name for a joint fit")
        if self.spectra is not None:
            if not self.spectra:
                raise ValueError("spectra is empty; name at least one spectrum")
            given = [key for key in ("rmf", "arf", "background") if getattr(self, key) is not None]
            if given:
                raise ValueError(f"give {given[0]} with each of the spectra, not beside them")
        return self

    def modules(self) -> dict[str, ObservedSpectrum]:
        """Return the spectra by name; the name of a single one is empty."""
        if self.spectra is not None:
            return dict(sorted(self.spectra.items()))
        keys = ObservedSpectrum.model_fields
        return {"": ObservedSpectrum(**{key: getattr(self, key) for key in keys})}


class ObservedDetector(Detector):
    """A detector that scores observed spectra: it reads fits of their models."""

    thermal: FittedName | None = Field(
        None, description="model without IC whose fit it reads, for methods that read fits"
    )
    alternative: FittedName | None = Field(None, description="the same of the model with IC")


class Observe(Section):
    """How observations are analysed."""

    thermal: ModelName = Field(description="model without IC, name under `fits.models`")
    with_ic: ModelName = Field(description="model with IC that competes with it")
    both: ModelName = Field(
        description="model without IC plus IC: tests whether IC is needed, limits its flux"
    )
    others: list[ModelName] = Field(description="models that are fitted too")
    ic: str = Field(description="component of these models that is the IC emission")
    ic_energies: Energies = Field(description="energies of its flux (keV)")
    simulations: int = Field(
        ge=20, le=MOST, description="simulated spectra of each kind behind every distribution"
    )
    false_alarm: Number = Field(
        gt=0, lt=0.5, description="IC counts as detected below this false-alarm probability"
    )
    systematics: Systematics | None = Field(
        None,
        description="how wrong calibration and background may be: settled in every fit, and drawn "
        "for simulated spectra (default: nothing)",
    )
    decides: Annotated[str, NameOf("observe.detectors")] = Field(
        description="detector whose false-alarm probability decides"
    )
    detectors: dict[Name, ObservedDetector] = Field(
        description="detectors that score the observed spectrum, by name"
    )

    def networks(self) -> list[str]:
        """Return the networks that detectors read, each once."""
        named = [detector.network for detector in self.detectors.values()]
        return sorted({network for network in named if network is not None})

    def ratios(self) -> list[str]:
        """Return the likelihood ratios that detectors read, each once."""
        named = [detector.ratio for detector in self.detectors.values()]
        return sorted({ratio for ratio in named if ratio is not None})

    @model_validator(mode="after")
    def _enough(self) -> Observe:
        least = math.ceil(1 / self.false_alarm)
        if self.simulations < least:
            raise ValueError(
                f"simulations is {self.simulations}, too few for a false-alarm probability below "
                f"false_alarm, {self.false_alarm:g}; allowed: {least} and more"
            )
        return self

    @model_validator(mode="after")
    def _without_measurements(self) -> Observe:
        if self.systematics is not None and self.systematics.known:
            raise ValueError(
                "systematics.known has no use here: redshift and column density are those that "
                "the observation gives; leave it out"
            )
        return self
