"""Stage: simulate the spectra of one shard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from icflow.config import Module
from icflow.engines.registry import check_version, make_engine
from icflow.layout import truth_of
from icflow.ogip.response import read_rmf
from icflow.ogip.spectra import Recorded, SpectrumSet, write_spectra
from icflow.settings import SimulateSettings
from icflow.truth import Truth, write_truth
from icflow.typing import DrawnCounts, Floats

# Spectra between two updates of the progress bar.
BLOCK = 100

# Counts, shape (n_spectra, n_channels), and true parameters, each of shape (n_spectra,).
_Block = tuple[DrawnCounts, dict[str, Floats]]


def run(settings: SimulateSettings, first: int, count: int, output: Path) -> None:
    """Draw parameters and counts of spectra `first` to `first + count`, and write them.

    The parameters are written beside the spectra too, as ``OUTPUT.truth.ecsv`` (without the
    suffix of the output).

    Every spectrum depends on the seed, the name of the dataset (or of the one that it is like)
    and its own index alone, so shards of any size hold the same spectra.
    """
    model = settings.model
    engine = make_engine(settings.engine, settings.modules, settings.atomic_data)
    check_version(engine, settings.xspec)
    with engine.keeping(output):
        blocks = []
        with tqdm(desc=settings.dataset, unit=" spectra", total=count, mininterval=5) as progress:
            for start in range(first, first + count, BLOCK):
                indices = range(start, min(start + BLOCK, first + count))
                blocks.append(
                    engine.fake(
                        model.expression, model.parameters, settings.seed, settings.draws, indices
                    )
                )
                progress.update(len(indices))
        metadata: dict[str, str | float | int] = {
            **engine.versions(),
            "SEED": settings.seed,
            "EXPRESS": model.expression,
        }
        spectra = _assemble(settings, first, blocks, metadata)
        # The spectra come last: where they are, their truth is too.
        truth = Truth(spectra.dataset, spectra.scenario, spectra.index, spectra.truth)
        write_truth(truth_of(output), truth, model.expression)
        write_spectra(output, spectra)


def _assemble(
    settings: SimulateSettings,
    first: int,
    blocks: list[_Block],
    metadata: dict[str, str | float | int],
) -> SpectrumSet:
    names = blocks[0][1]
    counts = np.concatenate([counts for counts, _ in blocks])
    return SpectrumSet(
        counts=counts,
        index=np.arange(first, first + len(counts), dtype=np.int64),
        truth={name: np.concatenate([truth[name] for _, truth in blocks]) for name in names},
        modules=tuple(map(_recorded, settings.modules)),
        dataset=settings.dataset,
        scenario=settings.scenario,
        metadata=metadata,
    )


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
