"""What evaluations and scans read: tables of scores, fits and integrals, and the truth."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from astropy.table import Column, Table

from icflow import layout
from icflow.detection.base import HELD_OUT, KINDS, REFERENCE, TEST, VALIDATION, Kind, Sample
from icflow.detection.columns import IDENTITY, TRUTH
from icflow.detection.detectors import in_order
from icflow.detection.input_files import Shards
from icflow.detection.scan import Point, ScoredSpectra
from icflow.errors import IcflowError
from icflow.settings import ScanSettings
from icflow.tables import floats, read_table, stack, strings
from icflow.truth import read_truth
from icflow.typing import Floats

SCORE_COLUMNS = ("dataset", "index", "part", "R_a")
FLUX = f"{TRUTH}ic_flux"
FLUXES = ("ic_flux", "thermal_flux", "ic_norm")


def read_scores(
    paths: Mapping[tuple[str, int], Sequence[Path]], samples: Mapping[str, Sample], held_out: bool
) -> dict[str, list[Table]]:
    """Return for each network and fold the scores of validation and test spectra.

    The scores of a fold may be in several files. Those of the spectra that the fold held out
    come along; without `held_out` as a reference only, which chooses no threshold.
    """
    tables: dict[str, list[Table]] = {}
    # In order, so that the order of the arguments does not matter.
    for network, fold in sorted(paths):
        files = sorted(paths[network, fold])
        of = functools.partial(read_table, columns=SCORE_COLUMNS, network=network, fold=fold)
        table = stack([of(path) for path in files])
        dataset, part = (np.array(strings(table, name)) for name in ("dataset", "part"))
        # What a dataset is scored for and what it is used for here may differ.
        for role in (VALIDATION, TEST):
            part[np.isin(dataset, samples[role].dataset)] = role
        used = np.isin(dataset, [*samples[VALIDATION].dataset, *samples[TEST].dataset])
        used |= part == HELD_OUT
        table["part"] = part if held_out else np.where(part == HELD_OUT, REFERENCE, part)
        tables.setdefault(network, []).append(table[used])
    return tables


def read_results(
    paths: Mapping[str, Shards], samples: Mapping[str, Sample]
) -> dict[str, dict[str, dict[str, Table]]]:
    """Return for each of `KINDS`, part and name the results in the order of the part's spectra.

    Parameters
    ----------
    paths : mapping
        Shards by kind, and by dataset and name.

    Raises
    ------
    IcflowError
        If a file lacks a column, or there are results of some of a part's spectra only.
    """
    return {kind: _read_kind(KINDS[kind], shards, samples) for kind, shards in paths.items()}


def _read_kind(
    kind: Kind, paths: Shards, samples: Mapping[str, Sample]
) -> dict[str, dict[str, Table]]:
    shards: dict[str, dict[str, list[Table]]] = {}
    for (dataset, name), files in paths.items():
        own = {kind.word: name, "dataset": dataset}
        tables = [read_table(path, kind.columns, **own) for path in sorted(files)]
        shards.setdefault(name, {})[dataset] = tables
    return {
        part: {
            name: _in_order(shards[name], f"{kind.word} {name}", sample)
            for name in sorted(shards)
            if set(sample.datasets) & set(shards[name])
        }
        for part, sample in samples.items()
    }


def _in_order(shards: Mapping[str, Sequence[Table]], what: str, sample: Sample) -> Table:
    """Return the results of a sample's spectra in their order, from those of its datasets."""
    for dataset in sample.datasets:
        if dataset not in shards:
            raise IcflowError(f"{what}: no results for the dataset {dataset}; make them")
    tables = [stack(shards[dataset]) for dataset in sample.datasets]
    # What a fit takes from the truth differs between scenarios.
    shared = [name for name in tables[0].colnames if all(name in t.colnames for t in tables)]
    datasets = np.repeat(sample.datasets, [len(table) for table in tables])
    whole = stack([table[shared] for table in tables])
    rows = sample.rows_in(datasets, np.asarray(whole["index"]), f"{what} of the dataset")
    ordered = whole[rows]
    ordered.meta = tables[0].meta
    return ordered


def read_truths(paths: Mapping[str, Sequence[Path]], sample: Sample) -> dict[str, Floats]:
    """Return the true parameters of a sample's spectra, NaN where a scenario has none.

    Raises
    ------
    IcflowError
        If a spectrum is in none of the files.
    """
    for dataset in sample.datasets:
        if dataset not in paths:
            raise IcflowError(f"no spectra of the dataset {dataset} were given; add its files")
    shards = [read_truth(path, name) for name in sample.datasets for path in sorted(paths[name])]
    rows = sample.rows_in(
        np.repeat([shard.dataset for shard in shards], [shard.index.size for shard in shards]),
        np.concatenate([shard.index for shard in shards]),
        "spectra of the dataset",
    )
    return {
        name: np.concatenate(
            [s.parameters.get(name, np.full(s.index.size, math.nan)) for s in shards]
        )[rows]
        for name in dict.fromkeys(name for shard in shards for name in shard.parameters)
    }


def read_fluxes(path: Path, sample: Sample) -> dict[str, Column]:
    """Return the true fluxes of a sample's spectra, with their units.

    Raises
    ------
    IcflowError
        If a spectrum has none.
    """
    table = read_table(path, ("dataset", "index", *FLUXES))
    dataset, index = np.array(strings(table, "dataset")), np.asarray(table["index"])
    rows = sample.rows_in(dataset, index, f"{path}, dataset")
    return {name: Column(floats(table, name)[rows], unit=table[name].unit) for name in FLUXES}


# --- the evaluations of a scan ------------------------------------------------------


def read_point(folder: Path, settings: ScanSettings) -> Point:
    """Return the spectra and thresholds of the evaluation of one point of a scan.

    Raises
    ------
    IcflowError
        If it is missing, or not of these detectors and datasets.
    """
    detectors = in_order(settings.detectors)
    columns = (*IDENTITY, *detectors)
    scores = read_table(folder / layout.JUDGED, columns)
    validation = read_table(folder / layout.VALIDATION, columns)
    thresholds = scores.meta.get("thresholds", {})
    missing = [name for name in detectors if name not in thresholds]
    if missing:
        raise IcflowError(
            f"{folder / layout.JUDGED}: has no threshold of {', '.join(missing)}; evaluate it again"
        )
    return Point(
        thermal=_scored(scores, False, detectors, settings.sources),
        ic=_scored(scores, True, detectors, settings.sources),
        calibration=_scored(validation, False, detectors, settings.sources),
        thresholds={name: float(thresholds[name]) for name in detectors},
    )


def _scored(
    table: Table, is_ic: bool, detectors: Sequence[str], sources: Mapping[str, str]
) -> ScoredSpectra:
    """Return the spectra of one class."""
    table = table[np.asarray(table["is_ic"], dtype=bool) == is_ic]
    datasets = strings(table, "dataset")
    unknown = set(datasets) - set(sources)
    if unknown:
        raise IcflowError(
            f"an evaluation holds the dataset {', '.join(sorted(unknown))}, which no point of the "
            "scan names; evaluate it again"
        )
    flux = floats(table, FLUX) if FLUX in table.colnames else np.full(len(table), math.nan)
    return ScoredSpectra(
        sources=np.array(
            [f"{sources[d]}/{i}" for d, i in zip(datasets, table["index"], strict=True)], dtype=str
        ),
        scores={name: floats(table, name) for name in detectors},
        flux=flux,
    )
