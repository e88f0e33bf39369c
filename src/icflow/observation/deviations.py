"""What an observed spectrum itself says about how wrong calibration and background are.

Many of the spectra that systematics allow are unlike the observed one: an energy scale off by 60 eV
raises C of a bright spectrum by thousands, whatever its plasmas. So C and the squares of the
deviates, which are normal, are minimised together over all that is free in a model and over the
deviates; curvature there tells how far the deviates may be off. IC is among what is free, so that
what the spectrum says about IC is left to the comparison with simulated spectra.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from icflow.compiled import jit
from icflow.config import FitModel, Link
from icflow.engines.base import FitResult
from icflow.models.systematics import Deviates
from icflow.statistic import FLOOR, Data, background, binned, term
from icflow.typing import Booleans, Floats

if TYPE_CHECKING:
    from icflow.observation.engine import ObservedEngine

# Steps that slopes are taken over, in errors of parameters and in standard deviates.
STEP = 0.05
# A parameter without error moves by this fraction of its value, or of its range.
SHARE, BLIND = 0.05, 1e-3
# Searches start this far from the limits of parameters, in steps, or relative to their range.
INSIDE, MARGIN = 10.0, 0.05
# Deviates are not looked for beyond this.
FARTHEST = 8.0
# A search ends when the sum of squares falls by less, relatively, or after so many steps.
ENOUGH, LONGEST = 1e-6, 60
# Singular values of slopes below this, relative to the highest, are none.
NOTHING = 1e-6


@dataclass(frozen=True)
class Told:
    """The deviates that a spectrum allows: normally distributed.

    Attributes
    ----------
    names : list of str
    mean : ndarray, shape (n_deviates,)
    root : ndarray, shape (n_deviates, n_deviates)
        Of the covariance: lower triangle, Cholesky.
    """

    names: Sequence[str]
    mean: Floats
    root: Floats

    def drawn(self, standard: Deviates) -> dict[str, float]:
        """Return deviates that the spectrum allows, for independent standard ones."""
        steps = np.array([standard[name] for name in self.names])
        return dict(zip(self.names, (self.mean + self.root @ steps).tolist(), strict=True))

    @property
    def likeliest(self) -> dict[str, float]:
        """The mean, by name."""
        return dict(zip(self.names, self.mean.tolist(), strict=True))

    @property
    def errors(self) -> Floats:
        """The standard deviations, shape (n_deviates,)."""
        return np.asarray(np.linalg.norm(self.root, axis=1))

    @property
    def fitted(self) -> float:
        """By how much C of the spectrum is lower, on average, than of those drawn as it tells.

        Deviates are fitted to it, and none are to those: it lacks their squares, and one for each
        that it tells.
        """
        return float(self.mean @ self.mean + len(self.mean) - np.sum(self.root**2))


def told(engine: ObservedEngine, model: FitModel, fit: FitResult) -> Told:
    """Return what the spectrum of an engine says about the deviates.

    What parameters can take up says nothing: slopes of the deviates count as far as they are at
    right angles to those of all parameters that are not on a limit.

    Parameters
    ----------
    fit : FitResult
        Of the model, with what the engine has been told before.
    """
    search = _Search(engine, model, fit)
    place = search.minimum()
    slopes = search.slopes(place)[: engine.n_bins]
    n = len(search.free)
    others, own = slopes[:, :n][:, search.inside(place)[:n]], slopes[:, n:]
    others = others / np.maximum(np.linalg.norm(others, axis=0), np.finfo(float).tiny)
    directions, sizes, _ = np.linalg.svd(others, full_matrices=False)
    directions = directions[:, sizes > NOTHING * sizes.max(initial=0.0)]
    own = own - directions @ (directions.T @ own)
    covariance = np.linalg.inv(np.eye(own.shape[1]) + own.T @ own)
    return Told(search.deviates, place[n:], np.linalg.cholesky(covariance))


def _linked(model: FitModel, values: Mapping[str, float]) -> dict[str, float]:
    """Return values in which those that are linked follow."""
    links = {n: s.link for n, s in model.parameters.items() if isinstance(s, Link)}
    return {**values, **{name: values[link] for name, link in links.items()}}


class _Search:
    """C of a spectrum and the squares of its deviates, as one sum of squares.

    Places are vectors of the free parameters, as distances from the fit in errors, and of the
    deviates.
    """

    def __init__(self, engine: ObservedEngine, model: FitModel, fit: FitResult) -> None:
        self.engine, self.model, self.fit = engine, model, fit
        self.free, self.deviates = fit.free, engine.nominal.deviates
        told = np.zeros(len(self.deviates)) if engine.told is None else engine.told.mean
        self._start = np.append(np.zeros(len(self.free)), told)
        self._best = np.array([fit.values[name] for name in self.free])
        ranges = [engine.range_of(model, name) for name in self.free]
        low, high = np.array(ranges).reshape(-1, 2).T
        self._scale = np.array(
            [_scale(fit, *limits) for limits in zip(self.free, ranges, strict=True)]
        )
        far = np.full(len(told), FARTHEST)
        self._low = np.append((low - self._best) / self._scale, -far)
        self._high = np.append((high - self._best) / self._scale, far)
        counts = engine.counts.reshape(-1, engine.n_channels).astype(np.float64)
        held, *behind = binned(Data(counts[0], *engine.groups), counts)
        self._data = Data(held, *engine.groups, *((*behind, engine.ratio) if behind else ()))

    def values(self, place: Floats) -> dict[str, float]:
        """Return every parameter."""
        n = len(self.free)
        own = self._best + self._scale * place[:n]
        return _linked(
            self.model, self.fit.values | dict(zip(self.free, own.tolist(), strict=True))
        )

    def residuals(self, places: Floats) -> Floats:
        """Return what the squares of are summed, shape (n_places, n_bins + n_deviates)."""
        sought = places[:, len(self.free) :]
        expected = self.engine.wrong_each(
            self.model,
            [self.values(place) for place in places],
            [dict(zip(self.deviates, row.tolist(), strict=True)) for row in sought],
        )
        return np.array(
            [
                np.append(deviances(self._data, binned(self._data, row)), deviates)
                for row, deviates in zip(expected, sought, strict=True)
            ]
        )

    def slopes(self, place: Floats) -> Floats:
        """Return by how much residuals change, shape (n_bins + n_deviates, n_place)."""
        steps = np.where(place + STEP <= self._high, STEP, -STEP)
        rows = self.residuals(np.vstack([place, place + np.diag(steps)]))
        return np.asarray((rows[1:] - rows[0]).T / steps)

    def minimum(self) -> Floats:
        """Return where the sum of squares is lowest."""
        from scipy.optimize import least_squares

        room = np.minimum(INSIDE * STEP, MARGIN * (self._high - self._low))
        result = least_squares(
            lambda place: self.residuals(place[None])[0],
            np.clip(self._start, self._low + room, self._high - room),
            self.slopes,
            bounds=(self._low, self._high),
            x_scale="jac",
            ftol=ENOUGH,
            max_nfev=LONGEST,
        )
        return np.asarray(result.x)

    def inside(self, place: Floats) -> Booleans:
        """Tell which of a place are not on a limit."""
        return np.asarray((place > self._low + STEP) & (place < self._high - STEP))


def _scale(fit: FitResult, name: str, limits: tuple[float, float]) -> float:
    """Return the error of a parameter, or what may stand for it."""
    error = fit.errors[name]
    if np.isfinite(error) and error > 0:
        return error
    return SHARE * abs(fit.values[name]) or BLIND * (limits[1] - limits[0])


@jit
def deviances(data: Data, model: Floats) -> Floats:
    """Return the root of what each bin adds to the statistic, negative where more is counted.

    Parameters
    ----------
    model : ndarray, shape (n_bins,)
        Expected counts of the source.
    """
    result = np.empty(len(data.counts))
    for b in range(len(data.counts)):
        s, m = data.counts[b], max(model[b], FLOOR)
        value = 0.0
        if len(data.behind) > 0 and data.ratio[b] > 0:
            f = background(s, m, data.behind[b], data.ratio[b])
            value = term(data.behind[b], data.ratio[b] * f)
            m += f
        value = 2.0 * max(value + term(s, m), 0.0)
        result[b] = np.sqrt(value) if m > s else -np.sqrt(value)
    return result
