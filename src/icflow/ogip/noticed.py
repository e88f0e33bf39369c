"""The channels between two energies, as XSPEC chooses them."""

from __future__ import annotations

from icflow.errors import IcflowError
from icflow.typing import Booleans, Floats

# Channel edges are stored in single precision: an edge this close (relative) to
# a limit is on the limit. A few units in the last place.
_EDGE = 3e-7


def noticed_channels(e_min: Floats, e_max: Floats, low: float, high: float) -> Booleans:
    """Tell which channels or groups XSPEC's ``ignore **-low high-**`` leaves.

    A limit lies in the channel with e_min < limit <= e_max, and the channel in
    which a limit lies is ignored. So a channel that starts at `low` is left, one
    that ends at `high` is not: XSPEC 12.9.1 leaves 3.00 to 79.96 keV of
    NuSTAR's 0.04 keV channels for 3 to 80 keV.

    Parameters
    ----------
    e_min, e_max : ndarray, (n_channels,)
        Energies of the channels, keV; equality is meant to single precision.
    low, high : float
        Limits, keV.

    Returns
    -------
    ndarray of bool, (n_channels,)

    Raises
    ------
    IcflowError
        If nothing is left.
    """
    noticed: Booleans = (e_min >= low * (1 - _EDGE)) & (e_max < high * (1 - _EDGE))
    if not noticed.any():
        raise IcflowError(
            f"the energies {low:g} to {high:g} keV select no channel (channels cover "
            f"{e_min.min():g} to {e_max.max():g} keV); choose a range inside"
        )
    return noticed


def check_covered(
    low: float, high: float, covered: tuple[float, float], by: str, option: str, where: str = ""
) -> None:
    """Check that channels cover energies, keV.

    Parameters
    ----------
    covered : tuple of float
        What they cover, keV.
    by, option : str
        What has the channels, and what chooses the energies, for the error.
    where : str
        What the error begins with.

    Raises
    ------
    IcflowError
        If they do not.
    """
    first, last = covered
    if low < first or high > last:
        raise IcflowError(
            f"{where}the energies {low:g} to {high:g} keV reach outside {by}, whose channels cover "
            f"{first:g} to {last:g} keV; set {option} inside"
        )
