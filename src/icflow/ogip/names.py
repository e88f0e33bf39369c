"""Names of files as headers and users write them: suffixes, paths of other machines, ``.gz``.

CFITSIO and XSPEC let a name say which part of a file is meant: ``resp.rmf[MATRIX]``,
``both.pha[SPECTRUM,2]``, ``resp.rmf[1]``, and ``two.pha{2}`` for a row of a type II file, or
the second matrix of a response, counted from 1.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from icflow.errors import IcflowError
from icflow.ogip.binary_table import BinaryTable

_NAME = re.compile(
    r"(?P<path>.+?)\s*(?:\[(?P<extension>[^\],]+)(?:,\s*(?P<version>\d+))?\])?"
    r"\s*(?:\{(?P<number>\d+)\})?"
)


@dataclass(frozen=True)
class FileName:
    """A file, and which part of it.

    Attributes
    ----------
    path : str
    extension : str
        Name of the extension, or its number as text; empty where all are meant.
    version : int or None
        EXTVER of the extension.
    number : int or None
        Row of a type II file, or number of the matrix, from 1.
    """

    path: str
    extension: str = ""
    version: int | None = None
    number: int | None = None

    @classmethod
    def of(cls, name: str | os.PathLike[str]) -> FileName:
        """Take a name apart; one that is a file as it stands has no suffix."""
        text = os.fspath(name)
        match = _NAME.fullmatch(text)
        if match is None or Path(text).is_file():
            return cls(text)
        path, extension, version, number = match.groups()
        numbers = (int(part) if part else None for part in (version, number))
        return cls(path, extension or "", *numbers)

    def __str__(self) -> str:
        version = "" if self.version is None else f",{self.version}"
        extension = f"[{self.extension}{version}]" if self.extension else ""
        return self.path + extension + ("" if self.number is None else f"{{{self.number}}}")

    def on_disk(self) -> str:
        """Return the path of the file that is there, gzipped or not; the path itself if none is."""
        for path in (self.path, f"{self.path}.gz", self.path.removesuffix(".gz")):
            if Path(path).is_file():
                return path
        return self.path

    def select(self, tables: Sequence[BinaryTable]) -> list[BinaryTable]:
        """Return those of some tables of the file that the name means.

        Raises
        ------
        IcflowError
            If it means none.
        """
        chosen = [table for table in tables if self._means(table)]
        if tables and not chosen:
            names = ", ".join(dict.fromkeys(table.name for table in tables))
            asked = self.extension + (f",{self.version}" if self.version else "")
            raise IcflowError(
                f"{self.path}: has no extension {asked} as its name asks "
                f"(it has {names}); correct or leave out what stands in [ ]"
            )
        return chosen

    def _means(self, table: BinaryTable) -> bool:
        if self.extension.isdecimal():
            return table.hdu == int(self.extension)
        named = self.extension.strip().upper() in ("", table.name.upper())
        return named and self.version in (None, int(table.number("EXTVER") or 1))


def row_of(path: str, number: int | None, rows: int, what: str, besides: str = "") -> int:
    """Return the row, from 0, that a number from 1 means in a type II file of some rows.

    Without a number, a single one.

    Raises
    ------
    IcflowError
        If there is no such row, or several and no number; `what` they hold is named, and what
        there is `besides` them.
    """
    if number is None and rows != 1:
        raise IcflowError(
            f"{path}: holds {rows} {what} (type II); choose a row, {path}{{1}} to {path}{{{rows}}}"
            f"{besides}"
        )
    number = 1 if number is None else number
    if not 1 <= number <= rows:
        raise IcflowError(
            f"{path}: has no row {number}; choose one from {path}{{1}} to {path}{{{rows}}}"
        )
    return number - 1


def plain(name: str | os.PathLike[str]) -> Path:
    """Return the file that a name means, without suffix."""
    return Path(FileName.of(name).on_disk())


def beside(spectrum: Path, name: str) -> Path | None:
    """Find a file that the header of a spectrum names, suffix kept; None if it is nowhere.

    It is looked for as the header says, from the folder of the spectrum and from here, and,
    where that is a path of another machine, by its name alone beside the spectrum.
    """
    parts = FileName.of(name)
    suffix = name[len(parts.path) :].strip()
    folder = plain(spectrum).parent
    for path in (folder / parts.path, Path(parts.path), folder / Path(parts.path).name):
        there = FileName(str(path)).on_disk()
        if Path(there).is_file():
            return Path(there + suffix)
    return None
