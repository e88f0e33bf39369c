"""`apec` taken apart: continuum, lines, and what redshift does to them.

With norm 1, `apec` is (tried to 1e-15)

- linear in the abundance: ``A + Z B``;
- linear in kT between the temperatures of the AtomDB tables;
- a stretched grid in redshift: the photons of bin [E1, E2] at redshift z are
  those of bin [E1 (1+z), E2 (1+z)] at redshift 0, divided by 1 + z.

Its lines are delta functions: each falls into one bin and hops to the next as
z changes. Lines that stand out of the continuum are therefore tracked one by
one; the rest, spiky too, is kept as a cumulative spectrum that any bin can be
cut from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from icflow.config import AtomicData
from icflow.models import atomdb, library
from icflow.typing import Booleans, Floats, Indices

# A line is tracked when it holds more than this fraction of the continuum
# photons of its neighbourhood, NEIGHBOURHOOD wide.
TRACKED = 3e-4
NEIGHBOURHOOD = 0.04  # keV, a NuSTAR channel
COARSE = 2e-4  # keV, spacing of the cumulative spectrum
# Above, `apec` is bremsstrahlung alone: the last recombination edge is that of zinc, 12.4 keV.
LAST_FEATURE = 13.0  # keV
NARROW = 1e-8  # relative half width of the bin that catches a line


@dataclass(frozen=True)
class Plasma:
    """The parts of `apec` at the temperatures of the tables, norm 1, redshift 0.

    The axis of length 2 is (A, B): the photons without metals, and those that
    a solar abundance adds.

    Attributes
    ----------
    temperatures : ndarray, shape (n_temperatures,)
        keV, increasing.
    line_energy : ndarray, shape (n_lines,)
        Rest-frame energies of the tracked lines, keV, increasing.
    line_photons : ndarray, shape (n_temperatures, 2, n_lines)
        Photons/cm²/s of each.
    edges : ndarray, shape (n_edges,)
        Evenly spaced energies, keV, up to beyond the last feature.
    cumulative : ndarray, shape (n_edges, n_temperatures, 2)
        Photons/cm²/s between the first edge and each, tracked lines left out.
    """

    temperatures: Floats
    line_energy: Floats
    line_photons: Floats
    edges: Floats
    cumulative: Floats


def tables(atomic_data: AtomicData, low: float, high: float) -> Floats:
    """Return the table temperatures that bracket kT from `low` to `high`, keV."""
    temperatures = atomdb.temperatures(atomic_data)
    first = max(int(np.searchsorted(temperatures, low, side="right")) - 1, 0)
    last = int(np.searchsorted(temperatures, high, side="left"))
    return temperatures[first : last + 1]


def build(atomic_data: AtomicData, low: float, high: float, first: float, stretch: float) -> Plasma:
    """Take `apec` apart for kT from `low` to `high`, keV.

    Parameters
    ----------
    first : float
        Lowest rest-frame energy that is needed, keV.
    stretch : float
        Largest 1 + z that is needed: the grid ends that far above the last feature.
    """
    library.configure(atomic_data)
    temperatures = tables(atomic_data, low, high)
    top = LAST_FEATURE * stretch
    steps = np.arange(int(np.ceil((top - first) / COARSE)) + 2, dtype=np.float64)
    edges = first + COARSE * steps
    library.evaluate(_definition(), edges, np.array([temperatures[-1], 1.0, 0.0]))
    continuum, lines = _split(temperatures, edges)
    energy = atomdb.lines(atomic_data, temperatures)
    energy, photons = _locate(temperatures, energy, edges, _stand_out(continuum, lines, edges))
    # Take the tracked photons out of their bins: what stays are their faint neighbours.
    owner = _owner(edges, energy)
    for i in range(len(temperatures)):
        for part in range(2):
            np.subtract.at(lines[i, part], owner, photons[i, part])
    np.maximum(lines, 0.0, out=lines)
    cumulative = np.zeros((len(edges), len(temperatures), 2))
    for i in range(len(temperatures)):
        np.cumsum((lines[i] + continuum[i]).T, axis=0, out=cumulative[1:, i])
    return Plasma(temperatures, energy, photons, edges, cumulative)


def _definition() -> library.Definition:
    return library.definitions()["apec"]


def _apec(temperature: float, abundance: float, redshift: float, edges: Floats) -> Floats:
    # A cool plasma has nothing at high energies.
    values = np.array([temperature, abundance, redshift])
    return library.evaluate(_definition(), edges, values, may_vanish=True)


def parts(temperature: float, redshift: float, edges: Floats, lines: bool) -> Floats:
    """Return (A, B) of `apec`, shape (2, n_bins), with or without its lines."""
    library.set_string("APECNOLINES", "no" if lines else "yes")
    try:
        primordial = _apec(temperature, 0.0, redshift, edges)
        solar = _apec(temperature, 1.0, redshift, edges)
    finally:
        library.set_string("APECNOLINES", "no")
    return np.stack([primordial, solar - primordial])


def _split(temperatures: Floats, edges: Floats) -> tuple[Floats, Floats]:
    """Return the photons of continuum and lines, each of shape (n_temperatures, 2, n_bins)."""
    continuum = np.stack([parts(kT, 0.0, edges, lines=False) for kT in temperatures])
    lines = np.stack([parts(kT, 0.0, edges, lines=True) for kT in temperatures]) - continuum
    # The difference of two sums leaves rounding of either sign where there is no line.
    lines[lines < 0] = 0.0
    return continuum, lines


def _stand_out(continuum: Floats, lines: Floats, edges: Floats) -> Booleans:
    """Return which bins hold lines that are to be tracked, shape (n_bins,)."""
    nearby = continuum.sum(axis=1) / np.diff(edges) * NEIGHBOURHOOD
    tracked: Booleans = np.any(lines.sum(axis=1) > TRACKED * nearby, axis=0)
    return tracked


def _owner(edges: Floats, energy: Floats) -> Indices:
    """Return the bin that each energy falls into."""
    return np.searchsorted(edges, energy, side="right") - 1


def _locate(
    temperatures: Floats, energy: Floats, edges: Floats, tracked: Booleans
) -> tuple[Floats, Floats]:
    """Return energies and photons of the lines inside the tracked bins.

    The energies are those of the AtomDB tables; the photons come from the
    model function, on a grid with one very narrow bin around each line.
    """
    energy = energy[(energy > edges[0]) & (energy < edges[-1])]
    energy = energy[tracked[_owner(edges, energy)]]
    # Lines closer than a narrow bin stay together: no response tells them apart.
    energy = energy[np.diff(energy, prepend=0.0) > 4 * NARROW * energy]
    grid = np.column_stack([energy * (1 - NARROW), energy * (1 + NARROW)]).ravel()
    photons = _split(temperatures, grid)[1][..., ::2]
    strength = photons.sum(axis=1).max(axis=0)
    owner = _owner(edges, energy)
    strongest = np.zeros(len(edges) - 1)
    np.maximum.at(strongest, owner, strength)
    keep = strength > 0.01 * strongest[owner]
    return energy[keep], np.ascontiguousarray(photons[..., keep])
