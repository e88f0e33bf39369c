"""Foldings: what turns photons into the expected counts of one module."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from icflow.cache import Arrays, cached
from icflow.config import Systematics
from icflow.config.fits import Reach
from icflow.engines.base import BACKGROUND, Module
from icflow.engines.embedded.correction import Correction
from icflow.engines.embedded.redistribution import Runs, redistribute, runs_of
from icflow.errors import IcflowError
from icflow.files import canonical_json
from icflow.models import library
from icflow.models.background import AreaNodes, BackgroundComponent, read_background
from icflow.models.expression import Term
from icflow.models.photons import term_photons
from icflow.models.systematics import check_components, scatter_of
from icflow.ogip.grouping import group_counts, grouped_selection
from icflow.ogip.matching import matched
from icflow.ogip.noticed import noticed_channels
from icflow.ogip.response import Arf, Rmf, digest_of, read_arf, read_rmf
from icflow.statistic import Data, channels
from icflow.typing import Counts, Floats, Integers

EVERY = slice(None)  # all channels
# Start of the names of the factors between the first module and the others.
FACTOR = "factor."
# Bins as half-open ranges of channels: first channels, and one after the last.
Groups = tuple[Integers, Integers]
# What makes the bins of a spectrum from the counts in all its channels.
Binning = Callable[[Counts], Groups]


@dataclass(frozen=True)
class Behind:
    """The background spectra of some spectra that share their bins.

    Attributes
    ----------
    counts : ndarray, shape (n_spectra, n_channels)
        In the channels of the sources.
    ratio : ndarray, shape (n_bins,)
        How many times as much background they hold; 0 where there is none.
    """

    counts: Counts
    ratio: Floats


class Response:
    """An RMF with an ARF, able to fold.

    Attributes
    ----------
    energies : ndarray, shape (n_energies + 1,)
        Edges of the model bins, keV. Bins without width, which hold no photons, are left out.
    area : ndarray, shape (n_energies,)
        Effective area, cm²; 1 where there is no ARF.
    grid, wide : ndarray, shape (n_rows + 1,) and (n_rows,)
        Edges of all rows of the RMF, and which of these have a width.
    notes : tuple of str
        What is odd about the files, a sentence each.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, rmf: Rmf, arf: Arf | None) -> None:
        self._files = rmf, arf
        self.grid, self.wide = rmf.energies, rmf.energy_hi > rmf.energy_lo
        area = np.ones(len(self.wide)) if arf is None else arf.area
        self.rmf = rmf if self.wide.all() else rmf.rows(self.wide)
        self.energies = self.rmf.energies
        self.n_channels = len(rmf.channel)
        self.area = area[self.wide]
        self._digest = self.rmf.digest or digest_of(self.rmf.matrix)
        digest = hashlib.sha256(self._digest.encode())
        for part in (self.energies, self.area):
            digest.update(np.ascontiguousarray(part).data)
        self.key = digest.hexdigest()

    def fold(self, photons: Floats, area: Floats | None = None, channels: slice = EVERY) -> Floats:
        """Return counts/s per channel.

        Parameters
        ----------
        photons : ndarray, shape (n_energies,) or (n_models, n_energies)
            Photons/cm²/s per model bin. Several models at once take half of the time each.
        area : ndarray, shape (n_energies,), optional
            Instead of the ARF, cm².
        channels : slice, optional
            Only these, which takes less time.

        Returns
        -------
        ndarray, shape (n_channels,) or (n_models, n_channels)
        """
        low, high, _ = channels.indices(self.n_channels)
        area = self.area if area is None else area
        detected = np.ascontiguousarray(np.atleast_2d(photons * area))
        counts = np.zeros((len(detected), high - low))
        redistribute(self._runs, detected, counts, low)
        return counts if photons.ndim > 1 else counts[0]

    def kept(self, key: Mapping[str, object], make: Callable[[], Arrays]) -> Arrays:
        """Return tables that are folded with it, made and kept on disk the first time.

        Parameters
        ----------
        key : mapping
            With that of the response.
        """
        return cached(key, make)

    @cached_property
    def reach(self) -> Floats:
        """Counts/s per channel for a photon/cm²/s in every model bin: 0 where no model leads."""
        key = {"table": "reach", "response": self.key}
        return self.kept(key, lambda: {"reach": self.fold(np.ones(len(self.energies) - 1))})[
            "reach"
        ]

    @cached_property
    def _runs(self) -> Runs:
        return runs_of(self.rmf, self._digest)

    def scaled(self, areas: Floats) -> Response:
        """Return the response with every channel multiplied by a factor, shape (n_channels,)."""
        rmf, arf = self._files
        full = rmf.matrix
        from scipy.sparse import csr_array

        matrix = csr_array(
            (full.data * areas[full.indices], full.indices, full.indptr), shape=full.shape
        )
        return Response(replace(rmf, matrix=matrix, digest=""), arf)

    def coarse_bins(self, channels: slice) -> Integers:
        """Return the first channels of bins that are half as wide as the resolution.

        Relative to the first of `channels`. What differs between two smooth
        models is as good as whole in such bins, and they are far fewer.
        """
        half = self._half_widths
        starts = [channels.start]
        while (after := starts[-1] + max(1, int(half[starts[-1]]))) < channels.stop:
            starts.append(after)
        return np.array(starts, dtype=np.int64) - int(channels.start)

    @cached_property
    def _half_widths(self) -> Floats:
        """Half the resolution at each channel, in channels, shape (n_channels,)."""
        key = {"table": "half widths", "response": self.key}
        return cached(key, lambda: {"half": self._find_half_widths()})["half"]

    def _find_half_widths(self) -> Floats:
        matrix = self.rmf.matrix
        filled = np.flatnonzero(np.diff(matrix.indptr))
        first, number = matrix.indptr[filled], np.diff(matrix.indptr)[filled]
        peak = np.maximum.reduceat(matrix.data, first)
        high = matrix.data >= 0.5 * np.repeat(peak, number)
        width = np.add.reduceat(high.astype(float), first)
        centre = np.add.reduceat(high * matrix.indices, first) / width
        order = np.argsort(centre, kind="stable")
        return np.interp(np.arange(self.n_channels), centre[order], width[order]) / 2

    @property
    def channel_edges(self) -> Floats:
        """Edges of the channels, shape (n_channels + 1,), keV."""
        return np.append(self.rmf.e_min, self.rmf.e_max[-1])

    @property
    def dense(self) -> Floats:
        """The redistribution matrix in full, shape (n_energies, n_channels)."""
        return np.asarray(self.rmf.matrix.toarray())


class Corrected(Response):
    """A response with what is wrong with its calibration in it.

    Matrix and area are those of the files; what they lead to is corrected.

    Parameters
    ----------
    nominal : Response
        By the files alone.
    correction : Correction
    """

    def __init__(self, nominal: Response, correction: Correction) -> None:
        self.__dict__.update(vars(nominal))
        self.__dict__.pop("reach", None)
        self.nominal, self.correction = nominal, correction
        self.key = f"{nominal.key} {correction.digest}"
        self._kept: dict[str, Arrays] = {}

    def kept(self, key: Mapping[str, object], make: Callable[[], Arrays]) -> Arrays:
        """Return tables, kept for as long as this lives: they are of one observation alone."""
        name = canonical_json(key)
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]

    def fold(self, photons: Floats, area: Floats | None = None, channels: slice = EVERY) -> Floats:
        """Return counts/s per channel, as `Response.fold` does."""
        return self.correction(self.nominal.fold(photons, area))[..., channels]

    @property
    def dense(self) -> Floats:
        """The redistribution matrix in full, shape (n_energies, n_channels)."""
        return self.correction(self.nominal.dense)

    @cached_property
    def _half_widths(self) -> Floats:
        return self.nominal._half_widths


def load_response(
    rmf: str | Path, arf: str | Path | None, energies: Sequence[float] | None = None
) -> Response:
    """Read an RMF and, if there is one, the ARF that belongs to it.

    Parameters
    ----------
    energies : sequence of float, optional
        Lowest and highest energy that matter, keV; by default all do.
    """
    matrix, area = read_rmf(rmf), None if arf is None else read_arf(arf)
    notes = [*matrix.notes]
    if area is not None:
        area, odd = matched(matrix, area, energies)
        notes += [*area.notes, *odd]
    response = Response(matrix, area)
    response.notes = tuple(notes)
    return response


def fold_background(component: BackgroundComponent, response: Response) -> Floats:
    """Return the counts/s per channel of one background component, shape (n_channels,).

    Kept on disk, unless the component names response files of its own.
    """
    if component.files:
        return _fold_background(component, response)
    area = component.area
    key = {
        "table": "background",
        "expression": component.expression.text,
        "values": component.values,
        "redistribution": component.redistribution,
        "area": area.model_dump() if isinstance(area, AreaNodes) else None,
        "response": response.key,
        "library": library.version(),
        "atomic_data": library.configured(),
    }
    return response.kept(key, lambda: {"rates": _fold_background(component, response)})["rates"]


def _fold_background(component: BackgroundComponent, response: Response) -> Floats:
    if isinstance(component.redistribution, Path):
        response = _same_channels(Response(read_rmf(component.redistribution), None), response)
    photons = np.zeros(len(response.energies) - 1)
    for term in component.expression.terms:
        norm = component.values[f"{term.additive.name}.norm"]
        if norm == 0:
            continue
        photons += norm * term_photons(term, component.values, response.energies)
    area = component.effective_area(response.grid)[response.wide]
    if component.redistribution != "identity":
        return response.fold(photons, area)
    if len(photons) != response.n_channels:
        raise IcflowError(
            f"background component {component.name}: an identity response needs as many channels "
            f"({response.n_channels}) as energy bins ({len(photons)})"
        )
    return photons * area


def _same_channels(background: Response, source: Response) -> Response:
    """Return the response of a background component after checking its channels."""
    own, other = background.rmf, source.rmf
    if not np.array_equal(own.channel, other.channel):
        raise IcflowError(
            f"{own.path} has the channels {own.channel[0]} to {own.channel[-1]}, {other.path} "
            f"{other.channel[0]} to {other.channel[-1]}; give the background component a response "
            "with the channels of the spectrum"
        )
    return background


class Folding:
    """What one module makes of a source: response, exposure and backgrounds.

    Parameters
    ----------
    module : Module
        Files and exposure.
    several : bool
        Whether it is one of several: then its name is part of those of its
        background components.
    energies : sequence of float, optional
        As of `load_response`.

    Attributes
    ----------
    factor : str
        Name of the parameter that its counts of the source are multiplied by.
    """

    def __init__(
        self, module: Module, several: bool, energies: Sequence[float] | None = None
    ) -> None:
        self.name, self.exposure, self.systematics = (
            module.name,
            module.exposure,
            module.systematics,
        )
        self.factor = FACTOR + module.name
        self.cross_normalisation = module.cross_normalisation
        self.response = self._unscaled = load_response(module.rmf, module.arf, energies)
        self._areas: Floats | float = 1.0
        self.n_channels = self.response.n_channels
        self._components = read_background(module.background) if module.background else ()
        names = [part.name for part in self._components]
        check_components("systematics.background", self.systematics.background, names)
        self._prefix = f"{module.name}." if several else ""
        self._settled: frozenset[str] = frozenset()

    def background_limits(self, reach: Reach) -> dict[str, tuple[float, float]]:
        """Return the limits of the factor of each background component.

        Parameters
        ----------
        reach : float or dict
            How far each may leave 1 where the background file does not say.

        Returns
        -------
        dict
            1 alone for components that scatter, once what is wrong is in them: their deviates
            say the rest.
        """
        limits = {self._prefix + part.name: part.limits(reach) for part in self._components}
        return limits | dict.fromkeys(self._settled, (1.0, 1.0))

    @cached_property
    def backgrounds(self) -> dict[str, Floats]:
        """Expected counts per channel of each background component."""
        return {
            self._prefix + part.name: fold_background(part, self._unscaled)
            * (self.exposure * self._areas)
            for part in self._components
        }

    @property
    def module(self) -> str:
        """The name that what is recorded of one of several modules holds; empty for a single."""
        return self._prefix.rstrip(".")

    @property
    def scatters(self) -> dict[str, float]:
        """Relative scatter of the norm of each background component."""
        return {
            self._prefix + part.name: scatter_of(self.systematics, part.name)
            for part in self._components
        }

    @property
    def focused(self) -> set[str]:
        """The background components that come through the optics."""
        return {self._prefix + part.name for part in self._components if part.focused}

    def fold(self, term: Term, values: Mapping[str, float], channels: slice = EVERY) -> Floats:
        """Return the expected counts of a term with norm 1 per channel, or in some of them."""
        photons = term_photons(term, values, self.response.energies)
        return self.response.fold(photons, channels=channels) * self.exposure

    def scaled(self, areas: Floats) -> Folding:
        """Return the folding with all that is expected multiplied by AREASCAL.

        Parameters
        ----------
        areas : ndarray, shape (n_channels,)
            0 in channels that are not used.
        """
        if np.all(areas == 1):
            return self
        scaled = copy.copy(self)
        scaled.__dict__.pop("backgrounds", None)
        scaled.response, scaled._areas = self._unscaled.scaled(areas), areas
        return scaled

    def corrected(self, correction: Correction, errors: Mapping[str, float]) -> Folding:
        """Return the folding with what is wrong in its response and its backgrounds.

        Parameters
        ----------
        errors : mapping
            Factors of the backgrounds that scatter, by the names of these factors.
        """
        corrected = copy.copy(self)
        corrected.response = Corrected(self.response, correction)
        corrected.systematics = Systematics()
        corrected._settled = frozenset(n for n, scatter in self.scatters.items() if scatter > 0)
        corrected.backgrounds = {
            name: correction(counts * errors.get(BACKGROUND + name, 1.0), name in self.focused)
            for name, counts in self.backgrounds.items()
        }
        return corrected

    def noticed(self, energies: Sequence[float]) -> slice:
        """Return the channels between two energies, keV."""
        rmf, (low, high) = self.response.rmf, energies
        noticed = np.flatnonzero(noticed_channels(rmf.e_min, rmf.e_max, low, high))
        return slice(int(noticed[0]), int(noticed[-1]) + 1)

    def check_reached(self, channels: slice) -> None:
        """Check that a source leads to counts in some channels.

        Raises
        ------
        IcflowError
            If the response leads none there.
        """
        if not np.any(self.response.reach[channels] > 0):
            raise IcflowError(
                f"{self.response.rmf.path}: no photon leads to a count between the energies of the "
                "fit, by this matrix and its effective area; give the response of the spectrum"
            )


class Selection:
    """The channels between two energies, those of all modules one after another.

    Attributes
    ----------
    slices : list of slice
        In the channels of each module.
    offsets, stops : ndarray of int, shape (n_modules,)
        Where the selected channels of each begin and end.
    channels : ndarray of int, shape (n_selected,)
        Positions among all channels of all modules, and those of `beside`.
    beside : int
        Bins beside the channels of the modules, behind all of these: measurements of what is wrong
        with them.
    """

    def __init__(
        self, foldings: Sequence[Folding], energies: Sequence[float], beside: int = 0
    ) -> None:
        self.foldings, self.energies, self.beside = foldings, energies, beside
        self.slices = [folding.noticed(energies) for folding in foldings]
        for folding, part in zip(foldings, self.slices, strict=True):
            folding.check_reached(part)
        self.stops = np.cumsum([part.stop - part.start for part in self.slices])
        self.offsets = np.append(0, self.stops[:-1])
        first = np.cumsum([0, *(folding.n_channels for folding in foldings)])
        self._first, self._n_channels = first, int(first[-1]) + beside
        chosen = [(s.start + n, s.stop + n) for s, n in zip(self.slices, first, strict=False)]
        self.channels = np.concatenate(
            [np.arange(*part) for part in (*chosen, (first[-1], self._n_channels))]
        )
        self._place = np.full(self._n_channels, -1, dtype=np.int64)
        self._place[self.channels] = np.arange(len(self.channels))

    def data(
        self,
        counts: Counts,
        group_min: int,
        groups: Groups | None,
        behind: Behind | None = None,
        row: int = 0,
    ) -> tuple[Data, Data]:
        """Return a spectrum in bins, and in the selected channels.

        Parameters
        ----------
        counts : ndarray of int, shape (n_channels,)
            All channels of all modules.
        group_min : int
            Least counts in a bin.
        groups : tuple of ndarray of int, optional
            First channels and ends of the bins among all channels, instead.
        behind, row : optional
            Background spectra, in bins that are given, and which of them.

        Raises
        ------
        IcflowError
            If there are no counts, or no bin is left.
        """
        inside = counts[self.channels].astype(np.float64)
        if not np.any(inside[: self.stops[-1]] > 0):
            holder = "spectrum has" if len(self.foldings) == 1 else "spectra have"
            raise IcflowError(f"the {holder} no counts in the energy range of the fit")
        first, last = groups or self._grouped(counts, group_min)
        starts, stops = self._place[first], self._place[last - 1] + 1
        single, bins = channels(inside), Data(group_counts(inside, starts, stops), starts, stops)
        if behind is None:
            return bins, single
        other = behind.counts[row][self.channels].astype(np.float64)
        # A channel outside of the bins, at the edge of a group that was cut, goes with one beside.
        place = np.searchsorted(starts, np.arange(len(other)), side="right") - 1
        each = behind.ratio[np.maximum(place, 0)]
        return (
            bins._replace(behind=group_counts(other, starts, stops), ratio=behind.ratio),
            single._replace(behind=other, ratio=each),
        )

    def _grouped(self, counts: Counts, least: int) -> Groups:
        """Group each module by its own counts."""
        parts = []
        low, high = self.energies
        for folding, first in zip(self.foldings, self._first, strict=False):
            rmf, own = folding.response.rmf, counts[first : first + folding.n_channels]
            try:
                starts, stops = grouped_selection(own, rmf.e_min, rmf.e_max, low, high, least)
            except IcflowError as error:
                of = f"{folding.module}: " if folding.module else ""
                raise IcflowError(f"{of}{error}") from None
            parts.append((starts + first, stops + first))
        starts, stops = (np.concatenate(part) for part in zip(*parts, strict=True))
        return starts, stops

    def coarse_bins(self) -> Integers:
        """Return the first selected channels of bins that are half as wide as the resolution."""
        return np.concatenate(
            [
                folding.response.coarse_bins(part) + offset
                for folding, part, offset in zip(
                    self.foldings, self.slices, self.offsets, strict=True
                )
            ]
            + [self.stops[-1] + np.arange(self.beside)]
        )
