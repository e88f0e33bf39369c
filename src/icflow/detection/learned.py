"""Detectors that learn from fits of simulated spectra, or combine other detectors.

Nothing that they learn is kept: training takes seconds, and the same fits give
the same detector again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import Table
from threadpoolctl import threadpool_limits

from icflow.config import Detector
from icflow.detection.by_fits import pair, reduced_cstat, statistic, unconverged
from icflow.detection.components import in_order
from icflow.detection.evidence import TEST, TRAINING, TRAINING_IC, VALIDATION, Evidence, Verdict
from icflow.detection.metrics import Estimate, auc, interval
from icflow.errors import IcflowError
from icflow.tables import floats, parameters
from icflow.typing import Booleans, Floats

# Gradient boosting: small trees, many small steps.
BOOSTING = {
    "max_iter": 300,
    "learning_rate": 0.05,
    "max_leaf_nodes": 15,
    "l2_regularization": 1.0,
    "early_stopping": False,
}
FEWEST = 20  # spectra of a class from which something can be learnt
NEIGHBOURS = 20
PERMUTATIONS = 10
# The quantities that differ by factors rather than by steps.
FACTORS = (".norm", ".kT")


@dataclass(frozen=True)
class Features:
    """Numbers that describe spectra: (n_spectra, n_features), NaN where there is none."""

    names: tuple[str, ...]
    values: Floats

    @classmethod
    def join(cls, *parts: Features) -> Features:
        """Put the features of several sources side by side."""
        names = tuple(name for part in parts for name in part.names)
        return cls(names, np.concatenate([part.values for part in parts], axis=1))


# --- what fits say ----------------------------------------------------------------


def fitted(table: Table, prefix: str) -> Features:
    """Return the free parameters of a fit, those of like components in order.

    Two plasmas are told apart by nothing but their order, which a fit leaves to
    chance: here the cooler one comes first.
    """
    columns = in_order({name: floats(table, name) for name in parameters(table)})
    values = np.stack(list(columns.values()), axis=1) if columns else np.empty((len(table), 0))
    return Features(tuple(f"{prefix}{name}" for name in columns), values)


def fit_features(detector: Detector, evidence: Evidence, part: str) -> Features:
    """Return what a detector's two fits say about the spectra of a part."""
    thermal, alternative = pair(detector, evidence, part)
    quality = Features(
        ("ΔC", "C/dof without IC", "C/dof with IC"),
        np.stack(
            [
                statistic(thermal) - statistic(alternative),
                reduced_cstat(thermal),
                reduced_cstat(alternative),
            ],
            axis=1,
        ),
    )
    return Features.join(quality, fitted(thermal, "without IC: "), fitted(alternative, "with IC: "))


def _checked(features: Features, part: str, learnt: Features | None = None) -> Floats:
    """Return features to learn from, or to judge as those learnt from."""
    if learnt is None and len(features.values) < FEWEST:
        raise IcflowError(
            f"there are fits of {len(features.values)} {part} spectra, and {FEWEST} are the fewest "
            "to learn from; raise detection.fitted and the size of the dataset"
        )
    if learnt is not None and features.names != learnt.names:
        raise IcflowError(
            f"the fits of the {part} spectra have other parameters than those of the training "
            "spectra; fit them again"
        )
    return features.values


# --- fit_classifier ---------------------------------------------------------------


def fit_classifier(detector: Detector, evidence: Evidence) -> Verdict:
    """Score by a gradient-boosted classifier on what the two fits return.

    It learns from fits of simulated spectra of both classes; the score is the
    logarithm of the odds. Which numbers carry it is measured on the validation
    spectra: by how much the area under the receiver operating characteristic
    falls when one of them is shuffled among the spectra.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    learnt = [fit_features(detector, evidence, part) for part in (TRAINING, TRAINING_IC)]
    rows = [_checked(f, p) for f, p in zip(learnt, (TRAINING, TRAINING_IC), strict=True)]
    known = np.repeat([False, True], [len(part) for part in rows])
    parts = {part: fit_features(detector, evidence, part) for part in (VALIDATION, TEST)}
    values = {part: _checked(found, part, learnt[0]) for part, found in parts.items()}
    # One thread: sums over spectra must not depend on the number of cores.
    with threadpool_limits(1):
        model = HistGradientBoostingClassifier(**BOOSTING, random_state=0)
        model.fit(np.concatenate(rows), known)
        validation = model.decision_function(values[VALIDATION])
        test = model.decision_function(values[TEST])
        importances = (
            _importances(model.decision_function, values[VALIDATION], learnt[0].names, evidence)
            if evidence.explain
            else {}
        )
    # Without both fits there is nothing to judge by, whatever the classifier makes of it.
    validation, test = (
        np.where(np.isfinite(values[part][:, 0]), score, math.nan)
        for part, score in ((VALIDATION, validation), (TEST, test))
    )
    return Verdict(
        test,
        evidence.threshold(validation),
        validation,
        unconverged=unconverged(detector, evidence, test),
        importances=importances,
    )


def _importances(
    score: Callable[[Floats], Floats],
    values: Floats,
    names: tuple[str, ...],
    evidence: Evidence,
) -> dict[str, Estimate]:
    """Return by how much shuffling each feature lowers the area under the ROC."""
    is_ic: Booleans = evidence.samples[VALIDATION].is_ic
    whole = auc(score(values), is_ic)
    random = np.random.default_rng(evidence.seed)
    found = {}
    for column, name in enumerate(names):
        drops = np.empty(PERMUTATIONS)
        for repeat in range(PERMUTATIONS):
            shuffled = values.copy()
            shuffled[:, column] = random.permutation(values[:, column])
            drops[repeat] = whole - auc(score(shuffled), is_ic)
        found[name] = Estimate(float(drops.mean()), *interval(drops))
    return found


# --- fit_discriminant -------------------------------------------------------------


def fit_discriminant(detector: Detector, evidence: Evidence) -> Verdict:
    """Score by a linear discriminant on what the two fits say about the source.

    The covariances are shrunk (Ledoit & Wolf 2004), so that a few tens of spectra
    of each class suffice. Unlike that of trees, the score is smooth: no two spectra
    share one, however far apart the classes lie.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    learnt = [of_source(fit_features(detector, evidence, p)) for p in (TRAINING, TRAINING_IC)]
    rows = [
        features.values[np.isfinite(_checked(features, part)).all(axis=1)]
        for features, part in zip(learnt, (TRAINING, TRAINING_IC), strict=True)
    ]
    known = np.repeat([False, True], [len(part) for part in rows])
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=[0.5, 0.5])
    model.fit(np.concatenate(rows), known)
    validation, test = (
        _where_finite(
            model.decision_function,
            _checked(of_source(fit_features(detector, evidence, part)), part, learnt[0]),
        )
        for part in (VALIDATION, TEST)
    )
    return Verdict(
        test,
        evidence.threshold(validation),
        validation,
        unconverged=unconverged(detector, evidence, test),
    )


def _where_finite(score: Callable[[Floats], Floats], values: Floats) -> Floats:
    """Return the scores of rows, NaN of those that lack a number."""
    usable = np.isfinite(values).all(axis=1)
    found = np.full(len(values), math.nan)
    if usable.any():
        found[usable] = score(values[usable])
    return found


# --- fit_density ------------------------------------------------------------------


def fit_density(detector: Detector, evidence: Evidence) -> Verdict:
    """Score by how far the best-fit 2T parameters lie from those of 2T spectra.

    A spectrum with IC fits the thermal model well, but with parameters that
    thermal spectra seldom have. The density of those of the thermal training
    spectra is estimated by the distance to the `NEIGHBOURS`-th nearest of them,
    whose logarithm is the score: norms and temperatures by their logarithms,
    each parameter in units of its standard deviation. No spectrum with IC is
    learnt from.
    """
    from sklearn.neighbors import NearestNeighbors

    tables = {p: evidence.fit(p, detector.thermal) for p in (TRAINING, VALIDATION, TEST)}
    features = {part: source_features(table) for part, table in tables.items()}
    learnt = _checked(features[TRAINING], TRAINING)
    learnt = learnt[np.isfinite(learnt).all(axis=1)]
    scale = Scale.of(features[TRAINING].names, learnt)
    neighbours = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(learnt)))
    neighbours.fit(scale.apply(learnt))
    validation, test = (
        _distance(neighbours, scale, _checked(features[part], part, features[TRAINING]))
        for part in (VALIDATION, TEST)
    )
    bad = ~np.asarray(tables[TEST]["converged"], dtype=bool) & np.isfinite(test)
    return Verdict(test, evidence.threshold(validation), validation, unconverged=int(bad.sum()))


def source_features(table: Table) -> Features:
    """Return the free parameters of a fit without the background factors, the same for all."""
    return of_source(fitted(table, ""))


def of_source(features: Features) -> Features:
    """Return features without those that are background factors."""
    kept = ["background." not in name for name in features.names]
    names = tuple(name for name, keep in zip(features.names, kept, strict=True) if keep)
    return Features(names, features.values[:, kept])


@dataclass(frozen=True)
class Scale:
    """Parameters in units in which they scatter alike."""

    factor: Booleans
    least: Floats
    mean: Floats
    spread: Floats

    @classmethod
    def of(cls, names: tuple[str, ...], values: Floats) -> Scale:
        """Return the scale of the parameters of some spectra, (n_spectra, n_parameters)."""
        factor = np.array([name.endswith(FACTORS) for name in names])
        # A norm of zero has no logarithm; what is so much smaller than usual is as good as zero.
        least = 1e-3 * np.abs(np.median(values, axis=0)) + 1e-300
        logs = np.where(factor, np.log(np.maximum(values, least)), values)
        spread = logs.std(axis=0)
        return cls(factor, least, logs.mean(axis=0), np.where(spread > 0, spread, 1.0))

    def apply(self, values: Floats) -> Floats:
        """Return parameters in these units."""
        logs = np.where(self.factor, np.log(np.maximum(values, self.least)), values)
        return np.asarray((logs - self.mean) / self.spread)


def _distance(neighbours: Any, scale: Scale, values: Floats) -> Floats:
    """Return the logarithm of the distance to the last of the neighbours, NaN without a fit."""

    def score(usable: Floats) -> Floats:
        distance, _ = neighbours.kneighbors(scale.apply(usable))
        return np.asarray(np.log(np.maximum(distance[:, -1], 1e-12)))

    return _where_finite(score, values)


# --- combined ---------------------------------------------------------------------


def combined(detector: Detector, evidence: Evidence) -> Verdict:
    """Score by a logistic combination of the scores of other detectors.

    The combination is fitted to the validation spectra, which none of the parts
    has learnt from; it has one coefficient for each of them, too few to adapt
    to these spectra. A part's score enters as the normal deviate of its rank
    among the validation scores, whatever its unit and the shape of its
    distribution.
    """
    from sklearn.linear_model import LogisticRegression

    parts = [evidence.verdicts[name] for name in detector.parts or ()]
    is_ic = evidence.samples[VALIDATION].is_ic
    validation = np.stack([_deviates(p.validation, p.validation) for p in parts], axis=1)
    test = np.stack([_deviates(p.validation, p.score) for p in parts], axis=1)
    usable = np.isfinite(validation).all(axis=1)
    if np.unique(is_ic[usable]).size < 2:
        raise IcflowError(
            "a combination needs scores of validation spectra of both classes; name datasets of "
            "both under detection.validation"
        )
    model = LogisticRegression(class_weight="balanced").fit(validation[usable], is_ic[usable])
    validation, test = (
        values @ model.coef_[0] + model.intercept_[0] for values in (validation, test)
    )
    return Verdict(
        test,
        evidence.threshold(validation),
        validation,
        unconverged=max(part.unconverged for part in parts),
    )


def _deviates(reference: Floats, score: Floats) -> Floats:
    """Return the normal deviates that belong to the ranks of scores in a reference."""
    from scipy.special import ndtri

    known: Floats = np.sort(reference[np.isfinite(reference)])
    below = 0.5 * (np.searchsorted(known, score, "left") + np.searchsorted(known, score, "right"))
    rank = (below + 0.5) / (known.size + 1.0)
    return np.where(np.isfinite(score), ndtri(rank), math.nan)
