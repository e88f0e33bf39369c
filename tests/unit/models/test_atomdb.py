"""The tables of AtomDB."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from icflow.config import AtomicData
from icflow.errors import IcflowError
from icflow.models import atomdb as tables


def test_temperatures_of_the_tables(atomdb: Path) -> None:
    temperatures = tables.temperatures(AtomicData(folder=str(atomdb)))
    # 51 steps of a tenth in the logarithm of kelvins, from 1e4 K on.
    np.testing.assert_allclose(np.diff(np.log10(temperatures)), 0.1, atol=1e-4)
    assert len(temperatures) == 51


def test_lines_have_the_energies_of_well_known_ones(atomdb: Path) -> None:
    energies = tables.lines(AtomicData(folder=str(atomdb)), np.array([2.0, 6.0]))
    assert np.all(np.diff(energies) > 0)
    for energy in (6.7004, 6.9732):  # Fe XXV w, Fe XXVI Ly alpha 1
        assert np.abs(energies - energy).min() < 2e-4


def test_missing_tables_are_named(tmp_path: Path) -> None:
    with pytest.raises(IcflowError, match=r"apec_v3\.0\.9_coco\.fits: not found; run `icflow"):
        tables.root(AtomicData(folder=str(tmp_path)))
    (tmp_path / "apec_v3.0.9_coco.fits").touch()
    with pytest.raises(IcflowError, match=r"_line\.fits: not found"):
        tables.temperatures(AtomicData(folder=str(tmp_path)))


def test_tables_are_found_where_a_project_has_none(
    atomdb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ICFLOW_DATA", str(atomdb))
    assert tables.root(AtomicData()) == str(atomdb / "apec_v3.0.9")
    with pytest.raises(IcflowError, match="other/apec_v3"):  # a folder that was asked for
        tables.root(AtomicData(folder="other"))
    monkeypatch.setenv("ICFLOW_DATA", str(tmp_path))
    monkeypatch.setattr("icflow.models.atomdb.data_folders", lambda: iter([tmp_path]))
    with pytest.raises(IcflowError, match=r"resources/atomdb/apec_v3\.0\.9_coco\.fits: not found"):
        tables.root(AtomicData())
