"""Intervals from the likelihood averaged over all other free parameters, flat within their limits.

A profile lets every background be what suits a value best, so that its interval reaches as far
as the best and the worst of them allow. The average, the marginal likelihood, holds the truth as
often as it says where the truth lies anywhere between the limits.

Limits of temperatures are cut into the cells of their table: regions, in which expected counts are
linear in the amounts of the spectra at both ends, and C is close to a parabola. In each, points
are drawn from the Gaussian between limits that has the slope and the curvature of C where it is
lowest. A point counts with its likelihood divided by the density that it was drawn with, so that
no choice of densities biases an average; a bad one only makes it uncertain. The numbers behind
the points are a Sobol sequence, the same for every spectrum.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from icflow.compiled import jit
from icflow.config import FitControl
from icflow.engines.embedded import sobol
from icflow.engines.embedded.descent import descents
from icflow.engines.embedded.shapes import (
    FIRST,
    KIND,
    NORM,
    PLASMA,
    Box,
    Shapes,
    expected,
    find_cells,
    information,
)
from icflow.engines.embedded.symmetry import exchangeable
from icflow.engines.embedded.truncated import Gaussian, gaussian
from icflow.statistic import Data, fill_bins, statistic
from icflow.typing import Floats, Integers

# Points of all regions at given redshifts: more where fewer than enough of them would be as good if
# all counted alike. With fewer than the least nothing is said.
POINTS, ENOUGH, LEAST = (2048, 8192), 200.0, 50.0
# In C: regions whose lowest is this much above that of all are left out; at most so many are kept.
WITHIN, MOST_REGIONS = 12.0, 24
# Of the Gaussians: as wide as the curvature says, and wider for longer tails; shares of points.
SCALES, SHARES = (1.0, 1.5), (0.75, 0.25)
# Where C falls towards a limit, the Gaussian has its mean at most so many sigma beyond.
STEEP = 30.0
# Relative addition to the diagonal, for plasmas alike that only their sum determines.
RIDGE = 1e-9
# How far from its ends a temperature belongs to a cell, in its width; less than any norm.
EDGE, NOTHING = 1e-9, 1e-30
# An interval starts at a limit if that makes it shorter by this factor than between equal tails.
SHORTER = 0.95


class WeightedPoints(NamedTuple):
    """Points that count by their weights.

    Attributes
    ----------
    points : ndarray, shape (n, n_free)
    logs : ndarray, shape (n,)
        ln of likelihood over density.
    """

    points: Floats
    logs: Floats

    @property
    def weights(self) -> Floats:
        """The weights; none where no point counts."""
        highest = self.logs.max(initial=-math.inf)
        return np.exp(self.logs - highest) if highest > -math.inf else np.zeros(len(self.logs))

    @property
    def effective(self) -> float:
        """Number of equally weighted points that would be as good."""
        weights = self.weights
        return float(weights.sum() ** 2 / max((weights**2).sum(), NOTHING))

    def intervals(self, box: Box, fraction: float) -> dict[int, tuple[float, float]]:
        """Return the interval of each parameter that holds a fraction, by its position."""
        columns = zip(*box, self.points.T, strict=True)
        return {
            int(p): interval(values, self.weights, (float(low), float(high)), fraction)
            for p, low, high, values in columns
        }

    def less(self, log: float) -> WeightedPoints:
        """Return the points with less weight, by a factor of which ln is given."""
        return self._replace(logs=self.logs - log)


def joined(samples: Iterable[WeightedPoints]) -> WeightedPoints:
    """Return the points of several samples as one."""
    return WeightedPoints(*(np.concatenate(arrays) for arrays in zip(*samples, strict=True)))


def in_order(sample: WeightedPoints, terms: Integers, box: Box, theta: Floats) -> WeightedPoints:
    """Return a sample whose points count only with plasmas alike in the order of `theta`.

    That is by temperature: of each way to exchange them the likelihood is the same.
    """
    place, logs = {int(p): i for i, p in enumerate(box.free)}, sample.logs
    for group in exchangeable(terms, box):
        temperatures = group[np.argsort(theta[group[:, FIRST]], kind="stable"), FIRST]
        columns = sample.points[:, [place[int(p)] for p in temperatures]]
        logs = np.where((np.diff(columns, axis=1) >= 0).all(axis=1), logs, -np.inf)
    return sample._replace(logs=logs)


class Stratum(NamedTuple):
    """What is averaged over at given redshifts.

    Attributes
    ----------
    shapes : Shapes
    starts : list of ndarray, shape (n_parameters,)
        Minima of C, or near them.
    log_density : float
        ln of the density that the redshifts were drawn with.
    """

    shapes: Shapes
    starts: list[Floats]
    log_density: float = 0.0


def averaged(
    data: Data, box: Box, strata: Sequence[Stratum], control: FitControl
) -> WeightedPoints:
    """Return points that the likelihood can be averaged with.

    Parameters
    ----------
    box : Box
        What is free but for redshifts.
    strata : sequence of Stratum
        A power of two of them, the best fit the first start of the first.
    """
    shapes, theta = strata[0].shapes, strata[0].starts[0]
    limit = control.max_iterations
    places = [regions(s.shapes, data, box, s.starts, limit) for s in strata]
    for number in POINTS:
        uniform = sobol.points(number, len(box.free)) + 0.5 / number
        parts = zip(strata, places, np.split(uniform, len(strata)), strict=True)
        samples = [
            sample(stratum.shapes, data, region, part).less(stratum.log_density)
            for stratum, own, part in parts
            for region in own
        ]
        found = in_order(joined(samples), shapes.terms, box, theta)
        if found.effective >= ENOUGH:
            break
    return found


# --- regions -----------------------------------------------------------------------------


class Region(NamedTuple):
    """A combination of temperature cells.

    Attributes
    ----------
    box : Box
        The limits of all free parameters in it.
    theta : ndarray, shape (n_parameters,)
        Where C is lowest in it.
    """

    box: Box
    theta: Floats
    cstat: float


def regions(
    shapes: Shapes, data: Data, box: Box, starts: Sequence[Floats], max_iterations: int
) -> list[Region]:
    """Return the regions in which C is low, around some minima."""
    plasmas = shapes.terms[shapes.terms[:, KIND] == PLASMA]
    places = np.flatnonzero(np.isin(box.free, plasmas[:, FIRST]))
    known: dict[tuple[int, ...], Region] = {}
    waiting = [(_cells(shapes, box.free[places], start), start) for start in starts]
    lowest = math.inf
    while waiting and len(known) < MOST_REGIONS:
        cells, start = waiting.pop(0)
        within = _within(shapes, box, places, cells)
        if cells in known or not (within.lower < within.upper).all():
            continue
        inside = _inside(start, within, places)
        (end,) = descents(shapes, data, within, [inside], max_iterations)
        known[cells] = Region(within, _inside(end.theta, within, places), end.cstat)
        lowest = min(lowest, end.cstat)
        if end.cstat < lowest + WITHIN:
            waiting += [(beside, end.theta) for beside in _beside(cells)]
    return [region for region in known.values() if region.cstat < lowest + WITHIN]


def _cells(shapes: Shapes, temperatures: Integers, theta: Floats) -> tuple[int, ...]:
    return tuple(find_cells(shapes, theta)[temperatures].tolist())


def _beside(cells: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the combinations in which one temperature is in the next cell."""
    moves = [(i, step) for i in range(len(cells)) for step in (-1, 1)]
    return [(*cells[:i], cells[i] + step, *cells[i + 1 :]) for i, step in moves]


def _within(shapes: Shapes, box: Box, places: Integers, cells: Sequence[int]) -> Box:
    """Return a box with its temperatures limited to cells; empty beyond the last ones."""
    lower, upper, nodes = box.lower.copy(), box.upper.copy(), shapes.temperatures
    for place, cell in zip(places, cells, strict=True):
        low, high = nodes[cell : cell + 2] if 0 <= cell < len(nodes) - 1 else (math.inf, -math.inf)
        lower[place], upper[place] = max(lower[place], low), min(upper[place], high)
    return Box(box.free, lower, upper)


def _inside(theta: Floats, box: Box, places: Integers) -> Floats:
    """Return parameters within a box, temperatures off its limits, which belong to two cells."""
    edge = np.zeros(len(box.free))
    edge[places] = EDGE * (box.upper - box.lower)[places]
    moved = theta.copy()
    moved[box.free] = np.clip(theta[box.free], box.lower + edge, box.upper - edge)
    return moved


# --- amounts -----------------------------------------------------------------------------


class Amounts(NamedTuple):
    """Plasmas as amounts of the spectra at both ends of their cells.

    The first takes the place of the norm, the second that of the temperature.

    Attributes
    ----------
    box : Box
        The limits of the parameters of a region.
    norms, temperatures : ndarray of int, shape (n_plasmas,)
        Their places in the box.
    """

    box: Box
    norms: Integers
    temperatures: Integers

    @property
    def widths(self) -> Floats:
        """The widths of the cells, keV."""
        return (self.box.upper - self.box.lower)[self.temperatures]

    @property
    def limits(self) -> tuple[Floats, Floats]:
        """Limits with amounts in place of norms and temperatures."""
        lower, upper = self.box.lower.copy(), self.box.upper.copy()
        lower[self.norms] = lower[self.temperatures] = 0.0
        upper[self.temperatures] = upper[self.norms]
        return lower, upper

    def of(self, values: Floats) -> Floats:
        """Return parameters with amounts in place of norms and temperatures."""
        amounts, norm = values.copy(), values[self.norms]
        share = (values - self.box.lower)[self.temperatures] / self.widths
        amounts[self.norms], amounts[self.temperatures] = norm * (1 - share), norm * share
        return amounts

    def slopes(self, values: Floats) -> Floats:
        """Return the derivatives of parameters by amounts, shape (n_free, n_free)."""
        slopes, amounts = np.eye(len(values)), self.of(values)
        for n, k, width in zip(self.norms, self.temperatures, self.widths, strict=True):
            slopes[n, k] = 1.0
            slopes[k, n] = -amounts[k] * width / values[n] ** 2
            slopes[k, k] = amounts[n] * width / values[n] ** 2
        return slopes

    def values(self, amounts: Floats) -> tuple[Floats, Floats]:
        """Return the parameters of many points, and ln of their volume over that of amounts.

        Norms outside of their limits have no volume.
        """
        values, norm = amounts.copy(), amounts[:, self.norms] + amounts[:, self.temperatures]
        values[:, self.norms], some = norm, np.maximum(norm, NOTHING)
        share = amounts[:, self.temperatures] / some
        values[:, self.temperatures] = self.box.lower[self.temperatures] + share * self.widths
        low, high = self.box.lower[self.norms], self.box.upper[self.norms]
        inside = ((norm >= low) & (norm <= high)).all(axis=1)
        return values, np.where(inside, np.log(self.widths / some).sum(axis=1), -np.inf)


def amounts_of(terms: Integers, box: Box) -> Amounts:
    """Return the plasmas that have free norms and temperatures of their own, as amounts."""
    place = {int(p): i for i, p in enumerate(box.free) if box.lower[i] >= 0}
    uses = terms[:, [NORM, FIRST]].ravel().tolist()
    own = [
        (int(term[NORM]), int(term[FIRST]))
        for term in terms[terms[:, KIND] == PLASMA]
        if uses.count(int(term[NORM])) == uses.count(int(term[FIRST])) == 1
    ]
    pairs = [(place[n], place[k]) for n, k in own if n in place and k in place]
    norms, temperatures = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return Amounts(box, norms, temperatures)


# --- points ------------------------------------------------------------------------------


def sample(shapes: Shapes, data: Data, region: Region, uniform: Floats) -> WeightedPoints:
    """Return weighted points of a region.

    Parameters
    ----------
    uniform : ndarray, shape (n, n_free)
        Points that fill the unit cube.
    """
    amounts = amounts_of(shapes.terms, region.box)
    narrow = expansion(shapes, data, region, amounts)
    kernels = [narrow.wider(scale) for scale in SCALES]
    parts = np.split(uniform, np.rint(np.cumsum(SHARES[:-1]) * len(uniform)).astype(int))
    points = np.concatenate([k.draw(part) for k, part in zip(kernels, parts, strict=True)])
    densities = [kernel.log_density(points) for kernel in kernels]
    density = np.logaddexp.reduce(densities + np.log(SHARES)[:, None], axis=0)
    values, volume = amounts.values(points)
    thetas = np.repeat(region.theta[None], len(points), axis=0)
    thetas[:, region.box.free] = values
    logs = log_likelihoods(shapes, data, thetas) + volume - density
    return WeightedPoints(values, np.where(np.isfinite(logs), logs, -np.inf))


def expansion(shapes: Shapes, data: Data, region: Region, amounts: Amounts) -> Gaussian:
    """Return the Gaussian with slope and curvature of the likelihood at the lowest C of a region.

    In what C does not depend on it is as wide as the limits; what plasmas share among them is no
    more than they have together.
    """
    box, theta = region.box, region.theta.copy()
    norms = box.free[amounts.norms]
    total = float(theta[norms].sum())
    theta[norms] = np.maximum(theta[norms], max(EDGE * total, NOTHING))
    lower, upper = amounts.limits
    width = upper - lower
    if total > 0:
        width[amounts.norms] = width[amounts.temperatures] = total
    info, slope = information(shapes, data, box, theta)
    turn = amounts.slopes(theta[box.free])
    info, slope = turn.T @ info @ turn, turn.T @ slope
    precision = info + np.diag(RIDGE * np.diag(info) + (slope / STEEP) ** 2 + width**-2.0)
    scale = np.outer(np.diag(precision), np.diag(precision)) ** -0.5
    covariance = np.linalg.inv(precision * scale) * scale
    return gaussian(amounts.of(theta[box.free]) - covariance @ slope, covariance, lower, upper)


@jit
def log_likelihoods(shapes: Shapes, data: Data, thetas: Floats) -> Floats:
    """Return -C/2 for many parameters."""
    n_channels = shapes.rows.shape[1]
    model, nothing = np.empty(n_channels), np.empty((0, n_channels))
    slot, scratch = np.full(thetas.shape[1], -1, dtype=np.int64), np.empty((6, n_channels))
    values = np.empty(len(thetas))
    for t in range(len(thetas)):
        cells = find_cells(shapes, thetas[t])
        expected(shapes, thetas[t], cells, slot, scratch, model, nothing)
        fill_bins(data, model)
        values[t] = -0.5 * statistic(data, model)
    return values


# --- intervals ---------------------------------------------------------------------------


def interval(
    values: Floats, weights: Floats, limits: tuple[float, float], fraction: float
) -> tuple[float, float]:
    """Return an interval that holds a fraction of the weight.

    As much lies below it as above. But where most lies against a limit, it starts there: if that
    makes it shorter.
    """
    order = np.argsort(values, kind="stable")
    share = weights[order] / weights.sum()
    below = np.cumsum(share) - 0.5 * share

    def quantile(probability: float) -> float:
        return float(np.interp(probability, below, values[order]))

    tail = 0.5 * (1 - fraction)
    central = quantile(tail), quantile(1 - tail)
    from_limits = [(limits[0], quantile(fraction)), (quantile(1 - fraction), limits[1])]
    shortest = min(from_limits, key=_length)
    return shortest if _length(shortest) < SHORTER * _length(central) else central


def _length(ends: tuple[float, float]) -> float:
    return ends[1] - ends[0]
