"""The files that a run reads and that are not its own results."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from icflow.config import Config
from icflow.errors import IcflowError
from icflow.files import remembered_sha256, sha256
from icflow.folders import cache_folder
from icflow.models.background import named_files, read_background
from icflow.models.expression import Expression, parse
from icflow.resources import RESOURCES, Resource

_FETCHABLE = {resource.path("").as_posix(): resource for resource in RESOURCES.values()}


def response_files(config: Config) -> dict[str, str]:
    """Return the response files of a run: path, and the configuration key that names it."""
    named = {}
    for key, module in config.keyed_modules():
        named[module.rmf] = f"{key}.rmf"
        if module.arf is not None:
            named[module.arf] = f"{key}.arf"
    return {os.path.normpath(path): key for path, key in named.items()}


def background_files(config: Config) -> dict[str, str]:
    """Return the background files and the responses that they name, with their key.

    Raises
    ------
    IcflowError
        If a background file is missing or not valid.
    """
    named: dict[str, str] = {}
    for key, module in config.keyed_modules():
        if module.background is not None:
            named |= _background_files(module.background, f"{key}.background")
    return named


def _background_files(path: str, key: str) -> dict[str, str]:
    if not Path(path).is_file():
        raise _missing(path, key)
    files = [path, *map(str, named_files(path))]
    return {os.path.normpath(file): key for file in files}


def atomic_files(config: Config) -> dict[str, str]:
    """Return the AtomDB tables that the engine reads, with their key: none if no model does.

    XSPEC has tables of its own for versions that are not in the folder and cannot be fetched.
    """
    if not any(expression.reads_atomdb for expression in _expressions(config)):
        return {}
    stem = Path(config.atomic_data.folder) / f"apec_v{config.atomic_data.atomdb}"
    paths = [os.path.normpath(f"{stem}_{part}.fits") for part in ("coco", "line")]
    if config.engine == "xspec" and not all(Path(p).is_file() or fetchable(p) for p in paths):
        return {}
    return dict.fromkeys(paths, "atomic_data")


def _expressions(config: Config) -> Iterator[Expression]:
    """Yield every model of a run, those of the backgrounds included."""
    scenarios, fitted = config.scenarios.values(), config.fits.models.values()
    for text in (*(s.expression for s in scenarios), *(m.expression for m in fitted)):
        yield parse(text)
    for _, module in config.keyed_modules():
        if module.background is not None and Path(module.background).is_file():
            yield from (one.expression for one in read_background(module.background))


def input_files(config: Config) -> dict[str, str]:
    """Return every file that a run reads: path, and the key that names it.

    Raises
    ------
    IcflowError
        As `background_files`.
    """
    return response_files(config) | background_files(config) | atomic_files(config)


def observation_digests(config: Config, name: str) -> dict[str, str]:
    """Return the SHA-256 of every file of an observation, as it is or will be fetched.

    Its spectra and backgrounds are read for the files that they name.

    Raises
    ------
    IcflowError
        Naming the key and the file that is missing or cannot be used.
    """
    from icflow.ogip.observation import read_observation  # compiles what groups channels

    files = atomic_files(config)
    for module in read_observation(name, config.observations[name]):
        files |= {os.path.normpath(path): module.key for path in module.files}
        if module.background is not None:
            key = f"{module.key}.background"
            files |= _background_files(str(module.background), key)
    return {path: _digest(path, key) for path, key in sorted(files.items())}


def region_digest(config: Config, response: str) -> str:
    """Return the SHA-256 of the region that a response is made for.

    Raises
    ------
    IcflowError
        If there is no such file.
    """
    path = config.responses[response].region
    if not Path(path).is_file():
        raise IcflowError(f"responses.{response}.region: {path} does not exist; save one with ds9")
    return sha256(path)


def fetchable(path: str) -> Resource | None:
    """Return the resource that belongs at `path`, None if the file is the user's own."""
    return _FETCHABLE.get(Path(os.path.normpath(path)).as_posix())


def digests(config: Config) -> dict[str, str]:
    """Return the SHA-256 of every file that a run reads, as it is or will be fetched.

    Raises
    ------
    IcflowError
        Naming the key and the file that is missing or is not what its name says.
    """
    return {path: _digest(path, key) for path, key in sorted(input_files(config).items())}


def check_images(config: Config) -> None:
    """Check that the images that a run needs are there, or are addresses of a registry.

    Raises
    ------
    IcflowError
        Naming the key and the image that is missing.
    """
    images = {"icflow": config.containers.icflow}
    if config.engine == "xspec" or config.responses:
        images["heasoft"] = config.containers.heasoft
    for key, image in images.items():
        if "://" not in image and not Path(image).exists():
            raise IcflowError(
                f"containers.{key}: {image} does not exist; build it as containers/README.md says, "
                "name the image where it is, or leave out --use-singularity"
            )


def _digest(path: str, key: str) -> str:
    resource = fetchable(path)
    if not Path(path).is_file():
        if resource is None:
            raise _missing(path, key)
        return resource.sha256
    found = remembered_sha256(path, cache_folder() / "digests.json")
    if resource is not None and found != resource.sha256:
        raise IcflowError(
            f"{key}: {path} has the SHA-256 {found}, expected {resource.sha256}; delete the file "
            "to have it fetched, or give a file of your own another name"
        )
    return found


def _missing(path: str, key: str) -> IcflowError:
    if os.path.exists(path):
        return IcflowError(f"{key}: {path} is a folder, a pipe or a device; name a file")
    known = ", ".join(sorted(_FETCHABLE))
    return IcflowError(
        f"{key}: {path} does not exist; put the file there, or name one that can be fetched "
        f"({known})"
    )
