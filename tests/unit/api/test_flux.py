"""Energy fluxes of models."""

from __future__ import annotations

import math

import pytest

from icflow.api.flux import band_flux
from icflow.errors import IcflowError
from icflow.models.inverse_compton import KEV

VALUES = {
    "TBabs.nH": 1.0, "powerlaw.PhoIndex": 2.0, "powerlaw.norm": 1e-3,
    "powerlaw_3.PhoIndex": 1.0, "powerlaw_3.norm": 2e-4,
}  # fmt: skip
SUM = "tbabs*(powerlaw+powerlaw)"
FIRST, SECOND = 1e-3 * math.log(4) * KEV, 2e-4 * 60 * KEV


def test_flux_of_power_laws() -> None:
    together = band_flux(SUM, VALUES, (20, 80), absorbed=False)
    assert together == pytest.approx(FIRST + SECOND, rel=1e-6)
    assert band_flux(SUM, VALUES, (20, 80), "powerlaw_3", False) == pytest.approx(SECOND, rel=1e-6)


def test_absorption_counts_at_low_energies() -> None:
    ratio = band_flux(SUM, VALUES, (1, 2)) / band_flux(SUM, VALUES, (1, 2), absorbed=False)
    assert 0.2 < ratio < 0.6
    assert band_flux(SUM, VALUES, (20, 80)) == pytest.approx(FIRST + SECOND, rel=2e-3)


def test_a_norm_of_zero_gives_nothing() -> None:
    assert band_flux("apec", {"apec.norm": 0.0}, (1, 2)) == 0.0


def test_a_component_that_is_not_there() -> None:
    with pytest.raises(IcflowError, match=r"component is 'apec', which .* allowed: powerlaw, powe"):
        band_flux(SUM, VALUES, (1, 2), "apec")
