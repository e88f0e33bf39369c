"""Files of other programs of this field."""

from __future__ import annotations

import shutil
from pathlib import Path

import toy

import icflow


def test_a_spectrum_of_soxs_is_fitted(root: Path, folder: Path) -> None:
    shutil.copy(root / "tests/data/soxs/spectrum.pha", folder)
    toy.save(folder / "soxs.rmf", *toy.rmf(CHANTYPE="PI"))
    toy.save(folder / "soxs.arf", toy.arf())
    spectrum = icflow.read_spectrum("spectrum.pha", energies=(2, 30))
    fit = icflow.Model("powerlaw").fit(spectrum).parameters
    for name, truth in (("powerlaw.PhoIndex", 2.0), ("powerlaw.norm", 0.05)):
        assert abs(fit.loc[name, "value"] - truth) < 4 * fit.loc[name, "error"]
