"""ECSV text of plain columns, byte by byte as astropy writes it.

Whoever fits or simulates a shard needs no more of astropy than this, and importing the rest takes
longer than many a shard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import yaml

from icflow.typing import AnyArray

Value = str | int | float | bool | Sequence[str] | Sequence[float]


@dataclass
class Columns:
    """Columns of one length, to be written.

    Attributes
    ----------
    columns : dict of str to sequence
        Numbers, truth values or texts, by name, in order.
    units : dict of str to str
        Of the columns that have one.
    meta : dict
        Texts, numbers and lists of these.
    """

    columns: dict[str, AnyArray | Sequence[Any]]
    units: dict[str, str] = field(default_factory=dict)
    meta: dict[str, Value] = field(default_factory=dict)


class _Pairs(dict[str, Any]):
    """A mapping that is written as a list of pairs."""


class _Dumper(yaml.SafeDumper):
    """YAML as in the headers of astropy."""


def _pairs(dumper: _Dumper, pairs: _Pairs) -> yaml.Node:
    items = [dumper.represent_data({key: value}) for key, value in pairs.items()]
    return yaml.SequenceNode("tag:yaml.org,2002:omap", items, flow_style=False)


_Dumper.add_representer(_Pairs, _pairs)


def text(table: Columns) -> str:
    """Return a table as ECSV.

    Raises
    ------
    ValueError
        If the columns are not of one length and dimension.
    """
    columns = {name: np.asarray(values) for name, values in table.columns.items()}
    if any(values.ndim != 1 for values in columns.values()):
        raise ValueError("a column is not of one dimension")
    header: dict[str, Any] = {
        "datatype": [_described(name, values, table.units) for name, values in columns.items()]
    }
    if table.meta:
        header["meta"] = _Pairs(table.meta)
    header["schema"] = "astropy-2.0"
    dumped = yaml.dump(header, Dumper=_Dumper, default_flow_style=None, width=130, sort_keys=False)
    lines = [f"# {line}" for line in ("%ECSV 1.0", "---", *dumped.splitlines())]
    lines.append(" ".join(map(_cell, columns)))
    rows = zip(*map(_cells, columns.values()), strict=True)
    lines += map(" ".join, rows)
    return "\n".join(lines) + "\n"


def _described(name: str, values: AnyArray, units: Mapping[str, str]) -> dict[str, str]:
    unit = {"unit": units[name]} if name in units else {}
    return {
        "name": name,
        **unit,
        "datatype": "string" if values.dtype.kind == "U" else values.dtype.name,
    }


def _cells(values: AnyArray) -> list[str]:
    if values.dtype.kind == "U":
        return list(map(_cell, values.tolist()))
    # Numbers of single precision as such: they have fewer digits.
    return list(map(str, values if values.dtype == np.float32 else values.tolist()))


def _cell(value: str) -> str:
    if value and not any(letter in value for letter in ' "\n\r'):
        return value
    return '"' + value.replace('"', '""') + '"'
