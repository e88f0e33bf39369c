"""Stage: what one observation says about IC: whether it is there, how sure, how bright."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from astropy import units
from astropy.table import Table
from tqdm import tqdm

from icflow.engines.base import FitResult
from icflow.files import write_json
from icflow.models import inverse_compton
from icflow.models.expression import parse
from icflow.models.priors import Prior, Uniform
from icflow.models.scenario import at_source
from icflow.observation import fits as observed_fits
from icflow.observation import networks as observed_networks
from icflow.observation import scores as observed_scores
from icflow.observation import words as observed_words
from icflow.observation.fits import Check, Limits
from icflow.observation.scores import OBSERVED, REPLICAS
from icflow.observation.simulations import Fitter, Spectra, allowed, draw_each, goodness, replicas
from icflow.settings import ObserveSettings
from icflow.tables import rounded, write_table

STEPS = 10  # of the progress bar
CURVE = 41  # points of the profile of the IC flux
# A given redshift or column density is doubted when fitting it lowers C by more than this:
# 3.5 sigma for one parameter.
DOUBTFUL = 12.0
# What is checked, as models and as the configuration name it.
CHECKED = {"Redshift": "redshift", "nH": "nH"}
# No model describes a spectrum that fits worse than all but this fraction of the replicas.
UNFIT = 0.005
DIGITS = 6  # of numbers that are drawn


def run(
    settings: ObserveSettings, output: Path, networks: Mapping[str, Path] = MappingProxyType({})
) -> str:
    """Analyse one observation, write what is found and return the verdict.

    ``summary.json`` holds the verdict and the numbers behind it,
    ``spectrum.ecsv`` the spectrum with the best fits, ``simulations.ecsv`` the
    simulated spectra with their fits and scores, ``profile.ecsv`` C against the
    flux of IC.

    Parameters
    ----------
    networks : mapping of str to path
        What `icflow.observation.networks.run` wrote for each network of the detectors.

    Raises
    ------
    IcflowError
        If an input is missing or cannot be used, or a fit is impossible.
    """
    analysis = _Analysis(settings, networks)
    summary = analysis.run()
    write_table(output / "spectrum.ecsv", analysis.spectrum())
    write_table(output / "simulations.ecsv", analysis.simulations())
    write_table(output / "profile.ecsv", analysis.profile)
    write_json(output / "summary.json", summary)
    return str(summary["verdict"])


class _Analysis:
    """The analysis of one observation, step by step."""

    def __init__(self, settings: ObserveSettings, networks: Mapping[str, Path]) -> None:
        self.networks = networks
        observed_scores.check(settings)
        self.settings = settings
        self.observe, self.observation = settings.observe, settings.observation
        self.modules, self.engine = observed_fits.open_source(settings)
        self.models = {
            name: at_source(model, self.observation.redshift, self.observation.nH)
            for name, model in settings.models.items()
        }
        self.norm = f"{self.observe.ic}.norm"
        self.spectra: dict[str, Spectra] = {}
        self.goodness: dict[str, float] = {}
        self.fits: dict[str, FitResult] = {}
        self.intervals: dict[str, dict[str, tuple[float, float]]] = {}
        self.scores: dict[str, observed_scores.Score] = {}
        self.profile = Table()

    def run(self) -> dict[str, Any]:
        """Do everything and return the summary."""
        observe = self.observe
        with tqdm(desc=self.settings.name, total=STEPS, unit=" steps", mininterval=2) as progress:

            def done(what: str) -> None:
                progress.set_postfix_str(what)
                progress.update()

            self.fits = observed_fits.best_fits(self.engine, self.models)
            done("fits")
            self.intervals = {
                name: observed_fits.intervals_90(self.engine, self.models[name], fit)
                for name, fit in self.fits.items()
            }
            done("errors")
            limits = {
                name: observed_fits.limits(
                    self.engine,
                    self.models[name],
                    self.fits[name],
                    self.norm,
                    observe.simulations,
                    self.settings.seed,
                    self._key(name, "limits"),
                )
                for name in (observe.both, observe.with_ic)
            }
            self.profile = self._profile(limits[observe.both])
            done("limits")
            checks = self._checks()
            done("checks")
            fitter = self._fitter(limits[observe.both])
            self.spectra[OBSERVED] = fitter.fit(self.engine.counts[None])
            for name in self.models:
                self._simulate(fitter, name, limits[observe.with_ic])
                done(f"simulations of {name}")
            tables = {
                network: observed_networks.scores(
                    score, self.networks[network], self.modules, self.spectra, observe
                )
                for network, score in self.settings.networks.items()
            }
            self.scores = observed_scores.judge(observe, self.spectra, self.settings.seed, tables)
            done("scores")
            progress.update(STEPS - progress.n)
        return self._summary(limits, checks)

    # --- steps ---------------------------------------------------------------------------

    def _profile(self, limits: Limits) -> Table:
        """Return C against the IC flux, from 0 to beyond its 3 sigma limit."""
        model = self.models[self.observe.both]
        norms = np.linspace(limits.lowest, 1.25 * limits.upper_3_sigma, CURVE)
        cstat = observed_fits.profile(self.engine, model, self.norm, norms)
        lowest = min(float(np.nanmin(cstat)), self.fits[self.observe.both].cstat)
        table = Table({"norm": norms, "flux": norms * self._flux_per_norm(self.observe.both)})
        table["flux"].unit = units.erg / units.cm**2 / units.s
        table["delta_cstat"] = cstat - lowest
        table.meta.update(model=self.observe.both, energies=list(self.observe.ic_energies))
        return table

    def _flux_per_norm(self, name: str) -> float:
        expression = parse(self.models[name].expression)
        term = next(term for term in expression.terms if term.additive.name == self.observe.ic)
        values = self.fits[name].values
        return inverse_compton.energy_flux(term.additive, values, *self.observe.ic_energies)

    def _checks(self) -> dict[str, list[Check]]:
        """Return what each spectrum says about redshift and column density.

        It is asked by itself, with the better of the two models.
        """
        names = (self.observe.thermal, self.observe.with_ic)
        model = self.models[min(names, key=lambda name: self.fits[name].cstat)]
        found = {}
        for module in self.modules:
            engine = observed_fits.engine_for(self.settings, [module])
            (fit,) = engine.fit(model)
            checks = [observed_fits.check_given(engine, model, fit, k) for k in CHECKED]
            found[module.name] = [check for check in checks if check is not None]
        return found

    def _key(self, name: str, what: str = "") -> str:
        """Return what keys the random numbers of a kind of spectra simulated with a model."""
        return "/".join(["observations", self.settings.name, name, *([what] if what else [])])

    def _fitter(self, limits: Limits) -> Fitter:
        faint = limits.interval_68[1] - limits.best
        return Fitter(self.engine, self.observe, self.models, self.norm, faint)

    def _simulate(self, fitter: Fitter, name: str, limits: Limits) -> None:
        """Simulate and fit spectra of a model, as many kinds of them as it plays parts."""
        observe, seed, model = self.observe, self.settings.seed, self.models[name]
        counts = replicas(
            self.engine, model, self.fits[name], observe.simulations, seed,
            self._key(name, "replicas"),
        )  # fmt: skip
        if name == observe.thermal:
            truth = [self.fits[name].values] * len(counts)
            self.spectra[REPLICAS] = fitter.fit(counts, truth)
            fits = self.spectra[REPLICAS].fits[name]
        else:
            fits = self.engine.fit(model, counts)
        self.goodness[name] = goodness(self.fits[name], fits)
        if name in (observe.thermal, observe.with_ic):
            priors = self._priors(name, limits)
            key = self._key(name)
            truth = allowed(self.engine, model, counts, fits, priors, seed, key)
            self.spectra[name] = fitter.fit(draw_each(self.engine, model, truth, seed, key), truth)

    def _priors(self, name: str, limits: Limits) -> dict[str, Prior]:
        """Return what is drawn for the simulated spectra of a model, instead of fitted."""
        priors = dict(self.observation.priors.get(name, {}))
        if name == self.observe.with_ic and self.norm not in priors:
            priors[self.norm] = Uniform(uniform=list(limits.interval_3_sigma))
        return priors

    # --- results ---------------------------------------------------------------------------

    def _summary(
        self,
        limits: Mapping[str, Limits],
        checks: Mapping[str, Sequence[Check]],
    ) -> dict[str, Any]:
        settings, observe = self.settings, self.observe
        decides = self.scores[observe.decides]
        # No model: one that neither 2T, nor 1T+IC, nor both together describes.
        fitted = max(
            self.goodness[name] for name in (observe.thermal, observe.with_ic, observe.both)
        )
        detected = decides.false_alarm < observe.false_alarm
        fluxes = {name: self._flux(name, found) for name, found in limits.items()}
        gain = float(max(self.spectra[OBSERVED].added[0], 0.0))
        summary: dict[str, Any] = {
            "name": settings.name,
            "verdict": "",
            "decision": "no model fits" if fitted < UNFIT else "IC" if detected else "no IC",
            "false_alarm": decides.false_alarm,
            "false_alarm_limit": observe.false_alarm,
            "ic_added": {"delta_cstat": gain},
            "ic_flux": {"model": observe.both, **fluxes[observe.both]},
            "ic_flux_by_model": fluxes,
            "magnetic_field": self._field(fluxes[observe.both]),
            "cstat": {name: fit.cstat for name, fit in self.fits.items()},
            "fits": {name: self._fit(name) for name in self.fits},
            "detectors": {name: score.as_json() for name, score in self.scores.items()},
            "checks": [
                self._check(name, check) for name, found in checks.items() for check in found
            ],
            "observation": self._inputs(),
            "models": {role: getattr(observe, role) for role in ("thermal", "with_ic", "both")}
            | {"ic": observe.ic},
            "simulations": observe.simulations,
            "seed": settings.seed,
            "versions": self.engine.versions(),
        }
        summary["warnings"] = observed_words.warnings(summary)
        summary["verdict"] = observed_words.verdict(summary)
        return summary

    def _flux(self, name: str, limits: Limits) -> dict[str, Any]:
        scale = self._flux_per_norm(name)
        lower_68, upper_68 = limits.interval_68
        lower_90, upper_90 = limits.interval_90
        return {
            "energies": list(self.observe.ic_energies),
            "unit": "erg/cm^2/s",
            "value": limits.best * scale,
            "interval_68": [lower_68 * scale, upper_68 * scale],
            "interval_90": [lower_90 * scale, upper_90 * scale],
            "upper_limit_90": limits.upper_90 * scale,
            "upper_limit_3_sigma": limits.upper_3_sigma * scale,
            "rise_of_cstat": {"90": limits.rise_90, "3_sigma": limits.rise_3_sigma},
            "norm": limits.best,
        }

    def _field(self, flux: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the magnetic field that radio emission and the IC flux imply."""
        radio, (low, high) = self.observation.radio, self.observe.ic_energies
        if radio is None:
            return None

        def field(ic: float) -> float | None:
            value = inverse_compton.magnetic_field(
                radio, ic, (low, high), self.observation.redshift
            )
            return value if math.isfinite(value) else None

        return {
            "unit": "uG",
            "value": field(flux["value"]),
            "lower_limit_90": field(flux["upper_limit_90"]),
            "lower_limit_3_sigma": field(flux["upper_limit_3_sigma"]),
        }

    def _fit(self, name: str) -> dict[str, Any]:
        fit, declared = self.fits[name], parse(self.models[name].expression).parameters
        at_limit = set(fit.at_bound)

        def interval(parameter: str) -> list[float | None] | None:
            ends = self.intervals[name].get(parameter)
            if ends is None:
                return None
            low, high = self.engine.range_of(self.models[name], parameter)
            return [None if ends[0] <= low else ends[0], None if ends[1] >= high else ends[1]]

        return {
            "expression": self.models[name].expression,
            "cstat": fit.cstat,
            "dof": fit.dof,
            "bins": fit.bins,
            "converged": fit.converged,
            "goodness": self.goodness[name],
            "parameters": {
                parameter: {
                    "value": value,
                    "error": fit.errors[parameter] if fit.errors[parameter] > 0 else None,
                    "interval_90": interval(parameter),
                    "unit": declared[parameter].unit if parameter in declared else "",
                    "free": parameter in fit.free,
                    "at_limit": parameter in at_limit,
                }
                for parameter, value in fit.values.items()
            },
        }

    def _check(self, spectrum: str, check: Check) -> dict[str, Any]:
        return {
            "parameter": CHECKED[check.kind],
            "spectrum": spectrum,
            "given": check.given,
            "best": check.best,
            "error": check.error if math.isfinite(check.error) else None,
            "delta_cstat": check.delta_cstat,
            "doubtful": check.delta_cstat > DOUBTFUL,
        }

    def _inputs(self) -> dict[str, Any]:
        observation = self.observation
        return {
            "spectra": [
                {
                    "name": module.name,
                    "file": module.spectrum.path,
                    "rmf": str(module.rmf),
                    "arf": None if module.arf is None else str(module.arf),
                    "background": None if module.background is None else str(module.background),
                    "exposure": module.spectrum.exposure,
                    "telescope": module.spectrum.telescope,
                    "instrument": module.spectrum.instrument,
                }
                for module in self.modules
            ],
            "redshift": observation.redshift,
            "nH": observation.nH,
            "energies": list(self.settings.energies),
            "counts": int(self.engine.counts[self.engine.used_channels()].sum()),
            "bins": self.engine.n_bins,
        }

    # --- tables ------------------------------------------------------------------------------

    def spectrum(self) -> Table:
        """Return the fitted channels with the expected counts of every component.

        Columns ``module, energy_lo, energy_hi`` (keV), ``counts``; for each of the two
        models ``MODEL/TERM`` and ``MODEL/background.NAME`` (counts), and
        ``MODEL/unfolded/TERM``: energy² × photons/cm²/s/keV.
        """
        used = self.engine.used_channels()
        edges = self.engine.energies[used]
        table = Table({"module": self.engine.module[used]})
        table["energy_lo"], table["energy_hi"] = edges.T
        table["counts"] = self.engine.counts[used]
        for name in (self.observe.thermal, self.observe.with_ic):
            model, values = self.models[name], self.fits[name].values
            for component, row in self.engine.components(model, values).items():
                table[f"{name}/{component}"] = rounded(row[used], DIGITS)
            for component, row in self.engine.unfolded(model, values).items():
                table[f"{name}/unfolded/{component}"] = rounded(row[used], DIGITS)
        for column in ("energy_lo", "energy_hi"):
            table[column].unit = units.keV
        table.meta["exposure"] = {m.name: m.spectrum.exposure for m in self.modules}
        table.meta["ic"] = self.observe.ic
        return table

    def simulations(self) -> Table:
        """Return one row per simulated spectrum: model, set, truth, C of each fit, scores.

        The set is ``replicas`` (of the best fit) or ``allowed`` (by the observed spectrum).
        """
        observe = self.observe
        tables = []
        for name, model in (
            (REPLICAS, observe.thermal),
            (observe.thermal, observe.thermal),
            (observe.with_ic, observe.with_ic),
        ):
            one = self.spectra[name]
            table = Table({"model": [model] * len(one)})
            table["set"] = REPLICAS if name == REPLICAS else "allowed"
            table["index"] = np.arange(len(one))
            for key in one.truth[0]:
                table[f"truth.{key}"] = rounded([truth[key] for truth in one.truth], DIGITS)
            for role, fits in one.fits.items():
                table[f"cstat.{role}"] = rounded([fit.cstat for fit in fits], DIGITS)
            for detector, score in self.scores.items():
                table[f"score.{detector}"] = rounded(score.scores[name], DIGITS)
                table[f"excess.{detector}"] = rounded(score.excess[name], DIGITS)
            tables.append(table)
        return _stacked(tables)


def _stacked(tables: Sequence[Table]) -> Table:
    """Join tables; numbers that one of them lacks are NaN."""
    names = list(dict.fromkeys(name for table in tables for name in table.colnames))
    lacking = [np.full(len(table), math.nan) for table in tables]
    return Table(
        {
            name: np.concatenate(
                [t[name] if name in t.colnames else e for t, e in zip(tables, lacking, strict=True)]
            )
            for name in names
        }
    )
