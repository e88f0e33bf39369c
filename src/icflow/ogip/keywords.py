"""What PHA files state as a keyword or as a column of that name, for a spectrum or each channel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from icflow.errors import IcflowError
from icflow.ogip.binary_table import BinaryTable, whole_numbers
from icflow.typing import AnyArray, Floats, Integers

# AREASCAL and BACKSCAL: one number, or one for each channel.
Scale = float | Floats
# More than any exposure (s), area or region: what is as large is no measurement.
MOST = 1e15


@dataclass(frozen=True)
class Row:
    """One spectrum of a table: a type I file, or a row (from 0) of one of type II."""

    table: BinaryTable
    row: int | None
    n_channels: int

    @property
    def path(self) -> str:
        """The file."""
        return self.table.path

    def text(self, key: str) -> str | None:
        """Return a keyword, or a column of that name, as text; None if absent or ``none``."""
        value = self._value(key)
        text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
        return None if text.strip().lower() in ("", "none") else text.strip()

    def positive(self, key: str, advice: str, single: bool = True) -> float:
        """Return a number from 0 to `MOST`, a keyword in single precision as XSPEC does."""
        value = self._value(key)
        if value is None:
            raise IcflowError(f"{self.path}: the keyword {key} is missing; {advice}")
        number = self._number(value)
        # Too small a number for single precision is 0 there.
        own = single and not self.table.has(key)
        number = float(np.float32(number)) if own and abs(number) < MOST else number
        if not 0 < number < MOST:
            raise IcflowError(f"{self.path}: {key} is {value!r}, not a positive number; {advice}")
        return number

    def scale(self, key: str, notes: list[str]) -> Scale | None:
        """Return AREASCAL or BACKSCAL; None if absent. 0 counts as 1, as in XSPEC."""
        values, value = self.channels(key), None
        if values is None:
            value = self._value(key)
            with np.errstate(over="ignore"):  # infinite in single precision, and refused
                values = None if value is None else np.array([self._number(value)], np.float32)
        if values is None:
            return None
        values = values.astype(np.float64)
        bad = values[~((values >= 0) & (values < MOST))]
        if bad.size:
            stated = bad[0] if value is None else repr(value)
            raise IcflowError(f"{self.path}: {key} is {stated}, not a positive number; correct it")
        if not values.all():
            notes.append(f"{self.path}: {key} is 0, which is taken for 1")
            values = np.where(values == 0, 1.0, values)
        return values if np.unique(values).size > 1 else float(values[0])

    def flags(self, key: str) -> Integers | None:
        """Return GROUPING or QUALITY of every channel; None if it is 0 for all."""
        values = self.channels(key)
        if values is not None:
            return whole_numbers(values, f"{self.path}: the column {key}")
        constant = self._value(key)
        number = self._number(constant) if constant is not None else 0.0
        if not number:
            return None
        values = np.full(self.n_channels, number)
        return whole_numbers(values, f"{self.path}: the keyword {key}")

    def channels(self, key: str) -> AnyArray | None:
        """Return a column with a value for each channel, shape (n_channels,); None if absent."""
        if not self.table.has(key):
            return None
        values = self.table.column(key)
        if not isinstance(values, np.ndarray):
            raise IcflowError(
                f"{self.path}: {key} has rows of different lengths; write one spectrum each"
            )
        if self.row is not None:
            values = values[self.row]
        return np.broadcast_to(values, (self.n_channels,))

    def _value(self, key: str) -> Any:
        """Return a keyword, or the value of the column of that name that holds for the spectrum."""
        if not self.table.has(key):
            return self.table.header.get(key)
        values = self.table.vector(key, text=True)
        if self.row is not None:
            return values[self.row].item()
        if np.unique(values).size > 1:
            raise IcflowError(
                f"{self.path}: {key} varies with channel, which it cannot; use one value"
            )
        return values[0].item()

    @staticmethod
    def _number(value: Any) -> float:
        if isinstance(value, bool | np.bool_):  # a truth value is no number
            return math.nan
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError):
            return math.nan
