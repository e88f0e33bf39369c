"""True parameters as a table: every digit comes back, with units and names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from icflow.errors import IcflowError
from icflow.truth import Truth, read_truth, write_truth


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    values = {name: random.random(5) for name in ("apec.kT", "powerlaw.norm", "background.lines")}
    truth = Truth("test_1T+IC", "1T+IC", np.arange(3, 8), values)
    path = tmp_path / "shard-0000.truth.ecsv"
    write_truth(path, truth, "tbabs*(apec+powerlaw)")
    again = read_truth(path)
    assert (again.dataset, again.scenario) == ("test_1T+IC", "1T+IC")
    assert again.index.tolist() == [3, 4, 5, 6, 7]
    assert {name: column.tolist() for name, column in again.parameters.items()} == {
        name: column.tolist() for name, column in values.items()
    }
    table = Table.read(path, format="ascii.ecsv")
    assert str(table["apec.kT"].unit) == "keV"
    assert table["dataset"][0] == "test_1T+IC"


def test_another_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fluxes.ecsv"
    Table({"dataset": ["a"], "index": [0]}).write(path, format="ascii.ecsv")
    with pytest.raises(IcflowError, match=r"fluxes\.ecsv: not a table of true parameters"):
        read_truth(path)
