"""Detectors, and scans of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from icflow.config.references import Name, NameOf, Shown
from icflow.sections import MOST, Energies, Fraction, Number, Section

DatasetName = Annotated[str, NameOf("datasets")]
DetectorName = Annotated[str, NameOf("detection.detectors")]
# Of a fit, or of an integral; which of them is a matter of the detector's method.
LikelihoodName = Annotated[str, NameOf("fits.baseline", "integrals")]


class Detector(Section):
    """A row of Table 1: a method of the registry and what it reads."""

    title: Shown = Field(description="name in tables and figures")
    method: str = Field(description="method of the score")
    network: Annotated[str, NameOf("autoencoder.networks")] | None = Field(
        None, description="network that it reads, for methods that need one"
    )
    thermal: LikelihoodName | None = Field(
        None, description="fit of the thermal model, or integral, for methods that read them"
    )
    alternative: LikelihoodName | None = Field(None, description="the same of the model with IC")
    ratio: Annotated[str, NameOf("ratios")] | None = Field(
        None, description="likelihood ratio that it reads, for methods that need one"
    )
    parts: list[str] | None = Field(
        None, min_length=2, description="detectors that it combines, for methods that do"
    )


class Detection(Section):
    """Which datasets play which part, and the detectors."""

    training: DatasetName = Field(description="dataset without IC that trains the networks")
    training_ic: DatasetName | None = Field(
        None, description="dataset with IC, for detectors that learn from both classes"
    )
    fitted: int = Field(
        ge=10,
        le=MOST,
        description="spectra of each of them, the first ones, that are fitted for detectors that "
        "learn from fits",
    )
    validation: list[DatasetName] = Field(
        min_length=1, description="datasets that choose thresholds and calibrate scores"
    )
    test: list[DatasetName] = Field(min_length=1, description="datasets of the final evaluation")
    bootstrap: int = Field(
        ge=100, le=1_000_000, description="resamplings behind the 68 % intervals"
    )
    recalls: list[Fraction] = Field(description="recalls at which the false-alarm rate is measured")
    false_alarms: list[Fraction] = Field(
        description="false-alarm rates at which the recall is measured"
    )
    score_energies: Energies = Field(description="energies of the reconstruction error (keV)")
    detectors: dict[Name, Detector] = Field(description="rows of Table 1, by name")
    ceiling: DetectorName | None = Field(
        None, description="detector that no other can beat: the distance of all from it is reported"
    )


class Pair(Section):
    """What a detector reads instead of what is said under its name."""

    thermal: LikelihoodName = Field(description="fit or integral without IC")
    alternative: LikelihoodName = Field(description="fit or integral with IC")


class ScanPoint(Section):
    """One evaluation of the detectors; what is not given is as in the default run."""

    name: str = Field(description="name of its files; each point has one of its own")
    label: Shown = Field(description="what is different, in tables and figures")
    value: Number | None = Field(None, description="where it is drawn, if the scan has an axis")
    series: str = Field(
        "", description="which points belong together, if there are several at one value"
    )
    test: list[DatasetName] = Field(min_length=1, description="datasets that are tested")
    validation: list[DatasetName] | None = Field(
        None, min_length=1, description="datasets that choose its thresholds"
    )
    training: DatasetName | None = Field(
        None, description="dataset without IC that detectors of fits learn from"
    )
    training_ic: DatasetName | None = Field(
        None, description="dataset with IC that detectors of fits learn from"
    )
    reads: dict[str, Pair] = Field(
        default_factory=dict, description="fits or integrals that detectors read here instead"
    )


class Scan(Section):
    """The same detectors at several points: other spectra, calibrated otherwise."""

    title: Shown = Field(description="what differs between the points")
    figure: Literal["rates", "accuracy", "changes", "fluxes", "matrix"] = Field(
        description="figure: `rates`, the balanced `accuracy` alone, or `fluxes` of IC that are "
        "needed for a detection, against the value, `changes` from the first point, or a `matrix` "
        "of detectors and points"
    )
    points: list[ScanPoint] = Field(
        min_length=2, description="the points; the first is what the others are compared with"
    )
    detectors: list[DetectorName] | None = Field(
        None, min_length=1, description="detectors that take part (default: all)"
    )
