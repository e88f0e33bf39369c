"""Scores of an observed spectrum among those of simulated ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from astropy.table import Table

from icflow.config import Detector, Observe
from icflow.detection import detectors, observed
from icflow.detection.base import (
    FITS,
    PARTS,
    RATIOS,
    TEST,
    TRAINING,
    TRAINING_IC,
    VALIDATION,
    Material,
    Sample,
)
from icflow.detection.fits import Features, Scale, fitted
from icflow.engines.base import FitResult
from icflow.engines.embedded.deviations import DEVIATE
from icflow.errors import IcflowError
from icflow.observation import ratios as observed_ratios
from icflow.observation.networks import TRAINING as NETWORK_TRAINING
from icflow.observation.simulations import FittedSpectra
from icflow.settings import ObserveSettings
from icflow.tables import floats, stack
from icflow.typing import Booleans, Floats, Indices

OBSERVED, REPLICAS = "observed", "replicas"
# How far fitted parameters count in the regression of scores, in standard deviations.
REACH = 3.0
# Spectra are not taken to scatter less than this, relative to the average.
LEAST_SCATTER = 0.3


@dataclass(frozen=True)
class Score:
    """What one detector says about the observed spectrum.

    Attributes
    ----------
    title : str
    score, threshold : float
        Above the threshold a spectrum is called IC; the threshold is that of
        the highest balanced accuracy on simulated spectra.
    expected : float
        What spectra without IC that fit alike score on average.
    false_alarm : float
        Probability that a spectrum without IC exceeds what is expected of it as much.
    missed : float
        Fraction of the simulated spectra with IC that exceed it no more.
    scores, excess : dict of ndarray
        Scores of each set of simulated spectra, and what is above the
        expectation (`excess_given_fits`); NaN of those that the detector has learnt from.
    """

    title: str
    score: float
    threshold: float
    expected: float
    false_alarm: float
    missed: float
    scores: dict[str, Floats]
    excess: dict[str, Floats]

    def as_json(self) -> dict[str, Any]:
        """Return all but the simulated scores."""
        return {
            "title": self.title,
            "score": self.score,
            "threshold": self.threshold,
            "above_threshold": self.score > self.threshold,
            "expected": self.expected,
            "false_alarm": self.false_alarm,
            "missed": self.missed,
            "excess": {name: _spread(excess) for name, excess in self.excess.items()},
        }


def _spread(scores: Floats) -> dict[str, Any]:
    finite = scores[np.isfinite(scores)]
    levels = (0.05, 0.5, 0.95)
    values = np.quantile(finite, levels).tolist() if finite.size else [None] * len(levels)
    return {
        "number": int(finite.size),
        "quantiles": dict(zip(map(str, levels), values, strict=True)),
    }


def false_alarm(score: float, simulated: Floats) -> float:
    """Return the probability of a score as high without IC.

    It is the rank of the observed spectrum among itself and the simulated
    ones, so that it is at most α in a fraction α of observations without IC,
    whatever their number, and never 0.
    """
    finite = simulated[np.isfinite(simulated)]
    if not np.isfinite(score):
        return 1.0
    return float((1 + np.sum(finite >= score)) / (1 + finite.size))


def excess_given_fits(
    fits: Features, scores: Floats, without_ic: Booleans, observed: int
) -> Floats:
    """Return by how much scores exceed what spectra without IC that fit alike score on average.

    What a spectrum says about its parameters is in its fit, and given the fit its score hardly
    depends on them. So spectra simulated with other parameters tell what is expected of it: by a
    regression of the scores on the fitted parameters and their squares.

    The expectation is surest for the observed spectrum, about whose fit the others scatter, and
    how far scores scatter about it depends on the fit too, as the same regression tells. So every
    excess is divided by how much more than the observed spectrum such a spectrum scatters.

    Parameters
    ----------
    fits : Features
        Parameters fitted without IC, background factors and deviates among them.
    scores : ndarray, shape (n,)
    without_ic : ndarray of bool, shape (n,)
        The spectra that are learnt from.
    observed : int
        Row of the observed spectrum.
    """
    usable = np.isfinite(fits.values).all(axis=1) & np.isfinite(scores)
    learnt = np.flatnonzero(without_ic & usable)
    # Equal scores stay equal: rounding does not rank them.
    scores = scores - np.median(scores[learnt])
    parameters = Scale.of(fits.names, fits.values[learnt]).apply(fits.values)
    weights = _weights_of_others(parameters, learnt)
    expected = weights @ scores[learnt]
    excess = scores - expected
    certainty = np.sqrt(1.0 + np.sum(weights**2, axis=1))
    scatter = np.abs(excess / certainty)[learnt]
    unit = certainty * np.maximum(weights @ scatter, LEAST_SCATTER * scatter.mean())
    return np.asarray(excess * (unit[observed] / unit if unit[observed] > 0 else 1.0))


def with_deviates(table: Table) -> Features:
    """Return the free parameters of fits, and what they have settled as wrong."""
    names = tuple(name for name in table.colnames if name.startswith(DEVIATE))
    values = np.reshape([floats(table, name) for name in names], (len(names), len(table)))
    return Features.join(fitted(table, ""), Features(names, values.T))


def _weights_of_others(values: Floats, learnt: Indices) -> Floats:
    """Return by how much others count in what a regression expects of each row.

    The regression is on the values and their squares, and is learnt from some of
    the rows. None of these counts in what is expected of itself.

    Parameters
    ----------
    values : ndarray, shape (n, n_values)
        In standard deviations.
    learnt : ndarray of int, shape (n_learnt,)

    Returns
    -------
    ndarray, shape (n, n_learnt)
    """
    steps = np.clip(values, -REACH, REACH)
    predictors = np.column_stack([np.ones(len(steps)), steps, steps**2])
    taught = predictors[learnt]
    # As if every predictor had been seen once more, without effect.
    penalty = np.diag([0.0, *np.ones(taught.shape[1] - 1)])
    weights = np.asarray(predictors @ np.linalg.solve(taught.T @ taught + penalty, taught.T))
    itself = learnt, np.arange(len(learnt))
    share = weights[itself]
    weights[itself] = 0.0
    weights[learnt] /= 1.0 - share[:, None]
    return weights


def judge(
    observe: Observe,
    spectra: Mapping[str, FittedSpectra],
    seed: int,
    networks: Mapping[str, Table] = MappingProxyType({}),
    ratios: Mapping[str, Mapping[str, Table]] = MappingProxyType({}),
) -> dict[str, Score]:
    """Score the observed and the simulated spectra with every detector.

    Detectors that learn do so from the first half of the simulated spectra of
    each model, and are judged by the others; and by the replicas of the second
    half, because the parameters fitted to those of the first are the truth of
    what is learnt from.

    Parameters
    ----------
    spectra : mapping of str to FittedSpectra
        The observed spectrum, `OBSERVED`; spectra drawn from the best fit
        without IC, `REPLICAS`; and under the names of the models without and
        with IC spectra with parameters that the observed one allows.
    networks : mapping of str to Table
        For each network its scores of these spectra, as
        `icflow.observation.networks.scores` returns them.
    ratios : mapping of str to mapping of str to Table
        For each likelihood ratio those of each set of spectra, likewise as
        `icflow.observation.ratios.Estimator.table` does.
    """
    scores = {}
    for name in observed.order(observe):
        needed = observed.needed(observe, name)
        judge = _Judge(observe, spectra, seed, networks, ratios, observed.learn(needed))
        scores[name] = judge.score(name, needed)
    return scores


def check_detectors(settings: ObserveSettings) -> None:
    """Check that every detector can score the observation.

    Raises
    ------
    IcflowError
        As `icflow.detection.observed.check_detectors`, and if it needs a ratio that cannot be
        trained.
    """
    observed.check_detectors(settings.observe, settings.networks)
    for name, detector in settings.observe.detectors.items():
        if detector.ratio is not None:
            key = f"{observed.SECTION}.{name}.ratio"
            observed_ratios.check_ratio(settings.ratios[detector.ratio], settings.observation, key)


class _Judge:
    """The material for one detector."""

    def __init__(
        self,
        observe: Observe,
        spectra: Mapping[str, FittedSpectra],
        seed: int,
        networks: Mapping[str, Table],
        ratios: Mapping[str, Mapping[str, Table]],
        learns: bool,
    ) -> None:
        self.observe, self.spectra = observe, spectra
        thermal, with_ic = observe.thermal, observe.with_ic
        self.first = {
            name: len(own) // 2 if learns and name in (REPLICAS, thermal, with_ic) else 0
            for name, own in spectra.items()
        }
        unseen = {name: range(self.first[name], len(own)) for name, own in spectra.items()}
        learnt = {name: range(first) for name, first in self.first.items()}
        self.rows = {
            TRAINING: {thermal: learnt[thermal]},
            TRAINING_IC: {with_ic: learnt[with_ic]},
            VALIDATION: {name: unseen[name] for name in (thermal, with_ic)},
            TEST: unseen,
        }
        is_ic = {name: name == with_ic for name in spectra}
        self.material = Material(
            {part: Sample.of(self.rows[part], is_ic) for part in PARTS},
            is_ic | {NETWORK_TRAINING: False},
            {network: [table] for network, table in networks.items()},
            {
                FITS: {part: self._tables(part) for part in PARTS},
                RATIOS: {
                    part: {ratio: self._chosen(part, tables) for ratio, tables in ratios.items()}
                    for part in (TEST, VALIDATION)
                },
            },
            seed,
            explain=False,
        )

    def score(self, name: str, needed: Mapping[str, Detector]) -> Score:
        """Return what a detector says, given it and those that it combines."""
        try:
            verdict = detectors.judge(needed, self.material)[name]
        except IcflowError as error:
            raise IcflowError(f"{observed.SECTION}: {error}") from None
        dataset = self.material.samples[TEST].dataset
        above = excess_given_fits(
            with_deviates(self.material.result(FITS, TEST, self.observe.thermal)),
            verdict.score,
            dataset != self.observe.with_ic,
            int(np.flatnonzero(dataset == OBSERVED)[0]),
        )
        scores, excess = (
            {
                model: np.append(np.full(first, np.nan), values[dataset == model])
                for model, first in self.first.items()
            }
            for values in (verdict.score, above)
        )
        (score,), (surplus,) = scores.pop(OBSERVED), excess.pop(OBSERVED)
        with_ic = excess[self.observe.with_ic]
        with_ic = with_ic[np.isfinite(with_ic)]
        return Score(
            title=needed[name].title,
            score=float(score),
            threshold=verdict.threshold,
            expected=float(score - surplus),
            false_alarm=false_alarm(float(surplus), excess[REPLICAS]),
            missed=float(np.mean(with_ic <= surplus)) if with_ic.size else float("nan"),
            scores=scores,
            excess=excess,
        )

    def _chosen(self, part: str, tables: Mapping[str, Table]) -> Table:
        """Return the rows of a part of what is known of each set of spectra."""
        return stack([tables[name][list(rows)] for name, rows in self.rows[part].items()])

    def _tables(self, part: str) -> dict[str, Table]:
        """Return the fits of each model to the spectra of a part."""
        rows = [(self.spectra[n], row) for n, rows in self.rows[part].items() for row in rows]
        if not rows:
            return {}
        observe = self.observe
        tables = {
            role: _table([spectra.fits[role][row] for spectra, row in rows])
            for role in (observe.thermal, observe.with_ic, observe.both)
        }
        # By how much C falls where there is no fall, the model with both does not say.
        added = np.array([spectra.added[row] for spectra, row in rows])
        tables[observe.both]["cstat"] = tables[observe.thermal]["cstat"] - added
        return tables


def _table(fits: Sequence[FitResult]) -> Table:
    """Return fits as detectors read them: one row each, C, dof, parameters and errors."""
    free = fits[0].free
    table = Table({name: [fit.values[name] for fit in fits] for name in fits[0].values})
    table.meta["free"] = list(free)
    for key in ("cstat", "dof", "converged"):
        table[key] = [getattr(fit, key) for fit in fits]
    for name in free:
        table[f"{name}_error"] = [fit.errors[name] for fit in fits]
    return table
