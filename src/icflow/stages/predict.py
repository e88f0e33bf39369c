"""Stage: the expected counts of a model, as in a session with XSPEC."""

from __future__ import annotations

from pathlib import Path

from astropy import units
from astropy.table import Table

from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.settings import PredictSettings
from icflow.tables import write_table


def run(settings: PredictSettings, output: Path) -> list[str]:
    """Write the expected counts of a model: ``channel, energy_lo, energy_hi, counts``.

    Returns
    -------
    list of str
        What is odd about the response.
    """
    engine = EmbeddedEngine([settings.module()], settings.atomic_data)
    counts = engine.predict(settings.expression, dict(settings.values))
    notes = engine.foldings[0].response.notes
    response = engine.foldings[0].response.rmf
    table = Table(
        {
            "channel": response.channel,
            "energy_lo": response.e_min * units.keV,
            "energy_hi": response.e_max * units.keV,
            "counts": counts * units.count,
        },
        meta={
            "expression": settings.expression,
            "exposure": settings.exposure,
            "values": dict(settings.values),
            **engine.versions(),
        },
    )
    write_table(output, table)
    return [f"Note: {note}" for note in notes]
