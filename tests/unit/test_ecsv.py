"""ECSV of plain columns: against astropy, byte by byte."""

from __future__ import annotations

import io

import numpy as np
import pytest
from astropy.table import Table

from icflow.ecsv import Columns, text


def by_astropy(table: Columns) -> str:
    other = Table({name: np.asarray(values) for name, values in table.columns.items()})
    for name, unit in table.units.items():
        other[name].unit = unit
    other.meta.update(table.meta)
    file = io.StringIO()
    other.write(file, format="ascii.ecsv")
    return file.getvalue()


NUMBERS = [0.1, -1e-300, 1e16, 123456789.123456789, np.nan, np.inf, 1e5, 3.0, 1e22]
KINDS = Columns(
    {
        "index": np.arange(9, dtype=np.int64),
        "apec.kT": NUMBERS,
        "single": np.array(NUMBERS, dtype=np.float32),
        "converged": np.arange(9) % 2 == 0,
        "small": np.arange(9, dtype=np.int16),
        "status": ["ok", "", "no counts", 'a "word"', "#x", "-", "1", "a,b", "ü"],
        "a name": np.zeros(9),
    },
    {"apec.kT": "keV"},
    {
        "fit": "2T_fixed",
        "expression": "tbabs*(apec+apec)",
        "free": [f"apec_{n}.Abundanc" for n in range(20)],
        "energies": [3.0, 80.0],
        "none": [],
        "number": 1,
        "text that is a number": "3",
        "version": "3.0.9",
        "yes": True,
        "long": "word " * 60,
        "colon": "a: b",
        "checksum": "0" * 64,
    },
)


@pytest.mark.parametrize(
    "table",
    [
        KINDS,
        Columns({"index": np.arange(0)}, {}, {"dataset": "none"}),
        Columns({"only": ["", "x"]}),
        Columns({"empty": np.empty(0), "texts": np.empty(0, dtype=str)}, {"empty": "keV"}),
    ],
)
def test_bytes_are_those_of_astropy(table: Columns) -> None:
    assert text(table) == by_astropy(table)


def test_columns_of_unlike_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        text(Columns({"a": [1, 2], "b": [1]}))
    with pytest.raises(ValueError, match="dimension"):
        text(Columns({"a": np.zeros((2, 2))}))
