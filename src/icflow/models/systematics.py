"""Systematics of one spectrum: what is drawn, and what is wrong with what an analysis is told.

Every deviation has a generator of its own, so turning one on leaves the others as they were.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from icflow.config import Link, Systematics
from icflow.config.systematics import ByComponent
from icflow.errors import IcflowError, did_you_mean
from icflow.models.priors import Prior
from icflow.models.scenario import Setting
from icflow.seeds import of_spectrum
from icflow.typing import Floats

# Starts of the names of what is recorded beside the true parameters.
AREA = "area."
GAIN = "gain."
KNOWN = "known."


class Deviates:
    """Standard normal deviates of one spectrum, by what they are for."""

    def __init__(self, seed: int, dataset: str, index: int) -> None:
        self.key = seed, dataset, index

    def __getitem__(self, name: str) -> float:
        from scipy.special import ndtri  # slow to import, and most know all there is

        return float(ndtri(self.probability(name)))

    def probability(self, name: str) -> float:
        """Return a number between 0 and 1, all equally likely."""
        return of_spectrum(*self.key, name).random()


def scatter_of(systematics: Systematics, component: str) -> float:
    """Return the relative scatter of the norm of a background component."""
    background = systematics.background
    return background.get(component, 0.0) if isinstance(background, Mapping) else background


def check_components(key: str, given: ByComponent, components: Sequence[str]) -> None:
    """Check that the background has the components that a key names.

    Raises
    ------
    IcflowError
    """
    for name in given if isinstance(given, Mapping) else ():
        if not components:
            raise IcflowError(
                f"{key} names {name!r}, and no description of the background has components; "
                "leave it out, or describe the background"
            )
        if name not in components:
            raise IcflowError(
                f"{key} names {name!r}, which the background does not have; allowed: "
                f"{', '.join(components)}{did_you_mean(name, components)}"
            )


def background_factors(
    scatters: Mapping[str, float],
    deviates: Deviates | Mapping[str, float],
    common: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, float]:
    """Return the factors of the background norms of one spectrum.

    They are log-normal, with mean 1 and the given standard deviations: a norm
    stays positive however large its scatter, on average the background is the
    given one, and a small scatter is as good as Gaussian.

    Parameters
    ----------
    scatters : mapping
        By the names of the factors, ``background.NAME``; those of 0 are left out.
    common : mapping, optional
        The deviates of factors that share them with others; those of others have their names.
    """
    spreads = {name: math.sqrt(math.log1p(s**2)) for name, s in scatters.items() if s > 0}
    return {
        name: math.exp(s * deviates[common.get(name, name)] - s**2 / 2)
        for name, s in spreads.items()
    }


def background_deviates(scatters: Mapping[str, float], common: Mapping[str, str]) -> list[str]:
    """Return the names of the deviates that `background_factors` reads."""
    names = [common.get(name, name) for name, scatter in scatters.items() if scatter > 0]
    return list(dict.fromkeys(names))


def norms_in_common(scatters: Mapping[str, float], common: Mapping[str, str]) -> dict[str, str]:
    """Return the factors of backgrounds that are those of others before them, by their names.

    Parameters
    ----------
    scatters, common : mapping
        As of `background_factors`.

    Raises
    ------
    IcflowError
        If factors with one deviate scatter differently.
    """
    first: dict[str, str] = {}
    linked = {}
    for name, deviate in common.items():
        leader = first.setdefault(deviate, name)
        if scatters[name] != scatters[leader]:
            raise IcflowError(
                f"{leader} scatters by {scatters[leader]:g} and {name} by {scatters[name]:g}, so "
                "that they have no norm in common to integrate over; all modules see the same "
                "sky: give both the same scatter"
            )
        if name != leader:
            linked[name] = leader
    return linked


def calibration_errors(
    systematics: Sequence[tuple[str, Systematics]], deviates: Deviates | Mapping[str, float]
) -> dict[str, float]:
    """Return what is wrong with the calibration of one spectrum.

    The area of all modules rests on the same standard, so they share its
    deviates; the energy scale is each module's own.

    Parameters
    ----------
    systematics : sequence of tuple
        Name of each module, empty for a single one, and its systematics.
    deviates : Deviates or mapping
        By the names that `deviates_of` returns.

    Returns
    -------
    dict
        ``area.ENERGY``, the logarithm of the factor of the area at a node in keV, and
        ``gain.slope`` and ``gain.offset`` (keV); of several modules ``area.MODULE.ENERGY`` and
        ``gain.MODULE.slope``.
    """
    errors = {}
    for module, own in systematics:
        for number, (energy, scatter) in enumerate(own.area or ()):
            errors[area_name(energy, module)] = scatter * _at_node(deviates, number, energy)
        if own.gain is not None:
            slope, offset = gain_names(module)
            errors[slope] = own.gain.slope * deviates[slope]
            errors[offset] = own.gain.offset / 1000 * deviates[offset]
    return errors


def deviates_of(
    scatters: Mapping[str, float],
    systematics: Sequence[tuple[str, Systematics]],
    common: Mapping[str, str] = MappingProxyType({}),
) -> list[str]:
    """Return the names of the deviates that `background_factors` and `calibration_errors` read."""
    names = background_deviates(scatters, common)
    nodes = [area_name(energy) for _, own in systematics for energy, _ in own.area or ()]
    names += dict.fromkeys(nodes)
    for module, own in systematics:
        if own.gain is not None:
            names += gain_names(module)
    return names


def _at_node(deviates: Deviates | Mapping[str, float], number: int, energy: float) -> float:
    """Return the deviate of a node of the area: a drawn one goes by the number of the node."""
    drawn = isinstance(deviates, Deviates)
    return deviates[f"{AREA}{number}" if drawn else area_name(energy)]


def area_names(module: str, systematics: Systematics) -> list[str]:
    """Return the names of the deviations of the area of a module, of each node."""
    return [area_name(energy, module) for energy, _ in systematics.area or ()]


def area_name(energy: float, module: str = "") -> str:
    """Return the name of the deviation of the area of a module at a node in keV."""
    return f"{AREA}{_within(module)}{energy:g}"


def gain_names(module: str) -> tuple[str, str]:
    """Return the names of slope and offset of the energy scale of a module."""
    return f"{GAIN}{_within(module)}slope", f"{GAIN}{_within(module)}offset"


def _within(module: str) -> str:
    return f"{module}." if module else ""


def measured(
    errors: Mapping[str, float],
    settings: Mapping[str, Setting],
    values: Mapping[str, float],
    deviates: Deviates,
) -> dict[str, float]:
    """Return the values that an analysis is given of parameters measured elsewhere.

    Nobody publishes what they know to be impossible: a value that no source could have is
    measured again.

    Parameters
    ----------
    errors : mapping
        Standard deviation of each such parameter; those that the model lacks are left out.
    settings : mapping
        What each parameter of the model does.
    values : mapping
        True values.
    """
    told = {}
    for name, error in errors.items():
        if name in values:
            (low, high), key = possible(name, settings), KNOWN + name
            told[key] = values[name] + error * deviates[key]
            if not low <= told[key] <= high:
                again = deviates.probability(f"{key}/again")
                told[key] = float(remeasured(values[name], error, low, high, again))
    return told


def possible(name: str, settings: Mapping[str, Setting]) -> tuple[float, float]:
    """Return the lowest and the highest value that a parameter may be measured to have.

    Those of its prior; what is fixed stays on its side of 0.
    """
    setting = settings[name]
    if isinstance(setting, Link):
        return possible(setting.link, settings)
    if isinstance(setting, Prior):
        return setting.bounds
    return (
        (0.0, math.inf) if isinstance(setting, int | float) and setting >= 0 else (-math.inf, 0.0)
    )


def remeasured(
    values: float | Floats,
    errors: float | Floats,
    low: float | Floats,
    high: float | Floats,
    probability: float | Floats,
) -> Floats:
    """Return Gaussian measurements of which none lies outside of limits, by their probability."""
    from scipy.special import ndtr, ndtri

    least, most = ndtr((low - values) / errors), ndtr((high - values) / errors)
    found = values + errors * ndtri(least + probability * (most - least))
    return np.asarray(np.clip(found, low, high))


def as_known(truth: Mapping[str, Floats], names: Iterable[str]) -> dict[str, Floats]:
    """Return what is known of parameters: as measured where they are, the truth elsewhere."""
    return {name: np.asarray(truth.get(KNOWN + name, truth[name])) for name in names}
