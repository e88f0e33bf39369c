"""What training and scoring share: spectra and labels as the networks take them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy import units
from astropy.table import Table

from icflow.errors import IcflowError
from icflow.models.like_components import in_order
from icflow.networks.data import Channels, counts_per_rate, input_rates
from icflow.networks.labels import LabelSource
from icflow.ogip.spectra import read_spectra
from icflow.tables import floats, read_table, rows_of, strings
from icflow.typing import Booleans, Floats, Integers, Singles, Strings

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
        bounds = channels.e_min, channels.e_max, energies
        try:
            rates += [
                input_rates(spectra.counts[piece][used[piece]], spectra.exposures, *bounds)
                for piece in spectra.pieces()
            ]
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


@dataclass(frozen=True)
class Labels:
    """Labels of training spectra.

    Attributes
    ----------
    values : (n, n_labels) float
        NaN in the rows of spectra whose label fit gave no number.
    units : dict of str
        By label, where it has one.
    unconverged : int
        Spectra whose label fit gave numbers, but did not converge.
    on_limit : dict of int
        By parameter of which some did, spectra whose label fit ended on a limit of it.
    """

    values: Floats
    units: dict[str, str]
    unconverged: int = 0
    on_limit: dict[str, int] = field(default_factory=dict)

    @property
    def known(self) -> Booleans:
        """Which spectra have all labels, (n,): the others are left out of a training."""
        return np.asarray(np.isfinite(self.values).all(axis=1))

    def doubts(self) -> list[str]:
        """Return sentences on labels that a training does without, or should not trust."""
        number, missing = len(self.values), int((~self.known).sum())
        sentences = []
        if missing:
            sentences.append(
                f"{missing:,} of {number:,} training spectra are left out: their label fits gave "
                "no number"
            )
        if self.unconverged:
            sentences.append(
                f"{self.unconverged:,} of {number:,} label fits that are used did not converge"
            )
        sentences += [
            f"{count:,} of {number:,} label fits that are used ended on a limit of {name}"
            for name, count in self.on_limit.items()
        ]
        return sentences


def training_labels(sources: Mapping[str, str], inputs: Inputs, fits: Sequence[Path]) -> Labels:
    """Return the labels of training spectra.

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
        If a label is absent, a true parameter is none for a spectrum, or no fit gave one; if
        most of the fits that are used ended on a limit, or none of them is to be trusted.
    """
    parsed = {label: _parsed(source) for label, source in sources.items()}
    fitted = _read_fits(
        [source.parameter for source in parsed.values() if source.origin == "fit"], inputs, fits
    )
    origins = _simulated(inputs) | {"fit": fitted.values}
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
        if bad.size and source.origin != "fit":
            raise IcflowError(
                f"autoencoder.labels.{label} is {sources[label]!r}, which is not a number for "
                f"spectrum {inputs.index[bad[0]]} of the dataset {inputs.dataset}; use another "
                "label, or fewer autoencoder.training.spectra"
            )
    units = {
        label: fitted.units[source.parameter]
        for label, source in parsed.items()
        if source.origin == "fit" and source.parameter in fitted.units and not source.logarithm
    }
    known = np.asarray(np.isfinite(labels).all(axis=1))
    fitted.check(known, inputs.dataset)
    on_limit = {name: int(np.sum(rows & known)) for name, rows in fitted.on_limit.items()}
    on_limit = {name: count for name, count in on_limit.items() if count}
    return Labels(labels, units, int(np.sum(known & ~fitted.converged)), on_limit)


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


@dataclass(frozen=True)
class _Fitted:
    """Label fits in the order of the spectra.

    Attributes
    ----------
    values : dict of (n,) float
        By parameter that is a label.
    units : dict of str
    converged : (n,) bool
    on_limit : dict of (n,) bool
        By parameter that is a label, which fits ended on a limit of it.
    status : (n,) str
    path : (n,) str
        Table that holds each.
    """

    values: dict[str, Floats]
    units: dict[str, str]
    converged: Booleans
    on_limit: dict[str, Booleans]
    status: Strings
    path: Strings

    def check(self, used: Booleans, dataset: str) -> None:
        """Check that most of the fits that are used tell something of their spectra.

        Fits that have not converged may be close to their minima, as many of XSPEC from one
        start are; so they are refused only where there are no others.

        Raises
        ------
        IcflowError
            If more than half of them ended on a limit, or all did or have not converged.
        """
        number, limited = int(used.sum()), np.zeros_like(used)
        for rows in self.on_limit.values():
            limited |= rows & used
        bad = limited | (used & ~self.converged)
        if 2 * limited.sum() > number:
            raise IcflowError(
                f"{self.path[limited][0]}: {limited.sum():,} of {number:,} label fits of the "
                f"dataset {dataset} that are used ended on a limit of {self._limits(limited)}, "
                "which says little of their spectra; correct the priors of its scenario under "
                "scenarios, or widen these limits under fits.models, in the model that fits.label "
                "names"
            )
        if number and bad.sum() == number:
            raise IcflowError(
                f"{self.path[bad][0]}: none of {number:,} label fits of the dataset {dataset} "
                f"that are used converged within its limits (status of the first: "
                f"{self.status[bad][0]}); raise fits.max_iterations or fits.starts, or correct "
                "its scenario, or fits.label and its model"
            )

    def _limits(self, limited: Booleans) -> str:
        """Name the parameters that ended on limits, most of the fits first, and where these are."""
        values = {name: self.values[name][rows & limited] for name, rows in self.on_limit.items()}
        names = []
        for name in sorted(values, key=lambda name: -values[name].size):
            if values[name].size:
                ends = (values[name].min(), values[name].max())
                names.append(f"{name} ({' and '.join(dict.fromkeys(f'{e:.4g}' for e in ends))})")
        return " or ".join(names)


def _read_fits(parameters: Sequence[str], inputs: Inputs, paths: Sequence[Path]) -> _Fitted:
    if not parameters:
        size = inputs.index.size
        none = np.full(size, "")
        return _Fitted({}, {}, np.ones(size, dtype=bool), {}, none, none)
    columns = ["index", "converged", "at_bound", "status", *parameters]
    tables = [(path, read_table(path, columns, dataset=inputs.dataset)) for path in paths]
    index = [np.asarray(table["index"], np.int64) for _, table in tables]
    empty = np.empty(0)
    rows = rows_of(
        np.concatenate([empty.astype(np.int64), *index]),
        inputs.index,
        f"label fits of {inputs.dataset}",
    )

    def joined(name: str) -> Floats:
        return np.concatenate([empty, *(floats(table, name) for _, table in tables)])[rows]

    def words(name: str) -> Strings:
        return np.array([word for _, table in tables for word in strings(table, name)], str)[rows]

    fitted = {name: joined(name) for name in parameters}
    for name, column in fitted.items():
        if not np.isfinite(column).any():
            raise _none_fitted(name, inputs, tables)
    units = {
        name: str(table[name].unit)
        for _, table in tables
        for name in parameters
        if table[name].unit is not None
    }
    limits = [names.split(",") for names in words("at_bound")]
    return _Fitted(
        values=fitted,
        units=units,
        converged=joined("converged") > 0,
        on_limit={name: np.array([name in names for names in limits]) for name in fitted},
        status=words("status"),
        path=np.array([str(path) for path, table in tables for _ in range(len(table))])[rows],
    )


def _none_fitted(name: str, inputs: Inputs, tables: Sequence[tuple[Path, Table]]) -> IcflowError:
    """Return the error that no label fit gave a parameter."""
    path, table = next((path, table) for path, table in tables if len(table))
    return IcflowError(
        f"{path}: none of the {inputs.index.size} label fits of the dataset {inputs.dataset} gave "
        f"{name} (the first: {strings(table, 'status')[0]}); correct its scenario, or fits.label "
        "and its model"
    )
