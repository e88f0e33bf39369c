"""Matrices in runs of channels: what the sparse matrix gives, bit by bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array, random_array

from icflow.engines.embedded import redistribution
from icflow.engines.embedded.folding import load_response
from icflow.engines.embedded.redistribution import redistribute, runs_of
from icflow.ogip.response import Rmf
from icflow.typing import Floats


def rmf_of(matrix: csr_array) -> Rmf:
    energies, channels = (np.arange(n, dtype=np.float64) for n in matrix.shape)
    return Rmf(energies, energies + 1, matrix, np.arange(len(channels)), channels, channels + 1)


def folded(matrix: csr_array, photons: Floats, low: int = 0, high: int | None = None) -> Floats:
    counts = np.zeros((len(photons), (high or matrix.shape[1]) - low))
    redistribute(runs_of(rmf_of(matrix), ""), photons, counts, low)
    return counts


def scattered(dtype: type) -> csr_array:
    """A matrix with empty rows, gaps of every length, and runs up to the last channel."""
    generator = np.random.default_rng(4)
    matrix = random_array((40, 60), density=0.3, rng=generator).astype(dtype).tolil()
    matrix[7], matrix[39] = 0, generator.random(60).astype(dtype)
    return csr_array(matrix.astype(np.float64))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_counts_are_those_of_the_sparse_matrix(dtype: type) -> None:
    matrix, photons = scattered(dtype), np.random.default_rng(5).random((3, 40))
    runs = runs_of(rmf_of(matrix), "")
    assert runs.values.dtype == dtype
    assert len(runs.row) < matrix.nnz
    assert np.array_equal(folded(matrix, photons), [matrix.T @ spectrum for spectrum in photons])


@pytest.mark.parametrize(("low", "high"), [(0, 60), (0, 1), (17, 42), (59, 60)])
def test_some_channels_are_those_of_all(low: int, high: int) -> None:
    matrix, photons = scattered(np.float32), np.random.default_rng(5).random((3, 40))
    some = folded(matrix, photons, low, high)
    assert np.array_equal(some, folded(matrix, photons)[:, low:high])


def test_the_order_of_the_elements_in_the_matrix_plays_no_part() -> None:
    matrix, photons = scattered(np.float32), np.random.default_rng(6).random((2, 40))
    rows = [slice(*ends) for ends in zip(matrix.indptr, matrix.indptr[1:], strict=False)]
    turned = csr_array(
        (
            np.concatenate([matrix.data[row][::-1] for row in rows]),
            np.concatenate([matrix.indices[row][::-1] for row in rows]),
            matrix.indptr,
        ),
        shape=matrix.shape,
    )
    assert np.array_equal(folded(turned, photons), folded(matrix, photons))


def test_nustar_is_kept_in_single_precision(
    rmf_path: Path, arf_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ICFLOW_CACHE", str(tmp_path))
    response = load_response(rmf_path, arf_path)
    photons = np.random.default_rng(7).random((2, len(response.energies) - 1))
    expected = [response.rmf.matrix.T @ (spectrum * response.area) for spectrum in photons]
    assert np.array_equal(response.fold(photons), expected)
    assert np.array_equal(response.fold(photons[0]), expected[0])
    some = slice(100, 2000)
    assert np.array_equal(response.fold(photons[0], channels=some), expected[0][some])
    runs = runs_of(response.rmf, response.rmf.digest)
    assert runs.values.dtype == np.float32
    assert len(runs.values) < 1.05 * response.rmf.matrix.nnz
    monkeypatch.setattr(redistribution, "_find_runs", lambda matrix: pytest.fail("made again"))
    assert len(runs_of(response.rmf, response.rmf.digest).values) == len(runs.values)
