"""Wrong calibration: expected counts as an instrument records them that is not what its files say.

The area is wrong by a factor that is smooth on the scale of the resolution, the energy scale by
less than a few channels. So both act on folded counts, and no spectrum is folded anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from icflow.config import Systematics
from icflow.config.systematics import Gain
from icflow.engines.base import Module
from icflow.engines.embedded.correction import Correction, moved
from icflow.engines.embedded.folding import Folding, Response, load_response
from icflow.errors import IcflowError
from icflow.models.background import read_background
from icflow.models.systematics import area_names, check_components, gain_names
from icflow.typing import Floats

# Sigmas that the energy scale may be off by and still lead to energies that the channels cover.
FARTHEST = 5.0
# Photon index of the spectrum by which photons of a channel are averaged over.
TYPICAL = 2.0


class Calibration:
    """What is wrong with the area and the energy scale of one module.

    Parameters
    ----------
    module : str
        Its name, empty for a single one.
    systematics : Systematics
    response : Response

    Attributes
    ----------
    basis : ndarray, shape (n_channels, n_nodes)
        What each node of the area adds to the logarithm of the factor of each channel.

    Raises
    ------
    IcflowError
        If a node of the area lies outside of the response, or the energy scale
        may be off by more than the channels have room for.
    """

    def __init__(self, module: str, systematics: Systematics, response: Response) -> None:
        self.nodes = area_names(module, systematics)
        self.gain = None if systematics.gain is None else gain_names(module)
        of = f"of module {module} " if module else ""
        if systematics.area is not None:
            energies = np.array([energy for energy, _ in systematics.area])
            low, high = response.energies[0], response.energies[-1]
            if energies[0] < low or energies[-1] > high:
                outside = energies[0] if energies[0] < low else energies[-1]
                raise IcflowError(
                    f"systematics.area {of}has a node at {outside:g} keV, outside of its response "
                    f"({low:g} to {high:g} keV); move it inside"
                )
            self.basis = _averaged(response, systematics.area)
        if systematics.gain is not None:
            self._edges = response.channel_edges
            self._check_room(of, systematics)

    def _check_room(self, of: str, systematics: Systematics) -> None:
        """Check that a scale as wrong as it may be keeps its order and most of the channels."""
        gain = systematics.gain
        assert gain is not None
        shift = [farthest(gain, float(edge)) for edge in (self._edges[0], self._edges[-1])]
        if shift[0] >= self._edges[0] or shift[-1] >= 0.5 * (self._edges[-1] - self._edges[0]):
            raise IcflowError(
                f"systematics.gain {of}moves energies by up to {shift[0]:.2g} keV at "
                f"{self._edges[0]:.3g} keV and {shift[-1]:.2g} keV at {self._edges[-1]:.4g} keV "
                f"({FARTHEST:g} sigma), out of the channels; give smaller ones"
            )

    def area_factor(self, errors: Mapping[str, float]) -> Floats | None:
        """Return the factor of what comes through the optics, by channel; None where it is 1."""
        if not self.nodes:
            return None
        return np.asarray(np.exp(self.basis @ np.array([errors[name] for name in self.nodes])))

    def recorded(self, expected: Floats, errors: Mapping[str, float]) -> Floats:
        """Return expected counts in the channels that the wrong energy scale gives them."""
        places = self._places(errors)
        return expected if places is None else np.maximum(moved(expected, places), 0.0)

    def correction(self, errors: Mapping[str, float]) -> Correction:
        """Return what the wrong area and the wrong energy scale make of counts."""
        return Correction(self.area_factor(errors), self._places(errors))

    def _places(self, errors: Mapping[str, float]) -> Floats | None:
        """Return where the edges of the channels lie in energies that are right, in channels."""
        if self.gain is None:
            return None
        slope, offset = (errors[name] for name in self.gain)
        edges = (self._edges - offset) / (1 + slope)
        return np.interp(edges, self._edges, np.arange(len(self._edges), dtype=np.float64))


def calibration_of(folding: Folding) -> Calibration:
    """Return what may be wrong with the calibration of a module."""
    return Calibration(folding.module, folding.systematics, folding.response)


def check_within(module: Module, key: str) -> None:
    """Check that what may be wrong with a module stays within its response and its background.

    Raises
    ------
    IcflowError
        After the key.
    """
    parts = [part.name for part in read_background(module.background)] if module.background else []
    try:
        if module.systematics.area or module.systematics.gain:
            Calibration(module.name, module.systematics, load_response(module.rmf, module.arf))
        check_components("background", module.systematics.background, parts)
    except IcflowError as error:
        raise IcflowError(f"{key}: {error}") from None


def farthest(gain: Gain | None, energy: float) -> float:
    """Return by how much an energy scale moves an energy at the most, both in keV."""
    return 0.0 if gain is None else FARTHEST * (gain.slope * energy + gain.offset / 1000)


def area_basis(area: Sequence[Sequence[float]], energies: Floats) -> Floats:
    """Return what each node of the area adds to the logarithm of the factor at some energies.

    Standard deviates of the nodes are joined by a cubic spline in the logarithm of the energy,
    constant beyond the nodes. It is scaled so that the factor scatters between two nodes as much as
    these two say: a spline through values that are drawn on their own overshoots, to three times
    their scatter where others beside them are wider and closer together.

    Parameters
    ----------
    area : sequence of pairs
        Energy of each node, keV, and the scatter there.
    energies : ndarray, shape (n,)
        keV.

    Returns
    -------
    ndarray, shape (n, n_nodes)
        For the logarithm of the factor at each node.
    """
    from scipy.interpolate import CubicSpline  # slow to import, and few areas are wrong

    nodes, scatter = np.log([energy for energy, _ in area]), np.array([one for _, one in area])
    at = np.clip(np.log(energies), nodes[0], nodes[-1])
    joined = CubicSpline(nodes, np.eye(len(nodes)), bc_type="natural")(at)
    joined *= (np.interp(at, nodes, scatter) / np.linalg.norm(joined, axis=1))[:, None]
    # A node that is known has no deviate.
    return np.asarray(np.divide(joined, scatter, out=np.zeros_like(joined), where=scatter > 0))


def _averaged(response: Response, area: Sequence[Sequence[float]]) -> Floats:
    """Return the basis of the area, averaged over the photons of each channel.

    Returns
    -------
    ndarray, shape (n_channels, n_nodes)
    """
    centres = np.sqrt(response.energies[1:] * response.energies[:-1])
    basis = area_basis(area, centres)
    photons = np.diff(response.energies) * centres**-TYPICAL
    counts = response.fold(photons)
    parts = response.fold(photons * basis.T).T
    seen = counts > 0
    parts[seen] /= counts[seen, None]
    return parts
