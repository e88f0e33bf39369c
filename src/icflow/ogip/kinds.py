"""What kind of OGIP file a FITS file is, told by the classes and the names of its tables."""

from __future__ import annotations

from collections.abc import Sequence

from icflow.ogip.binary_table import BinaryTable


def describe(tables: Sequence[BinaryTable]) -> str:
    """Say in words what kind of OGIP file this is, for errors."""
    kinds = {
        "a redistribution matrix (RMF)": is_matrix,
        "an effective area (ARF)": is_area,
        "a spectrum (PHA)": is_spectrum,
    }
    for kind, belongs in kinds.items():
        if any(map(belongs, tables)):
            return kind
    names = ", ".join(table.name or "unnamed" for table in tables)
    return f"a FITS file with the tables {names}" if names else "a FITS file without tables"


def is_matrix(table: BinaryTable) -> bool:
    """Tell whether a table is a redistribution matrix (OGIP CAL/GEN/92-002)."""
    names = ("MATRIX", "SPECRESP MATRIX")
    return table.hduclass == ("RESPONSE", "RSP_MATRIX") or table.name.upper() in names


def is_area(table: BinaryTable) -> bool:
    """Tell whether a table is an effective area (OGIP CAL/GEN/92-002)."""
    return table.hduclass == ("RESPONSE", "SPECRESP") or table.name.upper() == "SPECRESP"


def is_bounds(table: BinaryTable) -> bool:
    """Tell whether a table holds the energies of channels (OGIP CAL/GEN/92-002)."""
    return table.hduclass[1] == "EBOUNDS" or table.name.upper() == "EBOUNDS"


def is_spectrum(table: BinaryTable) -> bool:
    """Tell whether a table is a PHA spectrum (OGIP/92-007)."""
    return table.hduclass[0] == "SPECTRUM" or table.name.upper() == "SPECTRUM"
