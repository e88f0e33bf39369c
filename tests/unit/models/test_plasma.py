"""The parts of `apec` against `apec` itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from icflow.config import AtomicData
from icflow.models import library, plasma
from icflow.typing import Floats

FIRST, STRETCH = 2.9, 1.1


@pytest.fixture(scope="module")
def parts(atomdb: Path) -> plasma.Plasma:
    return plasma.build(AtomicData(folder=str(atomdb)), 4.5, 5.5, FIRST, STRETCH)


def apec(kT: float, abundance: float, redshift: float, edges: Floats) -> Floats:
    values = np.array([kT, abundance, redshift])
    return library.evaluate(library.definitions()["apec"], edges, values)


def test_tables_bracket_the_temperatures(atomdb: Path) -> None:
    atomic_data = AtomicData(folder=str(atomdb))
    for low, high in ((4.5, 5.5), (2.0, 6.0), (5.0, 5.0)):
        bracket = plasma.tables(atomic_data, low, high)
        assert bracket[0] <= low <= high <= bracket[-1]
        assert np.all((bracket[1:-1] > low) & (bracket[1:-1] < high))


def test_photons_are_linear_in_the_abundance(atomdb: Path) -> None:
    library.configure(AtomicData(folder=str(atomdb)))
    edges = np.linspace(3.0, 12.0, 500)
    primordial, metals = plasma.parts(5.0, 0.05, edges, lines=True)
    np.testing.assert_allclose(primordial + 0.37 * metals, apec(5.0, 0.37, 0.05, edges), rtol=1e-12)


def test_lines_are_switched_off_for_one_call_alone(atomdb: Path) -> None:
    library.configure(AtomicData(folder=str(atomdb)))
    edges = np.array([6.6, 6.8])
    before = apec(5.0, 1.0, 0.0, edges)
    assert plasma.parts(5.0, 0.0, edges, lines=False).sum() < 0.7 * before[0]
    np.testing.assert_array_equal(apec(5.0, 1.0, 0.0, edges), before)


@pytest.mark.parametrize("abundance", [0.0, 0.3, 2.0])
def test_lines_and_the_rest_add_up_to_apec(parts: plasma.Plasma, abundance: float) -> None:
    weights = np.array([1.0, abundance])
    edges = parts.edges[:: len(parts.edges) // 200]
    rest = np.diff(parts.cumulative[:: len(parts.edges) // 200], axis=0) @ weights
    lines = weights @ parts.line_photons
    bins = np.searchsorted(edges, parts.line_energy, side="right") - 1
    inside = bins < len(edges) - 1
    for i, kT in enumerate(parts.temperatures):
        photons = rest[:, i].copy()
        np.add.at(photons, bins[inside], lines[i, inside])
        np.testing.assert_allclose(photons, apec(kT, abundance, 0.0, edges), rtol=2e-5)


def test_the_iron_lines_are_tracked(parts: plasma.Plasma) -> None:
    strength = parts.line_photons.sum(axis=(0, 1))
    assert parts.line_energy[np.argmax(strength)] == pytest.approx(6.7004, abs=1e-3)
    assert np.all(np.diff(parts.line_energy) > 0)
    assert parts.edges[0] == FIRST
    assert parts.edges[-1] >= plasma.LAST_FEATURE * STRETCH
