"""The true parameters of simulated spectra, as a table beside the spectra."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from icflow.ecsv import Columns
from icflow.errors import IcflowError
from icflow.models.expression import parse
from icflow.tables import floats, read_table, write_table
from icflow.typing import Floats, Integers


@dataclass(frozen=True)
class Truth:
    """What some spectra of a dataset were simulated with.

    Attributes
    ----------
    dataset, scenario : str
    index : (n,) int
        Index of each spectrum in its dataset.
    parameters : dict of str to (n,) float
        Values by name, ``component.parameter``, background factors among them.
    """

    dataset: str
    scenario: str
    index: Integers
    parameters: dict[str, Floats]


def write_truth(path: Path, truth: Truth, expression: str) -> None:
    """Write true parameters; `expression`, that they belong to, gives their units."""
    declared = parse(expression).parameters
    table = Columns(
        {
            "dataset": np.full(truth.index.size, truth.dataset),
            "index": truth.index,
            **truth.parameters,
        },
        # Of the units that XSPEC's models name, energies alone are ones in astropy's sense.
        {n: "keV" for n in truth.parameters if n in declared and declared[n].unit == "keV"},
        {"dataset": truth.dataset, "scenario": truth.scenario, "expression": expression},
    )
    write_table(path, table)


def read_truth(path: Path, dataset: str | None = None) -> Truth:
    """Read what `write_truth` wrote, of a certain dataset if one is named.

    Raises
    ------
    IcflowError
        If the file is missing, is not whole, does not say what it holds, or is of another dataset.
    """
    table = read_table(
        path, ["dataset", "index"], **({} if dataset is None else {"dataset": dataset})
    )
    if not {"dataset", "scenario"} <= table.meta.keys():
        raise IcflowError(f"{path}: not a table of true parameters; simulate the dataset again")
    return Truth(
        dataset=table.meta["dataset"],
        scenario=table.meta["scenario"],
        index=np.asarray(table["index"], dtype=np.int64),
        parameters={
            name: floats(table, name) for name in table.colnames if name not in ("dataset", "index")
        },
    )
