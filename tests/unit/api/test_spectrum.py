"""Spectra with their companions, read for Python."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from astropy import units

import icflow


def test_companions_are_those_of_the_header(folder: Path) -> None:
    spectrum = icflow.read_spectrum(folder / "spec.pha", energies=(2000 * units.eV, 30))
    assert spectrum.energies == [2.0, 30.0]
    assert spectrum.exposure == toy.EXPOSURE
    np.testing.assert_array_equal(spectrum.counts, toy.draw())
    assert spectrum.instrument.rmf == folder / "resp.rmf"
    assert spectrum.edges.shape == (toy.N, 2)
    assert "<th>counts</th>" in spectrum._repr_html_()


def test_another_choice_leaves_the_rest(folder: Path) -> None:
    toy.save(folder / "back.pha", toy.pha(counts=np.ones(toy.N, int)))
    spectrum = icflow.read_spectrum("spec.pha", energies=(2, 30))
    other = spectrum.using(group_min=5, background="back.pha")
    assert (other.energies, other.group_min) == ([2.0, 30.0], 5)
    assert other.files.behind is not None and spectrum.files.behind is None


def test_a_companion_that_is_not_used_stays_away(folder: Path) -> None:
    """The header names an area; a response that holds it goes without."""
    toy.save(folder / "back.pha", toy.pha(counts=np.ones(toy.N, int)))
    spectrum = icflow.read_spectrum("spec.pha", arf="none")
    assert spectrum.files.arf is None
    assert spectrum.using(background="back.pha").files.arf is None


def test_spectra_are_the_same_or_not(folder: Path) -> None:
    first, second = icflow.read_spectrum("spec.pha"), icflow.read_spectrum("spec.pha")
    assert first == first and first != second and len({first, second}) == 2
    assert repr(pickle.loads(pickle.dumps(first))) == repr(first)


def test_what_is_odd_is_noted(folder: Path) -> None:
    quality = np.zeros(toy.N, int)
    quality[100] = 5
    column = toy.fits.Column("QUALITY", "I", array=quality)
    toy.save(folder / "odd.pha", toy.pha(columns=[column]))
    (note,) = icflow.read_spectrum("odd.pha").notes
    assert "1 channels" in note and "bad QUALITY" in note


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"path": "gone.pha"}, r"gone\.pha"),
        ({"path": 5}, "give the name of a PHA file"),
        ({"energies": (3, 80)}, "reach outside .* set energies inside"),
        ({"energies": (3 * units.m, 80)}, "energies"),
        ({"energies": (3 * units.s, 80)}, "cannot be converted to keV"),
        ({"group_min": -1}, "group_min is -1; give a whole number"),
        ({"arf": 3}, "arf is 3; give the name of a file"),
        ({"rmf": "gone.rmf"}, r"gone\.rmf"),
        ({"background": "file"}, "BACKFILE names no file; give one with background"),
    ],
)
def test_what_cannot_be_used(folder: Path, arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(icflow.IcflowError, match=sentence):
        icflow.read_spectrum(**{"path": "spec.pha", **arguments})
