"""The components of a simulated spectrum, as Figure 1 shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from icflow import config
from icflow import settings as settings_of
from icflow.config import Systematics
from icflow.stages import components, simulate
from icflow.tables import read_table


def test_components_add_up_to_what_was_expected_of_that_spectrum(
    root: Path, rmf_path: Path, arf_path: Path, atomdb: Path, tmp_path: Path
) -> None:
    run = config.load(root / "config.yaml")
    settings = settings_of.simulate(run, "test_2T")
    files = {
        "rmf": str(rmf_path),
        "arf": str(arf_path),
        "background": str(root / str(run.modules[0].background)),
    }
    atomic = settings.atomic_data.model_copy(update={"folder": str(atomdb)})
    found = {}
    for scatter in (0.0, 0.9):
        (module,) = settings.modules
        module = module.model_copy(update={**files, "systematics": Systematics(background=scatter)})
        changed = settings.model_copy(update={"modules": [module], "atomic_data": atomic})
        spectra, table = tmp_path / f"{scatter}.pha", tmp_path / f"{scatter}.ecsv"
        simulate.run(changed, 4, 2, spectra)
        components.run(changed, spectra, 5, table)
        found[scatter] = read_table(table)
    plain, scattered = found.values()
    assert plain.colnames == scattered.colnames
    np.testing.assert_array_equal(plain["source"], scattered["source"])
    names = [name for name in plain.colnames if name.startswith("background.")]
    assert len(names) == 4
    for name in names:
        factor = scattered.meta["truth"][name]
        assert factor != 1
        np.testing.assert_allclose(scattered[name], factor * plain[name])
    # Above 50 keV there is hardly anything but background.
    hard = scattered["energy_lo"] > 50
    expected = sum(scattered[name][hard].sum() for name in [*names, "source"])
    pull = (scattered["counts"][hard].sum() - expected) / np.sqrt(expected)
    assert abs(pull) < 4
    assert abs(plain["counts"][hard].sum() - expected) > 5 * np.sqrt(expected)
