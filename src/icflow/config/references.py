"""Keys that name other parts of the configuration, and names that files are named after.

A key says so in its type, ``Annotated[str, NameOf("fits.models")]``, alone, in
a list or as the key of a mapping. `marked` finds all of them in a section.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from icflow.sections import Section


class NameOf:
    """Marks text that names an entry of other sections, or the same as other keys name.

    Parameters
    ----------
    *keys : str
        Those sections or keys, such as ``fits.models``.
    """

    def __init__(self, *keys: str) -> None:
        self.keys = keys


@dataclass(frozen=True)
class FileName:
    """Marks text that files are named after."""


@dataclass(frozen=True)
class InFigures:
    """Marks text that figures and tables show."""


Name = Annotated[str, FileName()]
Shown = Annotated[str, InFigures()]


_MARKERS = (NameOf, FileName, InFigures)


class Marked(NamedTuple):
    """A marked text and where it stands."""

    path: tuple[str, ...]
    text: str
    marker: NameOf | FileName | InFigures


def marked(section: Section, path: tuple[str, ...] = ()) -> Iterator[Marked]:
    """Return every marked text of a section and of the sections in it, in order."""
    for key, hint in _hints(type(section)).items():
        yield from _in_value(hint, getattr(section, key), (*path, key))


@cache
def _hints(section: type[Section]) -> dict[str, Any]:
    hints = get_type_hints(section, include_extras=True)
    return {key: hints[key] for key in section.model_fields}


def _in_value(hint: Any, value: Any, path: tuple[str, ...]) -> Iterator[Marked]:
    """Return the marked texts of a value of a certain type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if isinstance(value, Section):
        yield from marked(value, path)
    elif origin is Annotated:
        if isinstance(value, str):
            markers = [m for m in arguments[1:] if isinstance(m, _MARKERS)]
            yield from (Marked(path, value, marker) for marker in markers)
        yield from _in_value(arguments[0], value, path)
    elif origin in (Union, UnionType):
        for option in arguments:
            if _holds(option, value):
                yield from _in_value(option, value, path)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _in_value(arguments[0], key, path)
            yield from _in_value(arguments[1], item, (*path, key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            place = getattr(item, "name", None) or str(position)
            yield from _in_value(arguments[0], item, (*path, place))


def _holds(hint: Any, value: Any) -> bool:
    """Tell whether a value can be of a type."""
    plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    kind = get_origin(plain) or plain
    return isinstance(kind, type) and isinstance(value, kind)
