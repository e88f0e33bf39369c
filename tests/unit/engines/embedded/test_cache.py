"""Tables on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from icflow.engines.embedded import cache


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
