"""Inverse Compton emission: its flux, and the magnetic field that radio emission implies."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from astropy import constants, units
from scipy.special import gamma, zeta

from icflow.config import Radio
from icflow.models import library
from icflow.models.expression import Component

# Logarithmic bins of the integral over energy: exact to 1e-7 for a power law.
BINS = 2000
T_CMB = 2.7255  # K, Fixsen 2009, ApJ 707, 916
KEV = float((1 * units.keV).to_value(units.erg))


def energy_flux(
    component: Component, values: Mapping[str, float], low: float, high: float
) -> float:
    """Return the flux of an additive model for norm 1, before absorption.

    Parameters
    ----------
    values : mapping
        Its parameters, as ``powerlaw.PhoIndex``.
    low, high : float
        Energies, keV.

    Returns
    -------
    float
        erg/cm²/s.
    """
    edges = np.geomspace(low, high, BINS + 1)
    parameters = [values[f"{component.name}.{p.name}"] for p in component.definition.parameters]
    photons = library.evaluate(component.definition, edges, np.array(parameters))
    return float(photons @ np.sqrt(edges[1:] * edges[:-1])) * KEV


def magnetic_field(
    radio: Radio, flux: float, energies: tuple[float, float], redshift: float
) -> float:
    """Return the field strength at which one electron population makes radio and IC emission.

    Electrons with N(γ) = K γ^−p, p = 2α + 1, emit synchrotron radiation
    (Rybicki & Lightman 1979, eq. 6.36, averaged over pitch angles) and scatter
    the cosmic microwave background (their eq. 7.31; Blumenthal & Gould 1970).
    Both spectra fall as ν^−α. K and the volume cancel in the ratio of flux
    densities, which leaves B^((p+1)/2); frequencies are those of the rest
    frame, the temperature of the background is that at `redshift`.

    Parameters
    ----------
    flux : float
        IC flux, erg/cm²/s: an upper limit gives a lower limit on the field.
    energies : tuple of float
        Between these energies, keV.

    Returns
    -------
    float
        µG; infinite for a flux of 0.
    """
    if flux <= 0:
        return math.inf
    index = radio.spectral_index
    low, high = (float((e * units.keV).to_value(units.Hz, units.spectral())) for e in energies)
    # Flux density at the lower frequency: flux = S_low · integral of (ν / ν_low)^−α dν.
    integral = (
        math.log(high / low) * low
        if math.isclose(index, 1.0)
        else low * ((high / low) ** (1 - index) - 1) / (1 - index)
    )
    x_rays = flux / integral
    radio_cgs = radio.flux_density * 1e-26  # mJy = 1e-26 erg/s/cm²/Hz
    stretch = 1 + redshift
    synchrotron = synchrotron_emissivity(radio.frequency * 1e6 * stretch, index)
    scattered = scattered_emissivity(low * stretch, index, T_CMB * stretch)
    ratio = radio_cgs / x_rays * scattered / synchrotron
    return float(ratio ** (1 / (1 + index))) * 1e6


def synchrotron_emissivity(frequency: float, index: float) -> float:
    """Return synchrotron power per volume and frequency for K = 1 cm⁻³ in a field of 1 G.

    It grows as B^(1+α).

    Parameters
    ----------
    frequency : float
        Hz.
    index : float
        Spectral index α.

    Returns
    -------
    float
        erg/s/cm³/Hz.
    """
    p = 2 * index + 1
    charge, mass, light = _cgs()
    gyration = charge / (mass * light)  # rad/s in 1 G
    # Mean of sin(pitch angle)^((p+1)/2) over the directions.
    pitch = math.sqrt(math.pi) / 2 * gamma((p + 5) / 4) / gamma((p + 7) / 4)
    per_angular_frequency = (
        math.sqrt(3)
        * charge**3
        / (2 * math.pi * mass * light**2 * (p + 1))
        * gamma(p / 4 + 19 / 12)
        * gamma(p / 4 - 1 / 12)
        * (2 * math.pi * frequency / (3 * gyration)) ** (-(p - 1) / 2)
    )
    return float(2 * math.pi * per_angular_frequency * pitch)


def scattered_emissivity(frequency: float, index: float, temperature: float) -> float:
    """Return power per volume and frequency of scattered black-body photons for K = 1 cm⁻³.

    Parameters
    ----------
    frequency : float
        Hz.
    index : float
        Spectral index α.
    temperature : float
        Of the black body, K.

    Returns
    -------
    float
        erg/s/cm³/Hz.
    """
    p = 2 * index + 1
    charge, mass, light = _cgs()
    planck, boltzmann = constants.h.cgs.value, constants.k_B.cgs.value
    radius = charge**2 / (mass * light**2)
    shape = (
        2 ** (p + 3)
        * (p**2 + 4 * p + 11)
        * gamma((p + 5) / 2)
        * zeta((p + 5) / 2)
        / ((p + 3) ** 2 * (p + 1) * (p + 5))
    )
    per_energy = (
        8
        * math.pi**2
        * radius**2
        / (planck**3 * light**2)
        * (boltzmann * temperature) ** ((p + 5) / 2)
        * shape
        * (planck * frequency) ** (-(p - 1) / 2)
    )
    return float(per_energy * planck)


def _cgs() -> tuple[float, float, float]:
    """Return charge (esu) and mass (g) of the electron, and the speed of light (cm/s)."""
    return constants.e.esu.value, constants.m_e.cgs.value, constants.c.cgs.value
