"""The embedded engine: XSPEC's model functions, our folding, faking and fitting."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from icflow.config import AtomicData, FitControl, FitModel, Scenario, Systematics
from icflow.config.fits import Reach
from icflow.engines.base import BACKGROUND, FitResult, Module, check_counts, checked, failed_fit
from icflow.engines.embedded.calibration import calibration_of
from icflow.engines.embedded.deviations import NOTHING_WRONG, Deviations
from icflow.engines.embedded.fake import Simulator
from icflow.engines.embedded.fitting import Fitter
from icflow.engines.embedded.folding import (
    FACTOR,
    Behind,
    Binning,
    Folding,
    Groups,
    Selection,
)
from icflow.engines.embedded.parameters import NO_LINKS, Model, as_model, build_model
from icflow.engines.embedded.plain import PlainFitter
from icflow.engines.embedded.redshift import RedshiftFitter
from icflow.engines.embedded.tables import build_tables
from icflow.engines.embedded.terms import bounds_of, norm_of
from icflow.errors import IcflowError
from icflow.models import library
from icflow.models.expression import parse
from icflow.models.scenario import Setting, complete, draw, resolve
from icflow.models.systematics import (
    Deviates,
    background_factors,
    calibration_errors,
    deviates_of,
    measured,
    norms_in_common,
)
from icflow.seeds import of_spectrum, poisson
from icflow.typing import Counts, CountsByRow, DrawnCounts, Floats

if TYPE_CHECKING:
    from icflow.engines.evidence.integral import Integrator
    from icflow.engines.evidence.sampling import Integral


@dataclass(frozen=True)
class Task:
    """Fits of one model to any number of spectra: a fitter, and the channels that it reads."""

    fitter: Fitter
    selection: Selection
    group_min: int

    @property
    def model(self) -> Model:
        """The model that is fitted."""
        return self.fitter.model

    def fixed(
        self, truth: Mapping[str, Floats], at_truth: Sequence[str], row: int
    ) -> dict[int, float]:
        """Return the true values of one spectrum, by position of the parameters."""
        return {self.model.position[name]: float(truth[name][row]) for name in at_truth}

    def fit(
        self,
        counts: Counts,
        fixed: Mapping[int, float],
        groups: Groups | Binning | None,
        behind: Behind | None = None,
        row: int = 0,
    ) -> FitResult:
        """Fit one spectrum; a bad one gives a flagged result."""
        try:
            check_counts(counts)
            own = groups(counts) if callable(groups) else groups
            data, channels = self.selection.data(counts, self.group_min, own, behind, row)
            return checked(self.fitter.fit(data, channels, fixed))
        except IcflowError as error:
            model = self.model
            still = {name: p not in model.free for name, p in model.position.items()}
            return failed_fit(still, [model.names[p] for p in model.free], str(error))


class EmbeddedEngine:
    """Predict, fake and fit spectra of an instrument in this process.

    Parameters
    ----------
    modules : sequence of Module
        Response files, exposures and background files. The factors of all
        modules but the first are parameters, named ``factor.NAME``.
    atomic_data : AtomicData
        Abundances, cross sections and AtomDB tables.
    energies : sequence of float, optional
        Lowest and highest energy that matter, keV: outside, the energies of ARF and RMF may differ.

    Attributes
    ----------
    foldings : tuple of Folding
        One for each module.
    n_channels : int
        Of all modules together.
    deviations : Deviations
        What is wrong with them, as far as fits settle it.
    """

    # What fits with every redshift frozen, and with one free.
    fitters: tuple[type[Fitter], type[Fitter]] = Fitter, RedshiftFitter

    def __init__(
        self,
        modules: Sequence[Module],
        atomic_data: AtomicData,
        energies: Sequence[float] | None = None,
    ) -> None:
        library.configure(atomic_data)
        # Small matrix products: threads cost more than they bring, and jobs run side by side.
        threadpool_limits(1)
        self.atomic_data = atomic_data
        self.foldings = tuple(Folding(module, len(modules) > 1, energies) for module in modules)
        self.n_channels = sum(folding.n_channels for folding in self.foldings)
        self.deviations = NOTHING_WRONG

    def scaled(self, areas: Sequence[Floats]) -> EmbeddedEngine:
        """Return an engine whose modules have the AREASCAL of some spectra, by channel."""
        scaled = copy.copy(self)
        scaled.foldings = tuple(
            folding.scaled(area) for folding, area in zip(self.foldings, areas, strict=True)
        )
        return scaled

    def corrected(self, deviates: Mapping[str, float]) -> EmbeddedEngine:
        """Return an engine whose responses and backgrounds have in them what is wrong.

        Parameters
        ----------
        deviates : mapping
            By name, what that is drawn from.
        """
        errors = self.errors_of(deviates)
        corrected = copy.copy(self)
        corrected.foldings = tuple(
            folding.corrected(calibration_of(folding).correction(errors), errors)
            for folding in self.foldings
        )
        return corrected

    def settling(
        self, deviates: Mapping[str, float], slopes: Mapping[str, Floats]
    ) -> EmbeddedEngine:
        """Return an engine that settles what is wrong with each spectrum in its fits.

        Spectra that it fits have the measurements of the deviates behind their channels
        (`icflow.engines.embedded.deviations`).

        Parameters
        ----------
        deviates : mapping
            Those that responses and backgrounds have in them, as of `corrected`.
        slopes : mapping
            Of the deviates that are settled, by how much they change the expected counts about
            there, shape (n_channels,).
        """
        settling = self.corrected(deviates)
        at = {name: deviates[name] for name in slopes}
        settling.deviations = Deviations(at, np.array(list(slopes.values())))
        return settling

    @property
    def channel_edges(self) -> Floats:
        """Nominal limits of the channels, keV, shape (n_channels, 2)."""
        responses = [folding.response.rmf for folding in self.foldings]
        return np.concatenate([np.column_stack([rmf.e_min, rmf.e_max]) for rmf in responses])

    def versions(self) -> dict[str, str]:
        """Return what the numbers depend on."""
        return {
            "ENGINE": "embedded",
            "XSPECVER": library.version(),
            "ATOMDB": self.atomic_data.atomdb,
            "ABUND": self.atomic_data.abundances,
            "XSECT": self.atomic_data.cross_sections,
        }

    @property
    def factors(self) -> dict[str, Setting]:
        """The factors of all modules but the first, as spectra are drawn with them."""
        return {folding.factor: folding.cross_normalisation for folding in self.foldings[1:]}

    @property
    def backgrounds(self) -> dict[str, Floats]:
        """Expected counts per channel of each background component, those of others 0."""
        rows, first = {}, 0
        for folding in self.foldings:
            for name, counts in folding.backgrounds.items():
                rows[name] = np.zeros(self.n_channels)
                rows[name][first : first + folding.n_channels] = counts
            first += folding.n_channels
        return rows

    @property
    def scatters(self) -> dict[str, float]:
        """Relative scatter of each background component, by the name of its factor."""
        return {
            BACKGROUND + name: scatter
            for folding in self.foldings
            for name, scatter in folding.scatters.items()
        }

    @property
    def common(self) -> dict[str, str]:
        """The deviates of focused backgrounds, by the names of their factors.

        All modules see the same sky, so those of one name have one.
        """
        return {
            BACKGROUND + name: BACKGROUND + name.rpartition(".")[2]
            for folding in self.foldings
            for name in folding.focused
        }

    def components_of(
        self, expression: str, parameters: Mapping[str, Setting]
    ) -> dict[str, Floats]:
        """Return the expected counts per channel of every term, by direct evaluation.

        Parameters
        ----------
        parameters : mapping
            Fixed values and links; XSPEC's defaults elsewhere. Factors of
            modules by their names; those that spectra are drawn with
            elsewhere, 1 where these vary.
        """
        parsed = parse(expression)
        own = {n: s for n, s in parameters.items() if not n.startswith((FACTOR, BACKGROUND))}
        values = resolve(complete(parsed, own, "parameters"), {})
        factors = {**self.factors, **parameters}
        return {
            term.name: np.concatenate(
                [
                    folding.fold(term, values)
                    * values[norm_of(term)]
                    * _number(factors.get(folding.factor))
                    for folding in self.foldings
                ]
            )
            for term in parsed.terms
        }

    def predict(self, expression: str, parameters: Mapping[str, Setting]) -> Floats:
        """Return expected counts per channel, background included."""
        source = sum(self.components_of(expression, parameters).values(), np.zeros(1))
        return np.asarray(source + sum(self.backgrounds.values(), np.zeros(1)))

    def keeping(self, output: Path) -> AbstractContextManager[None]:
        """Keep nothing: a shard takes seconds."""
        return nullcontext()

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
            The true value of every parameter and of the factors of modules,
            each of shape (n_spectra,), and of all that scatters unknown to an
            analysis (`icflow.models.systematics`).
        """
        settings = complete(parse(expression), parameters, "parameters") | self.factors
        simulators = self._simulators(expression, settings)
        drawn = [self._drawn(settings, Deviates(seed, dataset, index)) for index in indices]
        counts = np.empty((len(indices), self.n_channels), dtype=np.int32)
        for row, (index, values) in enumerate(zip(indices, drawn, strict=True)):
            expected = np.concatenate([simulator.observed(values) for simulator in simulators])
            counts[row] = poisson(of_spectrum(seed, dataset, index, "counts"), expected)
        return counts, {name: np.array([values[name] for values in drawn]) for name in drawn[0]}

    def _drawn(self, settings: Mapping[str, Setting], deviates: Deviates) -> dict[str, float]:
        """Draw the parameters of one spectrum and what is wrong with it."""
        values = draw(settings, *deviates.key)
        known = [folding.systematics.known for folding in self.foldings]
        measurable = {name: error for each in known for name, error in each.items()}
        return values | self.errors_of(deviates) | measured(measurable, settings, values, deviates)

    def errors_of(self, deviates: Deviates | Mapping[str, float]) -> dict[str, float]:
        """Return what is wrong with calibration and background of one spectrum, as is recorded."""
        scatters = background_factors(self.scatters, deviates, self.common)
        return scatters | calibration_errors(self._systematics, deviates)

    @property
    def deviates(self) -> list[str]:
        """The names of the deviates that what is wrong with a spectrum is drawn from."""
        return deviates_of(self.scatters, self._systematics, self.common)

    @property
    def _systematics(self) -> list[tuple[str, Systematics]]:
        return [(folding.module, folding.systematics) for folding in self.foldings]

    def _simulators(self, expression: str, settings: Mapping[str, Setting]) -> list[Simulator]:
        terms = parse(expression).terms
        return [Simulator(folding, terms, settings, self.atomic_data) for folding in self.foldings]

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
            Every parameter of each spectrum, factors of modules included.
        """
        simulators = self._simulators(expression, settings)
        for given in values:
            yield np.concatenate([simulator.expected(given) for simulator in simulators])

    def observed(
        self,
        expression: str,
        settings: Mapping[str, Setting],
        values: Iterable[Mapping[str, float]],
        deviates: Iterable[Deviates | Mapping[str, float]],
    ) -> Iterator[Floats]:
        """Yield the expected counts per channel of many spectra, background and errors included.

        Parameters
        ----------
        settings, values
            As of `sources`; values with the factors of all backgrounds, which those that are
            drawn multiply.
        deviates : iterable of Deviates, or of their values by name
            One for each spectrum, which what is wrong with it is drawn from.
        """
        simulators = self._simulators(expression, settings)
        for given, own in zip(values, deviates, strict=True):
            wrong = self.errors_of(own)
            scattered = {n: given[n] * f for n, f in wrong.items() if n.startswith(BACKGROUND)}
            every = {**given, **wrong, **scattered}
            yield np.concatenate([simulator.observed(every) for simulator in simulators])

    # --- fits ------------------------------------------------------------------------

    def plan(
        self,
        model: FitModel,
        control: FitControl,
        at_truth: Sequence[str],
        limits: Mapping[str, Sequence[float]] | None = None,
        linked: Mapping[str, str] = NO_LINKS,
    ) -> Model:
        """Lay the parameters of a model out in one vector, all factors included.

        Parameters
        ----------
        limits : mapping, optional
            Those of factors of modules and of backgrounds, where they are not those of `control`
            and of the background files.
        linked : mapping, optional
            Factors of backgrounds that are those of others.
        """
        given = limits or {}
        factors = dict.fromkeys(self.factors, control.cross_normalisation)
        backgrounds = self.background_limits(control.background_range)
        return build_model(
            model,
            {name: given.get(name, standard) for name, standard in factors.items()},
            {name: given.get(name, standard) for name, standard in backgrounds.items()},
            at_truth,
            self.deviations.limits,
            linked,
        )

    def background_limits(self, reach: Reach) -> dict[str, Sequence[float]]:
        """Return the limits of the factor of each background; `reach` where its file says none."""
        return {
            BACKGROUND + name: limits
            for folding in self.foldings
            for name, limits in folding.background_limits(reach).items()
        }

    def task(
        self,
        model: FitModel,
        control: FitControl,
        at_truth: Sequence[str],
        limits: Mapping[str, Sequence[float]] | None = None,
        linked: Mapping[str, str] = NO_LINKS,
    ) -> Task:
        """Return what fits a model; arguments as of `plan`."""
        plan = self.plan(model, control, at_truth, limits, linked)
        selection = self.selection(control.energies)
        tables = build_tables(plan, self.foldings, selection, self.atomic_data, self.deviations)
        redshift_free = not set(plan.free).isdisjoint(tables.redshift_of)
        kind = PlainFitter if control.strategy == "plain" else self.fitters[redshift_free]
        return Task(kind(plan, tables, control), selection, control.group_min)

    def selection(self, energies: Sequence[float]) -> Selection:
        """Return the channels between two energies, keV, and the bins of what is settled."""
        return Selection(self.foldings, energies, len(self.deviations))

    def fit(
        self,
        model: FitModel,
        control: FitControl,
        counts: CountsByRow,
        truth: Mapping[str, Floats],
        at_truth: Sequence[str],
        groups: Groups | Binning | None = None,
        behind: Behind | None = None,
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
        groups : tuple of ndarray of int, or callable, optional
            First channels and ends of the bins of all spectra, between the
            energies, or what makes them of the counts of each; by default
            each spectrum is grouped by its own counts as grppha and XSPEC do.
        behind : Behind, optional
            Their background spectra, in bins that are given: then the
            statistic is W.
        """
        task = self.task(model, control, at_truth)
        for row in range(len(counts)):
            yield task.fit(counts[row], task.fixed(truth, at_truth, row), groups, behind, row)

    def integrate(
        self,
        scenario: Scenario,
        energies: Sequence[float],
        counts: CountsByRow,
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
            inside = counts[row][integrator.channels].astype(np.float64)
            check_counts(inside)
            yield integrator.integrate(inside, fixed, random)

    def integrator(
        self, scenario: Scenario, energies: Sequence[float], at_truth: Sequence[str]
    ) -> Integrator:
        """Return what integrates over the priors of a scenario between two energies, keV.

        Factors of modules have the priors that spectra are drawn with; focused backgrounds of one
        name have one norm in all modules.

        Raises
        ------
        IcflowError
            If the scenario has what cannot be integrated over.
        """
        # Slow to import, and fits need none of it.
        from icflow.engines.evidence.integral import Integrator, background_reach

        model = as_model(scenario)
        control = FitControl(
            energies=list(energies), group_min=0, background_range=0, starts=8, max_iterations=200
        )
        limits: dict[str, Sequence[float]] = {
            n: list(bounds_of(factor)) for n, factor in self.factors.items()
        }
        # The priors of backgrounds are those that spectra are drawn with, not those of their files.
        reach = {name: background_reach(scatter) for name, scatter in self.scatters.items()}
        backgrounds = {name: (1 - most, 1 + most) for name, most in reach.items()}
        still = [name for name, (low, high) in limits.items() if low == high]
        linked = norms_in_common(self.scatters, self.common)
        task = self.task(model, control, [*at_truth, *still], limits | backgrounds, linked)
        if isinstance(task.fitter, RedshiftFitter):
            # The likelihood is a staircase in redshift, of which sampling finds no treads.
            raise IcflowError(
                f"{scenario.expression!r} has a redshift with a prior, over which it cannot be "
                "integrated; name it under at_truth"
            )
        if task.fitter.direct:
            raise IcflowError(
                f"{scenario.expression!r} has a term that no table holds, over whose priors it "
                "cannot be integrated; fix all but one of the shape parameters of such terms"
            )
        priors = {**scenario.parameters, **self.factors}
        return Integrator(task.fitter, priors, self.scatters, task.selection.channels)


def _number(factor: Setting | None) -> float:
    """Return a factor, 1 for one that varies or that a single module does not need."""
    return float(factor) if isinstance(factor, (int, float)) else 1.0
