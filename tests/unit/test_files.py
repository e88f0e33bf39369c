"""Files are whole or absent, and locks end with their process."""

import subprocess
import sys

import pytest
from filelock import Timeout

from icflow.files import atomic_path, canonical_json, locked, process_lock, sha256, write_json


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_depends_on_the_content_alone(tmp_path):
    assert canonical_json({"b": 1, "a": "é"}) == canonical_json({"a": "é", "b": 1})
    write_json(tmp_path / "new" / "a.json", {"b": [1, 2]})
    assert (tmp_path / "new" / "a.json").read_text() == '{\n  "b": [\n    1,\n    2\n  ]\n}\n'
    assert len(sha256(tmp_path / "new" / "a.json")) == 64


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
