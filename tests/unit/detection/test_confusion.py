"""Confusion matrices: counted by hand, and back from metrics.json."""

from __future__ import annotations

import numpy as np
import pandas as pd

from icflow.detection import confusion

DECISION = np.array([True, True, False, False, True, False])
IS_IC = np.array([True, False, False, True, True, False])


def test_true_classes_are_rows_and_what_spectra_are_called_columns() -> None:
    matrix = confusion.count(DECISION, IS_IC)
    assert matrix.loc["IC", "IC"] == 2
    assert matrix.loc["no IC", "IC"] == 1
    assert matrix.to_numpy().tolist() == [[2, 1], [1, 2]]
    assert confusion.cells(matrix) == {"tp": 2, "fp": 1, "tn": 2, "fn": 1}
    assert list(confusion.cells(matrix)) == ["tp", "fp", "tn", "fn"]


def test_what_does_not_occur_counts_as_zero() -> None:
    nothing = np.zeros(6, dtype=bool)
    assert confusion.count(nothing, IS_IC).to_numpy().tolist() == [[3, 0], [3, 0]]
    assert confusion.count(~nothing, ~nothing).to_numpy().tolist() == [[0, 0], [0, 6]]
    assert confusion.count(nothing[:0], nothing[:0]).to_numpy().tolist() == [[0, 0], [0, 0]]


def test_a_matrix_comes_back_from_its_cells() -> None:
    cells = {"tp": 5, "fp": 1, "tn": 3, "fn": 2}
    matrix = confusion.from_cells(cells)
    assert confusion.cells(matrix) == cells
    other = confusion.count(DECISION, IS_IC)
    pd.testing.assert_frame_equal(confusion.from_cells(confusion.cells(other)), other, False)


def test_fractions_are_of_each_true_class() -> None:
    found = confusion.fractions(confusion.from_cells({"tp": 3, "fp": 0, "tn": 0, "fn": 1}))
    np.testing.assert_array_equal(found, [[np.nan, np.nan], [0.25, 0.75]])
