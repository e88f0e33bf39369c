"""What a model is folded into, term by term, at full resolution and in coarse bins."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from icflow.config import AtomicData
from icflow.engines.base import BACKGROUND
from icflow.engines.embedded import terms as of
from icflow.engines.embedded.deviations import NOTHING_WRONG, Deviations
from icflow.engines.embedded.direct import Direct, DirectTerm
from icflow.engines.embedded.folded import PlasmaTable, curve_table, fill_exact, plasma_table
from icflow.engines.embedded.folding import Folding, Selection
from icflow.engines.embedded.lines import Reach, Split, reach_of, split
from icflow.engines.embedded.parameters import Model
from icflow.engines.embedded.shapes import (
    BACKGROUND as BACKGROUND_ROW,
)
from icflow.engines.embedded.shapes import (
    CURVE,
    FIRST,
    KIND,
    NORM,
    PLASMA,
    ROW,
    TABLE,
    TANGENT,
    Shapes,
    amounts_of,
    model_counts,
    sums_of,
)
from icflow.models.expression import Term
from icflow.statistic import Data
from icflow.typing import Floats, Integers


class Plasma(NamedTuple):
    """The tables of one plasma, one for each module.

    Attributes
    ----------
    modules : tuple of PlasmaTable
    redshift : int
        The parameter that is its redshift.
    merged : callable
        Gives the tables of runs of channels, by the first ones of each module.
    """

    modules: tuple[PlasmaTable, ...]
    redshift: int
    merged: Callable[[Sequence[Integers]], tuple[PlasmaTable, ...]]


class Part(NamedTuple):
    """What one plasma table holds of a model.

    Attributes
    ----------
    table : PlasmaTable
    amounts : ndarray, shape (n_temperatures, 2)
        Norm times exposure and factor of (A, B) at every temperature.
    first : int
        The first channel of its module.
    """

    table: PlasmaTable
    amounts: Floats
    first: int


@dataclass(frozen=True)
class Tables:
    """What a model is folded into, in counts per channel, or run of channels, for norm 1.

    Attributes
    ----------
    terms : ndarray of int, shape (n_terms, 6)
        As `Shapes.terms`; the background components last.
    rows, curves, modules : ndarray
        As in `Shapes`.
    plasma : list of Plasma
        The tables that PLASMA terms point to.
    direct : Direct
        The terms that no table holds; their rows are empty.
    exposures : ndarray, shape (n_modules,)
        Seconds: plasma tables hold rates, everything else counts.
    offsets : ndarray of int, shape (n_modules,)
        The first channel, or run, of each module.
    coarse : ndarray of int, shape (n_coarse,)
        First channel of each coarse bin.
    runs : ndarray of int, shape (n_runs,)
        First channel of each run of channels that stands as one; here, every channel.
    beside : int
        Channels behind those of the modules, each a run; see `Selection`.
    """

    terms: Integers
    rows: Floats
    curves: Floats
    modules: Integers
    plasma: list[Plasma]
    direct: Direct
    exposures: Floats
    offsets: Integers
    coarse: Integers
    runs: Integers
    beside: int

    @property
    def redshift_of(self) -> list[int]:
        """Parameter that is the redshift of each plasma."""
        return [plasma.redshift for plasma in self.plasma]

    @property
    def temperatures(self) -> Floats:
        """Nodes of the plasma tables, keV."""
        return self.plasma[0].modules[0].temperatures if self.plasma else np.array([0.0, 1.0])

    def exact(self, theta: Floats, chosen: Integers | None = None) -> Shapes:
        """Return the shapes at the redshifts in `theta`, every line in its own bin.

        What no table holds is empty before `touch`.

        Parameters
        ----------
        chosen : ndarray of int, optional
            Temperature nodes to fill; the others stay empty.
        """
        nodes = np.arange(len(self.temperatures)) if chosen is None else chosen
        plasma = np.zeros((1, len(self.plasma), len(self.temperatures), 2, self.rows.shape[1]))
        for k, (tables, position, _) in enumerate(self.plasma):
            for table, first, exposure in zip(tables, self.offsets, self.exposures, strict=True):
                own = plasma[0, k, ..., first : first + table.smooth.shape[-1]]
                fill_exact(table, theta[position], nodes, exposure, own)
        return self._shapes(self.rows, plasma, np.zeros(2), self.modules)

    def smooth(self) -> Shapes:
        """Return the shapes that are smooth in redshift, in coarse bins."""
        grid = self.plasma[0].modules[0].search_grid if self.plasma else np.zeros(2)
        coarse = self.in_coarse_bins
        return coarse._shapes(coarse.rows, self._searching, grid, coarse.modules)

    @cached_property
    def in_coarse_bins(self) -> Tables:
        """The same in coarse bins."""
        return self.merged(self.coarse)

    def blurred(self, shapes: Shapes, runs: Integers) -> Shapes:
        """Return exact shapes in coarse bins, given in runs of channels by the first of each."""
        coarse = self.in_coarse_bins
        plasma = sums_of(shapes.plasma, np.searchsorted(runs, self.coarse))
        return coarse._shapes(coarse.rows, plasma, np.zeros(2), coarse.modules)

    @cached_property
    def in_line_bins(self) -> Tables:
        """The same in single channels where lines stand out, and in coarse bins elsewhere.

        What differs between models that differ in where lines stand is as good as whole there.
        """
        ends = np.zeros(len(self.offsets), dtype=np.int64)
        for modules, *_ in self.plasma:
            ends = np.maximum(ends, [table.lines_end for table in modules])
        single = np.concatenate(
            [first + np.arange(end) for first, end in zip(self.offsets, ends, strict=True)]
        )
        return self.merged(np.union1d(self.coarse, single))

    def merged(self, runs: Integers) -> Tables:
        """Return the tables of runs of channels, by the first channel of each: sums over these."""
        ends = np.append(self.offsets, self.rows.shape[1] - self.beside)
        own = [
            runs[(first <= runs) & (runs < last)] - first for first, last in pairwise(ends.tolist())
        ]
        plasma = [tables._replace(modules=tables.merged(own)) for tables in self.plasma]
        modules = self.modules.copy()
        modules[:, 0] = np.searchsorted(runs, modules[:, 0])
        return replace(
            self,
            rows=_sums(self.rows, runs),
            modules=modules,
            plasma=plasma,
            offsets=np.searchsorted(runs, self.offsets),
            runs=runs,
        )

    def touch(self, shapes: Shapes, theta: Floats, tangents: bool = True) -> Shapes:
        """Return shapes, exact or coarse, with what no table holds evaluated at `theta`."""
        if not self.direct.terms:
            return shapes
        rows = shapes.rows.copy()
        runs = self.coarse if rows.shape[1] == len(self.coarse) else self.runs
        for row, values in self.direct.rows(theta, tangents).items():
            rows[row] = _sums(values, runs)
        return shapes._replace(rows=rows, touching=theta.copy())

    def data(self, channels: Data, starts: Integers | None = None) -> Data:
        """Return the counts of channels in bins, which are runs.

        Parameters
        ----------
        starts : ndarray of int, optional
            First channels of the bins that spectra are fitted in: bins are whole ones of these,
            too, where single channels would tell more.
        """
        first = self.runs
        if starts is not None:
            begins = np.zeros(len(channels.counts), dtype=np.bool_)
            begins[starts] = begins[first[self.offsets]] = True
            first = first[begins[first]]
        place, width = np.searchsorted(self.runs, first), np.append(first, len(channels.counts))
        stops = np.append(place[1:], len(self.runs))
        bins = Data(_sums(channels.counts, first), place, stops)
        if not len(channels.behind):
            return bins
        ratio = _sums(channels.ratio, first) / np.diff(width)
        return bins._replace(behind=_sums(channels.behind, first), ratio=ratio)

    def cells(self, theta: Floats) -> tuple[int, ...]:
        """Return the lower node of the cell of every temperature, as they come in `heat`."""
        nodes, last = self._nodes, len(self._nodes) - 2
        return tuple(
            min(max(bisect_right(nodes, t) - 1, 0), last) for t in theta[self.heat].tolist()
        )

    def neighbourhood(
        self, cells: Sequence[int]
    ) -> tuple[Integers, dict[int, tuple[float, float]]]:
        """Return the nodes of every temperature's cell and the two beside it.

        Returns
        -------
        nodes : ndarray of int
        limits : dict
            By position of the temperature, the range that they span, keV.
        """
        nodes, wanted, limits = self._nodes, set[int](), {}
        for position, cell in zip(self.heat.tolist(), cells, strict=True):
            low, high = max(cell - 1, 0), min(cell + 2, len(nodes) - 1)
            wanted.update(range(low, high + 1))
            limits[position] = nodes[low], nodes[high]
        return np.array(sorted(wanted), dtype=np.int64), limits

    @cached_property
    def _nodes(self) -> list[float]:
        """The nodes as plain numbers, for which Python is faster than numpy."""
        return list(map(float, self.temperatures))

    @cached_property
    def heat(self) -> Integers:
        """The parameters that are temperatures of plasmas."""
        return np.unique(self.terms[self.terms[:, KIND] == PLASMA, FIRST])

    def mixture(self, shapes: Shapes, theta: Floats, position: int) -> tuple[Floats, list[Part]]:
        """Split the model counts into a part without, and tables with, one redshift.

        Returns
        -------
        base : ndarray, shape (n_channels,)
        parts : list of Part
        """
        without, parts = theta.copy(), []
        factor = [theta[p] if p >= 0 else 1.0 for p in self.modules[:, 1].tolist()] or [1.0]
        for k, modules, norms in self._holders[position]:
            without[norms] = 0.0
            amounts = amounts_of(shapes, theta, k)
            for m, table in enumerate(modules):
                scaled = amounts * (self.exposures[m] * factor[m])
                parts.append(Part(table, scaled, int(self.offsets[m])))
        return model_counts(shapes, without), parts

    @cached_property
    def _holders(self) -> dict[int, list[tuple[int, tuple[PlasmaTable, ...], Integers]]]:
        """The tables with each redshift: numbers, those of the modules, norms of the plasmas."""
        plasma = self.terms[self.terms[:, KIND] == PLASMA]
        holders: dict[int, list[tuple[int, tuple[PlasmaTable, ...], Integers]]] = {}
        for k, (modules, redshift, _) in enumerate(self.plasma):
            norms = plasma[plasma[:, TABLE] == k, NORM]
            holders.setdefault(redshift, []).append((k, modules, norms))
        return holders

    @cached_property
    def reach(self) -> dict[int, Reach]:
        """What lines reach, by the position of their redshift."""
        return {
            redshift: reach_of([modules for _, modules, _ in holders], self.offsets)
            for redshift, holders in self._holders.items()
        }

    def _shapes(self, rows: Floats, plasma: Floats, grid: Floats, modules: Integers) -> Shapes:
        touching = np.zeros(0)
        return Shapes(
            self.terms, rows, self.curves, plasma, self.temperatures, grid, modules, touching
        )

    @cached_property
    def _searching(self) -> Floats:
        """Counts that are smooth in redshift, in coarse bins, as `Shapes.plasma`."""
        if not self.plasma:
            return np.empty((1, 0, 2, 2, len(self.coarse)))
        parts = []
        for m, (first, exposure) in enumerate(zip(self.offsets, self.exposures, strict=True)):
            tables = np.stack([plasma.modules[m].searching for plasma in self.plasma], axis=1)
            last = first + tables.shape[-1]
            bins = self.coarse[(self.coarse >= first) & (self.coarse < last)] - first
            parts.append(np.add.reduceat(tables, bins, axis=-1, dtype=np.float64) * exposure)
        parts.append(np.zeros((*parts[0].shape[:-1], self.beside)))
        return np.concatenate(parts, axis=-1)


@dataclass(frozen=True)
class View:
    """A spectrum at some resolution: tables, and the counts in their bins."""

    tables: Tables
    data: Data

    @cached_property
    def split(self) -> dict[int, Split]:
        """Its bins, those that lines reach apart, by the position of their redshift."""
        n_channels = self.tables.rows.shape[1]
        return {
            position: split(self.data, reach.near, n_channels)
            for position, reach in self.tables.reach.items()
        }


def _sums(values: Floats, runs: Integers) -> Floats:
    """Sum channels, the last axis of `values`, over runs."""
    if len(runs) == values.shape[-1]:
        return values
    return np.asarray(np.add.reduceat(values, runs, axis=-1))


# --- making them -------------------------------------------------------------------------


def build_tables(
    model: Model,
    foldings: Sequence[Folding],
    selection: Selection,
    atomic_data: AtomicData,
    deviations: Deviations = NOTHING_WRONG,
) -> Tables:
    """Fold every term of a model for the selected channels.

    A term gets the fastest table that holds all that varies in it; none that
    does, and it is left to direct evaluation.
    """
    builder = _Builder(model, foldings, selection, atomic_data, deviations)
    for term in model.expression.terms:
        builder.add(term)
    return builder.tables()


@dataclass
class _Builder:
    """Tables in the making: terms, and what they point to."""

    model: Model
    foldings: Sequence[Folding]
    selection: Selection
    atomic_data: AtomicData
    deviations: Deviations
    terms: list[list[int]] = field(default_factory=list)
    rows: list[Floats] = field(default_factory=list)
    curves: list[list[float]] = field(default_factory=list)
    nodes: list[Floats] = field(default_factory=list)
    plasma: dict[tuple[object, ...], Plasma] = field(default_factory=dict)
    direct: list[DirectTerm] = field(default_factory=list)

    def add(self, term: Term) -> None:
        """Add a term of the source, with its table."""
        settings = self.model.settings
        free = of.varying(term, settings)
        if of.is_plasma(term, settings):
            self._add_plasma(term)
        elif not free:
            self._add_row(ROW, of.norm_of(term), self._fold(term, of.fixed_values(term, settings)))
        elif len(free) > 1 or not self._add_curve(term, free[0]):
            self._add_direct(term, free)

    def tables(self) -> Tables:
        """Add the backgrounds, and what is wrong, and return the whole."""
        for folding, part, first in zip(
            self.foldings, self.selection.slices, self.selection.offsets, strict=True
        ):
            for name, counts in folding.backgrounds.items():
                row = np.zeros(len(self.selection.channels))
                row[first : first + part.stop - part.start] = counts[part]
                self._add_row(BACKGROUND_ROW, BACKGROUND + name, row)
        for name, counts in self.deviations.rows():
            self._add_row(BACKGROUND_ROW, name, counts[self.selection.channels])
        for curve in self.curves:
            curve[0] += len(self.rows)
        rows = np.reshape(self.rows, (-1, len(self.selection.channels)))
        return Tables(
            terms=np.array(self.terms, dtype=np.int64).reshape(-1, 6),
            rows=np.concatenate([rows, *self.nodes]),
            curves=np.array(self.curves, dtype=np.float64).reshape(-1, 4),
            modules=self._modules(),
            plasma=list(self.plasma.values()),
            direct=Direct(self.model, tuple(self.direct), self._fold),
            exposures=np.array([folding.exposure for folding in self.foldings]),
            offsets=self.selection.offsets,
            coarse=self.selection.coarse_bins(),
            runs=np.arange(len(self.selection.channels)),
            beside=self.selection.beside,
        )

    def _modules(self) -> Integers:
        if len(self.foldings) == 1:
            return np.empty((0, 2), dtype=np.int64)
        factors = [self.model.position.get(folding.factor, -1) for folding in self.foldings]
        return np.column_stack([self.selection.stops, factors]).astype(np.int64)

    def _fold(self, term: Term, values: Mapping[str, float]) -> Floats:
        """Return the expected counts in the selected channels of a term with norm 1."""
        return np.concatenate(
            [
                folding.fold(term, values, part)
                for folding, part in zip(self.foldings, self.selection.slices, strict=True)
            ]
            + [np.zeros(self.selection.beside)]
        )

    def _point(self, kind: int, table: int, *names: str) -> None:
        """Add a term that points to a table and to its parameters."""
        positions = [self.model.position[name] for name in names]
        self.terms.append([kind, table, *positions, *[0] * (4 - len(positions))])

    def _add_row(self, kind: int, norm: str, row: Floats) -> None:
        self._point(kind, len(self.rows), norm)
        self.rows.append(row)

    def _add_plasma(self, term: Term) -> None:
        model, settings = self.model, self.model.settings
        kT, abundance, redshift = of.plasma_parameters(term)
        key = (tuple(c.name for c in term.factors), model.position[redshift])
        if key not in self.plasma:
            ranges = (
                of.all_temperatures(model.expression.terms, settings),
                of.bounds(redshift, settings),
            )
            values = of.fixed_values(term, settings)

            def tables(runs: Sequence[Integers | None]) -> tuple[PlasmaTable, ...]:
                return tuple(
                    plasma_table(
                        term, values, folding.response, self.atomic_data, *ranges, part, own
                    )
                    for folding, part, own in zip(
                        self.foldings, self.selection.slices, runs, strict=True
                    )
                )

            whole = tables([None] * len(self.foldings))
            self.plasma[key] = Plasma(whole, model.position[redshift], tables)
        table = list(self.plasma).index(key)
        self._point(PLASMA, table, of.norm_of(term), kT, abundance, redshift)

    def _add_curve(self, term: Term, name: str) -> bool:
        """Tabulate a term along its only varying shape parameter; False if it is not smooth."""
        settings = self.model.settings
        table = curve_table(
            term,
            of.fixed_values(term, settings),
            (name, *of.bounds(name, settings)),
            [folding.response for folding in self.foldings],
            self.atomic_data,
        )
        if table is None:
            return False
        widths = [folding.n_channels for folding in self.foldings]
        exposure = np.repeat([folding.exposure for folding in self.foldings], widths)
        every = np.pad(table.nodes * exposure, ((0, 0), (0, self.selection.beside)))
        samples = every[:, self.selection.channels]
        self._point(CURVE, len(self.curves), of.norm_of(term), name)
        first = float(sum(map(len, self.nodes)))
        self.curves.append([first, float(len(samples)), table.first, table.step])
        self.nodes.append(samples)
        return True

    def _add_direct(self, term: Term, names: Sequence[str]) -> None:
        norm, empty = of.norm_of(term), np.zeros(len(self.selection.channels))
        row, tangents = len(self.rows), {}
        self._add_row(ROW, norm, empty)
        for position in dict.fromkeys(self.model.position[name] for name in names):
            if position in self.model.free:
                tangents[position] = len(self.rows)
                self._point(TANGENT, len(self.rows), norm, self.model.names[position])
                self.rows.append(empty)
        self.direct.append(DirectTerm(term, row, tangents))
