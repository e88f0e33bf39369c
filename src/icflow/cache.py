"""Arrays on disk, made once and mapped into memory; those used last stay.

A file is a zip archive of ``.npy`` members, not compressed, as `numpy.savez` writes them, but each
begins at an address that its numbers can be used at: processes map the file instead of reading it,
and those of one machine share one copy of it in memory. Whoever changes an array changes its own.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO
from zipfile import BadZipFile, ZipFile, ZipInfo

import numpy as np

from icflow.errors import IcflowError
from icflow.files import (
    LARGE,
    atomic_path,
    check_writable,
    locked,
    remembered,
    sha256_of,
)
from icflow.folders import cache_folder
from icflow.typing import AnyArray

# Arrays by name, as a cache file holds them.
Arrays = dict[str, AnyArray]

# Part of the key of every cached table: raise it when their content changes.
FORMAT = 1
# Tables that are kept in memory.
RECENT = 8
# Tables on disk: how many bytes together, and how long after they were last used.
LARGEST = 4 << 30
OLDEST = 90 * 86400  # s
# A use is noted if the last one noted was longer ago: each makes the file look changed.
NOTED = 86400  # s
# Members begin at multiples of so many bytes, behind a field of zeros that readers of zips skip.
ALIGNED = 64
_PADDING = b"\x35\xd9"
_LOCAL_HEADER, _ZIP64 = 30, 20  # bytes before the name of a member, and after it


def cached(key: Mapping[str, object], make: Callable[[], Arrays]) -> Arrays:
    """Return the arrays kept under `key`, making and keeping them the first time.

    A lock makes the second of two processes wait for the first instead of
    doing the same work. The last few are kept in memory too: profiles fit one
    model many times.
    """
    name = sha256_of({**key, "format": FORMAT})[:32]
    path = folder() / f"{name}.npz"
    arrays = _recent.pop(path, None) or _read_cache(path)
    if arrays is None:
        arrays = _make_cache(path, make)
    _recent[path] = arrays
    if len(_recent) > RECENT:
        del _recent[next(iter(_recent))]
    return arrays


def folder() -> Path:
    """Return the folder of the tables."""
    return cache_folder() / "folded"


def tables() -> Iterator[tuple[Path, os.stat_result]]:
    """Return every table on disk with its status, the one used last first."""
    rows = []
    for path in folder().glob("*.npz"):
        # Another process may be trimming, too.
        with suppress(FileNotFoundError):
            rows.append((path, path.stat()))
    return iter(sorted(rows, key=lambda row: row[1].st_mtime, reverse=True))


def trim(largest: int = LARGEST, oldest: float = OLDEST) -> None:
    """Remove the tables that were not used for long, and those beyond a size, oldest first."""
    room, now = largest, time.time()
    for path, status in tables():
        room -= status.st_size
        if room < 0 or now - status.st_mtime > oldest:
            _remove(path)


# The arrays used last, oldest first.
_recent: dict[Path, Arrays] = {}


def _make_cache(path: Path, make: Callable[[], Arrays]) -> Arrays:
    check_writable(path.parent, "set ICFLOW_CACHE to a folder of yours")
    lock = path.with_suffix(".lock")
    with locked(lock):
        arrays = _read_cache(path)
        if arrays is None:
            made = make()
            _keep(path, made)
            # Mapped, as every process after this one has them.
            arrays = _read_cache(path) or made
            trim()
        lock.unlink(missing_ok=True)
    return arrays


def _keep(path: Path, made: Arrays) -> None:
    try:
        with atomic_path(path) as temporary:
            _write(temporary, made, path.stem)
    except OSError as error:
        # Said here: further out it would be taken for an error of the file that is read.
        size = sum(array.nbytes for array in made.values()) / 1e6
        raise IcflowError(
            f"{path.parent}: a table of {size:.0f} MB cannot be written ({error.strerror}); make "
            "space, or set ICFLOW_CACHE to another folder"
        ) from None


def _write(path: Path, arrays: Arrays, name_of_table: str) -> None:
    with ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            member = ZipInfo(f"{name}.npy")
            assert archive.fp is not None
            start = archive.fp.tell() + _LOCAL_HEADER + len(member.filename) + _ZIP64
            size = -(start + 4) % ALIGNED
            member.extra = _PADDING + size.to_bytes(2, "little") + bytes(size)
            with archive.open(member, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
        archive.comment = _seal(name_of_table, archive)


def _seal(name_of_table: str, archive: ZipFile) -> bytes:
    """Return what shows that an archive is this table, and holds all of it."""
    members = [f"{m.filename} {m.file_size} {m.CRC}" for m in archive.infolist()]
    return hashlib.sha256("\n".join([name_of_table, *members]).encode()).hexdigest().encode()


def _read_cache(path: Path) -> Arrays | None:
    try:
        status = path.stat()
        memory = cache_folder() / "whole.json"
        whole = _whole(path) if status.st_size < LARGE else remembered(path, memory, _whole)
        if not whole:
            raise BadZipFile
        arrays = _mapped(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, KeyError, BadZipFile):
        # Not whole, or not what was written: made again.
        _remove(path)
        return None
    if time.time() - status.st_mtime > NOTED:
        # The cache of another user may be read only.
        with suppress(OSError):
            os.utime(path)
    return arrays


def _remove(path: Path) -> None:
    """Remove what is in the place of a table; where that cannot be, whoever writes says so."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        path.unlink()


def _whole(path: str | os.PathLike[str]) -> str:
    """Return ``whole`` if every member is there and what was written, by their checksums."""
    with ZipFile(path) as archive, open(path, "rb") as file:
        if archive.comment != _seal(Path(path).stem, archive):
            return ""
        for member in archive.infolist():
            file.seek(_start(file, member))
            checksum, left = 0, member.file_size
            while left and (piece := file.read(min(left, LARGE))):
                checksum, left = zlib.crc32(piece, checksum), left - len(piece)
            if left or checksum != member.CRC or member.compress_size != member.file_size:
                return ""
    return "whole"


def _start(file: IO[bytes], member: ZipInfo) -> int:
    """Return the first byte of a member."""
    file.seek(member.header_offset)
    header = file.read(_LOCAL_HEADER)
    name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    return member.header_offset + _LOCAL_HEADER + name + extra


def _mapped(path: Path) -> Arrays:
    """Return the arrays of a file where they lie, pages that are written to copied."""
    arrays: Arrays = {}
    with ZipFile(path) as archive, open(path, "rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        for member in archive.infolist():
            file.seek(_start(file, member))
            np.lib.format.read_magic(file)
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            array = np.ndarray(shape, dtype, data, file.tell(), order="F" if fortran else "C")
            arrays[member.filename.removesuffix(".npy")] = (
                array if array.flags.aligned else array.copy()
            )
    return arrays
