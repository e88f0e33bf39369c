"""Sets of spectra that are larger than memory should hold at once."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from icflow.errors import IcflowError
from icflow.ogip import binary_table, spectra
from icflow.ogip.spectra import Recorded, SpectrumSet, read_spectra, write_pieces, write_spectra


def make(first: int, n_spectra: int, channels: tuple[int, ...] = (301, 40)) -> SpectrumSet:
    index = np.arange(first, first + n_spectra)
    counts = (index[:, None] * 7 + np.arange(sum(channels))).astype(np.int32) % 1000
    modules = tuple(
        Recorded(np.arange(size), 1e4, "resp.rmf", "area.arf", module=f"M{size}")
        for size in channels
    )
    truth = {"apec.kT": index / 7}
    return SpectrumSet(counts, index, truth, modules, "test", "1T", {"SEED": 1})


def test_a_set_written_in_pieces_has_the_same_bytes(tmp_path: Path) -> None:
    write_spectra(tmp_path / "whole.pha", make(0, 11))
    pieces = (make(first, number) for first, number in ((0, 3), (3, 7), (10, 1)))
    write_pieces(tmp_path / "pieces.pha", pieces, 11)
    assert (tmp_path / "pieces.pha").read_bytes() == (tmp_path / "whole.pha").read_bytes()


def test_a_large_set_stays_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.pha"
    write_spectra(path, make(0, 11))
    whole = read_spectra(path)
    assert isinstance(whole.counts, np.ndarray)
    monkeypatch.setattr(binary_table, "LARGE", 1)
    monkeypatch.setattr(binary_table, "PIECE", 4000)
    large = read_spectra(path)
    assert isinstance(large.counts, spectra.CountsOnDisk)
    assert large.counts.shape == whole.counts.shape
    assert np.array_equal(large.counts[3:9], whole.counts[3:9])
    assert np.array_equal(large.counts[10], whole.counts[10])
    assert np.array_equal(large.index, whole.index)
    assert np.array_equal(large.truth["apec.kT"], whole.truth["apec.kT"])
    content = bytearray(path.read_bytes())
    content[-1500] ^= 1
    path.write_bytes(content)
    with pytest.raises(IcflowError, match="DATASUM"):
        read_spectra(path)


def test_memory_does_not_grow_with_a_set(tmp_path: Path) -> None:
    path = tmp_path / "large.pha"
    write_pieces(path, (make(first, 100, (4096,)) for first in range(0, 3000, 100)), 3000)
    assert path.stat().st_size > 70e6
    tracemalloc.start()
    large = read_spectra(path)
    total = sum(int(large.counts[piece].sum()) for piece in large.pieces())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total > 0
    assert peak < path.stat().st_size
