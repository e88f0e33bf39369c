"""What one observation says about IC: whether it is there, how sure, how bright."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from icflow.engines.base import FitResult
from icflow.files import write_json
from icflow.layout import PROFILE, SIMULATIONS, SPECTRUM, SUMMARY, network_of, ratio_of
from icflow.models import inverse_compton
from icflow.models.expression import parse
from icflow.models.priors import Prior, Uniform
from icflow.models.scenario import at_source
from icflow.observation import fits as observed_fits
from icflow.observation import networks as observed_networks
from icflow.observation import scores as observed_scores
from icflow.observation import tables, words
from icflow.observation.fits import CHECKED, Check, Limits, Profile
from icflow.observation.ratios import Estimator
from icflow.observation.scores import OBSERVED, REPLICAS
from icflow.observation.simulations import (
    Draws,
    FittedSpectra,
    ModelFitter,
    allowed,
    draw_each,
    goodness,
    replicas,
)
from icflow.observation.summary import summarise
from icflow.ogip.observation import statistic_of
from icflow.settings import ObserveSettings
from icflow.tables import write_table

CURVE = 41  # points of the profile of the IC flux


class TrainedFolders(NamedTuple):
    """Folders of what was trained for an observation, by name.

    Attributes
    ----------
    networks : mapping of str to path
        What `icflow.observation.networks.run` wrote for each network of the detectors.
    ratios : mapping of str to path
        What `icflow.observation.ratios.run` wrote for each likelihood ratio of the detectors.
    """

    networks: Mapping[str, Path] = MappingProxyType({})
    ratios: Mapping[str, Path] = MappingProxyType({})

    @classmethod
    def within(cls, observation: Path, settings: ObserveSettings) -> TrainedFolders:
        """Return those within the folder of an observation."""
        return cls(
            {name: network_of(observation, name) for name in settings.networks},
            {name: ratio_of(observation, name) for name in settings.ratios},
        )


NOTHING = TrainedFolders()


class IfRight(NamedTuple):
    """What the model with both says of IC if nothing is wrong with calibration and background.

    Attributes
    ----------
    fit : FitResult
    limits : Limits
    goodness : float
        As of `Analysis`, among spectra simulated with this fit and fitted alike.
    """

    fit: FitResult
    limits: Limits
    goodness: float


def run(settings: ObserveSettings, output: Path, trained: TrainedFolders = NOTHING) -> str:
    """Analyse one observation, write what is found and return the verdict with its warnings.

    ``summary.json`` holds the verdict and the numbers behind it,
    ``spectrum.ecsv`` the spectrum with the best fits, ``simulations.ecsv`` the
    simulated spectra with their fits and scores, ``profile.ecsv`` C against the
    flux of IC.

    Raises
    ------
    IcflowError
        If an input is missing or cannot be used, or a fit is impossible.
    """
    analysis = Analysis(settings, trained)
    analysis.run()
    summary = summarise(analysis)
    write_table(output / SPECTRUM, tables.spectrum(analysis))
    write_table(output / SIMULATIONS, tables.simulations(analysis))
    write_table(output / PROFILE, tables.profile(analysis))
    write_json(output / SUMMARY, summary)
    return words.printed(summary)


class Analysis:
    """The analysis of one observation, step by step.

    Attributes
    ----------
    models : dict of FitModel
        Those that are fitted, at the redshift and column density of the source.
    norm : str
        The norm of the component that is the IC emission.
    fits, intervals, goodness : dict
        The best fit of each model, its 90 % intervals, and how many spectra
        simulated with it fit no better (`goodness`).
    limits : dict of Limits
        On `norm` in the models with IC.
    if_right : IfRight or None
        None where nothing is said to be wrong.
    curve : tuple of ndarray, shape (CURVE,)
        Norms of IC, and C there.
    checks : dict of list of Check
        By the name of the spectrum.
    ratios : dict of Estimator
        Of likelihood ratios, by name.
    spectra : dict of FittedSpectra
        As `icflow.observation.scores.judge` takes them.
    scores : dict of Score
    """

    def __init__(self, settings: ObserveSettings, trained: TrainedFolders) -> None:
        observed_scores.check_detectors(settings)
        self.networks = trained.networks
        self.settings = settings
        self.observe, self.observation = settings.observe, settings.observation
        self.modules, self.engine = observed_fits.open_source(settings, self.observe.systematics)
        self.models = {
            name: at_source(model, self.observation.redshift, self.observation.nH)
            for name, model in sorted(settings.models.items())
        }
        self.norm = f"{self.observe.ic}.norm"
        self.ratios = {
            name: Estimator(own, settings, self.engine, trained.ratios[name])
            for name, own in settings.ratios.items()
        }
        self.fits: dict[str, FitResult] = {}
        self.intervals: dict[str, dict[str, tuple[float, float]]] = {}
        self.goodness: dict[str, float] = {}
        self.limits: dict[str, Limits] = {}
        self.if_right: IfRight | None = None
        self.curve = np.empty(0), np.empty(0)
        self.checks: dict[str, list[Check]] = {}
        self.spectra: dict[str, FittedSpectra] = {}
        self.scores: dict[str, observed_scores.Score] = {}

    def run(self) -> None:
        """Take all steps, with a bar that shows them."""
        steps: dict[str, Callable[[], None]] = {
            "fits": self._fit,
            "errors": self._find_intervals,
            "limits": self._find_limits,
            "checks": self._check_given,
            **{f"simulations of {name}": partial(self._simulate, name) for name in self.models},
            "scores": self._score,
        }
        with tqdm(
            desc=self.settings.name, total=len(steps), unit=" steps", mininterval=2
        ) as progress:
            for name, step in steps.items():
                step()
                progress.set_postfix_str(name)
                progress.update()

    @property
    def statistic(self) -> str:
        """Its name: W for spectra with background spectra, C for others."""
        return statistic_of(self.modules)

    def flux_per_norm(self, name: str) -> float:
        """Return the flux of IC in a model for norm 1, erg/cm²/s."""
        expression = parse(self.models[name].expression)
        term = next(term for term in expression.terms if term.additive.name == self.observe.ic)
        values = self.fits[name].values
        return inverse_compton.energy_flux(term.additive, values, *self.observe.ic_energies)

    # --- steps ---------------------------------------------------------------------------

    def _fit(self) -> None:
        for ratio in self.ratios.values():
            ratio.check_spectrum(self.engine.counts[None])
        if self.observe.systematics is not None:
            self.engine = self.engine.settling(self.models[self.observe.both])
        self.fits = observed_fits.best_fits(self.engine, self.models)

    def _find_intervals(self) -> None:
        self.intervals = {
            name: observed_fits.intervals_90(self.engine, self.models[name], fit)
            for name, fit in self.fits.items()
        }

    def _find_limits(self) -> None:
        """Find limits of the IC flux, and C against it, from 0 to beyond its 3 sigma limit."""
        observe = self.observe
        profiles = {
            name: Profile(self.engine, self.models[name], self.norm)
            for name in (observe.both, observe.with_ic)
        }
        self.limits = {
            name: profile.limits(self.fits[name], observe.simulations, self._draws(name, "/limits"))
            for name, profile in profiles.items()
        }
        if self.observe.systematics is not None:
            self.if_right = self._if_right(observe.both)
        limits = self.limits[observe.both]
        norms = np.linspace(limits.lowest, 1.25 * limits.upper["3_sigma"], CURVE)
        self.curve = norms, profiles[observe.both].at(norms)
        self.spectra[OBSERVED] = self._fitter().fit(self.engine.counts[None])

    def _if_right(self, name: str) -> IfRight:
        """Fit a model by the files, and ask whether that fit is good enough to say anything."""
        engine, model, number = self.engine.right(), self.models[name], self.observe.simulations
        fit = observed_fits.best_fit(engine, name, model)
        limits = Profile(engine, model, self.norm).limits(fit, number, self._draws(name, "/limits"))
        counts = replicas(engine, model, fit, number, self._draws(name, "/replicas"))
        return IfRight(fit, limits, goodness(fit, engine.fit(model, counts)))

    def _check_given(self) -> None:
        """Ask each spectrum by itself about what is given, with the better of the two models."""
        names = (self.observe.thermal, self.observe.with_ic)
        better = min(names, key=lambda name: self.fits[name].cstat)
        model = self.models[better]
        for module in self.modules:
            engine = observed_fits.engine_for(self.settings, [module])
            if self.engine.settles:
                engine = engine.calibrated_as(self.engine, self.fits[better].values)
            (fit,) = engine.fit(model)
            checks = [observed_fits.check_given(engine, model, fit, kind) for kind in CHECKED]
            self.checks[module.name] = [check for check in checks if check is not None]

    def _simulate(self, name: str) -> None:
        """Simulate and fit spectra of a model, as many kinds of them as it plays parts."""
        observe, model, fitter = self.observe, self.models[name], self._fitter()
        draws = self._draws(name, "/replicas")
        counts = replicas(self.engine, model, self.fits[name], observe.simulations, draws)
        if name == observe.thermal:
            truth = [self.fits[name].values] * len(counts)
            self.spectra[REPLICAS] = fitter.fit(counts, truth)
            fits = self.spectra[REPLICAS].fits[name]
        else:
            fits = self.engine.fit(model, counts)
        self.goodness[name] = goodness(self.fits[name], fits)
        if name in (observe.thermal, observe.with_ic):
            draws = self._draws(name)
            truth = allowed(self.engine, model, counts, fits, self._priors(name), draws)
            self.spectra[name] = fitter.fit(draw_each(self.engine, model, truth, draws), truth)

    def _score(self) -> None:
        scores = {
            network: observed_networks.scores(
                self.settings, network, folder, self.modules, self.spectra
            )
            for network, folder in self.networks.items()
        }
        ratios = {
            ratio: {name: own.table(spectra.counts) for name, spectra in self.spectra.items()}
            for ratio, own in self.ratios.items()
        }
        self.scores = observed_scores.judge(
            self.observe, self.spectra, self.settings.seed, scores, ratios
        )

    def _draws(self, name: str, what: str = "") -> Draws:
        """Return the random numbers of a kind of spectra simulated with a model."""
        return Draws.for_source(self.settings, f"{name}{what}")

    def _fitter(self) -> ModelFitter:
        limits = self.limits[self.observe.both]
        faint = limits.intervals["68"][1] - limits.best
        return ModelFitter(self.engine, self.observe, self.models, self.norm, faint)

    def _priors(self, name: str) -> dict[str, Prior]:
        """Return what is drawn for the simulated spectra of a model, instead of fitted."""
        priors = dict(self.observation.priors.get(name, {}))
        if name == self.observe.with_ic and self.norm not in priors:
            priors[self.norm] = Uniform(uniform=list(self.limits[name].intervals["3_sigma"]))
        return priors
