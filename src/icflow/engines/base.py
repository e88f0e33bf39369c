"""What an engine is: predict, fake and fit, with the same arguments and results."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from icflow.config import FitControl, FitModel, Systematics
from icflow.errors import IcflowError
from icflow.models.priors import Prior
from icflow.models.scenario import Setting
from icflow.typing import Counts, CountsByRow, DrawnCounts, Floats

# Start of the names of the factors in front of background components.
BACKGROUND = "background."


@dataclass(frozen=True)
class FitResult:
    """One fit.

    Attributes
    ----------
    cstat : float
        C at the minimum; NaN where the fit was impossible.
    dof : int
        Bins minus free parameters.
    bins : int
        Noticed bins after grouping.
    converged : bool
        Whether a full Newton step would lower C by less than 1e-5.
    starts, agreeing : int
        Starting points, and how many ended within 0.01 of the lowest C.
    iterations : int
        Of the best start.
    gradient : float
        Decrease of C that a further Newton step promises.
    values, errors : dict
        Best-fit value and 1 σ error of every parameter that the fit knows,
        background factors as ``background.NAME``; the error of a parameter
        that was not free is 0, of one at a bound, or that the data do not
        determine, NaN.
    free : tuple of str
        Names of the free parameters.
    at_bound : tuple of str
        Free parameters that ended on a hard limit.
    status : str
        ``ok``, or a sentence on what went wrong.
    covariance : ndarray, shape (n_free, n_free)
        NaN for parameters at a bound.
    intervals : dict
        By free parameter, as `FitControl.errors` says: the range in which C,
        minimised over all others, is less than `FitControl.delta` above its
        minimum, or that holds as much of the likelihood, averaged over all
        others. Empty where none are asked for, or there are none.
    """

    cstat: float
    dof: int
    bins: int
    converged: bool
    starts: int
    agreeing: int
    iterations: int
    gradient: float
    values: dict[str, float]
    errors: dict[str, float]
    free: tuple[str, ...]
    at_bound: tuple[str, ...] = ()
    status: str = "ok"
    covariance: Floats = field(default_factory=lambda: np.empty((0, 0)), repr=False)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)


def check_counts(counts: Counts | Floats) -> None:
    """Check that the counts of a spectrum can be counts.

    Raises
    ------
    IcflowError
        If one is negative.
    """
    if counts.size and counts.min() < 0:
        raise IcflowError("the spectrum holds negative counts; extract or simulate it again")


def checked(result: FitResult) -> FitResult:
    """Return a result; one of numbers that are not finite is not ``ok``."""
    if all(map(math.isfinite, (result.cstat, *result.values.values()))):
        return result
    return replace(
        result,
        converged=False,
        status="the fit gave numbers that are not finite; correct the model",
    )


def failed_fit(fixed: Mapping[str, bool], free: Sequence[str], reason: str) -> FitResult:
    """Return the result of a fit that was impossible: NaN, and the reason as status.

    Parameters
    ----------
    fixed : mapping
        Every parameter in order, and whether it was fixed: then its error is
        0, as after a good fit, so that every shard has the same columns.
    free : sequence of str
        Names of the free parameters, links left out.
    """
    nan = float("nan")
    return FitResult(
        cstat=nan,
        dof=0,
        bins=0,
        converged=False,
        starts=0,
        agreeing=0,
        iterations=0,
        gradient=nan,
        values=dict.fromkeys(fixed, nan),
        errors={name: 0.0 if still else nan for name, still in fixed.items()},
        free=tuple(free),
        status=" ".join(reason.split()),
    )


class Module(Protocol):
    """One module of an instrument: what its spectra are folded with."""

    @property
    def name(self) -> str:
        """Its name; empty for a single module."""

    @property
    def rmf(self) -> str:
        """Response matrix file."""

    @property
    def arf(self) -> str | None:
        """Ancillary response file; None where the RMF includes the area."""

    @property
    def exposure(self) -> float:
        """Seconds."""

    @property
    def background(self) -> str | None:
        """File of the background components."""

    @property
    def systematics(self) -> Systematics:
        """What varies from spectrum to spectrum."""

    @property
    def cross_normalisation(self) -> float | Prior:
        """Factor of the source's counts that spectra are drawn with, a prior if it varies.

        It is the parameter ``factor.NAME``; the first module has none, its factor is 1.
        """


class Engine(Protocol):
    """A way to predict, fake and fit spectra of one instrument.

    Channels are those of the RMF, all of them, in its order; the channels of
    several modules stand one after another.
    """

    def versions(self) -> dict[str, str]:
        """Return what the numbers depend on: ENGINE, XSPECVER, ATOMDB, ABUND, XSECT."""

    def predict(self, expression: str, parameters: Mapping[str, Setting]) -> Floats:
        """Return expected counts per channel, background included, shape (n_channels,)."""

    def fake(
        self,
        expression: str,
        parameters: Mapping[str, Setting],
        seed: int,
        dataset: str,
        indices: Sequence[int],
    ) -> tuple[DrawnCounts, dict[str, Floats]]:
        """Return counts, shape (n, n_channels), and the true value of every parameter."""

    def fit(
        self,
        model: FitModel,
        control: FitControl,
        counts: CountsByRow,
        truth: Mapping[str, Floats],
        at_truth: Sequence[str],
    ) -> Iterable[FitResult]:
        """Fit every spectrum, the parameters `at_truth` frozen at their true values."""

    def keeping(self, output: Path) -> AbstractContextManager[None]:
        """Within, finished fakes and fits may be kept beside an output until it is whole.

        For engines that take hours, to go on where a crash has left them; others
        keep nothing.
        """
