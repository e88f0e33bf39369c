"""Units of parameters."""

from __future__ import annotations

import pytest
from astropy import units

from icflow.api.units import shown, unit_of


@pytest.mark.parametrize(
    ("model", "parameter", "written", "unit"),
    [
        ("apec", "kT", "keV", "keV"),
        ("TBabs", "nH", "10^22", "1e22 cm-2"),
        ("powerlaw", "norm", "", "ph / (keV cm2 s)"),
        ("apec", "norm", "", "1e14 cm-5"),
        ("gaussian", "norm", "", "ph / (cm2 s)"),
        ("vapec", "Velocity", "km/s", "km / s"),
    ],
)
def test_units_of_parameters(model: str, parameter: str, written: str, unit: str) -> None:
    assert unit_of(model, parameter, written) == units.Unit(unit)


def test_what_has_no_unit_has_none() -> None:
    assert unit_of("powerlaw", "PhoIndex", "") is None
    assert unit_of("logpar", "norm", "") is None
    assert unit_of("some", "radius", "GM/c^2") is None
    assert shown(None) == "" and shown(units.keV) == "keV"
