"""Stage: what the test spectra were made of, in physical terms.

Fluxes of the source as it was simulated, without absorption: of the components
that the thermal scenario has too, and of those that it has not, which are the
inverse Compton (IC) emission.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from astropy import units
from astropy.table import Table

from icflow.errors import IcflowError
from icflow.layout import Layout
from icflow.models import library
from icflow.models.expression import Component, parse
from icflow.models.inverse_compton import energy_flux
from icflow.settings import FluxSettings
from icflow.tables import stack, write_table
from icflow.truth import Truth, read_truth
from icflow.typing import Floats

FLUX = units.erg / units.cm**2 / units.s


def run(settings: FluxSettings, results: Path, output: Path) -> None:
    """Write the fluxes of the spectra below `results` that the settings name; see `tabulate`."""
    paths = settings.shards.files(Layout(results).truth, *settings.datasets)
    write_table(output, tabulate(settings, [read_truth(path) for path in paths]))


def tabulate(settings: FluxSettings, truths: Sequence[Truth]) -> Table:
    """Return a table of fluxes, one row per spectrum.

    Columns ``dataset``, ``index``, ``ic_flux`` and ``thermal_flux``
    (erg/cm²/s between ``settings.energies``), and ``ic_norm``, the sum of the
    norms of the IC components, 0 without any.

    Raises
    ------
    IcflowError
        If spectra are of a scenario that is not among the settings.
    """
    library.configure(settings.atomic_data)
    thermal = {c.definition.name for c in _additive(settings.thermal)}
    return stack([_tabulate(truth, settings, thermal) for truth in truths])


def _additive(expression: str) -> list[Component]:
    return [term.additive for term in parse(expression).terms]


def _tabulate(shard: Truth, settings: FluxSettings, thermal: set[str]) -> Table:
    if shard.scenario not in settings.expressions:
        raise IcflowError(
            f"dataset {shard.dataset}: its spectra are of the scenario {shard.scenario!r}, which "
            "no test dataset has; simulate them anew"
        )
    found = {name: np.zeros(shard.index.size) for name in ("ic_flux", "thermal_flux", "ic_norm")}
    for component in _additive(settings.expressions[shard.scenario]):
        flux = component_flux(component, shard.parameters, settings.energies)
        if component.definition.name in thermal:
            found["thermal_flux"] += flux
        else:
            found["ic_flux"] += flux
            found["ic_norm"] += shard.parameters[f"{component.name}.norm"]
    table = Table(
        {"dataset": np.full(shard.index.size, shard.dataset), "index": shard.index, **found},
        meta={"energies": list(settings.energies)},
    )
    for name in ("ic_flux", "thermal_flux"):
        table[name].unit = FLUX
    return table


def component_flux(
    component: Component, truth: Mapping[str, Floats], energies: Sequence[float]
) -> Floats:
    """Return the unabsorbed flux of an additive component in each spectrum, erg/cm²/s."""
    names = [f"{component.name}.{p.name}" for p in component.definition.parameters]
    low, high = energies
    # Spectra that share a shape, such as one photon index, share its integral.
    shapes, which = np.unique(np.stack([truth[n] for n in names], 1), axis=0, return_inverse=True)
    unit = np.array(
        [energy_flux(component, dict(zip(names, row, strict=True)), low, high) for row in shapes]
    )
    flux: Floats = truth[f"{component.name}.norm"] * unit[which.ravel()]
    return flux
