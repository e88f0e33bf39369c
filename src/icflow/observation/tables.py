"""The tables of an observation, which its page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from astropy import units
from astropy.table import Table, vstack

from icflow.config import FitModel
from icflow.observation.engine import ObservedEngine
from icflow.observation.scores import REPLICAS
from icflow.tables import rounded
from icflow.typing import AnyArray, Floats, Integers

if TYPE_CHECKING:
    from icflow.observation.analysis import Analysis

DIGITS = 6  # of numbers that are drawn


def profile(analysis: Analysis) -> Table:
    """Return by how much C rises, against the flux of IC."""
    both = analysis.observe.both
    norms, cstat = analysis.curve
    table = Table({"norm": norms, "flux": norms * analysis.flux_per_norm(both)})
    table["flux"].unit = units.erg / units.cm**2 / units.s
    table["delta_cstat"] = cstat - min(float(np.nanmin(cstat)), analysis.fits[both].cstat)
    table.meta.update(model=both, energies=list(analysis.observe.ic_energies))
    return table


def spectrum(analysis: Analysis) -> Table:
    """Return the fitted channels with the best fits of the two models that compete."""
    observe = analysis.observe
    fits = {
        name: (analysis.models[name], analysis.fits[name].values)
        for name in (observe.thermal, observe.with_ic)
    }
    table = fitted(analysis.engine, fits)
    table.meta["ic"] = observe.ic
    return table


def fitted(
    engine: ObservedEngine, fits: Mapping[str, tuple[FitModel, Mapping[str, float]]]
) -> Table:
    """Return the fitted channels with the expected counts of every component of some fits.

    Energies rise within each spectrum, also where they fall with the channel.

    Columns ``module, energy_lo, energy_hi`` (keV), ``counts``; for each model
    ``MODEL/TERM`` and ``MODEL/background.NAME`` (counts), and
    ``MODEL/unfolded/TERM``: energy² × photons/cm²/s/keV.

    Parameters
    ----------
    fits : mapping of str to tuple
        Models, by name, and the values of every parameter, as a fit returns them.
    """
    used = np.flatnonzero(engine.used_channels())
    used = used[np.lexsort((engine.energies[used, 0], _first_seen(engine.module[used])))]
    edges = engine.energies[used]
    table = Table({"module": engine.module[used]})
    table["energy_lo"], table["energy_hi"] = edges.T
    table["counts"] = engine.source_counts[used]
    for name, (model, values) in fits.items():
        for component, row in engine.components(model, values).items():
            table[f"{name}/{component}"] = rounded(row[used], DIGITS)
        for component, row in engine.unfolded(model, values).items():
            table[f"{name}/unfolded/{component}"] = rounded(row[used], DIGITS)
    for column in ("energy_lo", "energy_hi"):
        table[column].unit = units.keV
    foldings = engine.engine.foldings
    table.meta["exposure"] = {folding.name: folding.exposure for folding in foldings}
    return table


def _first_seen(names: AnyArray) -> Integers:
    """Return where the name of each row is met first."""
    _, first, inverse = np.unique(names, return_index=True, return_inverse=True)
    return first[inverse]


def simulations(analysis: Analysis) -> Table:
    """Return one row per simulated spectrum: model, set, truth, C of each fit, scores.

    The set is ``replicas`` (of the best fit) or ``allowed`` (by the observed spectrum).
    """
    observe = analysis.observe
    parts = {REPLICAS: observe.thermal} | {n: n for n in (observe.thermal, observe.with_ic)}
    tables = []
    for name, model in parts.items():
        spectra = analysis.spectra[name]
        table = Table({"model": [model] * len(spectra)})
        table["set"] = REPLICAS if name == REPLICAS else "allowed"
        table["index"] = np.arange(len(spectra))
        truths = [analysis.engine.recorded(truth) for truth in spectra.truth]
        columns: dict[str, Sequence[float] | Floats] = {
            f"truth.{key}": [truth[key] for truth in truths] for key in truths[0]
        }
        for role, fits in spectra.fits.items():
            columns[f"cstat.{role}"] = [fit.cstat for fit in fits]
        for detector, score in analysis.scores.items():
            columns[f"score.{detector}"] = score.scores[name]
            columns[f"excess.{detector}"] = score.excess[name]
        for column, values in columns.items():
            table[column] = rounded(values, DIGITS)
        tables.append(table)
    # Numbers that one of them lacks are NaN.
    return vstack(tables, join_type="outer", metadata_conflicts="silent").filled(np.nan)
