"""IC flux and the magnetic field, against integrals done by brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from astropy import constants as K
from scipy.integrate import quad
from scipy.special import kv

from icflow.config import Radio
from icflow.models import inverse_compton as ic
from icflow.models.expression import parse

CHARGE, MASS, LIGHT = K.e.esu.value, K.m_e.cgs.value, K.c.cgs.value
PLANCK, BOLTZMANN = K.h.cgs.value, K.k_B.cgs.value


def component(expression: str):
    return parse(expression).terms[0].additive


def test_the_flux_of_a_power_law_is_its_integral() -> None:
    found = ic.energy_flux(component("powerlaw"), {"powerlaw.PhoIndex": 2.0}, 20.0, 80.0)
    assert found == pytest.approx(math.log(4) * 1.602176634e-9, rel=1e-6)
    found = ic.energy_flux(component("powerlaw"), {"powerlaw.PhoIndex": 1.5}, 20.0, 80.0)
    assert found == pytest.approx(2 * (math.sqrt(80) - math.sqrt(20)) * 1.602176634e-9, rel=1e-6)


def synchrotron_by_hand(frequency: float, index: float) -> float:
    """Sum the radiation of single electrons over energies and pitch angles (1 G)."""
    p = 2 * index + 1
    x = np.geomspace(1e-6, 30, 300)
    single = np.array([v * quad(lambda t: kv(5 / 3, t), v, 60, limit=200)[0] for v in x])
    total = []
    angles = np.linspace(0, np.pi, 121)[1:-1]
    for sine in np.sin(angles):
        energy = np.sqrt(frequency * 4 * np.pi * MASS * LIGHT / (3 * CHARGE * sine * x))
        power = math.sqrt(3) * CHARGE**3 * sine / (MASS * LIGHT**2) * single
        total.append(np.trapezoid((power * energy**-p)[::-1], energy[::-1]))
    return float(np.trapezoid(np.array(total) * np.sin(angles) / 2, angles))


def scattered_by_hand(frequency: float, index: float, temperature: float) -> float:
    """Sum Thomson scattering of an isotropic black body over electrons and photons."""
    p = 2 * index + 1
    thomson = 8 * np.pi / 3 * (CHARGE**2 / (MASS * LIGHT**2)) ** 2
    scattered = PLANCK * frequency
    photon = np.geomspace(1e-3, 40, 400) * BOLTZMANN * temperature
    density = (
        8 * np.pi * photon**2 / (PLANCK * LIGHT) ** 3 / np.expm1(photon / (BOLTZMANN * temperature))
    )
    x = np.geomspace(1e-8, 1, 3000)
    kernel = 2 * x * np.log(x) + x + 1 - 2 * x**2
    rate = []
    for energy in photon:
        electron = np.sqrt(scattered / (4 * energy * x))
        single = 3 * thomson * LIGHT / (4 * electron**2 * energy) * kernel
        rate.append(np.trapezoid((electron**-p * single)[::-1], electron[::-1]))
    return float(scattered * np.trapezoid(density * np.array(rate), photon) * PLANCK)


@pytest.mark.filterwarnings("ignore::scipy.integrate.IntegrationWarning")
@pytest.mark.parametrize("index", [0.8, 1.0, 1.3])
def test_emissivities_are_those_of_single_electrons(index: float) -> None:
    found = ic.synchrotron_emissivity(1.4e9, index)
    assert found == pytest.approx(synchrotron_by_hand(1.4e9, index), rel=2e-3)
    found = ic.scattered_emissivity(1e19, index, 2.7)
    assert found == pytest.approx(scattered_by_hand(1e19, index, 2.7), rel=1e-3)


def test_the_field_makes_both_emissions() -> None:
    radio = Radio(flux_density=250.0, frequency=610.0, spectral_index=1.2)
    flux, redshift = 3e-12, 0.3
    field = ic.magnetic_field(radio, flux, (20.0, 80.0), redshift) * 1e-6
    # Flux densities in the ratio of the emissivities at the frequencies of the rest frame.
    scale = radio.flux_density * 1e-26 / (ic.synchrotron_emissivity(610e6 * 1.3, 1.2) * field**2.2)
    nu = np.geomspace(20.0, 80.0, 4001) * K.e.si.value * 1e10 / PLANCK
    density = [scale * ic.scattered_emissivity(v * 1.3, 1.2, 2.7255 * 1.3) for v in nu]
    assert np.trapezoid(density, nu) == pytest.approx(flux, rel=1e-4)


def test_the_limit_of_the_coma_cluster_is_the_published_one() -> None:
    # Wik et al. 2009 (ApJ 696, 1700): below 6e-12 erg/s/cm^2, radio halo of 640 mJy at 1.4 GHz,
    # B above 0.15 uG for a photon index of 2.
    radio = Radio(flux_density=640.0, frequency=1400.0, spectral_index=1.0)
    assert ic.magnetic_field(radio, 6e-12, (20.0, 80.0), 0.0231) == pytest.approx(0.15, abs=0.01)


def test_a_fainter_limit_means_a_stronger_field() -> None:
    radio = Radio(flux_density=640.0, frequency=1400.0, spectral_index=1.25)
    fields = [ic.magnetic_field(radio, flux, (20.0, 80.0), 0.02) for flux in (6e-12, 6e-13, 0.0)]
    assert fields[1] / fields[0] == pytest.approx(10 ** (1 / 2.25))
    assert fields[2] == math.inf
