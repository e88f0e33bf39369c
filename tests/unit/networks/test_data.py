"""What networks read: channels, rates, labels, folds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from icflow.errors import IcflowError
from icflow.networks.data import LabelScale, input_rates, select_channels, split
from icflow.ogip.response import read_rmf


def test_channels_of_nustar(rmf_path: Path) -> None:
    rmf = read_rmf(rmf_path)
    channels = select_channels(rmf.e_min, rmf.e_max, [1.6, 120.0])
    np.testing.assert_array_equal(channels, np.arange(2960))
    single = [np.asarray(edges, np.float32) for edges in (rmf.e_min, rmf.e_max)]
    assert select_channels(*single, [1.6, 120.0]).size == 2960
    scored = select_channels(rmf.e_min, rmf.e_max, [3.0, 80.0])
    assert (scored[0], scored[-1]) == (35, 1959)


def test_input_rates() -> None:
    counts = np.array([[7, 10, 20, 9], [1, 0, 4, 2]])
    e_min, e_max = np.array([1.0, 2.0, 2.5, 4.0]), np.array([2.0, 2.5, 4.0, 8.0])
    rates = input_rates(counts, 100.0, e_min, e_max, [2.0, 4.0])
    assert rates.dtype == np.float32
    np.testing.assert_allclose(rates, [[10 / 50, 20 / 150], [0, 4 / 150]], rtol=1e-6)


def test_input_that_does_not_fit_the_response() -> None:
    e_min, e_max = np.array([1.0, 2.0]), np.array([2.0, 3.0])
    with pytest.raises(IcflowError, match="5 to 9 keV select no channel of the response"):
        input_rates(np.ones((1, 2)), 1.0, e_min, e_max, [5.0, 9.0])
    with pytest.raises(IcflowError, match="the spectra have 3 channels, the response 2"):
        input_rates(np.ones((1, 3)), 1.0, e_min, e_max, [1.0, 3.0])


def test_labels_map_to_the_unit_interval_and_back() -> None:
    values = np.array([[2.0, -1.0], [4.0, 0.0], [3.0, 1.0]])
    scale = LabelScale.of(["kT", "z"], values)
    assert (scale.low, scale.high) == ((2.0, -1.0), (4.0, 1.0))
    np.testing.assert_allclose(scale.scaled(values), [[0, 0], [1, 0.5], [0.5, 1]])
    np.testing.assert_allclose(scale.physical(scale.scaled(values)), values)
    with pytest.raises(IcflowError, match=r"autoencoder\.labels\.z: all .* the value 7"):
        LabelScale.of(["kT", "z"], np.array([[1.0, 7.0], [2.0, 7.0]]))


def test_every_spectrum_plays_one_part_in_each_fold() -> None:
    n, folds = 103, 10
    held, selected = [], []
    for fold in range(folds):
        parts = split(n, folds, fold, seed=5)
        np.testing.assert_array_equal(
            np.sort(np.concatenate(list(parts.parts().values()))), np.arange(n)
        )
        assert {parts.holdout.size, parts.selection.size} <= {10, 11}
        held.append(parts.holdout)
        selected.append(parts.selection)
    np.testing.assert_array_equal(np.sort(np.concatenate(held)), np.arange(n))
    for fold in range(folds):
        np.testing.assert_array_equal(selected[fold], held[(fold + 1) % folds])
    # A permutation, not slices of the dataset in order, and another one for another seed.
    assert not np.array_equal(held[0], np.arange(held[0].size))
    assert not np.array_equal(held[0], split(n, folds, 0, seed=6).holdout)


def test_too_few_spectra_for_the_folds() -> None:
    with pytest.raises(IcflowError, match="4 spectra cannot be split into 5 folds"):
        split(4, 5, 0, seed=1)
    with pytest.raises(IcflowError, match="there is no fold 5, allowed: 0 to 4"):
        split(100, 5, 5, seed=1)
