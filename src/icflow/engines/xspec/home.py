"""The folder of one job with XSPEC: its home, its working directory and its files."""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
import weakref
from pathlib import Path

from icflow.errors import IcflowError
from icflow.files import process_lock

_MACHINE = re.sub(r"[^A-Za-z0-9]", "_", platform.node())[:64]
_NAME = f"icflow-xspec-{_MACHINE}-"
LOCK = "lock"
# Where folders go if TMPDIR has a blank in its path, at which XSPEC would split it.
WITHOUT_BLANKS = ("/tmp", "/var/tmp")  # noqa: S108 - folders in them are made by mkdtemp


def has_blank(path: Path) -> bool:
    """Whether XSPEC would split a path."""
    return re.search(r"\s", str(path)) is not None


def temporary() -> Path:
    """Return the folder for temporary ones, by default that of TMPDIR, without blanks if it can."""
    above = Path(tempfile.gettempdir())
    others = [Path(other) for other in WITHOUT_BLANKS if os.access(other, os.W_OK)]
    return others[0] if has_blank(above) and others else above


def make(owner: object) -> Path:
    """Return a new folder that goes with its owner, at the latest with this process.

    What other processes of this machine have left that were killed is removed.

    Raises
    ------
    IcflowError
        If none can be written at a path without blanks.
    """
    try:
        above = temporary()
        if has_blank(above):
            raise IcflowError(
                f"TMPDIR is {str(above)!r}, XSPEC splits paths at blanks, and none of "
                f"{', '.join(WITHOUT_BLANKS)} can be written; set TMPDIR to a path without blanks"
            )
        remove_leftovers(above)
        folder = Path(tempfile.mkdtemp(prefix=_NAME, dir=above))
        hold(folder, owner)
    except OSError as error:
        raise IcflowError(
            f"XSPEC needs a temporary folder for its home, and none can be written ({error}); set "
            "TMPDIR to one that can"
        ) from None
    weakref.finalize(owner, shutil.rmtree, folder, ignore_errors=True)
    return folder


def hold(folder: Path, owner: object) -> None:
    """Keep a folder for an owner as long as that or this process lives.

    Raises
    ------
    IcflowError
        If another job has it: XSPEC in one would read the files of the other.
    """
    from filelock import Timeout

    lock = process_lock(folder / LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise IcflowError(
            f"{folder}: is the temporary folder of another job with XSPEC; give each a TMPDIR that "
            "no other machine shares"
        ) from None
    weakref.finalize(owner, lock.release)


def remove_leftovers(above: Path) -> None:
    """Remove the folders of jobs of this machine that have ended without a chance to."""
    from filelock import Timeout

    for folder in above.glob(f"{_NAME}*"):
        if not os.access(folder, os.W_OK) or not (folder / LOCK).exists():
            continue  # another user's, or just being made
        lock = process_lock(folder / LOCK)
        try:
            lock.acquire(blocking=False)
        except (Timeout, OSError):
            continue
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()
