"""The embedded engine: XSPEC's model functions, our folding, faking and fitting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from icflow import statistic as cstat
from icflow.config import AtomicData, FitControl, FitModel, Free, Link, Scenario
from icflow.engines.base import BACKGROUND, FitResult, Module, failed_fit
from icflow.engines.embedded import folded
from icflow.engines.embedded.direct import DirectFitter
from icflow.engines.embedded.fitting import Fitter, FitterBase
from icflow.engines.embedded.parameters import Model, build_model
from icflow.engines.embedded.redshift import RedshiftFitter
from icflow.engines.embedded.tables import Tables
from icflow.engines.evidence.integral import Integrator, background_reach
from icflow.engines.evidence.sampling import Integral
from icflow.errors import IcflowError
from icflow.models import library
from icflow.models.background import read_background
from icflow.models.expression import Expression, Term, parse
from icflow.models.priors import Prior
from icflow.models.scenario import Setting, background_factors, complete, draw, generator, resolve
from icflow.ogip.grouping import group_counts, grouped_selection, noticed_channels
from icflow.typing import Counts, DrawnCounts, Floats, Integers

# Bins as half-open ranges of channels: first channels, and one after the last.
Groups = tuple[Integers, Integers]

# The model that has tables of its own.
APEC = "apec"


class EmbeddedEngine:
    """Predict, fake and fit spectra of one instrument in this process.

    Parameters
    ----------
    modules : sequence of Module
        Response files, exposure and background file.
    atomic_data : AtomicData
        Abundances, cross sections and AtomDB tables.
    """

    def __init__(self, modules: Sequence[Module], atomic_data: AtomicData) -> None:
        (instrument,) = modules
        library.configure(atomic_data)
        # Small matrix products: threads cost more than they bring, and jobs run side by side.
        threadpool_limits(1)
        self.atomic_data = atomic_data
        self.exposure = instrument.exposure
        self.background_scatter = instrument.background_scatter
        self.response = folded.load_response(instrument.rmf, instrument.arf)
        self.components = read_background(instrument.background) if instrument.background else ()

    def versions(self) -> dict[str, str]:
        """Return what the numbers depend on."""
        return {
            "ENGINE": "embedded",
            "XSPECVER": library.version(),
            "ATOMDB": self.atomic_data.atomdb,
            "ABUND": self.atomic_data.abundances,
            "XSECT": self.atomic_data.cross_sections,
        }

    @cached_property
    def backgrounds(self) -> dict[str, Floats]:
        """Expected counts per channel of each background component."""
        return {
            component.name: folded.fold_background(component, self.response) * self.exposure
            for component in self.components
        }

    def components_of(
        self, expression: str, parameters: Mapping[str, Setting]
    ) -> dict[str, Floats]:
        """Return the expected counts per channel of every term, by direct evaluation.

        Parameters
        ----------
        parameters : mapping
            Fixed values and links; XSPEC's defaults elsewhere.
        """
        parsed = parse(expression)
        values = resolve(complete(parsed, parameters, "parameters"), {})
        return {
            term.name: self._fold_term(term, values) * values[f"{term.additive.name}.norm"]
            for term in parsed.terms
        }

    def keeping(self, output: Path) -> AbstractContextManager[None]:
        """Keep nothing: a shard takes seconds."""
        return nullcontext()

    def predict(self, expression: str, parameters: Mapping[str, Setting]) -> Floats:
        """Return expected counts per channel, background included."""
        source = sum(self.components_of(expression, parameters).values(), np.zeros(1))
        return np.asarray(source + sum(self.backgrounds.values(), np.zeros(1)))

    def _fold_term(self, term: Term, values: Mapping[str, float]) -> Floats:
        photons = folded.term_photons(term, values, self.response.energies)
        return self.response.fold(photons) * self.exposure

    # --- faking --------------------------------------------------------------------

    def fake(
        self,
        expression: str,
        parameters: Mapping[str, Setting],
        seed: int,
        dataset: str,
        indices: Sequence[int],
    ) -> tuple[DrawnCounts, dict[str, Floats]]:
        """Draw parameters and Poisson counts of the spectra with the given indices.

        Returns
        -------
        counts : ndarray of int32, shape (n_spectra, n_channels)
        truth : dict
            The true value of every parameter, each of shape (n_spectra,), and
            of every background factor if they scatter.
        """
        settings = complete(parse(expression), parameters, "parameters")
        drawn = [draw(settings, seed, dataset, index) for index in indices]
        backgrounds = {BACKGROUND + name: row for name, row in self.backgrounds.items()}
        background = sum(backgrounds.values(), np.zeros(self.response.n_channels))
        varying = backgrounds if self.background_scatter > 0 else {}
        counts = np.empty((len(indices), self.response.n_channels), dtype=np.int32)
        sources = self.sources(expression, settings, drawn)
        for row, (index, source) in enumerate(zip(indices, sources, strict=True)):
            factors = background_factors(varying, self.background_scatter, seed, dataset, index)
            drawn[row] |= factors
            expected = background + source
            for name, factor in factors.items():
                expected += (factor - 1) * backgrounds[name]
            counts[row] = generator(seed, dataset, index, "counts").poisson(expected)
        names = (*settings, *varying)
        return counts, {name: np.array([values[name] for values in drawn]) for name in names}

    def sources(
        self,
        expression: str,
        settings: Mapping[str, Setting],
        values: Iterable[Mapping[str, float]],
    ) -> Iterator[Floats]:
        """Yield the expected counts per channel, without background, of many spectra.

        What varies between them comes from folded tables, where there are such.

        Parameters
        ----------
        settings : mapping
            Every parameter of the model: fixed, linked, drawn or free.
        values : iterable of mapping
            Every parameter of each spectrum.
        """
        parsed = parse(expression)
        tables = {term.name: self._fake_table(term, settings) for term in parsed.terms}
        for given in values:
            expected = np.zeros(self.response.n_channels)
            for term in parsed.terms:
                norm = given[f"{term.additive.name}.norm"]
                expected += norm * self._table_counts(term, tables[term.name], given)
            yield expected

    def _fake_table(
        self, term: Term, settings: Mapping[str, Setting]
    ) -> folded.PlasmaTable | Floats | None:
        """Return what speeds a term up: a plasma table, its counts if fixed, or nothing."""
        varying = _varying(term, settings)
        if not varying:
            return self._fold_term(term, _values(term, settings))
        if _is_plasma(term) and not _factors_vary(term, settings):
            return self._plasma(term, settings, _range(term, settings, "kT"))
        return None

    def _table_counts(
        self, term: Term, table: folded.PlasmaTable | Floats | None, values: Mapping[str, float]
    ) -> Floats:
        if table is None:
            return self._fold_term(term, values)
        if isinstance(table, np.ndarray):
            return table
        kT, abundance, redshift = (
            values[f"{term.additive.name}.{name}"] for name in ("kT", "Abundanc", "Redshift")
        )
        nodes = table.temperatures
        cell = int(np.clip(np.searchsorted(nodes, kT, side="right") - 1, 0, len(nodes) - 2))
        share = (kT - nodes[cell]) / (nodes[cell + 1] - nodes[cell])
        rates = table.at(redshift, np.array([cell, cell + 1]))
        by_abundance = rates[:, 0] + abundance * rates[:, 1]
        return np.asarray(((1 - share) * by_abundance[0] + share * by_abundance[1]) * self.exposure)

    def _plasma(
        self, term: Term, settings: Mapping[str, Setting], temperatures: tuple[float, float]
    ) -> folded.PlasmaTable:
        return folded.plasma_table(
            term,
            _values(term, settings),
            self.response,
            self.atomic_data,
            temperatures,
            _range(term, settings, "Redshift"),
        )

    # --- fits ------------------------------------------------------------------------

    def fit(
        self,
        model: FitModel,
        control: FitControl,
        counts: Counts,
        truth: Mapping[str, Floats],
        at_truth: Sequence[str],
        groups: Groups | None = None,
    ) -> Iterator[FitResult]:
        """Fit spectra one after the other; a bad one gives a flagged result.

        Parameters
        ----------
        counts : ndarray of int, shape (n_spectra, n_channels)
        truth : mapping
            True values, each of shape (n_spectra,), of at least the
            parameters `at_truth`.
        at_truth : sequence of str
            Parameters to freeze at their true values.
        groups : tuple of ndarray of int, optional
            First channels and ends of the bins of all spectra, between the
            energies; by default each spectrum is grouped by its own counts.
        """
        channels = self._noticed(control)
        plan = build_model(model, control, list(self.backgrounds), at_truth)
        fitter = self._fitter(plan, control, channels)
        for row in range(len(counts)):
            fixed = {plan.position[name]: float(truth[name][row]) for name in at_truth}
            yield self._fit_one(fitter, control, counts[row], channels, fixed, groups)

    def integrate(
        self,
        scenario: Scenario,
        energies: Sequence[float],
        counts: Counts,
        truth: Mapping[str, Floats],
        at_truth: Sequence[str],
        randoms: Iterable[np.random.Generator],
    ) -> Iterator[Integral]:
        """Average the likelihood of spectra over the priors of a scenario, one after the other.

        Parameters
        ----------
        energies : sequence of float
            Lowest and highest energy, keV.
        counts : ndarray of int, shape (n_spectra, n_channels)
        truth, at_truth
            As in `fit`.
        randoms : iterable of numpy.random.Generator
            One for each spectrum.
        """
        integrator = self.integrator(scenario, energies, at_truth)
        position = integrator.fitter.model.position
        for row, random in enumerate(randoms):
            fixed = {position[name]: float(truth[name][row]) for name in at_truth}
            inside = counts[row, integrator.channels].astype(np.float64)
            yield integrator.integrate(inside, fixed, random)

    def integrator(
        self, scenario: Scenario, energies: Sequence[float], at_truth: Sequence[str]
    ) -> Integrator:
        """Return what integrates over the priors of a scenario between two energies, keV."""
        model = FitModel(
            expression=scenario.expression,
            parameters={
                name: Free(free=list(setting.bounds)) if isinstance(setting, Prior) else setting
                for name, setting in scenario.parameters.items()
            },
        )
        control = FitControl(
            energies=list(energies),
            group_min=0,
            background_range=background_reach(self.background_scatter),
            starts=8,
            max_iterations=200,
        )
        channels = self._noticed(control)
        plan = build_model(model, control, list(self.backgrounds), at_truth)
        fitter = self._fitter(plan, control, channels)
        if isinstance(fitter, RedshiftFitter):
            # The likelihood is a staircase in redshift, of which sampling finds no treads.
            raise IcflowError(
                f"{scenario.expression!r} has a redshift with a prior, over which it cannot be "
                "integrated; name it under at_truth"
            )
        if not isinstance(fitter, Fitter):
            raise IcflowError(
                f"{scenario.expression!r} has a term that no table holds, over whose priors it "
                "cannot be integrated; fix all but one of the shape parameters of such terms"
            )
        return Integrator(fitter, scenario.parameters, self.background_scatter, channels)

    def _noticed(self, control: FitControl) -> slice:
        """Return the channels between the energies of a fit."""
        low, high = control.energies
        rmf = self.response.rmf
        noticed = np.flatnonzero(noticed_channels(rmf.e_min, rmf.e_max, low, high))
        if len(noticed) == 0:
            raise IcflowError(
                f"fits.energies: no channel lies between {low:g} and {high:g} keV; the response "
                f"covers {rmf.e_min.min():g} to {rmf.e_max.max():g} keV"
            )
        return slice(int(noticed[0]), int(noticed[-1]) + 1)

    def _fit_one(
        self,
        fitter: FitterBase,
        control: FitControl,
        counts: Counts,
        channels: slice,
        fixed: Mapping[int, float],
        groups: Groups | None,
    ) -> FitResult:
        rmf = self.response.rmf
        try:
            if not np.any(counts[channels] > 0):
                raise IcflowError("the spectrum has no counts in the energy range of the fit")
            low, high = control.energies
            starts, stops = groups or grouped_selection(
                counts, rmf.e_min, rmf.e_max, low, high, control.group_min
            )
            inside = counts[channels].astype(np.float64)
            first = channels.start
            starts, stops = starts - first, stops - first
            data = cstat.Data(group_counts(inside, starts, stops), starts, stops)
            return fitter.fit(data, inside, fixed)
        except IcflowError as error:
            return _failed(fitter.model, str(error))

    def _fitter(self, plan: Model, control: FitControl, channels: slice) -> FitterBase:
        """Return the fast way to fit a model if there is one, the general one otherwise."""
        tables = self._tables(plan, channels)
        if tables is not None:
            redshift_free = not set(plan.free).isdisjoint(tables.redshift_of)
            return (RedshiftFitter if redshift_free else Fitter)(plan, tables, control)

        def term_counts(values: Mapping[str, float]) -> list[Floats]:
            return [self._fold_term(term, values)[channels] for term in plan.expression.terms]

        width = channels.stop - channels.start
        backgrounds = [row[channels] for row in self.backgrounds.values()]
        return DirectFitter(
            plan, term_counts, np.reshape(backgrounds, (len(backgrounds), width)), control
        )

    def _tables(self, plan: Model, channels: slice) -> Tables | None:
        """Fold every term of a model for the noticed channels; None if one has no table."""
        settings = plan.settings
        if any(not self._has_table(term, settings) for term in plan.expression.terms):
            return None
        terms: list[list[int]] = []
        rows: list[Floats] = []
        curves: list[list[float]] = []
        nodes: list[Floats] = []
        plasma: dict[tuple[object, ...], tuple[folded.PlasmaTable, int, int]] = {}
        temperatures = _all_temperatures(plan.expression, settings)
        for term in plan.expression.terms:
            norm = plan.position[f"{term.additive.name}.norm"]
            varying = _varying(term, settings)
            if _is_plasma(term):
                kT, abundance, redshift = (
                    plan.position[f"{term.additive.name}.{name}"]
                    for name in ("kT", "Abundanc", "Redshift")
                )
                key = (tuple(c.name for c in term.factors), redshift)
                if key not in plasma:
                    assert temperatures is not None
                    table = self._plasma(term, settings, temperatures).cut(channels)
                    plasma[key] = (table, redshift, len(plasma))
                terms.append([cstat.PLASMA, plasma[key][2], norm, kT, abundance, redshift])
            elif varying:
                curve = self._curve(term, settings, varying[0])
                if curve is None:
                    return None
                samples, first, step = curve
                terms.append([cstat.CURVE, len(curves), norm, plan.position[varying[0]], 0, 0])
                curves.append([float(sum(map(len, nodes))), float(len(samples)), first, step])
                nodes.append(samples[:, channels])
            else:
                terms.append([cstat.ROW, len(rows), norm, 0, 0, 0])
                rows.append(self._fold_term(term, _values(term, settings))[channels])
        for name, row in self.backgrounds.items():
            terms.append([cstat.ROW, len(rows), plan.position[BACKGROUND + name], 0, 0, 0])
            rows.append(row[channels])
        for curve_row in curves:
            curve_row[0] += len(rows)
        width = channels.stop - channels.start
        tables = [table for table, _, _ in plasma.values()]
        coarse = self.response.coarse_bins(channels)
        searching = (
            np.add.reduceat([t.searching for t in tables], coarse, axis=-1, dtype=np.float64)
            if tables
            else np.empty((0, 1, 2, 2, len(coarse)))
        )
        return Tables(
            np.array(terms, dtype=np.int64).reshape(-1, 6),
            np.concatenate([np.reshape(rows, (-1, width)), *nodes]),
            np.array(curves, dtype=np.float64).reshape(-1, 4),
            tables,
            [redshift for _, redshift, _ in plasma.values()],
            coarse,
            searching * self.exposure,
            self.exposure,
            len(self.backgrounds),
        )

    def _has_table(self, term: Term, settings: Mapping[str, Setting]) -> bool:
        if _is_plasma(term):
            return not _factors_vary(term, settings)
        return len(_varying(term, settings)) <= 1

    def _curve(
        self, term: Term, settings: Mapping[str, Setting], name: str
    ) -> tuple[Floats, float, float] | None:
        """Tabulate a term along its only free shape parameter."""
        low, high = _bounds(_root(name, settings))
        fixed = _values(term, settings)

        def rates(value: float) -> Floats:
            photons = folded.term_photons(term, {**fixed, name: value}, self.response.energies)
            return self.response.fold(photons)

        def make() -> dict[str, Floats]:
            curve = folded.curve(rates, low, high)
            if curve is None:
                return {"nodes": np.empty((0, 0)), "grid": np.zeros(2)}
            return {"nodes": curve[0], "grid": np.array(curve[1:])}

        key = {
            "table": "curve",
            "term": [c.definition.name for c in (*term.factors, term.additive)],
            "fixed": fixed,
            "varying": [name, low, high],
            "response": self.response.key,
            "library": library.version(),
            "atomic_data": self.atomic_data.model_dump(exclude={"folder"}),
        }
        arrays = folded.cached(key, make)
        if len(arrays["nodes"]) == 0:
            return None
        return arrays["nodes"] * self.exposure, float(arrays["grid"][0]), float(arrays["grid"][1])


def _failed(model: Model, reason: str) -> FitResult:
    fixed = {name: p not in model.free for name, p in model.position.items()}
    return failed_fit(fixed, [model.names[p] for p in model.free], reason)


# --- what varies -----------------------------------------------------------------------


def _root(name: str, settings: Mapping[str, Setting]) -> Setting:
    """Return the setting of a parameter, or of the one it is linked to."""
    setting = settings[name]
    return settings[setting.link] if isinstance(setting, Link) else setting


def _varying(term: Term, settings: Mapping[str, Setting]) -> list[str]:
    """Return the shape parameters of a term that are free or drawn."""
    return [
        name
        for component in (*term.factors, term.additive)
        for name in component.parameters
        if not name.endswith(".norm") and isinstance(_root(name, settings), (Free, Prior))
    ]


def _is_plasma(term: Term) -> bool:
    return term.additive.definition.name == APEC


def _factors_vary(term: Term, settings: Mapping[str, Setting]) -> bool:
    return any(not name.startswith(f"{term.additive.name}.") for name in _varying(term, settings))


def _values(term: Term, settings: Mapping[str, Setting]) -> dict[str, float]:
    """Return the fixed parameters of a term."""
    roots = {
        name: _root(name, settings)
        for component in (*term.factors, term.additive)
        for name in component.parameters
    }
    return {name: float(root) for name, root in roots.items() if isinstance(root, (int, float))}


def _bounds(setting: Setting) -> tuple[float, float]:
    if isinstance(setting, Free):
        return setting.free[0], setting.free[1]
    if isinstance(setting, Prior):
        return setting.bounds
    assert isinstance(setting, (int, float))
    return float(setting), float(setting)


def _range(term: Term, settings: Mapping[str, Setting], name: str) -> tuple[float, float]:
    return _bounds(_root(f"{term.additive.name}.{name}", settings))


def _all_temperatures(
    expression: Expression, settings: Mapping[str, Setting]
) -> tuple[float, float] | None:
    """Return the range of kT over all `apec` of a model."""
    ranges = [_range(term, settings, "kT") for term in expression.terms if _is_plasma(term)]
    if not ranges:
        return None
    return min(low for low, _ in ranges), max(high for _, high in ranges)
