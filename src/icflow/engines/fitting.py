"""Many fits of one model: from a model and its tables to the lowest C.

A fit of one spectrum goes through three steps. `screen` ranks a lattice of
temperatures, abundances and redshifts by the best non-negative norms in a
quadratic approximation of C, which costs microseconds a point. `descend`
(`icflow.engines.cstat`) goes down from the most promising, distinct points.
Where the redshift is free, both work on a table that is smooth in redshift,
and `_polish` ends on the exact one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from icflow.config import FitControl, FitModel, Free, Link
from icflow.engines import cstat, folded
from icflow.engines.base import BACKGROUND, FitResult
from icflow.engines.cstat import Box, Data, Minimum, Shapes
from icflow.engines.folded import PlasmaTable
from icflow.models.expression import Expression, parse
from icflow.models.scenario import Setting, complete

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

ABUNDANCES = (0.15, 0.4, 0.8)  # at which the lattice looks
CURVE_PROBES = 5
SEARCH_EVERY = 4  # of the nodes of the searching table
AGREE = 0.01  # in C: starts that end this close found the same minimum
# Where the redshift is free: how far the staircase is searched, and how densely.
ROUGH_STARTS = 6
RIVAL_ROUGH = 50.0  # smooth minima that are followed are at most this much higher
STAIRS = 0.002
MOST_HOPS = 240
STEPS_TRIED = 8
RIVAL = 5.0  # other minima that may win on the exact tables are at most this much higher
ROUNDS = (3, 2, 1)  # how many of them are followed in each round


@dataclass(frozen=True)
class Model:
    """A model to fit, its parameters in one vector.

    Attributes
    ----------
    names : tuple of str
        Unlinked parameters in XSPEC's order, then the background factors.
    position : dict
        Position in the vector of every parameter, that of its link for a linked one.
    start, lower, upper : ndarray, shape (n_parameters,)
        Values of fixed parameters (NaN where a true value will be put in),
        starts where given, and hard limits of free ones.
    free : tuple of int
        Positions of the free parameters.
    """

    expression: Expression
    names: tuple[str, ...]
    position: dict[str, int]
    start: Floats
    lower: Floats
    upper: Floats
    free: tuple[int, ...]
    settings: dict[str, Setting]

    def values(self, theta: Floats) -> dict[str, float]:
        """Return every parameter by name, linked ones and background factors included."""
        return {name: float(theta[position]) for name, position in self.position.items()}


def build_model(
    model: FitModel, control: FitControl, backgrounds: Sequence[str], at_truth: Sequence[str]
) -> Model:
    """Lay the parameters of a model out in one vector."""
    expression = parse(model.expression)
    settings = complete(expression, model.parameters, "parameters")
    names = [name for name, setting in settings.items() if not isinstance(setting, Link)]
    position = {name: i for i, name in enumerate(names)}
    for name, setting in settings.items():
        if isinstance(setting, Link):
            position[name] = position[setting.link]
    start, lower, upper, free = [], [], [], []
    for i, name in enumerate(names):
        setting = settings[name]
        if isinstance(setting, Free):
            start.append(np.nan if setting.start is None else setting.start)
            lower.append(setting.free[0])
            upper.append(setting.free[1])
            if name not in at_truth:
                free.append(i)
        else:
            assert isinstance(setting, (int, float))
            for values in (start, lower, upper):
                values.append(float(setting))
    for name in backgrounds:
        position[BACKGROUND + name] = len(names)
        if control.background_range > 0:
            free.append(len(names))
        names.append(BACKGROUND + name)
        start.append(1.0)
        lower.append(1.0 - control.background_range)
        upper.append(1.0 + control.background_range)
    factors = [BACKGROUND + name for name in backgrounds]
    ordered = {name: position[name] for name in (*settings, *factors)}
    return Model(
        expression,
        tuple(names),
        ordered,
        np.array(start),
        np.array(lower),
        np.array(upper),
        tuple(free),
        settings,
    )


@dataclass(frozen=True)
class Tables:
    """What a model is folded into, in counts per channel for norm 1.

    Attributes
    ----------
    terms : ndarray of int, shape (n_terms, 6)
        As `Shapes.terms`; the background components last.
    plasma : list of PlasmaTable
        The tables that PLASMA terms point to.
    redshift_of : list of int
        Parameter that is the redshift of each.
    exposure : float
        Seconds: plasma tables hold rates, everything else counts.
    """

    terms: Integers
    rows: Floats
    curves: Floats
    plasma: list[PlasmaTable]
    redshift_of: list[int]
    searching: Floats
    exposure: float
    n_backgrounds: int

    @property
    def temperatures(self) -> Floats:
        """Nodes of the plasma tables, keV."""
        return self.plasma[0].temperatures if self.plasma else np.array([0.0, 1.0])

    def exact(self, theta: Floats) -> Shapes:
        """Return the shapes at the redshifts in `theta`, every line in its own bin."""
        plasma = np.empty((len(self.plasma), 1, len(self.temperatures), 2, self.rows.shape[1]))
        for k, (table, position) in enumerate(zip(self.plasma, self.redshift_of, strict=True)):
            plasma[k, 0] = table.at(theta[position])
        plasma *= self.exposure
        return Shapes(self.terms, self.rows, self.curves, plasma, self.temperatures, np.zeros(2))

    def split(
        self, shapes: Shapes, theta: Floats, position: int
    ) -> tuple[Floats, list[tuple[PlasmaTable, Floats]]]:
        """Split the model counts into a part without, and tables with, one redshift.

        Returns
        -------
        base : ndarray, shape (n_channels,)
        parts : list
            Tables, each with how much of (A, B) at every temperature the
            model holds, shape (n_temperatures, 2).
        """
        model = cstat.model_counts(shapes, theta)
        parts = []
        cells = cstat.find_cells(shapes, theta)
        for k, (table, redshift) in enumerate(zip(self.plasma, self.redshift_of, strict=True)):
            if redshift != position:
                continue
            amounts = np.zeros((len(self.temperatures), 2))
            for term in self.terms:
                if term[cstat.KIND] != cstat.PLASMA or term[cstat.TABLE] != k:
                    continue
                norm, kT, Z = (theta[term[i]] for i in (cstat.NORM, cstat.FIRST, cstat.SECOND))
                cell = cells[term[cstat.FIRST]]
                low, high = self.temperatures[cell : cell + 2]
                share = (kT - low) / (high - low)
                amounts[cell] += norm * (1 - share) * np.array([1.0, Z])
                amounts[cell + 1] += norm * share * np.array([1.0, Z])
            model -= np.tensordot(amounts, shapes.plasma[k, 0], axes=2)
            parts.append((table, amounts * self.exposure))
        return model, parts

    def smooth(self) -> Shapes:
        """Return the shapes that are smooth in redshift."""
        grid = self.plasma[0].search_grid if self.plasma else np.zeros(2)
        return Shapes(self.terms, self.rows, self.curves, self.searching, self.temperatures, grid)


class FitterBase(ABC):
    """What fits by tables and by direct evaluation share: from a minimum to a result."""

    def __init__(self, model: Model, control: FitControl) -> None:
        self.model, self.control = model, control
        self.box = self._box(list(model.free))

    def _box(self, free: list[int]) -> Box:
        positions = np.array(free, dtype=np.int64)
        return Box(positions, self.model.lower[positions], self.model.upper[positions])

    def fit(self, data: Data, channel_counts: Floats, fixed: Mapping[int, float]) -> FitResult:
        """Fit one spectrum.

        Parameters
        ----------
        data : Data
            Binned counts of the noticed channels.
        channel_counts : ndarray, shape (n_channels,)
            The same before binning.
        fixed : mapping of int to float
            True values of parameters that are frozen at them, by position.
        """
        theta = self.model.start.copy()
        for position, value in fixed.items():
            theta[position] = value
        best, minima = self._minima(data, channel_counts, theta)
        lowest = min(minimum.cstat for minimum in minima)
        agreeing = sum(minimum.cstat < lowest + AGREE for minimum in minima)
        return self._result(data, best, len(minima), agreeing)

    @abstractmethod
    def _minima(
        self, data: Data, channel_counts: Floats, theta: Floats
    ) -> tuple[Minimum, list[Minimum]]:
        """Return the lowest minimum, and those that the starts ended in."""

    @abstractmethod
    def _information(self, data: Data, theta: Floats) -> Floats:
        """Return the observed information of the free parameters."""

    def _inside(self, box: Box, theta: Floats) -> NDArray[np.bool_]:
        # Steps end exactly on a bound, or off it.
        values = theta[box.free]
        return np.asarray((values > box.lower) & (values < box.upper))

    def _result(self, data: Data, best: Minimum, starts: int, agreeing: int) -> FitResult:
        model, free = self.model, self.box.free
        info = self._information(data, best.theta)
        inside = self._inside(self.box, best.theta)
        covariance = np.full(info.shape, np.nan)
        usable = np.flatnonzero(inside & (np.diag(info) > 0))
        covariance[np.ix_(usable, usable)] = _inverse(info[np.ix_(usable, usable)])
        sigma = np.zeros(len(model.names))
        with np.errstate(invalid="ignore"):
            sigma[free] = np.sqrt(np.diag(covariance))
        return FitResult(
            cstat=best.cstat,
            dof=len(data.counts) - len(free),
            bins=len(data.counts),
            converged=best.converged,
            starts=starts,
            agreeing=agreeing,
            iterations=best.iterations,
            gradient=best.decrement,
            values=model.values(best.theta),
            errors=model.values(sigma),
            free=tuple(model.names[p] for p in free),
            at_bound=tuple(model.names[p] for p in free[~inside]),
            covariance=covariance,
        )


class Fitter(FitterBase):
    """Fits of one model by its tables, any number of spectra."""

    def __init__(self, model: Model, tables: Tables, control: FitControl) -> None:
        super().__init__(model, control)
        self.tables = tables
        self.lattice = _Lattice(model, tables)
        self.free_redshift = [p for p in dict.fromkeys(tables.redshift_of) if p in model.free]
        self.smooth = tables.smooth() if self.free_redshift else None
        self.box_exact = self._box([p for p in model.free if p not in self.free_redshift])

    def _minima(
        self, data: Data, channel_counts: Floats, theta: Floats
    ) -> tuple[Minimum, list[Minimum]]:
        if self.smooth is None:
            shapes = self.tables.exact(theta)
            starts = self.lattice.starts(shapes, channel_counts, theta, self.control.starts)
            minima = self._descend(shapes, data, self.box, starts)
            return min(minima, key=lambda one: one.cstat), minima
        # First the redshift, on tables that are smooth in it; then everything else, on the exact
        # ones; then the staircase; and again from where that ends, until it gains nothing.
        rough = self._descend(
            self.smooth, data, self.box, self._search_redshift(channel_counts, theta)
        )
        lowest = min(one.cstat for one in rough)
        near = _separate([one for one in rough if one.cstat < lowest + RIVAL_ROUGH])
        ends: list[Minimum] = []
        all_minima: list[Minimum] = []
        for one in near:
            if any(self._same_stairs(one.theta, end.theta) for end in ends):
                continue
            end, found = self._refine(data, channel_counts, one.theta)
            ends.append(end)
            all_minima += found
        return min(ends, key=lambda one: one.cstat), all_minima

    def _same_stairs(self, theta: Floats, other: Floats) -> bool:
        """Tell whether two redshifts lie on staircases that were searched together."""
        return all(abs(theta[p] - other[p]) < STAIRS for p in self.free_redshift)

    def _refine(
        self, data: Data, channel_counts: Floats, theta: Floats
    ) -> tuple[Minimum, list[Minimum]]:
        """Alternate between all starts at one redshift and the staircase around it."""
        best: Minimum | None = None
        minima: list[Minimum] = []
        for rivals in ROUNDS:
            shapes = self.tables.exact(theta)
            starts = self.lattice.starts(shapes, channel_counts, theta, self.control.starts)
            minima = self._descend(shapes, data, self.box_exact, [theta, *starts])
            end = self._polish(data, minima, rivals)
            if best is not None and end.cstat > best.cstat - AGREE:
                return min(best, end, key=lambda one: one.cstat), minima
            best, theta = end, end.theta
        assert best is not None
        return best, minima

    def _information(self, data: Data, theta: Floats) -> Floats:
        # Of the smooth tables where the redshift is free: C has no curvature in z on a stair.
        shapes = self.tables.exact(theta) if self.smooth is None else self.smooth
        return cstat.information(shapes, data, self.box, theta)[0]

    def _descend(
        self, shapes: Shapes, data: Data, box: Box, starts: Sequence[Floats]
    ) -> list[Minimum]:
        limit = self.control.max_iterations
        return [Minimum(*cstat.descend(shapes, data, box, start, limit)) for start in starts]

    def _search_redshift(self, counts: Floats, theta: Floats) -> list[Floats]:
        """Rank the lattice at several redshifts and return the best starts of all."""
        assert self.smooth is not None
        first, step = self.smooth.redshifts
        position = self.free_redshift[0]
        found: list[tuple[float, Floats]] = []
        for node in range(1, self.smooth.plasma.shape[1] - 1, SEARCH_EVERY):
            z = first + step * node
            if not self.model.lower[position] <= z <= self.model.upper[position]:
                continue
            shapes = self.smooth._replace(plasma=self.smooth.plasma[:, node : node + 1])
            here = theta.copy()
            for p in self.free_redshift:
                here[p] = z
            found += self.lattice.ranked(shapes, counts, here, ROUGH_STARTS)
        found.sort(key=lambda pair: pair[0])
        return [start for _, start in found[:ROUGH_STARTS]]

    def _polish(self, data: Data, minima: list[Minimum], most: int) -> Minimum:
        """End on the exact tables.

        As z changes, lines hop from bin to bin, and C between two hops is
        nearly constant: a staircase, of which the smooth tables know only the
        mean. The lowest step is looked for with all other parameters where
        they are, corrected by the Newton step that they would take; the most
        promising steps are then descended to in full.
        """
        lowest = min(minimum.cstat for minimum in minima)
        rivals = _separate([m for m in minima if m.cstat < lowest + RIVAL])[:most]
        ends = [self._down_stairs(data, rival) for rival in rivals]
        return min(ends, key=lambda one: one.cstat)

    def _down_stairs(self, data: Data, minimum: Minimum) -> Minimum:
        """Go to the lowest step of every free redshift in turn."""
        for position in self.free_redshift:
            steps = self._steps(minimum.theta, position)
            estimates = self._estimates(data, minimum.theta, position, steps)
            best = steps[np.argsort(estimates, kind="stable")[:STEPS_TRIED]]
            ends = [self._on_step(data, minimum.theta, position, z) for z in best]
            minimum = min([minimum, *ends], key=lambda one: one.cstat)
        return minimum

    def _on_step(self, data: Data, theta: Floats, position: int, redshift: float) -> Minimum:
        start = theta.copy()
        start[position] = redshift
        return self._descend(self.tables.exact(start), data, self.box_exact, [start])[0]

    def _steps(self, theta: Floats, position: int) -> Floats:
        """Return redshifts around that in `theta`, one between every two hops."""
        low, high = (bounds[position] for bounds in (self.model.lower, self.model.upper))
        low, high = max(low, theta[position] - STAIRS), min(high, theta[position] + STAIRS)
        _, parts = self.tables.split(self.tables.exact(theta), theta, position)
        hops = np.concatenate([folded.hops(t, a, low, high, MOST_HOPS) for t, a in parts])
        edges = np.unique(np.concatenate([[low, high], hops]))
        return np.asarray(0.5 * (edges[1:] + edges[:-1]))

    def _estimates(self, data: Data, theta: Floats, position: int, redshifts: Floats) -> Floats:
        """Return estimates of the lowest C at each redshift."""
        shapes = self.tables.exact(theta)
        info, _ = cstat.information(shapes, data, self.box_exact, theta)
        slopes = cstat.derivatives(shapes, data, self.box_exact, theta)
        moving = self._inside(self.box_exact, theta) & (np.diag(info) > 0)
        inverse = np.zeros_like(info)
        inverse[np.ix_(moving, moving)] = _inverse(info[np.ix_(moving, moving)])
        base, parts = self.tables.split(shapes, theta, position)
        # What lies above the lines changes little within a staircase: linearly.
        ends = []
        for z in (redshifts[0], redshifts[-1]):
            ends.append(base.copy())
            for table, amounts in parts:
                folded.add_smooth(table, amounts, z, ends[-1])
        estimates = np.empty(len(redshifts))
        span = max(redshifts[-1] - redshifts[0], 1e-12)
        for i, z in enumerate(redshifts):
            share = (z - redshifts[0]) / span
            model = (1 - share) * ends[0] + share * ends[1]
            for table, amounts in parts:
                folded.add_lines(table, amounts, z, model)
            estimates[i] = cstat.newton_estimate(data, model, slopes, inverse)
        return estimates


def _separate(minima: list[Minimum]) -> list[Minimum]:
    """Return the minima in order of C, those that agree with a lower one left out."""
    kept: list[Minimum] = []
    for minimum in sorted(minima, key=lambda one: one.cstat):
        if not kept or minimum.cstat > kept[-1].cstat + AGREE:
            kept.append(minimum)
    return kept


def _inverse(matrix: Floats) -> Floats:
    """Invert a positive definite matrix, scaled to a unit diagonal first."""
    scale = 1 / np.sqrt(np.diag(matrix))
    try:
        return np.linalg.inv(matrix * np.outer(scale, scale)) * np.outer(scale, scale)
    except np.linalg.LinAlgError:
        return np.full(matrix.shape, np.nan)


# --- the lattice of starting points -------------------------------------------------


class _Lattice:
    """Ranks combinations of shape parameters by the C that the best norms give them."""

    def __init__(self, model: Model, tables: Tables) -> None:
        self.model, self.tables = model, tables
        n_sources = len(tables.terms) - tables.n_backgrounds
        self.sources = tables.terms[:n_sources]
        self.background_rows = tables.terms[n_sources:, cstat.TABLE]
        self.background_norms = tables.terms[n_sources:, cstat.NORM]
        n_t = len(tables.temperatures)
        self.n_plasma = 2 * n_t * len(tables.plasma)
        # Slots: shape parameters that the lattice varies, each with its values.
        self.slots: dict[int, Floats] = {}
        for term in self.sources:
            if term[cstat.KIND] == cstat.PLASMA:
                self._add_slot(term[cstat.FIRST], tables.temperatures)
                self._add_slot(term[cstat.SECOND], np.array(ABUNDANCES))
            elif term[cstat.KIND] == cstat.CURVE:
                _, n, first, step = tables.curves[term[cstat.TABLE]]
                self._add_slot(
                    term[cstat.FIRST], first + step * np.linspace(1, n - 2, CURVE_PROBES)
                )
        self.sizes = np.array([len(v) for v in self.slots.values()], dtype=np.int64)
        self._known: tuple[Integers, Floats, Integers] | None = None

    def _add_slot(self, position: int, values: Floats) -> None:
        if position in self.slots:
            return
        model = self.model
        if position not in model.free:
            self.slots[position] = np.array([model.start[position]])
            return
        low, high = model.lower[position], model.upper[position]
        inside = values[(values >= low) & (values <= high)]
        self.slots[position] = inside if len(inside) else np.array([0.5 * (low + high)])

    def starts(self, shapes: Shapes, counts: Floats, theta: Floats, number: int) -> list[Floats]:
        """Return the most promising, distinct starting points."""
        return [start for _, start in self.ranked(shapes, counts, theta, number)]

    def ranked(
        self, shapes: Shapes, counts: Floats, theta: Floats, number: int
    ) -> list[tuple[float, Floats]]:
        """Return (approximate C, starting point) pairs, best first."""
        values = [v if not np.isnan(v[0]) else np.array([theta[p]]) for p, v in self.slots.items()]
        gram, pull = self._normal_equations(shapes, counts)
        if self._known is None or any(np.isnan(v[0]) for v in self.slots.values()):
            self._known = self._combinations(shapes, values)
        rows, weights, combinations = self._known
        scores, norms = _screen(gram, pull, rows, weights)
        order = np.argsort(scores, kind="stable")
        chosen = self._distinct(order, combinations, number)
        return [
            (float(scores[k]), self._start(theta, values, combinations[k], norms[k]))
            for k in chosen
        ]

    def _normal_equations(self, shapes: Shapes, counts: Floats) -> tuple[Floats, Floats]:
        """Return the quadratic approximation of C/2 in the norms of all source rows.

        Background factors are marginalised over their ranges.
        """
        plasma = shapes.plasma.reshape(self.n_plasma, shapes.rows.shape[1])
        rows = np.concatenate([plasma, shapes.rows]) if self.n_plasma else shapes.rows
        window = np.ones(11) / 11
        weight = 1 / np.maximum(np.convolve(counts, window, mode="same"), 1 / 11)
        weighted = rows * weight
        gram = weighted @ rows.T
        pull = weighted @ counts
        b = self.n_plasma + self.background_rows
        if len(b) == 0:
            return gram, pull
        norms = self.background_norms
        middle = 0.5 * (self.model.lower[norms] + self.model.upper[norms])
        spread = (self.model.upper[norms] - self.model.lower[norms]) / np.sqrt(12)
        pull = pull - gram[:, b] @ middle
        precision = gram[np.ix_(b, b)] + np.diag(1 / np.maximum(spread, 1e-9) ** 2)
        project = np.linalg.solve(precision, gram[b])
        return gram - gram[:, b] @ project, pull - project.T @ pull[b]

    def _combinations(
        self, shapes: Shapes, values: list[Floats]
    ) -> tuple[Integers, Floats, Integers]:
        """Return, for every lattice point and source, two rows with weights."""
        sizes = [len(v) for v in values]
        combinations = np.indices(sizes).reshape(len(sizes), -1).T
        mirror = self._mirror()
        if mirror is not None:
            # One of two mirror images is enough.
            one, other = np.flatnonzero(mirror != np.arange(len(mirror)))
            combinations = combinations[combinations[:, one] <= combinations[:, other]]
        slot = {position: i for i, position in enumerate(self.slots)}
        n, m = len(combinations), len(self.sources)
        rows, weights = np.zeros((n, m, 2), dtype=np.int64), np.zeros((n, m, 2))
        weights[..., 0] = 1.0
        temperatures = shapes.temperatures
        for s, term in enumerate(self.sources):
            kind, table = term[cstat.KIND], term[cstat.TABLE]
            if kind == cstat.ROW:
                rows[:, s, 0] = self.n_plasma + table
                continue
            i = slot[term[cstat.FIRST]]
            value = values[i][combinations[:, i]]
            if kind == cstat.CURVE:
                first_row, count, first, step = self.tables.curves[table]
                nearest = np.clip(np.rint((value - first) / step), 0, count - 1)
                rows[:, s, 0] = self.n_plasma + first_row + nearest
                continue
            node = np.abs(temperatures - value[:, None]).argmin(axis=1)
            rows[:, s, 0] = (table * len(temperatures) + node) * 2
            rows[:, s, 1] = rows[:, s, 0] + 1
            j = slot[term[cstat.SECOND]]
            weights[:, s, 1] = values[j][combinations[:, j]]
        return rows, weights, combinations

    def _distinct(self, order: Integers, combinations: Integers, number: int) -> list[int]:
        """Pick the best points that are not neighbours, nor mirror images, of better ones."""
        chosen: list[int] = []
        seen: list[Integers] = []
        mirror = self._mirror()
        for k in order[: 50 * number]:
            point = combinations[k]
            images = [point] if mirror is None else [point, point[mirror]]
            if any(np.abs(image - other).max() < 2 for image in images for other in seen):
                continue
            chosen.append(int(k))
            seen.append(point)
            if len(chosen) == number:
                break
        return chosen

    def _mirror(self) -> Integers | None:
        """Return the order of slots with the temperatures of two like plasmas exchanged."""
        plasma = [t for t in self.sources if t[cstat.KIND] == cstat.PLASMA]
        if len(plasma) != 2 or plasma[0][cstat.TABLE] != plasma[1][cstat.TABLE]:
            return None
        if plasma[0][cstat.SECOND] != plasma[1][cstat.SECOND]:
            return None
        slots = list(self.slots)
        i, j = (slots.index(t[cstat.FIRST]) for t in plasma)
        if i == j or self.sizes[i] != self.sizes[j]:
            return None
        order = np.arange(len(slots))
        order[i], order[j] = j, i
        return order

    def _start(
        self, theta: Floats, values: list[Floats], combination: Integers, norms: Floats
    ) -> Floats:
        model, start = self.model, theta.copy()
        for (position, _), value, k in zip(self.slots.items(), values, combination, strict=True):
            start[position] = value[k]
        for term, norm in zip(self.sources, norms, strict=True):
            start[term[cstat.NORM]] = norm
        free = np.array(model.free)
        given = model.start[free]
        start[free] = np.where(np.isnan(given), start[free], given)
        start[free] = np.clip(start[free], model.lower[free], model.upper[free])
        return start


@njit(cache=True, nogil=True)
def _screen(gram: Floats, pull: Floats, rows: Integers, weights: Floats) -> tuple[Floats, Floats]:
    """Solve for the best non-negative norms of every lattice point.

    Returns
    -------
    scores : ndarray, shape (n_points,)
        The quadratic approximation of C, up to a constant.
    norms : ndarray, shape (n_points, n_sources)
    """
    n, m = rows.shape[0], rows.shape[1]
    scores, norms = np.zeros(n), np.zeros((n, m))
    a, b, x = np.empty((m, m)), np.empty(m), np.empty(m)
    for k in range(n):
        for s in range(m):
            b[s] = 0.0
            for p in range(2):
                if weights[k, s, p] != 0:
                    b[s] += weights[k, s, p] * pull[rows[k, s, p]]
            for t in range(s + 1):
                total = 0.0
                for p in range(2):
                    for q in range(2):
                        w = weights[k, s, p] * weights[k, t, q]
                        if w != 0:
                            total += w * gram[rows[k, s, p], rows[k, t, q]]
                a[s, t] = total
                a[t, s] = total
        # Non-negative least squares by cyclic descent: few unknowns, a ranking is all we need.
        x[:] = 0.0
        for _ in range(15):
            for s in range(m):
                if a[s, s] > 0:
                    rest = b[s]
                    for t in range(m):
                        if t != s:
                            rest -= a[s, t] * x[t]
                    x[s] = max(rest / a[s, s], 0.0)
        value = 0.0
        for s in range(m):
            value -= x[s] * b[s]
        scores[k] = value
        norms[k] = x
    return scores, norms
