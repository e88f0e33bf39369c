"""Spectra of a scenario in coarse bins, drawn by the million.

A detector that learns from simulations is as good as they are many. It needs no channels: in bins
half as wide as the resolution nothing is lost that tells smooth models apart, and there are far
fewer. All that varies is in tables of these bins; redshifts are drawn among so many that lines
move by less than can be seen from one to the next, each with its lines in their model bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from icflow.compiled import jit, put
from icflow.config import Scenario
from icflow.engines.embedded.calibration import calibration_of, farthest
from icflow.engines.embedded.correction import moved
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.engines.embedded.folding import Folding, Selection
from icflow.engines.embedded.parameters import as_model, build_model
from icflow.engines.embedded.shapes import (
    BACKGROUND,
    KIND,
    NORM,
    Shapes,
    expected,
    find_cells,
)
from icflow.engines.embedded.tables import Tables, build_tables
from icflow.engines.embedded.terms import bounds_of
from icflow.errors import IcflowError
from icflow.models.priors import Prior
from icflow.models.systematics import background_deviates, possible, remeasured
from icflow.typing import Floats, Integers

# Redshifts that spectra are drawn at: 1.5e-4 apart for the prior of Lin et al. (2024), which moves
# iron's lines by a fiftieth of a channel of NuSTAR.
REDSHIFTS = 600


class Drawn(NamedTuple):
    """Spectra of a scenario.

    Attributes
    ----------
    counts : ndarray of int, shape (n_spectra, n_bins)
    known : ndarray, shape (n_spectra, n_known)
        The parameters that are known, as they were measured.
    """

    counts: Integers
    known: Floats


class _Seen(NamedTuple):
    """What turns parameters and what is wrong into expected counts of bins.

    It is tabulated in cells: channels where an energy scale is wrong, elsewhere the bins.

    Attributes
    ----------
    optics, rest : Shapes
        What the area holds for, source and focused background, and the other background.
    area : ndarray, shape (n_cells, n_nodes)
        Logarithm of the factor of the area for a standard deviate of each node.
    edges : ndarray, shape (n_cells + n_modules,)
        Energies of the edges of the cells, keV, of one module after another; empty where all
        energy scales are right.
    modules : ndarray of int, shape (n_modules + 1,)
        The first cell of each module, and the end of the last; empty like `edges`.
    starts, stops : ndarray of int, shape (n_bins,)
        First cell of each bin, and one after its last.
    """

    optics: Shapes
    rest: Shapes
    area: Floats
    edges: Floats
    modules: Integers
    starts: Integers
    stops: Integers


class Population:
    """A scenario, of which spectra are drawn in bins.

    Parameters
    ----------
    engine : EmbeddedEngine
        What is wrong with its modules is drawn too.
    scenario : Scenario
    energies : sequence of float
        Lowest and highest energy of the bins, keV.
    known : sequence of str
        Parameters that are known of each spectrum.

    Attributes
    ----------
    engine : EmbeddedEngine
    model : Model
    selection : Selection
        The channels of its bins.
    priors : dict of int to Prior
        Of the parameters that vary, by position.
    scatters : dict of int to float
        Relative scatter of the background norms that have one, by position.
    backgrounds : int
        How many standard deviates say how wrong these are.
    redshift : int or None
        The parameter that is the redshift.

    Raises
    ------
    IcflowError
        If the scenario has a term that no table holds, or several redshifts.
    """

    def __init__(
        self,
        engine: EmbeddedEngine,
        scenario: Scenario,
        energies: Sequence[float],
        known: Sequence[str],
    ) -> None:
        self.engine, self._foldings = engine, engine.foldings
        factors = {name: bounds_of(setting) for name, setting in engine.factors.items()}
        backgrounds = dict.fromkeys(engine.scatters, (1.0, 1.0))
        self.model = build_model(as_model(scenario), factors, backgrounds, [])
        position = self.model.position
        priors = {
            position[name]: prior
            for name, prior in {**scenario.parameters, **engine.factors}.items()
            if isinstance(prior, Prior)
        }
        # In the order of the model: draws and columns do not depend on that of the configuration.
        self.priors = dict(sorted(priors.items()))
        self.scatters = {position[n]: s for n, s in engine.scatters.items() if s > 0}
        self._spreads = {p: np.sqrt(np.log1p(s**2)) for p, s in self.scatters.items()}
        deviates, common = background_deviates(engine.scatters, engine.common), engine.common
        self.backgrounds = len(deviates)
        # Which of them the norms have.
        self._deviates = {
            position[n]: deviates.index(common.get(n, n))
            for n, s in engine.scatters.items()
            if s > 0
        }
        self._known = [position[name] for name in known]
        errors = {n: e for f in engine.foldings for n, e in f.systematics.known.items()}
        self._errors = np.array([errors.get(name, 0.0) for name in known])
        # What they can be measured to be.
        limits = [possible(name, scenario.parameters) for name in known]
        self._limits = np.array(limits).reshape(-1, 2)
        gains = [folding.systematics.gain for folding in self._foldings]
        # Of slope and offset (keV) of each module.
        self._scales = np.array([(g.slope, g.offset / 1000) if g else (0.0, 0.0) for g in gains])
        self._areas = max(len(folding.systematics.area or ()) for folding in self._foldings)
        self.selection = engine.selection(energies)
        self._tables = tables = self.folded(self.selection)
        if tables.direct.terms:
            raise IcflowError(
                f"{scenario.expression!r} has a term that no table holds, of which spectra cannot "
                "be drawn by the million; fix all but one of the shape parameters of such terms"
            )
        if len(set(tables.redshift_of)) > 1:
            raise IcflowError(
                f"{scenario.expression!r} has several redshifts, of which spectra cannot be drawn "
                "by the million; link them"
            )
        self.redshift = tables.redshift_of[0] if tables.redshift_of else None
        self._nodes = self._redshifts()

    @property
    def n_bins(self) -> int:
        """How many bins its spectra have."""
        return len(bins_of(self.selection)[0])

    @property
    def wrong(self) -> int:
        """How many standard deviates say what is wrong with area, energy scales, backgrounds."""
        return self._areas + int(np.count_nonzero(self._scales)) + self.backgrounds

    @property
    def exact(self) -> dict[int, int]:
        """Parameters that are known exactly, by position: which of those known."""
        return {
            position: column
            for column, position in enumerate(self._known)
            if self._errors[column] == 0
        }

    def shapes(self) -> tuple[Shapes, Floats]:
        """Return the shapes of its bins, nothing wrong in them, and the redshifts they are for.

        Where the redshift is known exactly, or the same of all, these are those that spectra are
        drawn at, one after the other. Elsewhere there are none, and the shapes are smooth in it.
        """
        if self.redshift in self.priors and self.redshift not in self.exact:
            return self._tables.smooth(), np.empty(0)
        return self._binned, self._nodes

    def shapes_at(self, redshifts: Floats) -> Shapes:
        """Return the shapes of its bins at some redshifts, as `shapes` at those it draws."""
        selection = self.selection
        starts, last = bins_of(selection)
        first = np.append(selection.offsets, selection.stops[-1])
        cells = np.array([starts, last + 1])
        return self._shapes(self._tables, cells, np.searchsorted(starts, first), redshifts)

    def draw(self, number: int, random: np.random.Generator) -> Drawn:
        """Draw so many spectra, each with parameters, errors and noise of its own."""
        thetas = np.repeat(self.model.start[None], number, axis=0)
        for position, prior in self.priors.items():
            thetas[:, position] = prior.quantile(random.random(number))
        nodes = random.integers(len(self._nodes), size=number)
        if self.redshift is not None:
            thetas[:, self.redshift] = self._nodes[nodes]
        scattered = self.norms(random.standard_normal((self.backgrounds, number)).T)
        for position, values in scattered.items():
            thetas[:, position] = values
        area = random.standard_normal((number, self._seen.area.shape[1]))
        scales = self._scales * random.standard_normal((number, *self._scales.shape))
        counts = random.poisson(expected_counts(self._seen, nodes, thetas, area, scales))
        return Drawn(counts, self._measured(thetas[:, self._known], random))

    def _measured(self, values: Floats, random: np.random.Generator) -> Floats:
        """Return the parameters that are known of spectra as they are measured."""
        told = values + self._errors * random.standard_normal(values.shape)
        low, high = self._limits.T
        spectra, columns = np.nonzero((told < low) | (told > high))
        told[spectra, columns] = remeasured(
            values[spectra, columns],
            self._errors[columns],
            low[columns],
            high[columns],
            random.random(len(spectra)),
        )
        return told

    def norms(self, deviates: Floats) -> dict[int, Floats]:
        """Return the background norms that scatter, by position; `deviates` as of `expected`."""
        columns = deviates[:, deviates.shape[1] - self.backgrounds :].T
        return {
            position: np.exp(spread * columns[self._deviates[position]] - spread**2 / 2)
            for position, spread in self._spreads.items()
        }

    def expected(self, thetas: Floats, deviates: Floats) -> Floats:
        """Return expected counts where something is wrong, at the redshifts that it draws.

        Parameters
        ----------
        thetas : ndarray, shape (n, n_parameters)
        deviates : ndarray, shape (n, `wrong`)
            Standard deviates: of the area at each node, then of energy scales, then of the
            background norms, which take the place of those in `thetas`.

        Returns
        -------
        ndarray, shape (n, n_bins)
        """
        thetas, nodes = thetas.copy(), np.zeros(len(thetas), dtype=np.int64)
        if self.redshift is not None:
            between = (self._nodes[1:] + self._nodes[:-1]) / 2
            nodes = np.searchsorted(between, thetas[:, self.redshift])
        for position, values in self.norms(deviates).items():
            thetas[:, position] = values
        last = deviates.shape[1] - self.backgrounds
        scales = np.zeros((len(thetas), *self._scales.shape))
        scales[:, self._scales != 0] = deviates[:, self._areas : last]
        area = np.ascontiguousarray(deviates[:, : self._areas])
        return expected_counts(self._seen, nodes, thetas, area, scales * self._scales)

    def reached(self, energies: Sequence[float]) -> list[float]:
        """Return the energies whose photons a wrong scale may bring between those given."""
        low, high = energies
        rmfs = [folding.response.rmf for folding in self._foldings]
        most = max(farthest(folding.systematics.gain, high) for folding in self._foldings)
        first, last = (max(r.e_min[0] for r in rmfs), min(r.e_max[-1] for r in rmfs))
        return [max(low - most, float(first)), min(high + most, float(last))]

    def _redshifts(self) -> Floats:
        """Return the redshifts that spectra are drawn at, each as likely as the others."""
        if self.redshift is None:
            return np.zeros(1)
        prior = self.priors.get(self.redshift)
        if prior is None:
            return self.model.start[[self.redshift]]
        return prior.quantile((np.arange(REDSHIFTS) + 0.5) / REDSHIFTS)

    def folded(self, selection: Selection) -> Tables:
        """Return the tables of some channels."""
        engine = self.engine
        return build_tables(self.model, engine.foldings, selection, engine.atomic_data)

    @cached_property
    def _binned(self) -> Shapes:
        """The shapes in bins."""
        return self.shapes_at(self._nodes)

    @cached_property
    def _seen(self) -> _Seen:
        inner = self.selection
        if self._scales.any():
            return self._seen_by_channel(self.engine.selection(self.reached(inner.energies)))
        optics, rest = self._split(self._binned)
        starts, last = bins_of(inner)
        cells = np.array([starts, last + 1])
        area = _sums(self.area(inner).T, cells).T / (cells[1] - cells[0])[:, None]
        bins = np.arange(len(starts))
        return _Seen(optics, rest, area, np.empty(0), np.empty(0, int), bins, bins + 1)

    def _seen_by_channel(self, wide: Selection) -> _Seen:
        inner, channels = self.selection, np.arange(len(wide.channels))
        starts, last = (np.searchsorted(wide.channels, inner.channels[i]) for i in bins_of(inner))
        first = np.append(wide.offsets, wide.stops[-1])
        shapes = self._shapes(
            self.folded(wide), np.array([channels, channels + 1]), first, self._nodes
        )
        optics, rest = self._split(shapes)
        edges = np.concatenate(
            [
                folding.response.channel_edges[part.start : part.stop + 1]
                for folding, part in zip(self._foldings, wide.slices, strict=True)
            ]
        )
        return _Seen(optics, rest, self.area(wide), edges, first, starts, last + 1)

    def _shapes(
        self, tables: Tables, cells: Integers, first: Integers, redshifts: Floats
    ) -> Shapes:
        """Return the shapes at redshifts, in cells."""
        plasma, theta = [], self.model.start.copy()
        for redshift in redshifts:
            if self.redshift is not None:
                theta[self.redshift] = redshift
            exact = tables.exact(theta)
            plasma.append(_sums(exact.plasma, cells))
        modules = exact.modules.copy()
        if len(modules):
            modules[:, 0] = first[1:]
        rows = np.ascontiguousarray(_sums(exact.rows, cells))
        every = np.ascontiguousarray(np.concatenate(plasma))
        return exact._replace(rows=rows, plasma=every, modules=modules)

    def _split(self, shapes: Shapes) -> tuple[Shapes, Shapes]:
        """Split the shapes into what comes through the optics, and the rest."""
        focused = {
            self.model.position[f"background.{name}"]
            for folding in self._foldings
            for name in folding.focused
        }
        terms = shapes.terms
        through = (terms[:, KIND] != BACKGROUND) | np.isin(terms[:, NORM], list(focused))
        return shapes._replace(terms=terms[through]), shapes._replace(terms=terms[~through])

    def area(self, wide: Selection) -> Floats:
        """Return the logarithm of the factor of the area for a deviate of each node."""
        parts = [
            _deviations(folding)[part]
            for folding, part in zip(self._foldings, wide.slices, strict=True)
        ]
        most = max(part.shape[1] for part in parts)
        return np.concatenate([np.pad(p, ((0, 0), (0, most - p.shape[1]))) for p in parts])


def bins_of(selection: Selection) -> tuple[Integers, Integers]:
    """Return the first and the last selected channel of each coarse bin."""
    starts = selection.coarse_bins()
    ends = np.append(starts[1:], len(selection.channels)) - 1
    return starts, ends


def _deviations(folding: Folding) -> Floats:
    """Return what a standard deviate of each node adds to the logarithm of the area."""
    area = folding.systematics.area or []
    calibration = calibration_of(folding)
    if not area:
        return np.zeros((folding.n_channels, 0))
    return np.asarray(calibration.basis * [scatter for _, scatter in area])


def _sums(values: Floats, cells: Integers) -> Floats:
    """Sum the last axis over cells, (2, n_cells): first and end of each."""
    total = np.cumsum(values, axis=-1)
    total = np.concatenate([np.zeros((*values.shape[:-1], 1)), total], axis=-1)
    return np.asarray(total[..., cells[1]] - total[..., cells[0]])


@jit
def expected_counts(
    seen: _Seen, nodes: Integers, thetas: Floats, area: Floats, scales: Floats
) -> Floats:
    """Return the expected counts of many spectra, shape (n_spectra, n_bins).

    Parameters
    ----------
    nodes : ndarray of int, shape (n_spectra,)
        The redshift of each.
    thetas : ndarray, shape (n_spectra, n_parameters)
    area : ndarray, shape (n_spectra, n_nodes)
        Standard deviates.
    scales : ndarray, shape (n_spectra, n_modules, 2)
        Slope and offset (keV) of each module's energy scale.
    """
    n_cells = seen.optics.rows.shape[1]
    slot, none = np.full(thetas.shape[1], -1, dtype=np.int64), np.empty((0, n_cells))
    scratch, optics, rest = np.empty((6, n_cells)), np.empty(n_cells), np.empty(n_cells)
    result = np.zeros((len(thetas), len(seen.starts)))
    for i in range(len(thetas)):
        here = at_redshift(seen.optics, nodes[i])
        expected(here, thetas[i], find_cells(here, thetas[i]), slot, scratch, optics, none)
        expected(seen.rest, thetas[i], find_cells(here, thetas[i]), slot, scratch, rest, none)
        for c in range(n_cells):
            if seen.area.shape[1] > 0:
                wrong = 0.0
                for k in range(seen.area.shape[1]):
                    wrong += seen.area[c, k] * area[i, k]
                optics[c] *= np.exp(wrong)
            optics[c] += rest[c]
        if len(seen.edges) > 0:
            _move(seen, scales[i], optics)
        for b in range(len(seen.starts)):
            for c in range(seen.starts[b], seen.stops[b]):
                # Matrices with slightly negative elements may lead to less than nothing.
                result[i, b] += max(optics[c], 0.0)
    return result


@jit
def at_redshift(shapes: Shapes, node: int, number: int = 1) -> Shapes:
    """Return the shapes at one of the redshifts that they are for, or at several."""
    return Shapes(
        shapes.terms,
        shapes.rows,
        shapes.curves,
        shapes.plasma[node : node + number],
        shapes.temperatures,
        shapes.redshifts,
        shapes.modules,
        shapes.touching,
    )


@jit
def _move(seen: _Seen, scales: Floats, counts: Floats) -> None:
    """Move counts of channels to where the energy scales of their modules record them."""
    for m in range(len(seen.modules) - 1):
        first, stop = seen.modules[m], seen.modules[m + 1]
        edges = seen.edges[first + m : stop + m + 1]
        slope, offset = scales[m]
        right = (edges - offset) / (1 + slope)
        places = np.interp(right, edges, np.arange(len(edges)).astype(np.float64))
        put(counts[first:stop], np.maximum(moved(counts[first:stop].copy(), places), 0.0))
