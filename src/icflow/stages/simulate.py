"""Stage: simulate the spectra of one shard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from icflow.config import SimulateSettings
from icflow.engines.registry import make_engine
from icflow.ogip.response import read_rmf
from icflow.ogip.spectrum import SpectrumSet, write_spectra

BLOCK = 100  # spectra between two updates of the progress bar


def run(settings: SimulateSettings, first: int, count: int, output: Path) -> None:
    """Draw parameters and counts of spectra `first` to `first + count`, and write them.

    Every spectrum depends on the seed, the name of the dataset and its own
    index alone, so shards of any size hold the same spectra.
    """
    instrument, model = settings.instrument, settings.model
    engine = make_engine(settings.engine, instrument, settings.atomic_data)
    blocks = []
    with tqdm(total=count, desc=settings.dataset, unit=" spectra", mininterval=5) as progress:
        for start in range(first, first + count, BLOCK):
            indices = range(start, min(start + BLOCK, first + count))
            blocks.append(
                engine.fake(
                    model.expression, model.parameters, settings.seed, settings.dataset, indices
                )
            )
            progress.update(len(indices))
    rmf = read_rmf(instrument.rmf)
    names = blocks[0][1]
    spectra = SpectrumSet(
        counts=np.concatenate([counts for counts, _ in blocks]),
        index=np.arange(first, first + count, dtype=np.int64),
        exposure=instrument.exposure,
        truth={name: np.concatenate([truth[name] for _, truth in blocks]) for name in names},
        channel=rmf.channel,
        respfile=Path(instrument.rmf).name,
        ancrfile=None if instrument.arf is None else Path(instrument.arf).name,
        dataset=settings.dataset,
        scenario=settings.scenario,
        metadata={**engine.versions(), "SEED": settings.seed, "EXPRESS": model.expression},
        telescope=rmf.telescope,
        instrument=rmf.instrument,
    )
    write_spectra(output, spectra)
