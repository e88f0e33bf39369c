"""Stage: the expected counts of every component of one simulated spectrum."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy import units
from astropy.table import Table

from icflow.engines.base import BACKGROUND
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.errors import IcflowError
from icflow.models.expression import parse
from icflow.ogip.spectra import read_spectra
from icflow.settings import SimulateSettings
from icflow.tables import write_table


def run(settings: SimulateSettings, spectra: Path, index: int, output: Path) -> None:
    """Write a table of counts and expected counts per channel.

    Columns ``channel, energy_lo, energy_hi, counts``, ``source``, one for each
    additive term (``TBabs*apec``), and one for each background component
    (``background.lines``). Always by the embedded engine: it is the one that
    folds terms one by one. Of several modules the first is tabulated.
    """
    shard = read_spectra(spectra)
    rows = np.flatnonzero(shard.index == index)
    if len(rows) == 0:
        raise IcflowError(f"{spectra}: holds no spectrum {index} of dataset {shard.dataset}")
    row = int(rows[0])
    first = settings.modules[0]
    engine = EmbeddedEngine([first.model_copy(update={"name": ""})], settings.atomic_data)
    values = {name: float(column[row]) for name, column in shard.truth.items()}
    physical = parse(settings.model.expression).parameters
    truth = {name: value for name, value in values.items() if name in physical}
    terms = engine.components_of(settings.model.expression, truth)
    # With several modules the factor of a background has the name of its module too.
    within = f"{first.name}." if len(settings.modules) > 1 else ""
    backgrounds = {
        BACKGROUND + name: counts * values.get(f"{BACKGROUND}{within}{name}", 1.0)
        for name, counts in engine.backgrounds.items()
    }
    rmf = engine.foldings[0].response.rmf
    table = Table(
        {
            "channel": rmf.channel,
            "energy_lo": rmf.e_min * units.keV,
            "energy_hi": rmf.e_max * units.keV,
            "counts": shard.counts[row][shard.bounds[0]],
            "source": np.sum(list(terms.values()), axis=0),
            **terms,
            **backgrounds,
        },
        meta={"exposure": shard.modules[0].exposure, "scenario": shard.scenario, "truth": values},
    )
    write_table(output, table)
