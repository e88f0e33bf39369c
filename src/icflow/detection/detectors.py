"""Detectors: every way to turn a spectrum into one score, higher for IC.

A detector of the configuration names a *method* of `METHODS` and what the
method reads (a network, a pair of fits). A new method is one function from
(`Detector`, `Evidence`) to `Verdict` and one line in `METHODS`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from astropy.table import Table

from icflow.config import Config, Dataset, Detection, Detector
from icflow.detection import by_fits, by_priors, learned
from icflow.detection.evidence import (
    HELD_OUT,
    REFERENCE,
    TEST,
    TRAINING,
    TRAINING_IC,
    VALIDATION,
    Evidence,
    Sample,
    Verdict,
    sizes_of,
)
from icflow.detection.metrics import best_threshold
from icflow.detection.published import PUBLISHED
from icflow.errors import IcflowError
from icflow.tables import floats, rows_of, strings
from icflow.typing import Floats


def reconstruction_error(detector: Detector, evidence: Evidence) -> Verdict:
    """Score by the reconstruction error R_a of an autoencoder (Lin et al. 2024).

    Each fold chooses its threshold on the spectra that it held out and all
    validation spectra, by the highest balanced accuracy; the threshold is the
    median over the folds, as published. How the folds' networks join in a
    spectrum's score is not published: here it is the median of their R_a, to
    which the median threshold belongs.
    """
    return _by_networks(detector, evidence, lambda table: _column(table, "R_a"))


def reconstruction_deviance(detector: Detector, evidence: Evidence) -> Verdict:
    """Score by the Poisson deviance of the reconstruction of an autoencoder.

    Each channel counts by what noise lets expect of it, so that bright soft
    channels do not drown the others. Folds join as for the reconstruction error.
    """
    return _by_networks(detector, evidence, lambda table: _column(table, "deviance"))


def latent_density(detector: Detector, evidence: Evidence) -> Verdict:
    """Score by how improbable the latents of an autoencoder are among those of 2T spectra.

    The latents that are held to labels count, and the spectra that a fold held
    out say how they are distributed (`improbability`). Folds join as for the
    reconstruction error.
    """
    return _by_networks(detector, evidence, _improbability_of_latents)


def _by_networks(
    detector: Detector, evidence: Evidence, read: Callable[[Table], Floats]
) -> Verdict:
    """Judge by one number that each fold's network gives for a spectrum."""
    tables = evidence.scores.get(str(detector.network), ())
    if not tables:
        raise IcflowError(f"there are no scores of the network {detector.network!r}; score it")
    scores = [read(table) for table in tables]
    thresholds = tuple(
        _fold_threshold(
            table, score, evidence.with_ic, f"network {detector.network}, table {number}"
        )
        for number, (table, score) in enumerate(zip(tables, scores, strict=True))
    )
    test, validation = (
        np.median(
            [
                _of_sample(table, score, part, evidence.samples[part], detector)
                for table, score in zip(tables, scores, strict=True)
            ],
            axis=0,
        )
        for part in (TEST, VALIDATION)
    )
    return Verdict(test, float(np.median(thresholds)), validation, thresholds)


def _column(table: Table, name: str) -> Floats:
    if name not in table.colnames:
        raise IcflowError(f"the scores lack the column {name}; score the network again")
    return floats(table, name)


def _improbability_of_latents(table: Table) -> Floats:
    """Return how improbable the latents of each row are among those of held-out spectra."""
    names = [name.removeprefix("label_") for name in table.colnames if name.startswith("label_")]
    if not names:
        raise IcflowError("its latents are held to no labels; give it labels")
    latents = np.stack([floats(table, f"latent_{name}") for name in names], axis=1)
    known = latents[np.isin(strings(table, "part"), [HELD_OUT, REFERENCE])]
    known = known[np.isfinite(known).all(axis=1)]
    if len(known) < learned.FEWEST:
        raise IcflowError(
            f"{len(known)} spectra were held out, and {learned.FEWEST} are the fewest that show "
            "how latents are distributed; raise autoencoder.training.spectra"
        )
    return improbability(known, latents)


def improbability(known: Floats, values: Floats) -> Floats:
    """Return how far out in the tails of a distribution some vectors lie.

    Of each coordinate the fraction of the known vectors that lie as far out is
    counted, on the side of its longer tail, which is where little is known; the
    score is the sum of the negative logarithms of these fractions. After the
    empirical-cumulative outlier detection of Li et al. (2022), of which this is
    the part that decides by skewness.

    Parameters
    ----------
    known : (m, d) float
        Vectors of the distribution.
    values : (n, d) float

    Returns
    -------
    (n,) float
        NaN where a coordinate is.
    """
    centred = known - known.mean(axis=0)
    side = np.where((centred**3).mean(axis=0) < 0, -1.0, 1.0)
    score = np.zeros(len(values))
    for column, sign in enumerate(side):
        tail = np.sort(sign * known[:, column])
        beyond = len(tail) - np.searchsorted(tail, sign * values[:, column], side="left")
        score -= np.log((beyond + 0.5) / (len(tail) + 1.0))
    return np.where(np.isfinite(values).all(axis=1), score, math.nan)


def _fold_threshold(
    table: Table, score: Floats, ic_datasets: Mapping[str, bool], what: str
) -> float:
    part = np.array(strings(table, "part"))
    used = (part == HELD_OUT) | (part == VALIDATION)
    datasets = np.array(strings(table, "dataset"))[used]
    unknown = set(datasets.tolist()) - set(ic_datasets)
    if unknown:
        raise IcflowError(
            f"{what}: holds {', '.join(sorted(unknown))}, not among the datasets; score it again"
        )
    is_ic = np.array([ic_datasets[name] for name in datasets], dtype=bool)
    try:
        return best_threshold(score[used], is_ic)
    except IcflowError as error:
        raise IcflowError(
            f"{what}: {error}; give detection.validation a dataset with IC and keep a fold out"
        ) from None


def _of_sample(
    table: Table, score: Floats, part: str, sample: Sample, detector: Detector
) -> Floats:
    """Return the scores of a sample's spectra, picked from those of the rows of a table."""
    datasets, parts = np.array(strings(table, "dataset")), np.array(strings(table, "part"))
    found = np.full(sample.index.size, math.nan)
    for name in dict.fromkeys(sample.dataset.tolist()):
        here = np.flatnonzero((datasets == name) & (parts == part))
        wanted = sample.dataset == name
        what = f"scores of the network {detector.network}, dataset {name}"
        index = np.asarray(table["index"])[here]
        found[wanted] = score[here][rows_of(index, sample.index[wanted], what)]
    return found


# --- registry -------------------------------------------------------------------

# Sections of the configuration that name what detectors read.
FITS, INTEGRALS = "fits.baseline", "integrals"


@dataclass(frozen=True)
class Method:
    """A way to score.

    Attributes
    ----------
    function : callable
        From the settings of a detector and the evidence to a verdict.
    needs : tuple of str
        The keys of a `Detector` that it needs.
    ic : str
        What it sees of spectra with IC: a key of `SEES`.
    learns : tuple of str
        Parts of the spectra whose fits it learns from.
    reads : str
        The section whose names ``thermal`` and ``alternative`` are: `FITS` or `INTEGRALS`.
    """

    function: Callable[[Detector, Evidence], Verdict]
    needs: tuple[str, ...]
    ic: str
    learns: tuple[str, ...] = ()
    reads: str = FITS


# What a detector sees of spectra with IC.
SEES = {
    "never": "none",
    "threshold": "those that choose its threshold",
    "training": "those that it is trained on",
    "priors": "none, but it knows the priors of both classes",
}

PAIR = ("thermal", "alternative")

METHODS = {
    "reconstruction_error": Method(reconstruction_error, needs=("network",), ic="threshold"),
    "reconstruction_deviance": Method(reconstruction_deviance, needs=("network",), ic="threshold"),
    "latent_density": Method(latent_density, needs=("network",), ic="threshold"),
    "cstat_rule": Method(by_fits.cstat_rule, needs=PAIR, ic="never"),
    "delta_cstat": Method(by_fits.delta_cstat, needs=PAIR, ic="threshold"),
    "fit_density": Method(
        learned.fit_density, needs=("thermal",), ic="threshold", learns=(TRAINING,)
    ),
    "fit_classifier": Method(
        learned.fit_classifier, needs=PAIR, ic="training", learns=(TRAINING, TRAINING_IC)
    ),
    "fit_discriminant": Method(
        learned.fit_discriminant, needs=PAIR, ic="training", learns=(TRAINING, TRAINING_IC)
    ),
    "combined": Method(learned.combined, needs=("parts",), ic="training"),
    "bayes_factor": Method(by_priors.bayes_factor, needs=PAIR, ic="priors", reads=INTEGRALS),
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
    return every | fits_needed(config.detection, config.datasets)


def fits_needed(
    detection: Detection, datasets: Mapping[str, Dataset]
) -> dict[tuple[str, str], int]:
    """Return the fits that detectors read: (dataset, name of the fit) to number of spectra."""
    sizes = sizes_of(detection, datasets)
    wanted: dict[tuple[str, str], int] = {}
    for name, detector in detection.detectors.items():
        method = check(name, detector)
        for part in method.learns:
            if not sizes[part]:
                raise IcflowError(
                    f"detection.detectors.{name} learns from detection.{part}, which is not set; "
                    "name a dataset"
                )
        for fit in _named(detector, method, FITS):
            for part in (*method.learns, VALIDATION, TEST):
                wanted |= {(dataset, fit): size for dataset, size in sizes[part].items()}
    return wanted


def integrals_needed(
    detection: Detection, datasets: Mapping[str, Dataset]
) -> dict[tuple[str, str], int]:
    """Return the integrals that detectors read: (dataset, name of it) to number of spectra."""
    sizes = sizes_of(detection, datasets)
    return {
        (dataset, integral): size
        for name, detector in detection.detectors.items()
        for integral in _named(detector, check(name, detector), INTEGRALS)
        for part in (TEST, VALIDATION)
        for dataset, size in sizes[part].items()
    }


def _named(detector: Detector, method: Method, section: str) -> list[str]:
    """Return the fits, or the integrals, that a detector reads."""
    if method.reads != section:
        return []
    return [str(getattr(detector, need)) for need in PAIR if need in method.needs]


def check_names(
    config: Config,
    detectors: Mapping[str, Detector] | None = None,
    section: str = "detection.detectors",
) -> None:
    """Check that detectors name fits where they read fits, and integrals where they read these.

    Parameters
    ----------
    config : Config
    detectors : mapping of str to Detector, optional
        Default: those of the default run.
    section : str
        Where they stand in the configuration.

    Raises
    ------
    IcflowError
        Naming the key.
    """
    sections = {FITS: list(config.fits.baseline), INTEGRALS: list(config.integrals)}
    for name, detector in (config.detection.detectors if detectors is None else detectors).items():
        method = check(name, detector, section)
        known = sections[method.reads]
        for need in PAIR:
            value = getattr(detector, need)
            if need in method.needs and value not in known:
                raise IcflowError(
                    f"{section}.{name}.{need} is {value!r}, which {method.reads} does "
                    f"not have; allowed: {', '.join(known) or 'none, so add it there'}"
                )


def networks(detection: Detection) -> set[str]:
    """Return the networks of which detectors read scores."""
    return {d.network for d in detection.detectors.values() if d.network is not None}


def check(name: str, detector: Detector, section: str = "detection.detectors") -> Method:
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
        return published, list(SEES).index(check(name, detectors[name]).ic), name

    return sorted(detectors, key=place)


def judge(detectors: Mapping[str, Detector], evidence: Evidence) -> dict[str, Verdict]:
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
        known = dataclasses.replace(evidence, verdicts=verdicts)
        verdicts[name] = detect(name, detectors[name], known)
    return verdicts


def detect(name: str, detector: Detector, evidence: Evidence) -> Verdict:
    """Score all test spectra with one detector of the configuration.

    Raises
    ------
    IcflowError
        If the detector is not set up right or its inputs are absent; the
        message names the detector.
    """
    method = check(name, detector)
    try:
        return method.function(detector, evidence)
    except IcflowError as error:
        raise IcflowError(f"detection.detectors.{name}: {error}") from None
