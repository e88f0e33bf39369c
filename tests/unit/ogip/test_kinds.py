"""The kinds of OGIP files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from icflow.ogip.binary_table import read_tables, write_tables
from icflow.ogip.kinds import describe, is_area, is_bounds, is_matrix, is_spectrum


@pytest.mark.parametrize(
    ("name", "belongs", "kind"),
    [
        ("MATRIX", is_matrix, "a redistribution matrix (RMF)"),
        ("SPECRESP MATRIX", is_matrix, "a redistribution matrix (RMF)"),
        ("SPECRESP", is_area, "an effective area (ARF)"),
        ("SPECTRUM", is_spectrum, "a spectrum (PHA)"),
        ("EBOUNDS", is_bounds, "a FITS file with the tables EBOUNDS"),
    ],
)
def test_kinds_are_told_by_name_and_class(
    tmp_path: Path, name: str, belongs: Any, kind: str
) -> None:
    write_tables(tmp_path / "a.fits", [fits.BinTableHDU(np.zeros(1, "i4,i4"), name=name)])
    tables = read_tables(tmp_path / "a.fits")
    assert belongs(tables[0])
    assert describe(tables) == kind
    assert sum(is_kind(tables[0]) for is_kind in (is_matrix, is_area, is_spectrum, is_bounds)) == 1
    assert describe([]) == "a FITS file without tables"
