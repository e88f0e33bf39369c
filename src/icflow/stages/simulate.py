"""Stage: simulate the spectra of one shard.

Finished blocks of spectra are kept beside the output until all are done: see
`icflow.stages.partial`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from icflow.engines.registry import make_engine
from icflow.ogip.response import read_rmf
from icflow.ogip.spectrum import SpectrumSet, write_spectra
from icflow.settings import SimulateSettings
from icflow.stages.partial import Partial, key_of
from icflow.typing import DrawnCounts, Floats

# Spectra between two updates of the progress bar, and what a crash can lose.
BLOCK = 100

# Counts, shape (n_spectra, n_channels), and true parameters, each of shape (n_spectra,).
_Block = tuple[DrawnCounts, dict[str, Floats]]


def run(settings: SimulateSettings, first: int, count: int, output: Path) -> None:
    """Draw parameters and counts of spectra `first` to `first + count`, and write them.

    Every spectrum depends on the seed, the name of the dataset (or of the one that it is like)
    and its own index alone, so shards of any size hold the same spectra.
    """
    instrument, model = settings.instrument, settings.model
    engine = make_engine(settings.engine, [instrument], settings.atomic_data)
    with Partial(output, key_of(settings, f"{first}+{count}")) as partial:
        blocks = [_from_json(kept) for kept in partial.results]
        done = sum(len(counts) for counts, _ in blocks)
        with tqdm(
            desc=settings.dataset, unit=" spectra", initial=done, total=count, mininterval=5
        ) as progress:
            for start in range(first + done, first + count, BLOCK):
                indices = range(start, min(start + BLOCK, first + count))
                block = engine.fake(
                    model.expression, model.parameters, settings.seed, settings.draws, indices
                )
                partial.add(_as_json(block))
                blocks.append(block)
                progress.update(len(indices))
        metadata: dict[str, str | float | int] = {
            **engine.versions(),
            "SEED": settings.seed,
            "EXPRESS": model.expression,
        }
        write_spectra(output, _assemble(settings, first, blocks, metadata))


def _assemble(
    settings: SimulateSettings,
    first: int,
    blocks: list[_Block],
    metadata: dict[str, str | float | int],
) -> SpectrumSet:
    instrument = settings.instrument
    rmf = read_rmf(instrument.rmf)
    names = blocks[0][1]
    counts = np.concatenate([counts for counts, _ in blocks])
    return SpectrumSet(
        counts=counts,
        index=np.arange(first, first + len(counts), dtype=np.int64),
        exposure=instrument.exposure,
        truth={name: np.concatenate([truth[name] for _, truth in blocks]) for name in names},
        channel=rmf.channel,
        respfile=Path(instrument.rmf).name,
        ancrfile=None if instrument.arf is None else Path(instrument.arf).name,
        dataset=settings.dataset,
        scenario=settings.scenario,
        metadata=metadata,
        telescope=rmf.telescope,
        instrument=rmf.instrument,
    )


def _as_json(block: _Block) -> dict[str, Any]:
    """Return a block as texts and numbers; JSON gives floats back bit by bit."""
    counts, truth = block
    return {
        "channels": counts.shape[1],
        "counts": base64.b64encode(counts.astype("<i4").tobytes()).decode(),
        "truth": {name: values.tolist() for name, values in truth.items()},
    }


def _from_json(kept: Mapping[str, Any]) -> _Block:
    """Return the block that `_as_json` was given."""
    counts = np.frombuffer(base64.b64decode(kept["counts"]), dtype="<i4")
    truth = {name: np.array(values, dtype=np.float64) for name, values in kept["truth"].items()}
    return counts.reshape(-1, kept["channels"]).astype(np.int32), truth
