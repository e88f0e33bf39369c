"""Where the files lie that an evaluation reads: its rule, its stage and the report ask here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icflow.config import Config, shard_numbers
from icflow.detection.base import FITS, INTEGRALS, RATIOS
from icflow.detection.detectors import fits_read, needed
from icflow.layout import Layout
from icflow.settings import EvaluateSettings

# Shards by dataset and name of what was made of it.
Shards = Mapping[tuple[str, str], Sequence[Path]]


@dataclass(frozen=True)
class InputFiles:
    """The files that an evaluation reads, by what they are of.

    Attributes
    ----------
    scores : mapping of (str, int) to sequence of path
        Scores by network and fold; those of one fold may be in several files.
    results : mapping of str to mapping of (str, str) to sequence of path
        Shards of fits, of integrals over priors and of likelihood ratios
        (`icflow.detection.base.KINDS`), by dataset and name.
    truth : mapping of str to sequence of path
        Shards of the true parameters by dataset, those of the test.
    fluxes : path or None
        True fluxes of the test spectra (`icflow.stages.fluxes`), to add to the scores.
    """

    scores: Mapping[tuple[str, int], Sequence[Path]]
    results: Mapping[str, Shards]
    truth: Mapping[str, Sequence[Path]]
    fluxes: Path | None = None

    @classmethod
    def of(cls, settings: EvaluateSettings, layout: Layout) -> InputFiles:
        """Return where these files lie."""
        detection, datasets, size = settings.detection, settings.datasets, settings.shard_size
        # Scores of the run hold the spectra that the folds held out, too.
        scans = [None, settings.scan] if settings.scored else [None]
        places = {FITS: layout.fits, INTEGRALS: layout.integrals, RATIOS: layout.estimates}
        return cls(
            scores={
                (network, fold): [layout.scores(network, fold, scan) for scan in scans]
                for network in settings.networks
                for fold in range(settings.folds_trained)
            },
            results={
                kind: _files(place, needed(kind, detection, datasets), size)
                for kind, place in places.items()
            },
            truth={
                name: [layout.truth(name, n) for n in shard_numbers(datasets[name].size, size)]
                for name in detection.test
            },
            fluxes=layout.fluxes(settings.scan),
        )

    @property
    def paths(self) -> list[Path]:
        """All of them."""
        results = [path for shards in self.results.values() for path in files_of(shards)]
        fluxes = [] if self.fluxes is None else [self.fluxes]
        return [*files_of(self.scores), *results, *files_of(self.truth), *fluxes]


def files_of(groups: Mapping[Any, Sequence[Path]]) -> list[Path]:
    """Return the files of all groups."""
    return [path for paths in groups.values() for path in paths]


def fit_files(config: Config, layout: Layout) -> Shards:
    """Return the files of all fits of a run, those of which only the report speaks too."""
    return _files(layout.fits, fits_read(config), config.shard_size)


def _files(
    place: Callable[[str, str, int], Path], wanted: Mapping[tuple[str, str], int], shard_size: int
) -> Shards:
    """Return the shards of numbers of spectra; `place` says where each lies."""
    return {
        (dataset, name): [place(dataset, name, n) for n in shard_numbers(number, shard_size)]
        for (dataset, name), number in wanted.items()
    }
