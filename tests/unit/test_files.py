"""Files are whole or absent, and locks end with their process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import Timeout

from icflow import files
from icflow.errors import IcflowError
from icflow.files import (
    atomic_path,
    canonical_json,
    locked,
    new_folder,
    process_lock,
    remembered_sha256,
    remove_leftovers,
    sha256,
    sha256_of,
    write_json,
)


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_goes_and_what_is_being_written_stays(tmp_path):
    script = (
        "import os, sys\nfrom icflow.files import atomic_path\n"
        "with atomic_path(sys.argv[1]) as temporary:\n    os.kill(os.getpid(), 9)"
    )
    target = tmp_path / "below" / "a.txt"
    subprocess.run([sys.executable, "-c", script, str(target)], check=False)
    (left,) = target.parent.iterdir()
    (tmp_path / ".hidden-of-others").touch()
    with atomic_path(target) as ours:
        assert remove_leftovers(tmp_path) == [left]
        assert ours.exists()
    assert remove_leftovers(tmp_path) == []
    assert [path.name for path in target.parent.iterdir()] == ["a.txt"]
    assert (tmp_path / ".hidden-of-others").exists()


def test_a_new_folder_is_there_as_a_whole_or_not_at_all(tmp_path):
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "a") as made:
        (made / "half").touch()
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "deep/empty").mkdir(parents=True)
    with new_folder(tmp_path / "deep/empty") as made:
        (made / "whole").touch()
        assert not (tmp_path / "deep/empty/whole").exists()
    assert [path.name for path in (tmp_path / "deep").rglob("*")] == ["empty", "whole"]


def test_where_nothing_can_be_written_is_known_before(tmp_path):
    files.check_writable(tmp_path / "new/folder", "name another")
    assert list((tmp_path / "new/folder").iterdir()) == []
    (tmp_path / "file").touch()
    for folder in ("file", "file/below", "/proc/none"):
        with pytest.raises(IcflowError, match=r"cannot be written \(.*\); name another"):
            files.check_writable(tmp_path / folder, "name another")


def test_no_folder_and_no_file_is_overwritten(tmp_path):
    (tmp_path / "mine").touch()
    for target in (tmp_path, tmp_path / "mine"):
        with (
            pytest.raises(IcflowError, match="is there and not empty, and nothing"),
            new_folder(target),
        ):
            pass
    with (
        pytest.raises(IcflowError, match=r"cannot be written .*name a folder of yours"),
        new_folder(tmp_path / "mine/below"),
    ):
        pass


def test_only_files_are_replaced(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for target in (fifo, tmp_path, Path("/dev/null")):
        with pytest.raises(IcflowError, match="is there and not a file"), atomic_path(target):
            pass
    assert fifo.is_fifo()


def test_what_a_command_has_read_is_not_replaced(tmp_path):
    mine, link = tmp_path / "mine", tmp_path / "link"
    mine.write_text("kept")
    link.symlink_to(mine)
    with files.inputs_kept():
        with files.reading(link, "a file", "make it again"):
            pass
        for target in (mine, link):
            with pytest.raises(IcflowError, match=f"{target}: is read"), atomic_path(target):
                pass
        write_json(tmp_path / "other", 1)
    assert mine.read_text() == "kept"
    write_json(mine, 1)
    assert mine.read_text() == "1\n"


def test_what_a_link_leads_to_is_written_and_the_link_stays(tmp_path):
    for name in ("there", "not-yet"):
        (tmp_path / f"{name}.link").symlink_to(tmp_path / name)
    (tmp_path / "there").touch()
    for name in ("there", "not-yet"):
        write_json(tmp_path / f"{name}.link", name)
        assert (tmp_path / f"{name}.link").is_symlink()
        assert (tmp_path / name).read_text() == f'"{name}"\n'


def test_what_cannot_be_written_is_said_with_its_own_name(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    cases = {
        "file/below/a": "below",
        "loop": "not a file",
        "a" * 300: "File name too long",
        "\0": "cannot be written",
    }
    for name, words in cases.items():
        with pytest.raises(IcflowError, match=words) as caught, atomic_path(tmp_path / name):
            pass
        assert str(caught.value).startswith(f"{tmp_path / name}: ")
    # As long as names can be, and so would be no longer with what stands in temporary names.
    write_json(tmp_path / ("b" * 255), 1)
    assert len(list(tmp_path.iterdir())) == 3


def test_json_depends_on_the_content_alone(tmp_path):
    assert canonical_json({"b": 1, "a": "é"}) == canonical_json({"a": "é", "b": 1})
    assert sha256_of({"b": 1, "a": "é"}) == sha256_of({"a": "é", "b": 1}) != sha256_of({"a": "é"})
    write_json(tmp_path / "new" / "a.json", {"b": [1, 2]})
    assert (tmp_path / "new" / "a.json").read_text() == '{\n  "b": [\n    1,\n    2\n  ]\n}\n'
    assert len(sha256(tmp_path / "new" / "a.json")) == 64


def test_a_large_file_is_read_once_until_it_changes(tmp_path, monkeypatch):
    path, memory = tmp_path / "large", tmp_path / "cache" / "digests.json"
    path.write_bytes(bytes(2 << 20))
    monkeypatch.setattr(files, "_TICK", 0)
    first = remembered_sha256(path, memory)
    assert first == sha256(path)
    with monkeypatch.context() as reading:
        reading.setattr(files, "sha256", None)
        assert remembered_sha256(path, memory) == first
    before = path.stat()
    path.write_bytes(b"1" + bytes((2 << 20) - 1))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert remembered_sha256(path, memory) == sha256(path) != first


def test_a_file_that_has_just_changed_is_not_remembered(tmp_path):
    path = tmp_path / "large"
    path.write_bytes(bytes(2 << 20))
    remembered_sha256(path, tmp_path / "digests.json")
    assert not (tmp_path / "digests.json").exists()


@pytest.mark.parametrize("content", ["", "[1]", '{"a": 3}'])
def test_a_damaged_memory_is_done_without(tmp_path, content, monkeypatch):
    path, memory = tmp_path / "large", tmp_path / "digests.json"
    path.write_bytes(bytes(2 << 20))
    memory.write_text(content)
    monkeypatch.setattr(files, "_TICK", 0)
    assert remembered_sha256(path, memory) == sha256(path)
    assert remembered_sha256(path, tmp_path / "large" / "digests.json") == sha256(path)


def test_one_holder_at_a_time(tmp_path):
    with locked(tmp_path / "lock"), pytest.raises(Timeout):
        process_lock(tmp_path / "lock").acquire(blocking=False)
    with locked(tmp_path / "lock"):
        pass


def test_a_lock_ends_with_a_killed_process(tmp_path, capsys):
    script = (
        "import sys, time\nfrom icflow.files import locked\n"
        "with locked(sys.argv[1]):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Timeout):
            process_lock(tmp_path / "lock").acquire(blocking=False)
        holder.kill()
        holder.wait()
    with locked(tmp_path / "lock", "waiting"):
        pass
    assert capsys.readouterr().err == ""
