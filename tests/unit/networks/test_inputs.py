"""Spectra and labels as the networks take them, worked out by hand."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from astropy import units
from astropy.table import Table

from icflow.errors import IcflowError
from icflow.networks.data import Channels
from icflow.networks.inputs import Inputs, Labels, read_inputs, training_labels, true_labels
from icflow.ogip.spectra import Recorded, SpectrumSet, write_spectra
from icflow.tables import write_table

# Two modules: channels of 1 and of 2 keV, exposures of 100 and 50 s.
CHANNELS = Channels(
    e_min=np.array([3.0, 4.0, 5.0, 3.0, 5.0]),
    e_max=np.array([4.0, 5.0, 6.0, 5.0, 7.0]),
    module=np.array([0, 0, 0, 1, 1]),
)
MODULES = (
    Recorded(np.arange(3), 100.0, module="A"),
    Recorded(np.arange(2), 50.0, module="B"),
)
ALL = (3.0, 7.0)


def write(path: Path, index: list[int], dataset: str = "train") -> Path:
    """Write spectra whose counts and temperatures tell their indices."""
    numbers = np.array(index)
    counts = (100 * np.arange(1, 6) * numbers[:, None]).astype(np.int32)
    truth = {"apec.kT": numbers + 0.5}
    write_spectra(path, SpectrumSet(counts, numbers, truth, MODULES, dataset, "2T"))
    return path


# --- spectra ----------------------------------------------------------------------


def test_spectra_are_rates_per_energy_of_each_module_in_the_order_of_their_indices(
    tmp_path: Path,
) -> None:
    paths = [write(tmp_path / "b.pha", [3, 2]), write(tmp_path / "a.pha", [0, 1])]
    inputs = read_inputs(paths, CHANNELS, ALL)
    assert inputs.dataset == "train"
    assert inputs.index.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(inputs.counts_per_rate, [100, 100, 100, 100, 100])
    np.testing.assert_allclose(inputs.rates, np.outer([0, 1, 2, 3], [1, 2, 3, 4, 5]))
    np.testing.assert_array_equal(inputs.truth["apec.kT"], [0.5, 1.5, 2.5, 3.5])


def test_channels_outside_of_the_energies_are_left_out_in_every_module(tmp_path: Path) -> None:
    inputs = read_inputs([write(tmp_path / "a.pha", [1])], CHANNELS, (3.6, 5.4))
    # Centres of 3.5, 4.5 and 5.5 keV, and of 4 and 6.
    np.testing.assert_allclose(inputs.rates, [[2, 4]])


def test_so_many_spectra_are_the_first_ones_and_must_be_there(tmp_path: Path) -> None:
    paths = [write(tmp_path / "b.pha", [3, 2]), write(tmp_path / "a.pha", [0, 1])]
    assert read_inputs(paths, CHANNELS, ALL, 3).index.tolist() == [0, 1, 2]
    with pytest.raises(IcflowError, match="spectra of the dataset train: no row for spectrum 4"):
        read_inputs(paths, CHANNELS, ALL, 6)


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.pha", [0]), write(tmp_path / "b.pha", [1], "test")]
    with pytest.raises(IcflowError, match=r"b\.pha: holds spectra of the dataset test, .* train"):
        read_inputs(paths, CHANNELS, ALL)
    with pytest.raises(IcflowError, match=r"a\.pha: the spectra have 5 channels, the response 3"):
        read_inputs(paths[:1], CHANNELS[np.arange(3)], ALL)
    with pytest.raises(IcflowError, match="no files of spectra were given"):
        read_inputs([], CHANNELS, ALL)


# --- labels -----------------------------------------------------------------------

INPUTS = Inputs(
    dataset="train",
    index=np.arange(2),
    rates=np.zeros((2, 3), np.float32),
    counts_per_rate=np.ones(3, np.float32),
    truth={
        "apec.kT": np.array([5.0, 2.0]),
        "apec.norm": np.array([0.5, 0.2]),
        "apec_3.kT": np.array([3.0, 4.0]),
        "apec_3.norm": np.array([0.3, 0.4]),
    },
)


def fits(
    path: Path,
    index: list[int],
    kT: list[float],
    converged: list[bool],
    at_bound: Sequence[str] = (),
) -> Path:
    """Write label fits; those at a bound come first."""
    table = Table({"index": index, "converged": converged, "apec.kT": kT, "apec.norm": kT})
    table["apec.kT"].unit = units.keV
    table["status"] = ["limit"] * len(index)
    table["at_bound"] = [*at_bound, *[""] * (len(index) - len(at_bound))]
    write_table(path, table)
    return path


def test_ordered_labels_take_the_cooler_plasma_first() -> None:
    sources = {
        "cool": "ordered:apec.kT",
        "hot": "ordered:apec_3.kT",
        "ln": "log ordered:apec.norm",
        "as": "truth:apec.norm",
    }
    wanted = np.array([[3, 5, math.log(0.3), 0.5], [2, 4, math.log(0.2), 0.2]])
    np.testing.assert_allclose(training_labels(sources, INPUTS, []).values, wanted)
    np.testing.assert_allclose(true_labels(sources, INPUTS), wanted)


def test_fitted_labels_are_those_of_each_spectrum_whatever_the_order(tmp_path: Path) -> None:
    paths = [
        fits(tmp_path / "1.ecsv", [1], [4.0], [False]),
        fits(tmp_path / "0.ecsv", [0], [6.0], [True]),
    ]
    sources = {"kT": "fit:apec.kT", "ln": "log fit:apec.norm", "true": "truth:apec_3.kT"}
    labels = training_labels(sources, INPUTS, paths)
    np.testing.assert_allclose(labels.values, [[6, math.log(6), 3], [4, math.log(4), 4]])
    assert labels.units == {"kT": "keV"}  # a logarithm has none
    assert labels.known.tolist() == [True, True]
    assert labels.doubts() == ["1 of 2 label fits that are used did not converge"]
    # Spectra without label fits have the others.
    known = true_labels(sources, INPUTS)
    np.testing.assert_array_equal(known, [[np.nan, np.nan, 3], [np.nan, np.nan, 4]])


def test_a_spectrum_without_a_fitted_number_is_left_out(tmp_path: Path) -> None:
    path = fits(tmp_path / "0.ecsv", [0, 1], [math.nan, 4.0], [False, True])
    labels = training_labels({"kT": "fit:apec.kT"}, INPUTS, [path])
    assert labels.known.tolist() == [False, True]
    assert labels.doubts() == [
        "1 of 2 training spectra are left out: their label fits gave no number"
    ]
    # That it has not converged says nothing more.
    assert labels.unconverged == 0


def test_labels_that_all_have_leave_no_doubts() -> None:
    assert Labels(np.ones((3, 2)), {}).doubts() == []


FOUR = dataclasses.replace(INPUTS, index=np.arange(4), rates=np.zeros((4, 3), np.float32), truth={})
ALL_FITTED = {"kT": "fit:apec.kT", "n": "fit:apec.norm"}


def test_labels_on_a_limit_are_counted_by_its_parameter(tmp_path: Path) -> None:
    at_bound = ["apec.norm,background.lines", "background.lines"]
    path = fits(tmp_path / "0.ecsv", [0, 1, 2, 3], [100.0, 2, 3, 4], [True] * 4, at_bound)
    labels = training_labels(ALL_FITTED, FOUR, [path])
    assert labels.known.all()
    assert labels.doubts() == ["1 of 4 label fits that are used ended on a limit of apec.norm"]
    # A parameter that is no label may end where it likes.
    assert training_labels({"kT": "fit:apec.kT"}, FOUR, [path]).doubts() == []
    # Half of them may.
    halves = ["apec.norm", "apec.kT"]
    path = fits(tmp_path / "1.ecsv", [0, 1, 2, 3], [100.0, 15, 3, 4], [True] * 4, halves)
    assert len(training_labels(ALL_FITTED, FOUR, [path]).doubts()) == 2


def test_labels_most_of_which_are_on_a_limit_are_refused(tmp_path: Path) -> None:
    paths = [
        fits(tmp_path / "0.ecsv", [0, 1], [4.0, 3], [True] * 2),
        fits(tmp_path / "1.ecsv", [2, 3], [math.nan, 100], [True] * 2, ["apec.norm"] * 2),
    ]
    # One of three that are used.
    assert len(training_labels(ALL_FITTED, FOUR, paths).doubts()) == 2
    paths[0] = fits(tmp_path / "0.ecsv", [0, 1], [100.0, 3], [True] * 2, ["apec.norm"])
    with pytest.raises(
        IcflowError,
        match=r"0\.ecsv: 2 of 3 label fits of the dataset train that are used ended on a limit of "
        r"apec\.norm \(100\), .* the priors .* fits\.models, in the model that fits\.label names$",
    ):
        training_labels(ALL_FITTED, FOUR, paths)
    both = ["apec.norm", "apec.kT", "apec.kT"]
    path = fits(tmp_path / "2.ecsv", [0, 1, 2, 3], [100, 0.5, 15, 3], [True] * 4, both)
    with pytest.raises(IcflowError, match=r"apec\.kT \(0\.5 and 15\) or apec\.norm \(100\)"):
        training_labels(ALL_FITTED, FOUR, [path])


def test_labels_none_of_which_has_converged_are_refused(tmp_path: Path) -> None:
    converged = [False, False, False, True]
    path = fits(tmp_path / "0.ecsv", [0, 1, 2, 3], [5.0, 4, 3, 2], converged)
    assert training_labels(ALL_FITTED, FOUR, [path]).unconverged == 3
    # The last one ended on a limit.
    at_bound = ["", "", "", "apec.kT"]
    path = fits(tmp_path / "0.ecsv", [0, 1, 2, 3], [5.0, 4, 3, 15], converged, at_bound)
    with pytest.raises(
        IcflowError,
        match=r"0\.ecsv: none of 4 label fits .* train that are used converged .* first: limit\); "
        r"raise fits\.max_iterations",
    ):
        training_labels(ALL_FITTED, FOUR, [path])


def test_labels_that_no_fit_gave_are_refused(tmp_path: Path) -> None:
    path = fits(tmp_path / "0.ecsv", [0, 1], [math.nan] * 2, [False] * 2)
    with pytest.raises(IcflowError, match=r"none of the 2 label fits .* gave apec\.kT .*: limit"):
        training_labels({"kT": "fit:apec.kT"}, INPUTS, [path])


def test_a_fit_of_every_spectrum_is_needed(tmp_path: Path) -> None:
    path = fits(tmp_path / "0.ecsv", [0], [5.0], [True])
    with pytest.raises(IcflowError, match="label fits of train: no row for spectrum 1"):
        training_labels({"kT": "fit:apec.kT"}, INPUTS, [path])


def test_what_was_not_simulated_is_no_label() -> None:
    with pytest.raises(
        IcflowError, match=r"labels\.z is 'truth:apec\.z', but .* allowed: apec\.kT"
    ):
        training_labels({"z": "truth:apec.z"}, INPUTS, [])
    assert np.isnan(true_labels({"z": "truth:apec.z"}, INPUTS)).all()
    assert true_labels({}, INPUTS).shape == (2, 0)


def test_logarithm_of_nothing_is_no_label() -> None:
    truth = INPUTS.truth | {"apec.norm": np.array([0.5, 0.0])}
    inputs = dataclasses.replace(INPUTS, truth=truth)
    with pytest.raises(IcflowError, match=r"labels\.n is 'log truth.*not a number for spectrum 1"):
        training_labels({"n": "log truth:apec.norm"}, inputs, [])
