"""Files of a made-up instrument: 400 channels of 0.1 keV from 1 to 41 keV, 50 cm², 10 ks.

The source is a power law of photon index 2 and norm 1. Every argument is a way in which files that
people have differ from plain ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from scipy.special import erf

N, EXPOSURE, AREA, SIGMA = 400, 1.0e4, 50.0, 0.15
EDGES = 1.0 + 0.1 * np.arange(N + 1)
LOW, HIGH = EDGES[:-1], EDGES[1:]
ORIGIN = {"TELESCOP": "MADEUP", "INSTRUME": "TOY"}
# A flat background of two counts per channel.
FLAT = """
name: flat
components:
  flat:
    redistribution: identity
    area: none
    sum:
      - {model: powerlaw, PhoIndex: 0.0, norm: 2.0e-3}
"""


def redistribution() -> Any:
    """Gaussians about the energies, as the canned matrices of many instruments."""
    centre = 0.5 * (LOW + HIGH)
    cumulative = 0.5 * (1 + erf((EDGES[None, :] - centre[:, None]) / (SIGMA * np.sqrt(2))))
    matrix = np.diff(cumulative, axis=1)
    matrix[matrix < 1e-6] = 0
    return matrix


def expected(norm: float = 1.0) -> Any:
    """Return the expected counts per channel."""
    photons = norm * (1 / EDGES[:-1] - 1 / EDGES[1:])
    return (photons * AREA) @ redistribution() * EXPOSURE


def draw(rate: float = 1.0, norm: float = 1.0, plus: Any = 0.0) -> Any:
    """Draw counts."""
    return np.random.default_rng(1).poisson(rate * expected(norm) + plus)


def rmf(
    matrix: Any = None,
    name: str = "MATRIX",
    low: Any = LOW,
    high: Any = HIGH,
    unit: str = "keV",
    bounds: Any = (LOW, HIGH),
    start: int = 1,
    **keys: Any,
) -> list[Any]:
    """Return the tables of an RMF."""
    matrix = redistribution() if matrix is None else matrix
    rows = [np.flatnonzero(row) for row in matrix]
    first, last = np.array([(r[0], r[-1] + 1) if r.size else (0, 0) for r in rows]).T
    values = np.empty(len(rows), object)
    values[:] = [row[a:b].astype("f4") for row, a, b in zip(matrix, first, last, strict=True)]
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("ENERG_LO", "E", unit=unit, array=low),
            fits.Column("ENERG_HI", "E", unit=unit, array=high),
            fits.Column("N_GRP", "I", array=(last > first).astype(int)),
            fits.Column("F_CHAN", "I", array=first + start),
            fits.Column("N_CHAN", "I", array=last - first),
            fits.Column("MATRIX", "PE()", array=values),
        ],
        name=name,
    )
    classes = {"HDUCLASS": "OGIP", "HDUCLAS1": "RESPONSE", "HDUCLAS2": "RSP_MATRIX"}
    table.header.update(classes | ORIGIN | {"DETCHANS": matrix.shape[1], "TLMIN4": 1} | keys)
    ebounds = fits.BinTableHDU.from_columns(
        [
            fits.Column("CHANNEL", "J", array=np.arange(len(bounds[0])) + 1),
            fits.Column("E_MIN", "E", unit=unit, array=bounds[0]),
            fits.Column("E_MAX", "E", unit=unit, array=bounds[1]),
        ],
        name="EBOUNDS",
    )
    ebounds.header.update(classes | ORIGIN | {"HDUCLAS2": "EBOUNDS"})
    return [table, ebounds]


def arf(
    low: Any = LOW,
    high: Any = HIGH,
    unit: str = "keV",
    area: float = AREA,
    of: str = "cm**2",
    **keys: Any,
) -> Any:
    """Return the table of an ARF."""
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("ENERG_LO", "E", unit=unit, array=low),
            fits.Column("ENERG_HI", "E", unit=unit, array=high),
            fits.Column("SPECRESP", "E", unit=of, array=np.full(len(low), area)),
        ],
        name="SPECRESP",
    )
    classes = {"HDUCLASS": "OGIP", "HDUCLAS1": "RESPONSE", "HDUCLAS2": "SPECRESP"}
    table.header.update(classes | ORIGIN | keys)
    return table


def pha(counts: Any = None, first: int = 1, columns: Sequence[Any] = (), **keys: Any) -> Any:
    """Return the table of a spectrum; a keyword of None is left out."""
    counts = draw() if counts is None else counts
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("CHANNEL", "J", array=np.arange(len(counts)) + first),
            fits.Column("COUNTS", "J", unit="count", array=counts),
            *columns,
        ],
        name="SPECTRUM",
    )
    header = {
        **{"HDUCLASS": "OGIP", "HDUCLAS1": "SPECTRUM", "HDUCLAS2": "TOTAL", "HDUVERS": "1.2.1"},
        **ORIGIN,
        **{"EXPOSURE": EXPOSURE, "AREASCAL": 1.0, "BACKSCAL": 1.0, "BACKFILE": "none"},
        **{"RESPFILE": "resp.rmf", "ANCRFILE": "area.arf", "DETCHANS": N, "POISSERR": True},
    }
    table.header.update({k: v for k, v in (header | keys).items() if v is not None})
    return table


def save(path: Path, *tables: Any) -> None:
    """Write tables to a file."""
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(path, overwrite=True)


def write(folder: Path, spectrum: Any = None, response: Any = None, area: Any = None) -> Path:
    """Write a spectrum and its response; return the spectrum."""
    save(folder / "resp.rmf", *(rmf() if response is None else response))
    save(folder / "area.arf", arf() if area is None else area)
    save(folder / "spec.pha", pha() if spectrum is None else spectrum)
    return folder / "spec.pha"
