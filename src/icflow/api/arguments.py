"""Arguments as people write them: numbers, quantities, arrays; and errors in Python's words."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike, fspath
from typing import Any

import numpy as np

from icflow.errors import IcflowError
from icflow.typing import Counts, Floats

_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]*)")
# Options of `icflow fit` that are one argument of `icflow.Model`.
_OF_PARAMETERS = {"freeze", "link", "limits", "start"}


def in_python(text: str) -> str:
    """Return a sentence that names arguments where the command line has options."""

    def argument(match: re.Match[str]) -> str:
        return "parameters" if match[1] in _OF_PARAMETERS else match[1].replace("-", "_")

    return _OPTION.sub(argument, text)


@contextmanager
def python_words() -> Iterator[None]:
    """Let errors name arguments in place of options of the command line."""
    try:
        yield
    except IcflowError as error:
        raise IcflowError(in_python(str(error))) from None


def number(value: Any, unit: Any, name: str) -> float:
    """Return a plain number, of a quantity in the unit that is documented.

    Parameters
    ----------
    value : number or astropy.units.Quantity
    unit : str or astropy.units.Unit or None
        None for a plain number; a quantity is dimensionless then.
    name : str
        Of the argument, for errors.

    Raises
    ------
    IcflowError
        If it is no finite number, or a quantity in a unit that cannot be turned into this one.
    """
    if hasattr(value, "unit"):
        value = _without_unit(value, unit, name)
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        plain = float(value)
    except (TypeError, ValueError):
        raise IcflowError(f"{name} is {value!r}; give a number") from None
    if not math.isfinite(plain):
        raise IcflowError(f"{name} is {plain}; give a finite number")
    return plain


def whole(value: Any, name: str, least: int = 1, words: str = "a whole number, 1 or more") -> int:
    """Return a whole number that is not below `least`, as `words` say.

    Raises
    ------
    IcflowError
        If it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise IcflowError(f"{name} is {value!r}; give {words}")
    return int(value)


def seed(value: Any) -> int:
    """Return the seed of random numbers, a whole number from 0."""
    return whole(value, "seed", 0, "a whole number, 0 or more")


def path(value: Any, name: str) -> str:
    """Return the name of a file or a folder as text.

    Raises
    ------
    IcflowError
        If it is none.
    """
    if not isinstance(value, (str, PathLike)):
        raise IcflowError(f"{name} is {value!r}; give the name of a file, or a path")
    return str(fspath(value))


def optional_path(value: Any, name: str) -> str | None:
    """Return the same, or None."""
    return None if value is None else path(value, name)


def floats(values: Any, name: str, unit: Any = None) -> Floats:
    """Return an array of numbers, of a quantity in a unit.

    Raises
    ------
    IcflowError
        If these are no numbers, of no rectangular shape, or in a wrong unit.
    """
    if hasattr(values, "unit"):
        values = _without_unit(values, unit, name)
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise IcflowError(f"{name} is {values!r}; give an array of numbers") from None


def mapping(values: Any, name: str) -> Mapping[str, Any]:
    """Return a mapping from names.

    Raises
    ------
    IcflowError
        If it is none.
    """
    if not isinstance(values, Mapping) or not all(isinstance(key, str) for key in values):
        raise IcflowError(f"{name} is {values!r}; give a dictionary, {{'name': value}}")
    return values


def _without_unit(quantity: Any, unit: Any, name: str) -> Any:
    from astropy import units

    if unit is None and not quantity.unit.is_equivalent(units.one):
        raise IcflowError(f"{name} is {quantity}, and has no unit; give a plain number")
    try:
        # Energies may be given as wavelengths, frequencies or temperatures.
        return quantity.to_value(
            unit or units.one, equivalencies=units.spectral() + units.temperature_energy()
        )
    except units.UnitConversionError:
        raise IcflowError(
            f"{name} is {quantity}, which cannot be converted to {unit}; give a number or a "
            f"quantity in {unit}"
        ) from None


def energies(pair: Any, name: str = "energies") -> list[float]:
    """Return lowest and highest energy, keV.

    Raises
    ------
    IcflowError
        If these are not two energies, the lower one first.
    """
    limits = limits_of(pair, "keV", name, "energies")
    if not 0 <= limits[0] < limits[1]:
        raise IcflowError(
            f"{name} is {limits[0]:g} to {limits[1]:g} keV; give the lower energy first, and none "
            "below 0"
        )
    return limits


def limits_of(pair: Any, unit: Any, name: str, what: str = "numbers") -> list[float]:
    """Return two numbers, or quantities in a unit.

    Raises
    ------
    IcflowError
        If these are not two.
    """
    try:
        low, high = pair
    except (TypeError, ValueError):
        raise IcflowError(f"{name} is {pair!r}; give two {what}, (low, high)") from None
    return [number(low, unit, name), number(high, unit, name)]


def counts(values: Any, n_channels: int, what: str) -> Counts:
    """Return counts per channel, one row for each spectrum.

    Parameters
    ----------
    values : array_like, shape (n_channels,) or (n, n_channels)
    what : str
        What has the channels, for errors.

    Raises
    ------
    IcflowError
        If the length is wrong, or they are not counts.
    """
    if hasattr(values, "unit"):
        values = _without_unit(values, "ct", "counts")
    try:
        rows = np.atleast_2d(np.asarray(values))
    except ValueError:
        raise IcflowError(
            "counts has rows of different lengths; give all channels of each"
        ) from None
    if rows.ndim != 2 or rows.shape[1] != n_channels:
        raise IcflowError(
            f"counts has the shape {np.shape(values)}, and {what} has {n_channels} channels; give "
            f"all channels of each spectrum, (n, {n_channels})"
        )
    numeric = rows.dtype.kind in "iuf"
    if not numeric or not np.all(np.isfinite(rows)) or np.any(rows < 0) or np.any(rows % 1):
        raise IcflowError("counts holds NaN, negative numbers or fractions; give whole counts")
    return np.asarray(rows, dtype=np.int64)


def is_listed(value: Any) -> bool:
    """Tell whether it is a list of numbers or of quantities, or an array of one dimension."""
    return isinstance(value, tuple | list) or getattr(value, "ndim", 0) == 1


def listed(values: Any) -> list[Any]:
    """Return one thing, or several, as a list."""
    several = isinstance(values, Sequence) and not isinstance(values, (str, bytes))
    return list(values) if several else [values]
