"""Results of a stage that are damaged before another stage reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from astropy.table import Table
from attempts import refused
from damage import BYTES, Bytes
from hypothesis import given
from toy import N

from icflow import cache
from icflow.files import read_json, write_json
from icflow.networks.weights import load_tensors, save_tensors
from icflow.ogip.spectra import Recorded, SpectrumSet, read_spectra, write_spectra
from icflow.tables import read_csv, read_table, write_table


def spectra() -> SpectrumSet:
    counts = np.random.default_rng(1).poisson(5.0, (6, N)).astype(np.int32)
    module = Recorded(np.arange(N), 1e4, "resp.rmf", "area.arf")
    truth = {"apec.kT": np.linspace(2.0, 9.0, 6)}
    return SpectrumSet(counts, np.arange(6), truth, (module,), "test", "1T", {"SEED": 1})


def table() -> Table:
    columns = {"index": np.arange(6), "cstat": np.linspace(300.0, 400.0, 6), "status": ["ok"] * 6}
    return Table(columns, meta={"fit": "2T", "free": ["cstat"]})


# How each kind of file is written and read; what holds a checksum must come back as it was.
KINDS: dict[str, tuple[Callable[[Path], Any], Callable[[Path], Any], bool]] = {
    "a.ecsv": (
        lambda path: write_table(path, table()),
        lambda path: [tuple(row) for row in read_table(path, ["index", "cstat"]).iterrows()],
        True,
    ),
    "a.safetensors": (
        lambda path: save_tensors(path, {"weight": torch.arange(40.0)}, {"kind": "x"}),
        load_tensors,
        True,
    ),
    "a.json": (
        lambda path: write_json(path, {"engine": "embedded", "packages": {"numpy": "2"}}),
        lambda path: read_json(path, "engine", "a record", "make it again"),
        False,
    ),
    "a.csv": (
        lambda path: path.write_text("x,y\n" + "1.5,2\n" * 40),
        lambda path: read_csv(path, ["x", "y"]),
        False,
    ),
}


@pytest.mark.parametrize("name", KINDS)
@given(change=BYTES)
def test_results(tmp_path_factory: pytest.TempPathFactory, name: str, change: Bytes) -> None:
    path = tmp_path_factory.mktemp("results") / name
    write, read, sealed = KINDS[name]
    write(path)
    whole, before = str(read(path)), path.read_bytes()
    path.write_bytes(change(before))
    again: list[Any] = []
    if not refused(lambda: again.append(read(path))) and sealed:
        assert str(again[0]) == whole


@given(change=BYTES)
def test_spectra(tmp_path_factory: pytest.TempPathFactory, change: Bytes) -> None:
    path = tmp_path_factory.mktemp("spectra") / "shard.pha"
    write_spectra(path, spectra())
    path.write_bytes(change(path.read_bytes()))
    again: list[SpectrumSet] = []
    if not refused(lambda: again.append(read_spectra(path))):
        assert np.array_equal(again[0].counts, spectra().counts)


@given(change=BYTES)
def test_folded_tables_heal(tmp_path_factory: pytest.TempPathFactory, change: Bytes) -> None:
    path = tmp_path_factory.mktemp("folded") / "a.npz"
    arrays = {"rates": np.linspace(0.0, 1.0, 500), "nodes": np.arange(9)}
    cache._write(path, arrays, path.stem)
    path.write_bytes(change(path.read_bytes()))
    read = cache._read_cache(path)
    if read is not None:
        assert read.keys() == arrays.keys()
        assert all(np.array_equal(read[name], arrays[name]) for name in arrays)
