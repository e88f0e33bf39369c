"""Fits by jaxspec, which brings the likelihood: the search is scipy's, with its exact gradient.

jaxspec's `apec` reads a table that it fetches from its authors. So that this needs no network, and
all programs have one atomic physics, the same table is made here of the AtomDB files that XSPEC's
`apec` reads; jaxspec broadens lines thermally, XSPEC does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from astropy.io import fits
from jaxspec.data import ObsConfiguration
from jaxspec.data.obsconf import to_jax_matrix
from jaxspec.model._additive import apec
from peer_job import FREE, Floats, Prepared, answer
from scipy.optimize import minimize

from icflow.config import AtomicData
from icflow.models import atomdb

jax.config.update("jax_enable_x64", True)

ELEMENTS = 30
# Rest frame, keV; bins of 0.1 per cent, a thirtieth of the resolution of NuSTAR or less.
CONTINUUM = np.geomspace(1.0, 100.0, 4606)
MASS = np.array([
    1.008, 4.003, 6.94, 9.012, 10.81, 12.011, 14.007, 15.999, 18.998, 20.18, 22.99, 24.305, 26.982,
    28.085, 30.974, 32.06, 35.45, 39.95, 39.098, 40.078, 44.956, 47.867, 50.942, 51.996, 54.938,
    55.845, 58.933, 58.693, 63.546, 65.38,
])  # fmt: skip


def table() -> dict[str, Any]:
    """Return AtomDB's lines and continua in the form of jaxspec's table."""
    stem = atomdb.root(AtomicData())
    with fits.open(f"{stem}_line.fits") as lines, fits.open(f"{stem}_coco.fits") as continua:
        kt = np.asarray(lines[1].data["kT"], dtype=float)
        kept = np.flatnonzero(kt > 0.1)
        emission, identity = _lines([lines[2 + i].data for i in kept])
        continuum = np.stack([_continuum(continua[2 + i].data) for i in kept], axis=-1)
    energy, element = identity
    return {
        "E0": energy,
        "Zidx": element - 1,
        "Amass": MASS[element - 1],
        "g": emission.astype(np.float32),
        "logTg": np.log10(kt[kept]),
        "cont": continuum.astype(np.float32),
        "logTc": np.log10(kt[kept]),
        "E_ref_edges": CONTINUUM,
        "elem_amass": MASS,
    }


def _lines(tables: list[Any]) -> tuple[Floats, tuple[Floats, Any]]:
    """Return emissivities (lines, temperatures), and energy and element of each line."""
    keys, values = [], []
    for one in tables:
        energy = atomdb.KEV_ANGSTROM / np.asarray(one["Lambda"], dtype=float)
        inside = (energy > CONTINUUM[0]) & (energy < CONTINUUM[-1])
        keys.append(np.stack([energy[inside], np.asarray(one["Element"], dtype=float)[inside]]))
        values.append(np.asarray(one["Epsilon"], dtype=float)[inside])
    both, place = np.unique(np.concatenate(keys, axis=1), axis=1, return_inverse=True)
    emission, start = np.zeros((both.shape[1], len(tables))), 0
    for i, epsilon in enumerate(values):
        np.add.at(emission[:, i], place.ravel()[start : start + len(epsilon)], epsilon)
        start += len(epsilon)
    return emission, (both[0], both[1].astype(np.int32))


def _continuum(rows: Any) -> Floats:
    """Return the continuum of one temperature, of lines not listed too: (elements, bins)."""
    binned = np.zeros((ELEMENTS, len(CONTINUUM) - 1))
    for row in rows:
        for n, energies, density in (
            ("N_Cont", "E_Cont", "Continuum"),
            ("N_Pseudo", "E_Pseudo", "Pseudo"),
        ):
            e, f = (np.asarray(row[name][: row[n]], dtype=float) for name in (energies, density))
            if len(e) > 1:
                edges = np.union1d(e, CONTINUUM)
                at = np.interp(edges, e, f, left=0.0, right=0.0)
                steps = np.diff(edges) * (at[1:] + at[:-1]) / 2
                total = np.concatenate([[0.0], np.cumsum(steps)])
                binned[row["Z"] - 1] += np.diff(np.interp(CONTINUUM, edges, total))
    return binned


@cache
def plasma(energies: tuple[float, float]) -> Any:
    """Return jaxspec's `apec` for the photons of a band."""
    made = table()
    apec.load_apec_table = lambda: made
    return apec.APEC(energy_band=energies)


def prepare(job: dict[str, Any], path: str, truth: Mapping[str, float]) -> Prepared:
    """Load a spectrum and set its model."""
    low, high = job["energies"]
    observed = ObsConfiguration.from_pha_file(
        path, rmf_path=job["rmf"], arf_path=job["arf"], low_energy=low, high_energy=high
    )
    matrix = to_jax_matrix(observed.transfer_matrix.data, sparse=False)
    counts = jnp.asarray(observed.folded_counts.data, dtype=float)
    edges = observed.in_energies
    component = plasma((float(edges[0, 0]), float(edges[1, -1])))
    window = component._suggest_k_window(*edges)
    fixed = {**component._tables.arrays, "k_window": window}

    def expected(values: Any) -> Any:
        kt, abundance, norm, kt2, norm2 = values
        elements = jnp.where(apec.METAL_MASK, abundance, 1.0)
        photons = [
            apec.apec_flux(*edges, t, elements, 0.0, job["redshift"], n, **fixed)
            for t, n in ((kt, norm), (kt2, norm2))
        ]
        return matrix @ sum(photons)

    start = np.array([job["start"][name] for name in FREE])
    limits = np.array([job["limits"][name] for name in FREE]) / start[:, None]

    @jax.jit
    @jax.value_and_grad
    def cstat(scaled: Any) -> Any:
        model = expected(scaled * start)
        return 2 * jnp.sum(model - counts + counts * jnp.log(counts / model))

    def fit() -> dict[str, float]:
        found = minimize(cstat, np.ones(len(FREE)), jac=True, method="L-BFGS-B", bounds=limits)
        return dict(zip(FREE, (found.x * start).tolist(), strict=True))

    return np.asarray(expected(jnp.array([truth[name] for name in FREE]))), fit


if __name__ == "__main__":
    answer(prepare)
