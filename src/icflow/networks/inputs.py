"""What training and scoring share: spectra and labels as the networks take them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy import units

from icflow.config import LabelSource
from icflow.errors import IcflowError
from icflow.models.like_components import in_order
from icflow.networks.data import Channels, counts_per_rate, input_rates
from icflow.ogip.spectra import read_spectra
from icflow.tables import floats, read_table, rows_of, strings
from icflow.typing import Floats, Integers, Singles

RATE = units.ct / units.s / units.keV
SQUARED_RATE = RATE**2


@dataclass(frozen=True)
class Inputs:
    """Spectra of one dataset as the networks take them.

    Attributes
    ----------
    dataset : str
        Name in the configuration.
    index : (n,) int
        Index of each spectrum in its dataset, increasing.
    rates : (n, n_input) float32
        Spectra, counts/s/keV.
    counts_per_rate : (n_input,) float32
        Counts of a spectrum with a rate of one, s keV.
    truth : dict of (n,) float
        True parameters by name.
    """

    dataset: str
    index: Integers
    rates: Singles
    counts_per_rate: Singles
    truth: dict[str, Floats]


def read_inputs(
    paths: Sequence[Path], channels: Channels, energies: Sequence[float], size: int | None = None
) -> Inputs:
    """Read the spectra of one dataset from its files.

    Parameters
    ----------
    paths : sequence of path
        Type II files, in any order.
    channels : Channels
        Those of the spectra, of all modules.
    energies : pair of float
        Energies of the input, keV.
    size : int, optional
        Number of spectra to use: those with index below it. All by default.

    Raises
    ------
    IcflowError
        If a file is not one of these responses or dataset, or spectra are missing.
    """
    index, rates = [np.empty(0, np.int64)], []
    truth: dict[str, list[Floats]] = {}
    name = ""
    for path in map(Path, paths):
        spectra = read_spectra(path)
        if name not in ("", spectra.dataset):
            raise IcflowError(
                f"{path}: holds spectra of the dataset {spectra.dataset}, the files before it "
                f"those of {name}; give files of one dataset"
            )
        name = spectra.dataset
        used = spectra.index < (math.inf if size is None else size)
        counts = spectra.counts[used]
        bounds = channels.e_min, channels.e_max, energies
        try:
            rates.append(input_rates(counts, spectra.exposures, *bounds))
            per_rate = counts_per_rate(spectra.exposures, *bounds)
        except IcflowError as error:
            raise IcflowError(f"{path}: {error}") from None
        index.append(spectra.index[used])
        for parameter, values in spectra.truth.items():
            truth.setdefault(parameter, []).append(values[used])
    if not rates:
        raise IcflowError("no files of spectra were given; add them")
    read = np.concatenate(index)
    wanted = np.sort(read) if size is None else np.arange(size)
    rows = rows_of(read, wanted, f"spectra of the dataset {name}")
    return Inputs(
        dataset=name,
        index=wanted,
        rates=np.concatenate(rates)[rows],
        counts_per_rate=per_rate,
        truth={key: np.concatenate(values)[rows] for key, values in truth.items()},
    )


def training_labels(
    sources: Mapping[str, str], inputs: Inputs, fits: Sequence[Path]
) -> tuple[Floats, dict[str, str]]:
    """Return the labels (n, n_labels) of training spectra, and units by label.

    Parameters
    ----------
    sources : mapping
        Label to where it comes from: ``fit:<parameter>``, ``truth:<parameter>``.
    inputs : Inputs
        The spectra.
    fits : sequence of path
        Tables of the label fits, in any order.

    Raises
    ------
    IcflowError
        If a label is absent or not a number for a spectrum.
    """
    parsed = {label: _parsed(source) for label, source in sources.items()}
    fitted, fit_units = _read_fits(
        [source.parameter for source in parsed.values() if source.origin == "fit"], inputs, fits
    )
    origins = _simulated(inputs) | {"fit": fitted}
    labels = np.empty((inputs.index.size, len(sources)))
    for column, (label, source) in enumerate(parsed.items()):
        values = origins[source.origin].get(source.parameter)
        if values is None:
            raise IcflowError(
                f"autoencoder.labels.{label} is {sources[label]!r}, but the spectra of the dataset "
                f"{inputs.dataset} have no such parameter; allowed: "
                f"{', '.join(origins[source.origin])}"
            )
        labels[:, column] = _values(source, values)
        bad = np.flatnonzero(~np.isfinite(labels[:, column]))
        if bad.size:
            raise IcflowError(
                f"autoencoder.labels.{label} is {sources[label]!r}, which is not a number for "
                f"spectrum {inputs.index[bad[0]]} of the dataset {inputs.dataset}; use another "
                "label, or fewer autoencoder.training.spectra"
            )
    named = {
        label: fit_units[source.parameter]
        for label, source in parsed.items()
        if source.origin == "fit" and source.parameter in fit_units and not source.logarithm
    }
    return labels, named


def true_labels(sources: Mapping[str, str], inputs: Inputs) -> Floats:
    """Return those labels (n, n_labels) that spectra without label fits have, else NaN."""
    absent = np.full(inputs.index.size, math.nan)
    origins = _simulated(inputs) | {"fit": {}}
    columns = [
        _values(source, origins[source.origin].get(source.parameter, absent))
        for source in map(_parsed, sources.values())
    ]
    return np.stack(columns, axis=1) if columns else np.empty((inputs.index.size, 0))


def _parsed(source: str) -> LabelSource:
    parsed = LabelSource.parse(source)
    assert parsed is not None  # The configuration has been checked.
    return parsed


def _simulated(inputs: Inputs) -> dict[str, dict[str, Floats]]:
    """Return the true parameters by origin."""
    return {"truth": inputs.truth, "ordered": in_order(inputs.truth)}


def _values(source: LabelSource, values: Floats) -> Floats:
    if not source.logarithm:
        return values
    return np.log(np.where(values > 0, values, math.nan))


def _read_fits(
    parameters: Sequence[str], inputs: Inputs, paths: Sequence[Path]
) -> tuple[dict[str, Floats], dict[str, str]]:
    """Return fitted parameters in the order of the spectra, and their units."""
    if not parameters:
        return {}, {}
    index, origins = [np.empty(0, np.int64)], list[tuple[Path, str]]()
    values: dict[str, list[Floats]] = {name: [np.empty(0)] for name in parameters}
    unit_of: dict[str, str] = {}
    for path in map(Path, paths):
        table = read_table(path, ["index", *parameters])
        index.append(np.asarray(table["index"], np.int64))
        status = strings(table, "status") if "status" in table.colnames else [""] * len(table)
        origins += [(path, text) for text in status]
        for name in parameters:
            values[name].append(floats(table, name))
            if table[name].unit is not None:
                unit_of[name] = str(table[name].unit)
    rows = rows_of(np.concatenate(index), inputs.index, f"label fits of {inputs.dataset}")
    fitted = {name: np.concatenate(columns)[rows] for name, columns in values.items()}
    for name, column in fitted.items():
        _check_fitted(name, column, inputs, [origins[row] for row in rows])
    return fitted, unit_of


def _check_fitted(
    name: str, column: Floats, inputs: Inputs, origins: Sequence[tuple[Path, str]]
) -> None:
    """Check that every label fit gave a parameter; `origins` are their files and statuses."""
    bad = np.flatnonzero(~np.isfinite(column))
    if not bad.size:
        return
    path, status = origins[bad[0]]
    if bad.size == column.size:
        raise IcflowError(
            f"{path}: none of the {column.size} label fits of the dataset {inputs.dataset} gave "
            f"{name} (the first: {status or 'no status'}); correct its scenario, or fits.label "
            "and its model"
        )
    raise IcflowError(
        f"{path}: {name} of spectrum {inputs.index[bad[0]]} is not a number, so it cannot label "
        "the latents; see the column status, or use fewer autoencoder.training.spectra"
    )
