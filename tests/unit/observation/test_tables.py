"""Tables of fitted channels, of responses whose energies fall or start at 0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from astropy.table import Table

from icflow.config import AtomicData, FitControl, FitModel, ObservedSpectrum
from icflow.observation.engine import ObservedEngine
from icflow.observation.tables import fitted
from icflow.ogip.observation import check_companions, read_files

VALUES = {"powerlaw.PhoIndex": 2.0, "powerlaw.norm": 1.0}
MODEL = FitModel(expression="powerlaw", parameters=dict(VALUES))
CONTROL = FitControl(
    energies=[3.0, 30.0], group_min=0, background_range=0.0, starts=1, max_iterations=10
)


def table_of(folder: Path, atomdb: Path, **files: Any) -> Table:
    folder.mkdir(exist_ok=True)
    given = ObservedSpectrum(spectrum=str(toy.write(folder, **files)))
    checked = check_companions(read_files(given), 3.0, 30.0)
    engine = ObservedEngine([checked.files], CONTROL, False, AtomicData(folder=str(atomdb)))
    return fitted(engine, {"fit": (MODEL, VALUES)})


@pytest.fixture
def plain(tmp_path: Path, atomdb: Path) -> Table:
    return table_of(tmp_path / "plain", atomdb)


def test_source_before_the_response(plain: Table) -> None:
    # Energy² × photons/cm²/s/keV of a power law of index 2 and norm 1 is 1.
    np.testing.assert_allclose(plain["fit/unfolded/powerlaw"], 1.0, rtol=1e-5)
    assert len(plain) == 269


@pytest.mark.parametrize(
    "files",
    [
        {
            "response": toy.rmf(
                toy.redistribution()[:, ::-1], bounds=(toy.LOW[::-1], toy.HIGH[::-1])
            ),
            "spectrum": toy.pha(toy.draw()[::-1]),
        },
        {"response": toy.rmf(bounds=(np.append(0, toy.LOW[1:]), toy.HIGH))},
    ],
    ids=["falling", "from 0"],
)
def test_order_and_first_energy_of_channels_do_not_matter(
    tmp_path: Path, atomdb: Path, plain: Table, files: dict[str, Any]
) -> None:
    table = table_of(tmp_path / "other", atomdb, **files)
    assert np.all(np.diff(table["energy_lo"]) > 0)
    for name in plain.colnames[1:]:
        np.testing.assert_allclose(table[name], plain[name], rtol=1e-5, err_msg=name)
