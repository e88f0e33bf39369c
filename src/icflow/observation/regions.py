"""Source-free regions: the norms of background components, found in all of them at once.

Shapes are frozen, so the expected counts are linear in the norms, and C has a single minimum with
all norms at least 0. A norm of a region is that of the module times the share of the component that
the region sees (`icflow.observation.shares`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from icflow.engines.embedded.algebra import inverse
from icflow.engines.embedded.descent import Minimum, descents
from icflow.engines.embedded.folding import Response, fold_background
from icflow.engines.embedded.profile import end_of_interval
from icflow.engines.embedded.shapes import (
    KIND,
    NORM,
    ROW,
    TABLE,
    Box,
    Shapes,
    information,
    model_counts,
)
from icflow.errors import IcflowError
from icflow.models.background import BackgroundComponent
from icflow.ogip.bins import used_channels
from icflow.ogip.noticed import noticed_channels
from icflow.ogip.spectrum import Spectrum
from icflow.statistic import Data
from icflow.statistic import channels as every_channel
from icflow.typing import Booleans, Floats

# Ranges are 90 % errors: sigmas, and the rise of C for one parameter.
SIGMAS_90, RISE_90 = 1.6449, 2.7055
MOST_ITERATIONS = 1000
# Sigmas by which the scatter of the counts may exceed that of Poisson counts.
BAD_FIT = 5.0


@dataclass(frozen=True)
class Part:
    """What has a norm of its own: a background component of a module, or one model of it."""

    module: str
    component: BackgroundComponent


@dataclass(frozen=True)
class Region:
    """A source-free spectrum.

    Attributes
    ----------
    module : str
        Keyword INSTRUME.
    shares : dict of str to float
        Of each background component of the module.
    """

    spectrum: Spectrum
    module: str
    response: Response
    shares: dict[str, float]

    def noticed(self, energies: Sequence[float]) -> Booleans:
        """Tell which channels are fitted: between two energies (keV), and of good quality."""
        rmf = self.response.rmf
        chosen = noticed_channels(rmf.e_min, rmf.e_max, *energies)
        return chosen & used_channels(self.spectrum, regroup=True)

    def seen(self, parts: Sequence[Part], energies: Sequence[float]) -> tuple[Floats, Floats]:
        """Return counts and expected counts of each part in the channels that are fitted.

        Returns
        -------
        counts : ndarray, shape (n_noticed,)
        rows : ndarray, shape (n_parts, n_noticed)
            0 for parts of other modules.
        """
        noticed, spectrum = self.noticed(energies), self.spectrum
        counts = spectrum.counts[noticed].astype(np.float64)
        if not counts.any():
            raise IcflowError(
                f"{spectrum.path}: has no counts between {energies[0]:g} and {energies[1]:g} keV; "
                "choose other --energies"
            )
        exposure = spectrum.exposure * np.broadcast_to(spectrum.areascal, noticed.shape)[noticed]
        rows = np.zeros((len(parts), counts.size))
        for row, part in zip(rows, parts, strict=True):
            if part.module == self.module:
                rate = fold_background(part.component, self.response)[noticed]
                row[:] = rate * self.shares[part.component.name] * exposure
        return counts, rows


def parts_of(module: str, component: BackgroundComponent, each_model: bool) -> list[Part]:
    """Return the parts of a component whose norms are fitted; those with norm 0 stay 0."""
    norms = [f"{term.additive.name}.norm" for term in component.expression.terms]
    alone = [[name] for name in norms] if each_model else [norms]
    return [
        Part(module, replace(component, values=_keeping(component, norms, chosen)))
        for chosen in alone
        if any(component.values[name] > 0 for name in chosen)
    ]


def _keeping(
    component: BackgroundComponent, norms: Sequence[str], chosen: Sequence[str]
) -> dict[str, float]:
    zero = {name: 0.0 for name in norms if name not in chosen}
    return {**component.values, **zero}


@dataclass(frozen=True)
class FittedNorms:
    """The norms of all parts, as factors of those of the background files.

    Attributes
    ----------
    parts : list of Part
    rows : ndarray, shape (n_parts, n_channels)
        Expected counts of each part in the channels of all regions, one after another.
    data : Data
    slices : list of slice
        Channels of each region.
    minimum : Minimum
    """

    parts: list[Part]
    rows: Floats
    data: Data
    slices: list[slice]
    minimum: Minimum

    @cached_property
    def covariance(self) -> Floats:
        """Of the factors, NaN for what is not determined.

        As if those that ended at 0 could go on: they may be above it, and what they take from
        others then is part of the errors of these.
        """
        box = _box(len(self.parts))
        info, _ = information(_shapes(self.rows), self.data, box, self.minimum.theta)
        return inverse(info, np.ones(len(self.parts), dtype=bool), undetermined=np.nan)

    def goodness(self, region: int) -> tuple[float, float, int]:
        """Return Pearson's chi² of a region, by how many sigma it is too high, and its channels.

        For Poisson counts with expectation m a channel adds 1 on average, with variance 2 + 1/m.
        """
        part = self.slices[region]
        model = model_counts(_shapes(self.rows), self.minimum.theta)[part]
        chi2 = float(np.sum((self.data.counts[part] - model) ** 2 / model))
        return chi2, (chi2 - model.size) / math.sqrt(np.sum(2 + 1 / model)), model.size

    def _own(self, module: str, component: BackgroundComponent) -> list[int]:
        return [
            i
            for i, part in enumerate(self.parts)
            if part.module == module and part.component.name == component.name
        ]

    def counts(self, module: str, component: BackgroundComponent) -> float:
        """Return the expected counts of a component in all regions."""
        own = self._own(module, component)
        return float(self.minimum.theta[own] @ self.rows[own].sum(axis=1))

    def of(self, module: str, component: BackgroundComponent) -> BackgroundComponent:
        """Return a component with the fitted norms for a share of 1, and their range.

        The range is the 90 % error of the counts of the component in all regions. Of a component
        that ended at 0 the norm is half of the 90 % limit, and the range all up to the limit.
        """
        own = self._own(module, component)
        if not own:
            return component
        factors, counts = self.minimum.theta[own], self.rows[own].sum(axis=1)
        total = float(factors @ counts)
        if not total > 0:
            return replace(scaled(component, 0.5 * self._limit(own)), range=1.0)
        error = math.sqrt(counts @ self.covariance[np.ix_(own, own)] @ counts) / total
        values = dict(component.values)
        for i, factor in zip(own, factors, strict=True):
            for term in component.expression.terms:
                norm = f"{term.additive.name}.norm"
                if self.parts[i].component.values[norm] > 0:
                    values[norm] = component.values[norm] * float(factor)
        # What the data do not determine may be anything up to twice the fitted norm.
        reach = SIGMAS_90 * error if math.isfinite(error) else 1.0
        return replace(component, values=values, range=_rounded(reach, 3))

    def _limit(self, own: Sequence[int]) -> float:
        """Return the 90 % limit of a factor that some parts have in common."""
        others = np.array([i for i in range(len(self.parts)) if i not in own], dtype=np.int64)
        shapes, theta = _shapes(self.rows), self.minimum.theta.copy()

        def rise(factor: float) -> float:
            theta[list(own)] = factor
            box = Box(others, np.zeros(others.size), np.full(others.size, np.inf))
            return descents(shapes, self.data, box, [theta], MOST_ITERATIONS)[0].cstat - lowest

        lowest = self.minimum.cstat
        model = model_counts(shapes, theta)
        row = self.rows[list(own)].sum(axis=0)
        first = math.sqrt(RISE_90 / float(np.sum(row**2 / model)))
        return end_of_interval(rise, 0.0, first, math.inf, RISE_90)


def scaled(component: BackgroundComponent, factor: float) -> BackgroundComponent:
    """Return a component with all norms multiplied, to six digits, as XSPEC keeps them."""
    norms = {f"{term.additive.name}.norm" for term in component.expression.terms}
    values = {n: _rounded(v * factor, 6) if n in norms else v for n, v in component.values.items()}
    return replace(component, values=values)


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def fit_norms(
    regions: Sequence[Region],
    components: Mapping[str, Sequence[BackgroundComponent]],
    energies: Sequence[float],
    each_model: bool,
) -> FittedNorms:
    """Fit the norms of background components to source-free spectra.

    Parameters
    ----------
    components : mapping
        By module; each has norms of its own.
    energies : sequence of float
        Lowest and highest energy that is fitted, keV.
    each_model : bool
        Whether each model of a component, such as a line, has a norm of its own.

    Raises
    ------
    IcflowError
        If a response does not suit a component, there are no counts between the energies, or the
        fit does not converge.
    """
    parts = [
        part
        for module, own in components.items()
        for component in own
        for part in parts_of(module, component, each_model)
    ]
    seen = [region.seen(parts, energies) for region in regions]
    counts, rows = (np.concatenate(arrays, axis=-1) for arrays in zip(*seen, strict=True))
    stops = np.cumsum([own.size for own, _ in seen]).tolist()
    slices = [slice(first, stop) for first, stop in zip([0, *stops[:-1]], stops, strict=True)]
    data = every_channel(counts)
    start = np.full(len(parts), counts.sum() / rows.sum())
    minimum = descents(_shapes(rows), data, _box(len(parts)), [start], MOST_ITERATIONS)[0]
    if not minimum.converged:
        raise IcflowError(
            "the fit of the background norms does not converge; fit fewer norms (without "
            "--each-model), or other energies"
        )
    return FittedNorms(parts, rows, data, slices, minimum)


def _shapes(rows: Floats) -> Shapes:
    """Return a model that is a sum of rows, each times a parameter."""
    terms = np.full((len(rows), 6), -1, dtype=np.int64)
    terms[:, KIND] = ROW
    terms[:, TABLE] = terms[:, NORM] = np.arange(len(rows))
    n_channels = rows.shape[1]
    return Shapes(
        terms,
        rows,
        np.empty((0, 4)),
        np.empty((0, 1, 2, 2, n_channels)),
        np.array([1.0, 2.0]),
        np.array([0.0, 1.0]),
    )


def _box(n: int) -> Box:
    return Box(np.arange(n), np.zeros(n), np.full(n, np.inf))
