"""Reading and writing files: whole or absent, and by one process at a time."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icflow.errors import IcflowError

if TYPE_CHECKING:
    from filelock import FileLock

# Bytes; smaller files are read faster than they are looked up.
LARGE = 1 << 20
_TICK = 2_000_000_000  # ns; longer than any file system's time stamps are apart
_REMEMBERED = 100  # files
# In the names of temporary files, which leave room for what else stands there.
_MACHINE = re.sub(r"[^A-Za-z0-9]", "_", platform.node())[:64]
_MOST_OF_STEM = 60
# What the command that runs has read, with links followed; None where no command does.
_inputs: set[str] | None = None
# Errors of a full disk.
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# Errors of an output that another name mends.
_ANOTHER_NAME = (
    *(errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP),
)


@contextmanager
def inputs_kept() -> Iterator[None]:
    """Let nothing that is read within be replaced by what is written within."""
    global _inputs
    before, _inputs = _inputs, set()
    try:
        yield
    finally:
        _inputs = before


@contextmanager
def reading(path: str | os.PathLike[str], what: str, remedy: str) -> Iterator[None]:
    """Turn what libraries raise over a file that is read within into a sentence on the file.

    The one place that does: readers need not know what each library trips over.

    Parameters
    ----------
    what, remedy : str
        What the file should be, and what to do if it is not.

    Raises
    ------
    IcflowError
        If it is a device, a pipe or a folder, cannot be read, or is not what it should be.
    """
    check_regular(path)
    try:
        yield
    except IcflowError:
        raise
    except OSError as error:
        if error.strerror:
            raise IcflowError(f"{path}: cannot be read ({error.strerror})") from error
        raise IcflowError(f"{path}: not {what} ({_brief(error)}); {remedy}") from error
    except Exception as error:  # whatever they trip over first
        raise IcflowError(f"{path}: not {what} ({_brief(error)}); {remedy}") from error


def _brief(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def check_regular(path: str | os.PathLike[str]) -> None:
    """Check that what is read is a file, if it is there: a pipe may never end.

    Raises
    ------
    IcflowError
        If it is a device, a pipe or a folder.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # whoever reads it says why
        return
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise IcflowError(f"{path}: is {kind}, not a file; give a file")
    if _inputs is not None:
        _inputs.add(os.path.realpath(path))


def check_output(path: str | os.PathLike[str]) -> Path:
    """Check that a file may be written, before there is anything to write; return its path.

    Returns
    -------
    Path
        With links followed: what a link leads to is written, and the link stays.

    Raises
    ------
    IcflowError
        If `path` is there and no file (a device, a pipe, a folder), was read by the command
        that writes it (`inputs_kept`), or is below a file.
    """
    try:
        target = Path(os.path.realpath(path))
        regular = stat.S_ISREG(os.lstat(target).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        regular = True
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from None
    if not regular:
        raise IcflowError(f"{path}: is there and not a file, so it is not replaced; name another")
    above = next(folder for folder in target.parents if os.path.lexists(folder))
    if not above.is_dir():
        raise IcflowError(f"{path}: cannot be written below {above}, a file; name another")
    if _inputs and str(target) in _inputs:
        raise IcflowError(f"{path}: is read, so it is not replaced; name another")
    return target


def _unwritable(path: str | os.PathLike[str], error: OSError | ValueError) -> IcflowError:
    why = getattr(error, "strerror", None) or str(error)
    return IcflowError(
        f"{path}: cannot be written ({why}); name another file, in a folder of yours"
    )


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name beside `path`, renamed to it on success.

    The temporary name keeps the suffix of `path`, because some writers choose
    their format by it. On any error, an interrupt included, nothing is left;
    after a kill `remove_leftovers` knows from the name whose it was.

    Raises
    ------
    IcflowError
        As `check_output`, and if its folder cannot be written.
    """
    target = check_output(path)
    prefix = f".{target.stem[:_MOST_OF_STEM]}-{_MACHINE}-{os.getpid()}-"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=target.suffix, dir=target.parent)
    except OSError as error:
        if error.errno in _ANOTHER_NAME:
            raise _unwritable(path, error) from None
        raise
    os.close(handle)
    temporary = Path(name)
    # mkstemp makes the file private; give it the permissions of a plain open().
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(0o666 & ~umask)
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(folder: str | os.PathLike[str], remedy: str) -> None:
    """Make a folder, and check that files can be written there.

    Parameters
    ----------
    remedy : str
        What to do if they cannot, for the error.

    Raises
    ------
    IcflowError
        If they cannot.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise IcflowError(f"{folder}: cannot be written ({error.strerror}); {remedy}") from None


@contextmanager
def new_folder(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary folder beside `folder`, renamed to it on success.

    Raises
    ------
    IcflowError
        If `folder` is there and not empty, or cannot be written.
    """
    target = Path(folder)
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise IcflowError(
                f"{target}: is there and not empty, and nothing is overwritten; name a new folder"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".icflow-", dir=target.parent) as temporary:
            made = Path(temporary, "made")
            made.mkdir()
            yield made
            os.replace(made, target)
    except OSError as error:
        raise IcflowError(
            f"{target}: cannot be written ({error.strerror}); name a folder of yours"
        ) from None


def remove_leftovers(folder: str | os.PathLike[str]) -> list[Path]:
    """Remove the temporary files below a folder whose processes are gone; return them.

    Only those of this machine: what runs on another one cannot be seen.
    """
    gone = []
    for path in Path(folder).rglob(f".*-{_MACHINE}-*-*"):
        number = path.stem.rsplit("-", 2)[-2]
        if number.isdigit() and not _runs(int(number)):
            path.unlink(missing_ok=True)
            gone.append(path)
    return gone


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        # Another user's; a number that no process has is left alone.
        return True
    return True


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` to `path` atomically, in UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def canonical_json(value: Any) -> str:
    """Return `value` as JSON with sorted keys and no white space."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256_of(value: Any) -> str:
    """Return the SHA-256 of `value` as canonical JSON, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` to `path` atomically as indented JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike[str], key: str, what: str, remedy: str) -> dict[str, Any]:
    """Read a JSON object that must have a certain key.

    Parameters
    ----------
    what, remedy : str
        What the file should be, and what to do if it is not, for the error.

    Raises
    ------
    IcflowError
        If the file is missing or is not whole.
    """
    if not Path(path).exists():
        raise IcflowError(f"{path}: cannot be read (No such file or directory); {remedy}")
    with reading(path, what, remedy):
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(content, dict) or key not in content:
        raise IcflowError(f"{path}: not {what}; {remedy}")
    return content


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remembered_sha256(path: str | os.PathLike[str], memory: Path) -> str:
    """Return the SHA-256 of a file; of a large one as `remembered`."""
    return sha256(path) if os.stat(path).st_size < LARGE else remembered(path, memory, sha256)


def remembered(
    path: str | os.PathLike[str],
    memory: Path,
    measure: Callable[[str | os.PathLike[str]], str],
) -> str:
    """Return what is measured of a file's content, from `memory` if the file is unchanged.

    Unchanged is what has the inode, the size and the time stamps that it had: a change of the
    content changes the time of the last change of the inode, which no program can set.

    Parameters
    ----------
    path : path
        The file.
    memory : Path
        JSON file of what was measured. Where it cannot be read or written, files are read each
        time.
    measure : callable
        What takes the path and returns a text.
    """
    state = os.stat(path)
    key = os.path.realpath(path)
    mark = [state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns]
    measured = _remembered(memory)
    match measured.get(key):
        case [*before, str(text)] if before == mark:
            return text
    text = measure(path)
    # A file that has just changed may change again within one tick of the clock.
    if time.time_ns() - state.st_ctime_ns > _TICK:
        latest = [*((name, kept) for name, kept in measured.items() if name != key)][-_REMEMBERED:]
        with suppress(OSError, IcflowError):
            write_text(memory, json.dumps(dict(latest) | {key: [*mark, text]}))
    return text


def _remembered(memory: Path) -> dict[str, Any]:
    try:
        content = json.loads(memory.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def process_lock(path: str | os.PathLike[str]) -> FileLock:
    """Return a lock that one process holds at a time and that ends with it, however it ends.

    On a file system without locks, acquiring it raises OSError.
    """
    from filelock import FileLock  # takes longer to import than all the rest

    return FileLock(path, fallback_to_soft=False)


@contextmanager
def locked(path: str | os.PathLike[str], waiting: str = "") -> Iterator[None]:
    """Hold a `process_lock`; if another process holds it, say so and wait."""
    from filelock import Timeout

    lock = process_lock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        if waiting:
            say(waiting)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def say(text: str) -> None:
    """Print a line on standard error."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201
