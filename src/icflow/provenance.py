"""What a result was made with: the sources of a stage, versions, the git revision."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

# Every stage imports these. What they decide about a result reaches the stage in its settings,
# or as the inputs and outputs of its rule, so an edit to them alone makes no result out of date.
_NAMES = ("config", "defaults", "errors", "files", "layout", "sections", "settings", "typing")
_VOCABULARY = frozenset(f"icflow{part}" for part in ("", *(f".{name}" for name in _NAMES)))

_IMPORT = re.compile(
    r"^[ \t]*(?:from +(icflow[\w.]*) +import +(\([^)]*\)|.*)|import +(icflow[\w.]*))", re.MULTILINE
)
_COMMENT = re.compile("#.*")
_NAME = re.compile(r"(?:^|[(,])\s*(\w+)")  # what follows `as` is a name of the reader's own


def code_digest(modules: Iterable[str], data: Iterable[str] = ()) -> str:
    """Return the SHA-256 of the sources that `modules` consist of.

    These are the modules and what they import of this package, imports inside
    functions included. Time stamps do not count: touching or checking out a
    file changes nothing, an edit does, and so does undoing it.

    Parameters
    ----------
    modules : iterable of str
        Dotted names, such as ``icflow.stages.baseline``.
    data : iterable of str
        Other files, such as templates, relative to the package's folder.
    """
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found and not _is_vocabulary(name):
            found.add(name)
            waiting += _imports(name)
    digest = hashlib.sha256()
    for name in sorted(found):
        digest.update(name.encode() + b"\0" + _source(name).read_bytes() + b"\0")
    for name in sorted(data):
        path = Path(__file__).parent / name
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@cache
def _imports(module: str) -> tuple[str, ...]:
    """Names of the modules of this package that a module imports."""
    text = _source(module).read_text(encoding="utf-8")
    return tuple(sorted({name for name in _imported(text) if _is_module(name)}))


def _imported(text: str) -> Iterator[str]:
    """Every dotted name of this package that an import mentions, modules and what is in them.

    Import statements are told by how their lines begin: to parse every module takes 20
    times as long, at each start of the workflow.
    """
    for package, names, module in _IMPORT.findall(text):
        yield package or module
        yield from (f"{package}.{name}" for name in _NAME.findall(_COMMENT.sub("", names)))


def _is_vocabulary(name: str) -> bool:
    return ".".join(name.split(".")[:2]) in _VOCABULARY


def _is_module(name: str) -> bool:
    return name.split(".")[0] == "icflow" and _find(name) is not None


def _source(module: str) -> Path:
    path = _find(module)
    if path is None:
        raise ModuleNotFoundError(f"no module named {module!r}")
    return path


@cache
def _find(module: str) -> Path | None:
    """Path of a module of this package, found without importing it."""
    path = Path(__file__).parent.joinpath(*module.split(".")[1:])
    if path.is_dir():
        return path / "__init__.py"
    path = path.with_name(path.name + ".py")
    return path if path.is_file() else None


def git_revision() -> str | None:
    """Return the commit of the checkout that the code runs from, None outside of one.

    ``-modified`` is appended if tracked files differ from that commit.
    """
    git = shutil.which("git")
    if git is None:
        return None
    folder = str(Path(__file__).parent)
    command = [git, "-C", folder, "describe", "--always", "--abbrev=40", "--match="]
    done = subprocess.run(  # noqa: S603 - a fixed command
        [*command, "--dirty=-modified"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or None if done.returncode == 0 else None


def package_versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of what it requires."""
    versions = {"python": platform.python_version()}
    for requirement in ["icflow", *(importlib.metadata.requires("icflow") or [])]:
        if "extra ==" not in requirement:
            name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
            try:
                versions[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                continue  # not installed on this platform
    return versions
