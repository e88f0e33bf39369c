"""Scores of an observed spectrum among those of simulated ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from icflow.config import Detector, Observe
from icflow.detection import detectors
from icflow.detection.evidence import (
    PARTS,
    TEST,
    TRAINING,
    TRAINING_IC,
    VALIDATION,
    Evidence,
    Sample,
)
from icflow.detection.learned import FEWEST
from icflow.engines.base import FitResult
from icflow.errors import IcflowError

Floats = NDArray[np.float64]

OBSERVED = "observed"
SECTION = "observe.detectors"
# C of two fits that are the same but for rounding.
SAME = 0.005


@dataclass(frozen=True)
class Score:
    """What one detector says about the observed spectrum.

    Attributes
    ----------
    score, threshold : float
        Above the threshold a spectrum is called IC; the threshold is that of
        the highest balanced accuracy on simulated spectra.
    false_alarm : float
        Fraction of the simulated spectra without IC that score as high.
    missed : float
        Fraction of the simulated spectra with IC that score no higher.
    simulated : dict of ndarray
        Scores of the simulated spectra of each model; NaN of those that the
        detector has learnt from.
    """

    title: str
    score: float
    threshold: float
    false_alarm: float
    missed: float
    simulated: dict[str, Floats]

    def as_json(self) -> dict[str, Any]:
        """Return all but the simulated scores."""
        return {
            "title": self.title,
            "score": self.score,
            "threshold": self.threshold,
            "above_threshold": self.score > self.threshold,
            "false_alarm": self.false_alarm,
            "missed": self.missed,
            "simulated": {name: _spread(scores) for name, scores in self.simulated.items()},
        }


def _spread(scores: Floats) -> dict[str, Any]:
    known = scores[np.isfinite(scores)]
    levels = (0.05, 0.5, 0.95)
    values = np.quantile(known, levels).tolist() if known.size else [None] * len(levels)
    return {
        "number": int(known.size),
        "quantiles": dict(zip(map(str, levels), values, strict=True)),
    }


def false_alarm(score: float, simulated: Floats) -> float:
    """Return the probability of a score as high without IC.

    It is the rank of the observed spectrum among itself and the simulated
    ones, so that it is at most α in a fraction α of observations without IC,
    whatever their number, and never 0. Scores within `SAME` count as equal,
    which matters where many are 0.
    """
    known = simulated[np.isfinite(simulated)]
    if not np.isfinite(score):
        return 1.0
    return float((1 + np.sum(known >= score - SAME)) / (1 + known.size))


def judge(
    observe: Observe,
    observed: Mapping[str, FitResult],
    simulated: Mapping[str, Mapping[str, Sequence[FitResult]]],
    seed: int,
) -> dict[str, Score]:
    """Score the observed and the simulated spectra with every detector.

    Detectors that learn do so from the first half of the simulated spectra, and
    the others are those that the observed spectrum is compared with.

    Parameters
    ----------
    observed : mapping of str to FitResult
        Fit of each model to the observed spectrum.
    simulated : mapping
        For the models `observe.thermal` and `observe.with_ic`, the fits of each
        model to the spectra simulated with it.
    """
    found = {}
    for name in order(observe):
        needed = {part: observe.detectors[part] for part in observe.detectors[name].parts or []}
        needed[name] = observe.detectors[name]
        learns = any(detectors.METHODS[one.method].learns for one in needed.values())
        found[name] = _Judge(observe, observed, simulated, seed, learns).score(name, needed)
    return found


def order(observe: Observe) -> list[str]:
    """Return the detectors, the one that decides first, then by name."""
    return sorted(observe.detectors, key=lambda name: (name != observe.decides, name))


def check(observe: Observe) -> None:
    """Check that every detector can score observations.

    Raises
    ------
    IcflowError
        If its method is unknown, lacks an input, or needs a network.
    """
    for name, detector in observe.detectors.items():
        method = detectors.check(name, detector, SECTION)
        if "network" in method.needs:
            raise IcflowError(
                f"{SECTION}.{name}.method is {detector.method!r}, which needs a network trained "
                "on spectra of this observation; choose a method that reads fits"
            )
        if method.learns and observe.simulations < 2 * FEWEST:
            raise IcflowError(
                f"observe.simulations is {observe.simulations}, too few for {SECTION}.{name} to "
                f"learn from half of them; allowed: {2 * FEWEST} and more"
            )


class _Judge:
    """The evidence for one detector."""

    def __init__(
        self,
        observe: Observe,
        observed: Mapping[str, FitResult],
        simulated: Mapping[str, Mapping[str, Sequence[FitResult]]],
        seed: int,
        learns: bool,
    ) -> None:
        self.observe, self.observed, self.simulated = observe, observed, simulated
        thermal, with_ic = observe.thermal, observe.with_ic
        sizes = {name: len(next(iter(fits.values()))) for name, fits in simulated.items()}
        half = {name: size // 2 if learns else 0 for name, size in sizes.items()}
        self.first = half
        rows = {name: range(half[name], size) for name, size in sizes.items()}
        rows[OBSERVED] = range(1)
        learnt = {name: range(half[name]) for name in sizes}
        with_all = {thermal: False, with_ic: True, OBSERVED: False}
        self.rows = {
            TRAINING: {thermal: learnt[thermal]},
            TRAINING_IC: {with_ic: learnt[with_ic]},
            VALIDATION: {name: rows[name] for name in (thermal, with_ic)},
            TEST: {name: rows[name] for name in (thermal, with_ic, OBSERVED)},
        }
        self.evidence = Evidence(
            {
                part: Sample.of({n: len(r) for n, r in self.rows[part].items()}, with_all)
                for part in PARTS
            },
            with_all,
            {},
            {part: self._tables(part) for part in PARTS},
            seed,
        )

    def score(self, name: str, needed: Mapping[str, Detector]) -> Score:
        """Return what a detector says, given it and those that it combines."""
        try:
            verdict = detectors.judge(needed, self.evidence)[name]
        except IcflowError as error:
            raise IcflowError(f"{SECTION}: {error}") from None
        sample = self.evidence.samples[TEST]
        simulated = {}
        for model in self.simulated:
            unseen = np.full(self.first[model], np.nan)
            simulated[model] = np.concatenate([unseen, verdict.score[sample.dataset == model]])
        score = float(verdict.score[sample.dataset == OBSERVED][0])
        with_ic = simulated[self.observe.with_ic]
        with_ic = with_ic[np.isfinite(with_ic)]
        return Score(
            title=needed[name].title,
            score=score,
            threshold=verdict.threshold,
            false_alarm=false_alarm(score, simulated[self.observe.thermal]),
            missed=float(np.mean(with_ic <= score + SAME)) if with_ic.size else float("nan"),
            simulated=simulated,
        )

    def _tables(self, part: str) -> dict[str, Table]:
        """Return the fits of each model to the spectra of a part."""
        roles = (self.observe.thermal, self.observe.with_ic, self.observe.both)
        fits = {
            role: [
                self.observed[role] if name == OBSERVED else self.simulated[name][role][row]
                for name, rows in self.rows[part].items()
                for row in rows
            ]
            for role in roles
        }
        tables = {role: _table(fits[role]) for role in roles if fits[role]}
        if self.observe.both in tables and self.observe.thermal in tables:
            # The model with IC holds the one without: where its fit ended higher, it missed that.
            both, thermal = tables[self.observe.both], tables[self.observe.thermal]
            both["cstat"] = np.minimum(both["cstat"], thermal["cstat"])
        return tables


def _table(fits: Sequence[FitResult]) -> Table:
    """Return fits as detectors read them: one row each, C, dof, parameters and errors."""
    table = Table(
        {key: [getattr(fit, key) for fit in fits] for key in ("cstat", "dof", "converged")}
    )
    for name in fits[0].values:
        table[name] = [fit.values[name] for fit in fits]
        if name in fits[0].free:
            table[f"{name}_error"] = [fit.errors[name] for fit in fits]
    table.meta["free"] = list(fits[0].free)
    return table
