"""The units of parameters: what numbers mean, and what quantities are converted to."""

from __future__ import annotations

from functools import cache
from typing import Any

# Units as `model.dat` writes them; others are as astropy writes them, or none.
WRITTEN = {"10^22": "1e22 cm-2", "km/s": "km / s", "s/cm^3": "s cm-3", "cm^-3": "cm-3", "A": "AA"}
# Units of norms, by the model.
AT_1_KEV = "ph / (keV cm2 s)"
NORMS = {
    **dict.fromkeys(("powerlaw", "zpowerlw", "cutoffpl", "zcutoffpl", "bknpower"), AT_1_KEV),
    **dict.fromkeys(("gaussian", "zgauss", "lorentz"), "ph / (cm2 s)"),
    **dict.fromkeys(("apec", "vapec", "bapec", "mekal", "vmekal"), "1e14 cm-5"),
}


@cache
def unit_of(model: str, parameter: str, written: str) -> Any:
    """Return the astropy unit of a parameter, None where it has none.

    Parameters
    ----------
    model : str
        Name of the model, such as ``apec``.
    parameter : str
        Its own name, such as ``norm``.
    written : str
        The unit as `model.dat` has it.
    """
    from astropy import units

    text = NORMS.get(model.lower(), "") if parameter == "norm" else WRITTEN.get(written, written)
    try:
        return units.Unit(text) if text else None
    except ValueError:
        return None


def shown(unit: Any) -> str:
    """Return a unit as text; empty for none."""
    return "" if unit is None else str(unit)
