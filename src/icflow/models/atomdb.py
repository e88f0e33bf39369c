"""The tables of AtomDB that `apec` reads: temperatures and lines."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from icflow.config import AtomicData
from icflow.errors import IcflowError
from icflow.files import reading
from icflow.folders import data_folders
from icflow.ogip.binary_table import read_first_table
from icflow.typing import Floats

# XSPEC's conversion of wavelength to energy (KEVTOA); not the CODATA value.
KEV_ANGSTROM = 12.39841974
# What the files should be, and what to do if they are not.
WHOLE, REMEDY = "a whole AtomDB table", "delete it and run `icflow fetch`"


def root(atomic_data: AtomicData) -> str:
    """Return the path of the tables without ``_coco.fits`` or ``_line.fits``.

    They are in the folder that the configuration names; in place of that of a project, also in
    one of `icflow.folders.data_folders`.

    Raises
    ------
    IcflowError
        If one of them is not there.
    """
    named = Path(atomic_data.folder).resolve()
    own = atomic_data.folder != AtomicData.model_fields["folder"].default
    stem = f"apec_v{atomic_data.atomdb}"
    for folder in [named] if own else [named, *data_folders()]:
        missing = [name for name in _names(stem) if not (folder / name).is_file()]
        if not missing:
            return str(folder / stem)
    (name, *_) = [name for name in _names(stem) if not (named / name).is_file()]
    raise IcflowError(
        f"{named / name}: not found; run `icflow fetch`, or set atomic_data.folder "
        "to a folder that holds the AtomDB tables"
    )


def _names(stem: str) -> list[str]:
    return [f"{stem}_{part}.fits" for part in ("coco", "line")]


@cache
def temperatures(atomic_data: AtomicData) -> Floats:
    """Temperatures of the tables, keV: between them `apec` is linear in kT."""
    path = f"{root(atomic_data)}_coco.fits"
    with reading(path, WHOLE, REMEDY):
        return read_first_table(path).vector("kT").astype(np.float64)


def lines(atomic_data: AtomicData, temperatures: Floats) -> Floats:
    """Energies (keV) of every line that the tables hold at any of the temperatures."""
    from astropy.io import fits  # slow to import, and needed by those who build tables alone

    path = f"{root(atomic_data)}_line.fits"
    with reading(path, WHOLE, REMEDY), fits.open(path, memmap=True) as file:
        tabulated = np.asarray(file[1].data["kT"], dtype=np.float64)
        nearest = [int(np.argmin(np.abs(tabulated - temperature))) for temperature in temperatures]
        wavelengths = np.concatenate([file[2 + number].data["Lambda"] for number in nearest])
    return KEV_ANGSTROM / np.unique(wavelengths).astype(np.float64)[::-1]
