"""Stage: simulate the spectra of one shard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from icflow.config import Module
from icflow.engines.base import Engine
from icflow.engines.registry import check_version, make_engine
from icflow.layout import truth_of
from icflow.ogip.response import read_rmf
from icflow.ogip.spectra import Recorded, SpectrumSet, write_pieces
from icflow.settings import SimulateSettings
from icflow.truth import Truth, write_truth

# Spectra between two updates of the progress bar.
BLOCK = 100


def run(settings: SimulateSettings, first: int, count: int, output: Path) -> None:
    """Draw parameters and counts of spectra `first` to `first + count`, and write them.

    The parameters are written beside the spectra too, as ``OUTPUT.truth.ecsv`` (without the
    suffix of the output).

    Every spectrum depends on the seed, the name of the dataset (or of the one that it is like)
    and its own index alone, so shards of any size hold the same spectra.
    """
    engine = make_engine(settings.engine, settings.modules, settings.atomic_data)
    check_version(engine, settings.xspec)
    with engine.keeping(output):
        write_pieces(output, _draw(settings, engine, first, count, output), count)


def _draw(
    settings: SimulateSettings, engine: Engine, first: int, count: int, output: Path
) -> Iterator[SpectrumSet]:
    """Yield the spectra in pieces, and write their truth after the last of them.

    The spectra come last: where they are, their truth is too.
    """
    model = settings.model
    metadata: dict[str, str | float | int] = {
        **engine.versions(),
        "SEED": settings.seed,
        "EXPRESS": model.expression,
    }
    modules, truths = tuple(map(_recorded, settings.modules)), []
    with tqdm(desc=settings.dataset, unit=" spectra", total=count, mininterval=5) as progress:
        for start in range(first, first + count, BLOCK):
            indices = range(start, min(start + BLOCK, first + count))
            counts, truth = engine.fake(
                model.expression, model.parameters, settings.seed, settings.draws, indices
            )
            truths.append(truth)
            yield SpectrumSet(
                counts=counts,
                index=np.arange(indices.start, indices.stop, dtype=np.int64),
                truth=truth,
                modules=modules,
                dataset=settings.dataset,
                scenario=settings.scenario,
                metadata=metadata,
            )
            progress.update(len(indices))
    whole = Truth(
        settings.dataset,
        settings.scenario,
        np.arange(first, first + count, dtype=np.int64),
        {name: np.concatenate([truth[name] for truth in truths]) for name in truths[0]},
    )
    write_truth(truth_of(output), whole, model.expression)


def _recorded(module: Module) -> Recorded:
    rmf = read_rmf(module.rmf)
    return Recorded(
        channel=rmf.channel,
        exposure=module.exposure,
        respfile=Path(module.rmf).name,
        ancrfile=None if module.arf is None else Path(module.arf).name,
        telescope=rmf.telescope,
        instrument=rmf.instrument,
        module=module.name,
    )
