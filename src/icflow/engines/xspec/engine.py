"""The xspec engine: PyXspec fakes, folds and fits; this side says what, and keeps the books.

XSPEC runs in a process of its own (`icflow.engines.xspec.process`), started by
the Python that runs icflow or, if ``ICFLOW_XSPEC_PYTHON`` names one, by another
one that has PyXspec. If it crashes on a spectrum, a new process takes that
spectrum up once more; a spectrum that kills XSPEC twice is flagged.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from icflow.config import AtomicData, FitControl, FitModel
from icflow.config.fits import Reach
from icflow.engines.base import BACKGROUND, Engine, FitResult, Module, check_counts
from icflow.engines.registry import make_engine
from icflow.engines.xspec import home, inputs
from icflow.engines.xspec.fitting import Plan, failed, fit_result
from icflow.engines.xspec.journal import Journal
from icflow.engines.xspec.process import (
    NoXspecError,
    Process,
    XspecCrash,
    XspecError,
    XspecKilled,
)
from icflow.errors import IcflowError
from icflow.files import say, sha256
from icflow.models import library
from icflow.models.background import read_background
from icflow.models.expression import Expression, parse
from icflow.models.scenario import Setting, complete, draw, resolve
from icflow.models.systematics import Deviates, background_factors, measured, scatter_of
from icflow.ogip.grouping import grouped_selection
from icflow.ogip.noticed import noticed_channels
from icflow.ogip.response import read_rmf
from icflow.provenance import code_digest
from icflow.seeds import of_spectrum
from icflow.typing import Counts, CountsByRow, DrawnCounts, Floats

SEARCH = 20  # fits that the search for an interval takes, a generous guess
SEED_LIMIT = 2**31 - 1


class PyXspecEngine:
    """Predict, fake and fit spectra of one instrument with XSPEC.

    Parameters
    ----------
    modules : sequence of Module
        Response files, exposure and background file of a single module.
    atomic_data : AtomicData
        Abundances, cross sections and AtomDB tables; if the folder holds none,
        those of the HEASoft are taken.

    Raises
    ------
    IcflowError
        If there is no XSPEC, a file is missing or not what it should be, or
        there are several modules.
    """

    def __init__(self, modules: Sequence[Module], atomic_data: AtomicData) -> None:
        if len(modules) != 1:
            raise IcflowError(
                f"engine: xspec takes one module of an instrument, not {len(modules)} "
                f"({', '.join(module.name for module in modules)}); set engine: embedded, or leave "
                "one module in instrument"
            )
        library.prefer_wheel()
        (module,) = modules
        self.module, self.atomic_data = module, atomic_data
        self.exposure, self.systematics = module.exposure, module.systematics
        self.rmf = read_rmf(module.rmf)
        self.components = read_background(module.background) if module.background else ()
        self.factors = tuple(BACKGROUND + component.name for component in self.components)
        self.backgrounds = [inputs.background_model(component) for component in self.components]
        self.folder = home.make(self)
        setup = {
            "sources": [
                inputs.own_source(self.folder, module, self.rmf),
                *(inputs.background_source(self.folder, c, self.rmf) for c in self.components),
            ],
            "exposure": self.exposure,
            "channels": len(self.rmf.channel),
            "abundances": atomic_data.abundances,
            "cross_sections": atomic_data.cross_sections,
            "apec_root": inputs.apec_root(self.folder, atomic_data),
        }
        self.process = Process(self.folder, setup)
        weakref.finalize(self, self.process.stop)
        self.process.start()
        self.journal: Journal | None = None

    def versions(self) -> dict[str, str]:
        """Return what the numbers depend on."""
        return {
            "ENGINE": "xspec",
            "XSPECVER": self.process.versions["xspec"],
            "ATOMDB": self.atomic_data.atomdb,
            "ABUND": self.atomic_data.abundances,
            "XSECT": self.atomic_data.cross_sections,
        }

    # --- asking XSPEC -----------------------------------------------------------------------

    @contextmanager
    def keeping(self, output: Path) -> Iterator[None]:
        """Keep finished fakes and fits beside an output until it is whole."""
        self.journal = Journal(output)
        # The names of the files stand in each request.
        files = {p.name: sha256(p) for p in self.folder.iterdir() if p.suffix in (".rmf", ".arf")}
        setup = {**self.process.setup, "apec_root": ""}  # it holds the name of the folder
        self._setting = [setup, files, self.versions(), code_digest([__name__])]
        try:
            yield
            self.journal.delete()
        finally:
            self.journal = None

    def _ask(self, request: Mapping[str, Any], what: str, fits: int = 1) -> dict[str, Any]:
        """Ask XSPEC what takes no longer than so many fits, a new process if the first crashes.

        What it is asked for is named where that happens.
        """

        def ask() -> dict[str, Any]:
            try:
                return self.process.ask(request, fits)
            except XspecCrash as crash:
                say(f"{what}: {crash}; a new process takes it up again")
                return self.process.ask(request, fits)

        if self.journal is None:
            return ask()
        data = sha256(self.folder / request["pha"]) if "pha" in request else ""
        return self.journal.answer([*self._setting, request, data], ask)

    def _models(
        self, expression: Expression, settings: Mapping[str, Any], factors: Sequence[Any] = ()
    ) -> list[dict[str, Any]]:
        """Return the models of all sources, with settings and factors as the worker takes them."""
        models = [{"expression": expression.text, "parameters": dict(settings)}]
        for number, model in enumerate(self.backgrounds):
            constant = next(iter(model["parameters"]))
            factor = factors[number] if factors else 1.0
            models.append({**model, "parameters": {**model["parameters"], constant: factor}})
        return models

    # --- predicting and faking ------------------------------------------------------------

    def predict(self, expression: str, parameters: Mapping[str, Setting]) -> Floats:
        """Return expected counts per channel, background included."""
        parsed = parse(expression)
        values = resolve(complete(parsed, parameters, "parameters"), {})
        reply = self._counts({"do": "predict", "models": self._models(parsed, values)}, expression)
        return np.array(reply, dtype=np.float64)

    def fake(
        self,
        expression: str,
        parameters: Mapping[str, Setting],
        seed: int,
        dataset: str,
        indices: Sequence[int],
    ) -> tuple[DrawnCounts, dict[str, Floats]]:
        """Draw parameters, and let XSPEC draw Poisson counts, of the spectra with these indices.

        XSPEC's generator is seeded for every spectrum by seed, dataset and
        index. Its counts differ from those of the embedded engine, the
        parameters do not.

        Returns
        -------
        counts : ndarray of int32, shape (n_spectra, n_channels)
        truth : dict
            The true value of every parameter, each of shape (n_spectra,), and
            of every background factor if they scatter.
        """
        parsed = parse(expression)
        settings = complete(parsed, parameters, "parameters")
        scatters = {
            BACKGROUND + part.name: scatter_of(self.systematics, part.name)
            for part in self.components
        }
        counts = np.empty((len(indices), len(self.rmf.channel)), dtype=np.int32)
        truth: dict[str, list[float]] = {}
        for row, index in enumerate(indices):
            deviates = Deviates(seed, dataset, index)
            values = draw(settings, seed, dataset, index)
            factors = background_factors(scatters, deviates)
            told = measured(self.systematics.known, settings, values, deviates)
            for name, value in (values | factors | told).items():
                truth.setdefault(name, []).append(value)
            request = {
                "do": "fake",
                "models": self._models(parsed, values, [factors.get(n, 1.0) for n in scatters]),
                "seed": int(of_spectrum(seed, dataset, index, "xspec").integers(1, SEED_LIMIT)),
            }
            counts[row] = self._counts(request, f"spectrum {index} of {dataset}")
        return counts, {name: np.array(values) for name, values in truth.items()}

    def _counts(self, request: Mapping[str, Any], what: str) -> list[float]:
        try:
            counts: list[float] = self._ask(request, what)["counts"]
        except XspecCrash as crash:
            raise IcflowError(
                f"{what}: {crash}, twice; its model may be outside of what XSPEC can compute"
            ) from None
        except XspecError as error:
            raise IcflowError(f"{what}: {error}") from None
        return counts

    # --- fits -------------------------------------------------------------------------------

    def fit(
        self,
        model: FitModel,
        control: FitControl,
        counts: CountsByRow,
        truth: Mapping[str, Floats],
        at_truth: Sequence[str],
    ) -> Iterator[FitResult]:
        """Fit spectra one after the other; a bad one gives a flagged result.

        The norm of each background is a `constant` within its limits. Of
        several starting points the first is generic, or the `start` that the
        model gives; the others are drawn, the same for every spectrum. With the
        strategy ``seeded`` the embedded engine's minimum is the only one.

        Raises
        ------
        IcflowError
            After all fits, if something has killed XSPEC twice on a spectrum: that is no fault of
            the spectrum, and the next run tries it again.
        """
        # Energies that select nothing are an error of the configuration, not of every spectrum.
        noticed_channels(self.rmf.e_min, self.rmf.e_max, *control.energies)
        plan = Plan.of(model, control, at_truth, self.background_limits(control.background_range))
        seeds = self._seeds(model, control, counts, truth, at_truth)
        killed = 0
        for row, seed in zip(range(len(counts)), seeds, strict=False):
            fixed = {name: float(truth[name][row]) for name in at_truth}
            try:
                yield self._fit(plan, control, counts[row], fixed, seed, f"row {row}")
            except XspecCrash as crash:
                killed += isinstance(crash, XspecKilled)
                yield failed(plan, f"{crash}, twice on this spectrum")
            except NoXspecError:
                # No way to start again after a crash, or a model that this XSPEC does not know: the
                # rest is left for another try.
                raise
            except IcflowError as error:
                yield failed(plan, str(error))
        if killed:
            raise IcflowError(
                f"XSPEC was killed twice on {killed} of {len(counts)} spectra, as by a machine "
                "that is out of memory; the other fits are kept: give jobs more memory, or run "
                "fewer at once, and run again"
            )

    def background_limits(self, reach: Reach) -> dict[str, tuple[float, float]]:
        """Return the limits of the factor of each background; `reach` where its file says none."""
        return {BACKGROUND + part.name: part.limits(reach) for part in self.components}

    def _seeds(
        self,
        model: FitModel,
        control: FitControl,
        counts: CountsByRow,
        truth: Mapping[str, Floats],
        at_truth: Sequence[str],
    ) -> Iterator[FitResult | None]:
        """Return the embedded engine's fits where XSPEC starts from them, else None for each."""
        if control.strategy != "seeded":
            return itertools.repeat(None)
        control = control.model_copy(update={"errors": "hessian"})
        return iter(self._embedded.fit(model, control, counts, truth, at_truth))

    @cached_property
    def _embedded(self) -> Engine:
        """The engine whose minima XSPEC starts from.

        It is made through the registry: an edit to it is none of this one.
        """
        return make_engine("embedded", [self.module], self.atomic_data)

    def _fit(
        self,
        plan: Plan,
        control: FitControl,
        counts: Counts,
        fixed: Mapping[str, float],
        seed: FitResult | None,
        what: str,
    ) -> FitResult:
        rmf, (low, high) = self.rmf, control.energies
        check_counts(counts)
        if not np.any(counts[noticed_channels(rmf.e_min, rmf.e_max, low, high)] > 0):
            raise IcflowError("the spectrum has no counts in the energy range of the fit")
        bins, _ = grouped_selection(counts, rmf.e_min, rmf.e_max, low, high, control.group_min)
        pha = self.folder / "spectrum.pha"
        inputs.write_grouped(pha, counts, control.group_min, self.exposure, rmf)
        strategy = control.strategy
        if seed is not None and seed.status == "ok":
            plan = plan.seeded(seed)
        elif seed is not None:
            strategy = "thorough"
        settings = plan.settings_with(fixed)
        factors = [settings.pop(name) for name in self.factors]
        request = {
            "do": "fit",
            "pha": pha.name,
            "models": self._models(plan.expression, settings, factors),
            "energies": [low, high],
            "bins": len(bins),
            "iterations": control.max_iterations,
            "strategy": strategy,
            "starts": [list(start.values()) for start in plan.starts],
            "delta": control.delta if control.errors == "profile" else None,
        }
        fits = len(plan.starts) + 1
        if control.errors == "profile":
            fits += SEARCH * len(plan.bounds)
        return fit_result(plan, self._ask(request, what, fits), len(bins))
