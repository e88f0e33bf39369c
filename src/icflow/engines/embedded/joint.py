"""Joint fits: several spectra of one source, each with a response and backgrounds of its own.

The channels of all spectra stand one after another. Every term of the model
is folded for each of them; the counts of the source in all spectra but the
first are multiplied by a factor, the cross-normalisation, which is free. The
backgrounds of one spectrum are zero in the channels of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from icflow import statistic as cstat
from icflow.config import AtomicData, FitControl, FitModel, Instrument
from icflow.engines.base import BACKGROUND, FitResult, failed_fit
from icflow.engines.embedded.direct import DirectFitter
from icflow.engines.embedded.engine import EmbeddedEngine, Groups
from icflow.engines.embedded.fitting import CLOSE, MOST_CLOSE, Fitter, FitterBase, Found
from icflow.engines.embedded.parameters import Model, build_model
from icflow.engines.embedded.tables import Tables
from icflow.errors import IcflowError
from icflow.models.expression import Term
from icflow.ogip.grouping import group_counts, noticed_channels
from icflow.statistic import Data, Minimum, Shapes
from icflow.typing import Counts, Floats, Integers

# Start of the names of the cross-normalisations.
FACTOR = "factor."
# Newton steps in the factors, each followed by a descent in everything else.
MOST_STEPS = 20
ENOUGH = 1e-5  # in C: what a further step may promise


class _Spectrum(EmbeddedEngine):
    """The engine of one of the spectra, with what a joint fit needs of it."""

    def channels(self, control: FitControl) -> slice:
        """Return the channels between the energies of a fit."""
        rmf, (low, high) = self.response.rmf, control.energies
        noticed = np.flatnonzero(noticed_channels(rmf.e_min, rmf.e_max, low, high))
        return slice(int(noticed[0]), int(noticed[-1]) + 1)

    def tables(
        self, model: FitModel, control: FitControl, at_truth: Sequence[str]
    ) -> Tables | None:
        """Fold every term of a model; None if one has no table."""
        plan = build_model(model, control, list(self.backgrounds), at_truth)
        return self._tables(plan, self.channels(control))

    def term_counts(self, term: Term, values: Mapping[str, float]) -> Floats:
        """Return the expected counts per channel of a term with norm 1."""
        return self._fold_term(term, values)


class JointEngine:
    """Fit spectra of several instruments together.

    Parameters
    ----------
    instruments : mapping of str to Instrument
        By the name of the spectrum.
    limits : tuple of float
        Of the factors.
    """

    def __init__(
        self,
        instruments: Mapping[str, Instrument],
        atomic_data: AtomicData,
        limits: tuple[float, float],
    ) -> None:
        self.engines = {n: _Spectrum([one], atomic_data) for n, one in instruments.items()}
        self.limits = limits

    def fit(
        self,
        model: FitModel,
        control: FitControl,
        counts: Counts,
        truth: Mapping[str, Floats],
        at_truth: Sequence[str],
        groups: Groups,
    ) -> Iterator[FitResult]:
        """Fit spectra one after the other, as `EmbeddedEngine.fit`.

        Parameters
        ----------
        counts : ndarray of int, shape (n_spectra, n_channels)
            Channels of all spectra one after another.
        groups : tuple of ndarray of int
            Bins, in these channels.
        """
        plan = self._plan(model, control, at_truth)
        fitter = self._fitter(plan, model, control, at_truth)
        used = self._used(control)
        place = np.full(counts.shape[1], -1, dtype=np.int64)
        place[used] = np.arange(len(used))
        starts, stops = place[groups[0]], place[groups[1] - 1] + 1
        for row in range(len(counts)):
            fixed = {plan.position[name]: float(truth[name][row]) for name in at_truth}
            inside = counts[row][used].astype(np.float64)
            try:
                if not np.any(inside > 0):
                    raise IcflowError("the spectra have no counts in the energy range of the fit")
                data = Data(group_counts(inside, starts, stops), starts, stops)
                yield fitter.fit(data, inside, fixed)
            except IcflowError as error:
                still = {name: p not in plan.free for name, p in plan.position.items()}
                yield failed_fit(still, [plan.names[p] for p in plan.free], str(error))

    def _used(self, control: FitControl) -> Integers:
        """Return the channels of all spectra that lie between the energies of a fit."""
        parts, first = [], 0
        for engine in self.engines.values():
            channels = engine.channels(control)
            parts.append(np.arange(channels.start, channels.stop) + first)
            first += engine.response.n_channels
        return np.concatenate(parts)

    def _plan(self, model: FitModel, control: FitControl, at_truth: Sequence[str]) -> Model:
        """Lay parameters, factors and backgrounds of all spectra out in one vector."""
        plan = build_model(model, control, (), at_truth)
        reach = control.background_range
        more = [(FACTOR + name, *self.limits) for name in list(self.engines)[1:]]
        more += [
            (f"{BACKGROUND}{name}.{background}", 1 - reach, 1 + reach)
            for name, engine in self.engines.items()
            for background in engine.backgrounds
        ]
        names, lower, upper = zip(*more, strict=True)
        first = len(plan.names)
        position = {name: first + i for i, name in enumerate(names)}
        free = [p for n, p in position.items() if n not in at_truth]
        if reach == 0:
            free = [p for p in free if names[p - first].startswith(FACTOR)]
        return replace(
            plan,
            names=(*plan.names, *names),
            position=plan.position | position,
            start=np.append(plan.start, np.ones(len(names))),
            lower=np.append(plan.lower, lower),
            upper=np.append(plan.upper, upper),
            free=(*plan.free, *free),
        )

    def _fitter(
        self, plan: Model, model: FitModel, control: FitControl, at_truth: Sequence[str]
    ) -> FitterBase:
        found = [engine.tables(model, control, at_truth) for engine in self.engines.values()]
        tables = [one for one in found if one is not None]
        if len(tables) == len(found) and _can_be_joined(tables, plan):
            factors = [plan.position.get(FACTOR + name) for name in self.engines]
            return JointFitter(plan, JointTables.of(tables, plan, factors), control)
        spectra = [
            (FACTOR + name, engine, engine.channels(control))
            for name, engine in self.engines.items()
        ]
        backgrounds = _diagonal(
            [np.array([r[c] for r in engine.backgrounds.values()]) for _, engine, c in spectra],
            [c.stop - c.start for _, _, c in spectra],
        )

        def term_counts(values: Mapping[str, float]) -> list[Floats]:
            return [
                np.concatenate(
                    [
                        engine.term_counts(term, values)[channels] * values.get(factor, 1.0)
                        for factor, engine, channels in spectra
                    ]
                )
                for term in plan.expression.terms
            ]

        return DirectFitter(plan, term_counts, backgrounds, control)


def _can_be_joined(tables: Sequence[Tables], plan: Model) -> bool:
    """Tell whether curves have the same nodes everywhere, and no redshift is to be searched."""
    alike = all(np.array_equal(one.curves, tables[0].curves) for one in tables)
    return alike and not any(position in plan.free for position in tables[0].redshift_of)


@dataclass(frozen=True)
class JointTables(Tables):
    """Tables of several spectra.

    Attributes
    ----------
    modules : tuple of Tables
        Those of each spectrum.
    factors : tuple of int or None
        Position of the factor of each.
    kept : dict
        The plasma tables that were used last, by their redshifts.
    """

    modules: tuple[Tables, ...] = ()
    factors: tuple[int | None, ...] = ()
    kept: dict[object, list[Floats]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, modules: Sequence[Tables], plan: Model, factors: Sequence[int | None]
    ) -> JointTables:
        """Put tables of several spectra side by side."""
        first = modules[0]
        n_sources = len(first.terms) - first.n_backgrounds
        n_rows = _source_rows(first)
        widths = [tables.rows.shape[1] for tables in modules]
        offsets = np.cumsum([0, *widths[:-1]])
        n_backgrounds = sum(tables.n_backgrounds for tables in modules)
        terms = np.zeros((n_sources + n_backgrounds, 6), dtype=np.int64)
        terms[:n_sources] = first.terms[:n_sources]
        backgrounds = [name for name in plan.names if name.startswith(BACKGROUND)]
        # Rows of sources, then of backgrounds, then the nodes of curves.
        terms[n_sources:, cstat.KIND] = cstat.ROW
        terms[n_sources:, cstat.TABLE] = n_rows + np.arange(n_backgrounds)
        terms[n_sources:, cstat.NORM] = [plan.position[name] for name in backgrounds]
        curves = first.curves.copy()
        curves[:, 0] += n_backgrounds - first.n_backgrounds
        coarse = [tables.coarse + offset for tables, offset in zip(modules, offsets, strict=True)]
        joint = cls(
            terms=terms,
            rows=np.empty((0, sum(widths))),
            curves=curves,
            plasma=first.plasma,
            redshift_of=first.redshift_of,
            coarse=np.concatenate(coarse),
            searching=np.empty((len(first.plasma), 1, len(first.temperatures), 2, 0)),
            exposure=1.0,
            n_backgrounds=n_backgrounds,
            modules=tuple(modules),
            factors=tuple(factors),
        )
        return replace(joint, rows=joint._rows(plan.start))

    def exact(self, theta: Floats, chosen: Integers | None = None) -> Shapes:
        """Return the shapes at the redshifts and factors in `theta`."""
        plasma = [
            part * self._factor(i, theta) for i, part in enumerate(self._plasma(theta, chosen))
        ]
        return Shapes(
            self.terms,
            self._rows(theta),
            self.curves,
            np.concatenate(plasma, axis=-1),
            self.temperatures,
            np.zeros(2),
        )

    def _plasma(self, theta: Floats, chosen: Integers | None) -> list[Floats]:
        """Return the plasma tables of each spectrum, kept while the redshifts stay the same."""
        key = (tuple(theta[self.redshift_of]), None if chosen is None else tuple(chosen))
        if key not in self.kept:
            self.kept.clear()
            self.kept[key] = [tables.exact(theta, chosen).plasma for tables in self.modules]
        return self.kept[key]

    def coarsen(self, shapes: Shapes) -> Shapes:
        """Return exact shapes in coarse bins."""
        rows, plasma = (
            np.add.reduceat(part, self.coarse, axis=-1) for part in (shapes.rows, shapes.plasma)
        )
        return shapes._replace(rows=rows, plasma=plasma)

    def smooth(self) -> Shapes:
        """Return shapes without plasma: there is no search for a redshift."""
        return Shapes(
            self.terms, self.rows, self.curves, self.searching, self.temperatures, np.zeros(2)
        )

    def source(self, shapes: Shapes, theta: Floats, module: int) -> Floats:
        """Return the counts of the source in the channels of one spectrum, 0 in the others."""
        without = theta.copy()
        without[self.terms[len(self.terms) - self.n_backgrounds :, cstat.NORM]] = 0.0
        counts = cstat.model_counts(shapes, without)
        stops = np.cumsum([tables.rows.shape[1] for tables in self.modules])
        start = stops[module] - self.modules[module].rows.shape[1]
        counts[:start] = 0.0
        counts[stops[module] :] = 0.0
        return counts

    def _factor(self, module: int, theta: Floats) -> float:
        position = self.factors[module]
        return 1.0 if position is None else float(theta[position])

    def _rows(self, theta: Floats) -> Floats:
        """Return the rows of sources, backgrounds and curves at the factors in `theta`."""
        sources, backgrounds, nodes = [], [], []
        for i, tables in enumerate(self.modules):
            n_rows = _source_rows(tables)
            factor = self._factor(i, theta)
            sources.append(tables.rows[:n_rows] * factor)
            backgrounds.append(tables.rows[n_rows : n_rows + tables.n_backgrounds])
            nodes.append(tables.rows[n_rows + tables.n_backgrounds :] * factor)
        widths = [tables.rows.shape[1] for tables in self.modules]
        return np.concatenate(
            [
                np.concatenate(sources, axis=1),
                _diagonal(backgrounds, widths),
                np.concatenate(nodes, axis=1),
            ]
        )


def _source_rows(tables: Tables) -> int:
    """Return the number of rows that belong to terms of the source and are no curves."""
    n_sources = len(tables.terms) - tables.n_backgrounds
    return int(np.sum(tables.terms[:n_sources, cstat.KIND] == cstat.ROW))


def _diagonal(parts: Sequence[Floats], widths: Sequence[int]) -> Floats:
    """Put matrices along a diagonal; a part may have no rows."""
    rows = [np.reshape(part, (-1, width)) for part, width in zip(parts, widths, strict=True)]
    stacked = np.zeros((sum(map(len, rows)), sum(widths)))
    row = column = 0
    for part, width in zip(rows, widths, strict=True):
        stacked[row : row + len(part), column : column + width] = part
        row, column = row + len(part), column + width
    return stacked


class JointFitter(Fitter):
    """Fits of several spectra by their tables.

    The factors enter the model as products with the norms. Everything else is
    fitted at given factors, and the factors follow by Newton's method on what
    is left.
    """

    tables: JointTables

    def __init__(self, model: Model, tables: JointTables, control: FitControl) -> None:
        super().__init__(model, tables, control)
        self.modules_of = {p: i for i, p in enumerate(tables.factors) if p in model.free}
        self.others = self._box([p for p in model.free if p not in self.modules_of])

    def _search(self, data: Data, channel_counts: Floats, theta: Floats) -> Found:
        found = super()._search(data, channel_counts, theta)
        best = self._follow(data, found.best)
        # With the right factors, other cells of the temperature tables may win.
        shapes = self.tables.exact(best.theta)
        rival = self._rivals(data, shapes, best, CLOSE, MOST_CLOSE)[0]
        if rival.cstat < best.cstat - ENOUGH:
            best = self._follow(data, rival)
        return replace(found, best=best)

    def _follow(self, data: Data, best: Minimum) -> Minimum:
        """Go to the best factors, and with them to the minimum of everything else."""
        for _ in range(MOST_STEPS):
            step, gain = self._newton(data, best.theta)
            if gain < ENOUGH:
                return best._replace(decrement=max(gain, best.decrement))
            while gain >= ENOUGH:
                theta = best.theta.copy()
                for position, change in step.items():
                    low, high = self.model.lower[position], self.model.upper[position]
                    theta[position] = np.clip(theta[position] + change, low, high)
                (end,) = self._descend(self.tables.exact(theta), data, self.others, [theta])
                if end.cstat < best.cstat:
                    best = end
                    break
                step = {position: 0.25 * change for position, change in step.items()}
                gain *= 0.25
            else:
                return best
        return best._replace(converged=False)

    def _newton(self, data: Data, theta: Floats) -> tuple[dict[int, float], float]:
        """Return the step of the factors, and by how much it would lower C."""
        free = self.box.free
        info, push = self._derivatives(data, theta)
        inside = (theta[free] > self.box.lower) & (theta[free] < self.box.upper)
        is_factor = np.isin(free, list(self.modules_of))
        outward = (theta[free] <= self.box.lower) & (push <= 0)
        outward |= (theta[free] >= self.box.upper) & (push >= 0)
        moving = np.flatnonzero((inside | (is_factor & ~outward)) & (np.diag(info) > 0))
        factors = [i for i in moving if is_factor[i]]
        if not factors:
            return {}, 0.0
        others = [i for i in moving if not is_factor[i]]
        cross = info[np.ix_(others, factors)]
        solved = np.linalg.lstsq(info[np.ix_(others, others)], cross, rcond=None)[0]
        curvature = info[np.ix_(factors, factors)] - cross.T @ solved
        change = np.linalg.solve(curvature, push[factors])
        gain = float(change @ push[factors])
        return {int(free[i]): float(c) for i, c in zip(factors, change, strict=True)}, gain

    def _derivatives(self, data: Data, theta: Floats) -> tuple[Floats, Floats]:
        """Return the information of all free parameters, and minus half the gradient of C."""
        shapes = self.tables.exact(theta)
        model = np.maximum(cstat.binned(data, cstat.model_counts(shapes, theta)), cstat.FLOOR)
        slopes = np.zeros((len(self.box.free), len(model)))
        is_factor = np.isin(self.box.free, list(self.modules_of))
        slopes[~is_factor] = cstat.derivatives(shapes, data, self.others, theta)
        for i in np.flatnonzero(is_factor):
            position = int(self.box.free[i])
            counts = self.tables.source(shapes, theta, self.modules_of[position])
            slopes[i] = cstat.binned(data, counts / theta[position])
        return (slopes * (data.counts / model**2)) @ slopes.T, slopes @ (data.counts / model - 1)

    def _information(self, data: Data, channel_counts: Floats, theta: Floats) -> Floats:
        return self._derivatives(data, theta)[0]
