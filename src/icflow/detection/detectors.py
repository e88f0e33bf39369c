"""Detectors: every way to turn a spectrum into one score, higher for IC.

A detector of the configuration names a *method* of `METHODS` and what the
method reads (a network, a pair of fits). A new method is one module with a
function from (`Detector`, `Material`) to `Verdict`, and its line in `METHODS`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from icflow.config import Config, Dataset, Detection, Detector
from icflow.detection.base import (
    FITS,
    SEES,
    TEST,
    VALIDATION,
    Material,
    Method,
    Verdict,
    sizes_of,
)
from icflow.detection.methods import (
    bayes_factor,
    combined,
    cstat_rule,
    delta_cstat,
    fit_classifier,
    fit_density,
    fit_discriminant,
    latent_density,
    ratio_estimator,
    reconstruction_deviance,
    reconstruction_error,
)
from icflow.detection.published import PUBLISHED
from icflow.errors import IcflowError, did_you_mean

METHODS: dict[str, Method] = {
    "reconstruction_error": reconstruction_error.METHOD,
    "reconstruction_deviance": reconstruction_deviance.METHOD,
    "latent_density": latent_density.METHOD,
    "cstat_rule": cstat_rule.METHOD,
    "delta_cstat": delta_cstat.METHOD,
    "fit_density": fit_density.METHOD,
    "fit_classifier": fit_classifier.METHOD,
    "fit_discriminant": fit_discriminant.METHOD,
    "combined": combined.METHOD,
    "bayes_factor": bayes_factor.METHOD,
    "ratio_estimator": ratio_estimator.METHOD,
}


def fits_read(config: Config) -> dict[tuple[str, str], int]:
    """Return the fits of a run: (dataset, name under ``fits.baseline``) to number of spectra.

    Every fit is made of the test spectra. The validation spectra, and the first
    of the training spectra, get those that a detector reads.
    """
    sizes = sizes_of(config.detection, config.datasets)
    every = {
        (dataset, fit): size
        for dataset, size in sizes[TEST].items()
        for fit in config.fits.baseline
    }
    return every | needed(FITS, config.detection, config.datasets)


def fits_made(config: Config) -> dict[tuple[str, str], int]:
    """Return the fits of a run and of all scans, as `fits_read`."""
    fits = fits_read(config)
    for scan, settings in config.scans.items():
        for point in settings.points:
            fits |= needed(FITS, config.at_point(scan, point.name), config.datasets)
    return fits


def needed(
    kind: str, detection: Detection, datasets: Mapping[str, Dataset]
) -> dict[tuple[str, str], int]:
    """Return the results of one of `KINDS` that detectors read: (dataset, name) to number.

    They are those of the spectra that detectors learn from, and of all that they judge.
    """
    sizes = sizes_of(detection, datasets)
    wanted: dict[tuple[str, str], int] = {}
    for name, detector in detection.detectors.items():
        method = method_of(name, detector)
        for read in method.names(detector, kind):
            for part in (*method.learns, TEST, VALIDATION):
                wanted |= {(dataset, read): size for dataset, size in sizes[part].items()}
    return wanted


def networks(detection: Detection) -> set[str]:
    """Return the networks of which detectors read scores."""
    return {d.network for d in detection.detectors.values() if d.network is not None}


def method_of(name: str, detector: Detector, section: str = "detection.detectors") -> Method:
    """Return the method of a detector after checking that it has its inputs.

    Parameters
    ----------
    section : str
        Where the configuration lists it, for errors.

    Raises
    ------
    IcflowError
        If the method is unknown or a key that it needs is absent.
    """
    key = f"{section}.{name}"
    method = METHODS.get(detector.method)
    if method is None:
        raise IcflowError(
            f"{key}.method is {detector.method!r}, allowed: {', '.join(sorted(METHODS))}"
            f"{did_you_mean(detector.method, METHODS)}"
        )
    missing = [need for need in method.needs if getattr(detector, need) is None]
    if missing:
        raise IcflowError(
            f"{key} lacks {' and '.join(missing)}, which the method {detector.method!r} reads; "
            "add it"
        )
    return method


def in_order(detectors: Mapping[str, Detector]) -> list[str]:
    """Return detectors in the order of tables and figures.

    The published ones come first, in the order of the paper, then the others by
    what they see of IC, then by name. The order in the configuration does not
    count: settings travel between stages as JSON with sorted keys.
    """

    def place(name: str) -> tuple[int, int, str]:
        published = list(PUBLISHED).index(name) if name in PUBLISHED else len(PUBLISHED)
        return published, list(SEES).index(method_of(name, detectors[name]).sees), name

    return sorted(detectors, key=place)


def judge(detectors: Mapping[str, Detector], material: Material) -> dict[str, Verdict]:
    """Score all test spectra with every detector of the configuration.

    Raises
    ------
    IcflowError
        If a detector is not set up right or its inputs are absent; the message
        names the detector.
    """
    verdicts: dict[str, Verdict] = {}
    # Those that combine others come last.
    for name in sorted(detectors, key=lambda name: detectors[name].parts is not None):
        others = dataclasses.replace(material, verdicts=verdicts)
        verdicts[name] = detect(name, detectors[name], others)
    return verdicts


def detect(name: str, detector: Detector, material: Material) -> Verdict:
    """Score all test spectra with one detector of the configuration.

    Raises
    ------
    IcflowError
        If the detector is not set up right or its inputs are absent; the
        message names the detector.
    """
    method = method_of(name, detector)
    try:
        return method.judge(detector, material)
    except IcflowError as error:
        raise IcflowError(f"detection.detectors.{name}: {error}") from None
