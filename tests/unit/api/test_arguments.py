"""What people give as numbers, energies and counts, and what is said of what is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from astropy import units

from icflow.api import arguments
from icflow.errors import IcflowError


def test_quantities_are_converted() -> None:
    assert arguments.number(2000 * units.eV, "keV", "kT") == 2.0
    assert arguments.number(12.398419843320026 * units.AA, "keV", "E") == pytest.approx(1.0)
    assert arguments.number(1e5 * units.s, "s", "exposure") == 1e5
    assert arguments.number(1e8 * units.K, "keV", "kT") == pytest.approx(8.617333)
    assert arguments.energies((20, 80 * units.keV)) == [20.0, 80.0]
    assert arguments.number(2.3 * units.percent, None, "redshift") == pytest.approx(0.023)
    assert arguments.floats([1, 2] * units.eV, "kT", "keV").tolist() == [1e-3, 2e-3]
    assert arguments.counts([1, 2] * units.ct, 2, "it").tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: arguments.number(3 * units.m, "s", "exposure"), "exposure is 3.0 m, which cannot"),
        (lambda: arguments.number(3 * units.m, None, "index"), "index is 3.0 m, and has no unit"),
        (lambda: arguments.number(float("nan"), None, "kT"), "kT is nan; give a finite number"),
        (lambda: arguments.number("five", None, "kT"), "kT is 'five'; give a number"),
        (lambda: arguments.number(True, None, "kT"), "kT is True; give a number"),
        (lambda: arguments.energies((80, 3)), "energies is 80 to 3 keV; give the lower energy"),
        (lambda: arguments.energies(5), "energies is 5; give two energies"),
        (lambda: arguments.limits_of(1.0, None, "cross"), "cross is 1.0; give two numbers"),
        (lambda: arguments.whole(2.5, "n"), "n is 2.5; give a whole number, 1 or more"),
        (lambda: arguments.whole(0, "n"), "n is 0; give a whole number"),
        (lambda: arguments.floats("ab", "values"), "values is 'ab'; give an array of numbers"),
        (lambda: arguments.floats([1] * units.s, "kT", "keV"), "which cannot be converted to keV"),
        (lambda: arguments.floats([1] * units.s, "values"), "has no unit; give a plain number"),
        (lambda: arguments.counts([1, 2] * units.keV, 2, "it"), "cannot be converted to ct"),
        (lambda: arguments.seed("x"), "seed is 'x'; give a whole number, 0 or more"),
        (lambda: arguments.seed(-1), "seed is -1; give a whole number"),
        (lambda: arguments.path(3, "arf"), "arf is 3; give the name of a file"),
        (lambda: arguments.floats([[1], [2, 3]], "values"), "give an array of numbers"),
        (lambda: arguments.mapping([("a", 1)], "radio"), "radio is .*; give a dictionary"),
        (lambda: arguments.mapping({3: 1}, "radio"), "radio is .*; give a dictionary"),
        (lambda: arguments.counts([[1, 2], [3]], 2, "it"), "counts has rows of different lengths"),
        (
            lambda: arguments.counts(np.ones(3), 4, "it"),
            "counts has the shape .* it has 4",
        ),
        (lambda: arguments.counts([[1, np.nan]], 2, "it"), "counts holds NaN"),
        (lambda: arguments.counts([[1, -1]], 2, "it"), "negative"),
        (lambda: arguments.counts([[1, 0.5]], 2, "it"), "fractions"),
        (lambda: arguments.counts([["a", "b"]], 2, "it"), "give whole counts"),
    ],
)
def test_one_sentence_each(call: Any, sentence: str) -> None:
    with pytest.raises(IcflowError, match=sentence):
        call()


def test_counts_have_a_row_for_each_spectrum() -> None:
    assert arguments.counts([1, 2.0, 3], 3, "it").tolist() == [[1, 2, 3]]


def test_errors_name_arguments_in_place_of_options() -> None:
    text = "give one with --group-min, as /tmp/a--b.pha and --rmf have"
    assert arguments.in_python(text) == "give one with group_min, as /tmp/a--b.pha and rmf have"
    assert arguments.in_python("widen these with --limits") == "widen these with parameters"
    with pytest.raises(IcflowError, match="use energies"), arguments.python_words():
        raise IcflowError("use --energies")
