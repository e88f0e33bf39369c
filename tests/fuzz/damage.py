"""What can happen to a file: bits flip, ends are lost, somebody edits it, a library writes it."""

from __future__ import annotations

import gzip
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from hypothesis import strategies as st

CARD, BLOCK = 80, 2880
# Values of keywords, as they stand in a header.
VALUES = (
    *("0", "1", "-1", "7", "32767", "2147483648", "9223372036854775807", "9" * 40, "1E400"),
    *(
        "1E-300",
        "-1.5",
        "NaN",
        "INF",
        "T",
        "'none'",
        "''",
        "'x'",
        "'unclosed",
        "'1E'",
        "'99999999E'",
    ),
    *("'PE(9)'", "'QD'", "'3A'", "'0J'", "'400K'", "'keV'", "'eV'", "'1,2'", "'\xe9'", ""),
)
# Numbers in columns.
NUMBERS = (0.0, -1.0, 1.5, np.nan, np.inf, -np.inf, 1e30, 1e300, 2.0**31, 2.0**63, 1e-300)
FORMATS = ("L", "B", "I", "J", "K", "E", "D", "C", "8A", "2E", "0E", "PE()", "X")
# Values of YAML.
ODD = (
    *(
        None,
        True,
        0,
        -1,
        1,
        2**63,
        10**400,
        0.5,
        1e308,
        float("nan"),
        float("inf"),
        "",
        "x",
        "none",
    ),
    *("1e-3", "../x", "a/b", "é", "{x}", "a" * 300, [], {}, [1], [2, 1], [0.0, float("inf")]),
    *({"x": 1}, {"free": [1, 0]}, {"uniform": [0, 0]}, {"link": "apec.kT"}, "/dev/zero", "pipe"),
)

_Change = Callable[[bytes, int, int], bytes]


def _card(content: bytes, at: int, value: int) -> bytes:
    """Give another value to a keyword, of the header nearest before a place."""
    at -= at % CARD
    while at > 0 and not (content[at + 8 : at + 10] == b"= " and content[at : at + 8].isascii()):
        at -= CARD
    text = VALUES[value % len(VALUES)].encode("latin-1").rjust(20).ljust(CARD - 10)
    return content[: at + 10] + text[: CARD - 10] + content[at + CARD :]


CHANGES: dict[str, _Change] = {
    "flip": lambda c, at, v: c[:at] + bytes([c[at] ^ 1 << v % 8]) + c[at + 1 :],
    "cut": lambda c, at, v: c[:at],
    "zeros": lambda c, at, v: c[:at] + bytes(min(v, len(c) - at)) + c[at + v :],
    "insert": lambda c, at, v: c[:at] + bytes(v) + c[at:],
    "lose": lambda c, at, v: c[:at] + c[at + v :],
    "repeat": lambda c, at, v: c[:at] + c[max(0, at - v) :],
    "write": lambda c, at, v: c[:at] + str(VALUES[v % len(VALUES)]).encode() + c[at:],
    "zip": lambda c, at, v: gzip.compress(c),
    "block": lambda c, at, v: c[: at - at % BLOCK] + c[at - at % BLOCK + BLOCK :],
    "card": _card,
}


@dataclass(frozen=True)
class Bytes:
    """Changes of bytes: their kinds, places from 0 to 1, and numbers of bytes or values."""

    steps: list[tuple[str, float, int]]

    def __call__(self, content: bytes) -> bytes:
        for kind, place, value in self.steps:
            if content:
                content = CHANGES[kind](content, int(place * (len(content) - 1)), value)
        return content


def changes(*kinds: str) -> st.SearchStrategy[Bytes]:
    """Return changes of bytes, one to three of some kinds."""
    steps = st.tuples(st.sampled_from(kinds), st.floats(0, 1), st.integers(0, 5000))
    return st.lists(steps, min_size=1, max_size=3).map(Bytes)


BYTES = changes(*CHANGES)
CARDS = changes("card")


@dataclass(frozen=True)
class Columns:
    """A change of a table: odd numbers, another format, rows or columns that are lost."""

    kind: str
    extension: int
    place: int
    row: int
    number: float
    form: str

    def __call__(self, content: bytes) -> bytes:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            tables = fits.open(io.BytesIO(content))
            position = 1 + self.extension % (len(tables) - 1)
            try:
                tables[position] = self._changed(tables[position])
                written = io.BytesIO()
                tables.writeto(written)
            except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError):
                return content  # astropy cannot write what is meant
            return written.getvalue()

    def _changed(self, table: Any) -> Any:
        rows, listed = self._rows(table.data), list(table.columns)
        chosen = self.place % len(listed)
        kept = [
            fits.Column(
                column.name,
                self.form if self.kind == "format" and number == chosen else column.format,
                unit=column.unit,
                array=rows[column.name],
            )
            for number, column in enumerate(listed)
            if self.kind != "drop" or number != chosen
        ]
        made = fits.BinTableHDU.from_columns(
            kept + kept[:1] * (self.kind == "twice"), name=table.name
        )
        keys = [key for key in table.header if key not in made.header and key[0] != "T"]
        made.header.update({key: table.header[key] for key in (*keys, "TELESCOP")})
        return made

    def _rows(self, data: Any) -> Any:
        """Return the rows of the table, changed."""
        rows = data.copy()
        if self.kind == "rows":
            return rows[: self.row % 3]
        if self.kind == "order":
            return rows[::-1]
        values = rows[rows.names[self.place % len(rows.names)]]
        if self.kind == "all":
            values[:] = self.number
        if self.kind == "number":
            target, row = values, self.row % len(values)
            if values.dtype.kind == "O":
                target, row = values[row], 0
            target[row] = self.number
        return rows


COLUMNS = st.builds(
    Columns,
    kind=st.sampled_from(("number", "all", "format", "drop", "twice", "rows", "order")),
    extension=st.integers(0, 1),
    place=st.integers(0, 10),
    row=st.integers(0, 399),
    number=st.sampled_from(NUMBERS),
    form=st.sampled_from(FORMATS),
)


# --- trees ----------------------------------------------------------------------------


def trees(tree: Any) -> st.SearchStrategy[Any]:
    """Return a YAML tree in which a value anywhere is another, or is lost."""
    places = [*_places(tree)]
    odd = st.sampled_from(ODD) | st.text(max_size=8) | st.integers() | st.floats()
    return st.builds(
        lambda place, value, lost: _put(tree, place, value, lost),
        st.sampled_from(places),
        odd,
        st.integers(0, 9).map(lambda n: n == 0),
    )


def _places(tree: Any) -> Any:
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in pairs:
        yield (key,)
        if isinstance(value, dict | list):
            yield from ((key, *below) for below in _places(value))


def _put(tree: Any, place: tuple[Any, ...], value: Any, lost: bool) -> Any:
    key, *below = place
    copied = tree.copy()
    if below:
        copied[key] = _put(tree[key], tuple(below), value, lost)
    elif lost:
        del copied[key]
    else:
        copied[key] = value
    return copied
