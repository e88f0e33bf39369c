"""Whether spectra hold enough counts for a bin, found out without an engine.

Counts of a source are its photons times the area and the part of the matrix that leads into
the fitted channels, so that no matrix is folded: what takes seconds to import is not needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from icflow.config import Config, FitControl, Module
from icflow.detection.detectors import fits_made
from icflow.errors import IcflowError
from icflow.models import library
from icflow.models.background import read_background
from icflow.models.expression import Expression, parse
from icflow.models.photons import term_photons
from icflow.models.priors import Prior
from icflow.models.scenario import Setting, complete, draw, resolve
from icflow.models.systematics import scatter_of
from icflow.ogip.noticed import noticed_channels
from icflow.ogip.response import Arf, Rmf
from icflow.typing import Booleans, Floats

# A source in the middle of its priors that has as many times what a bin needs is bright enough.
AMPLE = 10.0
# Spectra whose parameters are drawn where it has not, and how much brighter others may be.
DRAWN, BRIGHTER = 20, 3.0
# What varies is not taken to be off by more, in standard deviations.
SIGMAS = 5.0
# A dataset is refused if one of its spectra has a bin with less than this probability.
UNLIKELY = 1e-6


@dataclass(frozen=True)
class Sight:
    """What a module makes of photons.

    Attributes
    ----------
    key : str
        Of the module, in the configuration.
    area : ndarray, shape (n_energies,)
        Effective area, cm².
    limits : list of float
        Energies of the fits, keV.
    group_min : int
        Counts of a bin.
    """

    key: str
    module: Module
    rmf: Rmf
    area: Floats
    limits: list[float]
    group_min: int

    @classmethod
    def of(cls, key: str, module: Module, rmf: Rmf, arf: Arf | None, fits: FitControl) -> Sight:
        """Join what belongs to a module, once it is known to have channels at the energies."""
        noticed_channels(rmf.e_min, rmf.e_max, *fits.energies)
        area = np.ones(len(rmf.energy_lo)) if arf is None else arf.area
        return cls(key, module, rmf, area, fits.energies, fits.group_min)

    @cached_property
    def noticed(self) -> Booleans:
        """The channels that are fitted."""
        return noticed_channels(self.rmf.e_min, self.rmf.e_max, *self.limits)

    @property
    def filling(self) -> Booleans:
        """The channels whose counts can fill a bin.

        What is left over at the end is a bin if it begins inside: where another one ended.
        """
        return np.asarray(self.noticed | self.noticed[-1])

    @property
    def least(self) -> int:
        """Counts without which there is no bin; with every channel, one holds whatever there is."""
        return 1 if self.noticed.all() else max(self.group_min, 1)

    @cached_property
    def nearly(self) -> Floats:
        """Counts of a photon/cm², cm², as if each were at the energy of its photon."""
        if self.module.arf is None:  # The matrix holds the area.
            return self.counted
        low, high = self.limits
        return self.area * ((self.rmf.energy_lo >= low) & (self.rmf.energy_hi <= high))

    @cached_property
    def counted(self) -> Floats:
        """Counts of a photon/cm², cm², in the channels that can fill a bin; takes a while."""
        return self.area * self.rmf.into(self.filling)

    def source(self, expression: Expression, values: Mapping[str, float], counted: Floats) -> float:
        """Return the counts/s of a source, given those of its photons."""
        wide = self.rmf.energy_hi > self.rmf.energy_lo
        energies = np.append(self.rmf.energy_lo[wide], self.rmf.energy_hi[-1])
        rate = 0.0
        for term in expression.terms:
            photons = term_photons(term, values, energies)
            rate += values[f"{term.additive.name}.norm"] * float(photons @ counted[wide])
        return rate

    def background(self) -> float:
        """Return the counts/s of the brightest background."""
        if self.module.background is None:
            return 0.0
        # What folds takes long to import, and only what is faint is asked for its background.
        from icflow.engines.embedded.folding import fold_background, load_response

        response = load_response(self.module.rmf, self.module.arf)
        return sum(
            float(fold_background(part, response)[self.filling].sum())
            * math.exp(SIGMAS * scatter_of(self.module.systematics, part.name))
            for part in read_background(self.module.background)
        )

    @property
    def brighter(self) -> float:
        """How much brighter factor and area can make a source."""
        factor = self.module.cross_normalisation
        area = max((scatter for _, scatter in self.module.systematics.area or ()), default=0.0)
        highest = factor.bounds[1] if isinstance(factor, Prior) else factor
        return highest * math.exp(SIGMAS * area)


def check(config: Config, sights: Sequence[Sight]) -> None:
    """Check that every dataset that is fitted can have a spectrum with a bin in every module.

    What cannot be told, because a model cannot be evaluated here, is left to the fits.

    Raises
    ------
    IcflowError
        If no spectrum of one has, as good as certainly.
    """
    rates = _Rates(config)
    for name in _fitted(config):
        dataset = config.datasets[name]
        for sight in sights:
            exposure = dataset.exposure or sight.module.exposure
            try:
                if rates.typical(name, sight) * exposure >= AMPLE * sight.least:
                    continue
                most = rates.highest(name, sight) * exposure
            except IcflowError:
                continue
            if dataset.size * _chance(most, sight.least) < UNLIKELY:
                raise IcflowError(_too_few(config, name, sight, most))
    _check_training(config, sights, rates)


def _check_training(config: Config, sights: Sequence[Sight], rates: _Rates) -> None:
    """Check that networks learn from spectra of a source, not of the background alone."""
    name = config.detection.training
    dataset, counts = config.datasets[name], 0.0
    for sight in sights:
        exposure = dataset.exposure or sight.module.exposure
        try:
            if rates.typical(name, sight) * exposure >= AMPLE:
                return
            counts += rates.brightest(name, sight) * exposure
        except IcflowError:
            return
    if counts < 1:
        low, high = config.fits.energies
        raise IcflowError(
            f"datasets.{name}, which the networks learn from, has no spectrum with a count of its "
            f"source between {low:g} and {high:g} keV, so that they would learn the background "
            f"alone; raise the norms, there or in scenarios.{dataset.scenario}, or the exposure"
        )


def _fitted(config: Config) -> list[str]:
    """Return the datasets whose spectra are fitted."""
    names = [name for name, _ in fits_made(config)]
    return list(dict.fromkeys([config.detection.training, *names]))


def _chance(expected: float, least: int) -> float:
    """Return what the probability of so many counts is at most (Chernoff's bound)."""
    if expected >= least:
        return 1.0
    if expected <= 0:
        return 0.0
    return math.exp(least - expected + least * math.log(expected / least))


class _Rates:
    """Counts/s of the spectra of datasets; what only the scenario decides is found once."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.found: dict[tuple[str, str, str], float] = {}

    def typical(self, dataset: str, sight: Sight) -> float:
        """Return the rate of a source in the middle of its priors."""
        return self._once("typical", dataset, sight, lambda: self._middle(dataset, sight))

    def highest(self, dataset: str, sight: Sight) -> float:
        """Return a rate that no spectrum exceeds, background included."""
        source = self.brightest(dataset, sight)
        return source + self._once("background", dataset, sight, sight.background)

    def brightest(self, dataset: str, sight: Sight) -> float:
        """Return a rate that no source exceeds, background left out."""
        return self._once("brightest", dataset, sight, lambda: self._brightest(dataset, sight))

    def _once(self, kind: str, dataset: str, sight: Sight, find: Callable[[], float]) -> float:
        key = kind, self.config.simulated(dataset).model_dump_json(), sight.key
        if key not in self.found:
            library.configure(self.config.atomic_data)
            self.found[key] = find()
        return self.found[key]

    def _middle(self, dataset: str, sight: Sight) -> float:
        expression, settings = self._model(dataset)
        return sight.source(expression, _at(settings, 0.5), sight.nearly)

    def _brightest(self, dataset: str, sight: Sight) -> float:
        expression, settings = self._model(dataset)
        keys = [(self.config.seed, self.config.source(dataset), row) for row in range(DRAWN)]
        values = [draw(settings, *key) for key in keys] + [_at(settings, 1.0)]
        source = max(sight.source(expression, each, sight.counted) for each in values)
        return source * BRIGHTER * sight.brighter

    def _model(self, dataset: str) -> tuple[Expression, dict[str, Setting]]:
        scenario = self.config.simulated(dataset)
        expression = parse(scenario.expression)
        return expression, complete(expression, scenario.parameters, "parameters")


def _at(settings: Mapping[str, Setting], probability: float) -> dict[str, float]:
    """Return the parameters at a quantile of all their priors."""
    priors = {name: s for name, s in settings.items() if isinstance(s, Prior)}
    return resolve(settings, {n: float(p.quantile(probability)) for n, p in priors.items()})


def _too_few(config: Config, name: str, sight: Sight, most: float) -> str:
    """Say what leaves no bin of the spectra of a dataset."""
    dataset = config.datasets[name]
    key = f"{sight.key}.exposure" if dataset.exposure is None else f"datasets.{name}.exposure"
    exposure, (low, high) = dataset.exposure or sight.module.exposure, config.fits.energies
    of = f" of {sight.module.name}" if sight.module.name else ""
    if sight.least == 1:
        return (
            f"{key} is {exposure:g} s, in which no spectrum{of} of the dataset {name!r} has a "
            f"count between {low:g} and {high:g} keV; raise it"
        )
    return (
        f"fits.group_min is {sight.least}, and in {exposure:g} s no spectrum{of} of the dataset "
        f"{name!r} has more than {math.ceil(most)} counts between {low:g} and {high:g} keV, so "
        f"that no bin is left of any; lower it, or raise {key}"
    )
