"""Tables on disk."""

from __future__ import annotations

import errno
import os
import shutil
import time
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from icflow import cache
from icflow.errors import IcflowError


def test_tables_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(cache, "_recent", {})
    made: list[int] = []

    def make() -> cache.Arrays:
        made.append(1)
        return {"rows": np.arange(3.0)}

    for _ in range(2):
        assert cache.cached({"name": "x"}, make)["rows"].tolist() == [0, 1, 2]
        cache._recent.clear()
    assert len(made) == 1
    (file,) = (tmp_path / "folded").glob("*.npz")
    # Half a file is made again.
    file.write_bytes(file.read_bytes()[:40])
    assert cache.cached({"name": "x"}, make)["rows"].tolist() == [0, 1, 2]
    cache.cached({"name": "y"}, make)
    assert len(made) == 3


def test_a_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "cache_folder", lambda: Path("/proc/none"))
    with pytest.raises(IcflowError, match=r"cannot be written .* set ICFLOW_CACHE to a folder"):
        cache.cached({"name": "nowhere"}, lambda: {"rows": np.arange(3.0)})


def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(cache, "_write", full)
    said = r"folded: a table of 8 MB cannot be written \(No space .*\); make space, or set ICFLOW"
    with pytest.raises(IcflowError, match=said):
        cache.cached({"name": "large"}, lambda: {"rows": np.zeros(10**6)})
    assert not list(tmp_path.glob("folded/*.npz"))


def test_damage_heals_and_the_least_used_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(cache, "_recent", {})

    def read(name: str) -> list[float]:
        cache._recent.clear()
        values: list[float] = cache.cached({"name": name}, lambda: {"rows": np.full(99, 7.0)})[
            "rows"
        ].tolist()
        return values

    expected = read("a")
    (first,) = (tmp_path / "folded").glob("*.npz")
    content = bytearray(first.read_bytes())
    content[len(content) // 2] ^= 1  # one bit of a number
    first.write_bytes(content)
    assert read("a") == expected
    read("b")
    os.utime(first, (1, 1))
    read("a")
    now = time.time()
    assert first.stat().st_mtime > now - 60  # used, so it is kept longer than b
    (second,) = set((tmp_path / "folded").glob("*.npz")) - {first}
    os.utime(second, (now - 100, now - 100))
    cache.trim(largest=first.stat().st_size)
    assert first.exists()
    assert not second.exists()
    cache.trim(oldest=-1)
    assert not first.exists()
    assert read("a") == expected


def test_arrays_are_mapped_and_the_file_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(cache, "_recent", {})
    arrays = {
        "odd": np.arange(3, dtype=np.uint8),
        "rates": np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 3, 4),
        "turned": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "none": np.empty((0, 0)),
    }
    kept = cache.cached({"name": "mapped"}, lambda: arrays)
    assert list(kept) == list(arrays)
    for name, array in kept.items():
        assert np.array_equal(array, arrays[name])
        assert array.dtype == arrays[name].dtype
        assert array.flags.aligned
        assert not array.flags.owndata
        assert array.flags.f_contiguous == arrays[name].flags.f_contiguous
    (file,) = (tmp_path / "folded").glob("*.npz")
    before = file.read_bytes()
    kept["rates"][:] = -1.0
    assert file.read_bytes() == before
    # Any reader of such archives reads them.
    with np.load(file) as archive:
        assert np.array_equal(archive["rates"], arrays["rates"])


def test_what_is_whole_and_not_this_table_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(cache, "_recent", {})

    def read(value: float) -> dict[str, list[float]]:
        cache._recent.clear()
        arrays = cache.cached({"v": value}, lambda: {"a": np.full(9, value), "b": np.arange(3.0)})
        return {name: array.tolist() for name, array in arrays.items()}

    expected = read(1.0)
    (first,) = (tmp_path / "folded").glob("*.npz")
    read(2.0)
    (second,) = set((tmp_path / "folded").glob("*.npz")) - {first}
    whole = first.read_bytes()

    def lose_a_member() -> None:
        with ZipFile(second) as old, ZipFile(first, "w") as new:
            new.writestr("a.npy", old.read("a.npy"))

    def be_a_folder() -> None:
        first.unlink()
        (first / "below").mkdir(parents=True)

    damage = (
        lambda: ZipFile(first, "w").close(),
        lose_a_member,
        lambda: shutil.copy(second, first),
        be_a_folder,
    )
    for change in damage:
        change()
        assert read(1.0) == expected
        assert first.read_bytes() == whole


def test_a_file_in_the_place_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path / "file")
    with pytest.raises(IcflowError, match="set ICFLOW_CACHE to a folder"):
        cache.cached({"name": "elsewhere"}, lambda: {"rows": np.arange(3.0)})
