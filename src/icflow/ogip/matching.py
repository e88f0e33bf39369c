"""Whether a spectrum, its response and its area belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from icflow.errors import IcflowError
from icflow.ogip.noticed import noticed_channels
from icflow.ogip.response import SAME_GRID, Arf, Rmf
from icflow.ogip.spectrum import Spectrum
from icflow.typing import Booleans, Floats, Indices

# Keywords that say nothing about the origin of a file.
_UNKNOWN = ("", "UNKNOWN", "NONE")
# The digits that edges are written with at least.
FEWEST_DIGITS, MOST_DIGITS = 2, 6
ADVICE = "make the ARF for this RMF"


def matched(rmf: Rmf, arf: Arf, energies: Sequence[float] | None = None) -> tuple[Arf, list[str]]:
    """Return an ARF with a row for each of an RMF, and what is odd about the two, in sentences.

    As many rows as those of the RMF belong to these one by one. XSPEC never compares the
    energies; here they may differ by as much as the digits are worth that they were
    written with, and where nothing is fitted. Without an ARF of another number of rows
    XSPEC goes on as if the area were 1 cm²; here its rows are found by their energies.

    Parameters
    ----------
    energies : sequence of float, optional
        Lowest and highest energy that is fitted, keV; by default all matter.

    Raises
    ------
    IcflowError
        If the RMF holds an area already, they are of two telescopes, or an edge
        differs that matters; the message names both files.
    """
    if rmf.full:
        raise IcflowError(
            f"{rmf.path} holds the effective area already (HDUCLAS3 = FULL or SPECRESP MATRIX), so "
            f"that of {arf.path} would be applied twice; use it without ARF (`none`)"
        )
    if not _same(rmf.telescope, arf.telescope):
        raise IcflowError(
            f"{rmf.path} is of the telescope {rmf.telescope} and {arf.path} of {arf.telescope}; "
            f"{ADVICE}"
        )
    if rmf.energy_lo.size != arf.energy_lo.size:
        return _by_energy(rmf, arf, energies)
    return arf, _row_by_row(rmf, arf, energies)


def _row_by_row(rmf: Rmf, arf: Arf, energies: Sequence[float] | None) -> list[str]:
    """Check energies that belong together by the number of the row; return what is odd."""
    excess = np.abs(rmf.energies - arf.energies) - SAME_GRID * rmf.energies
    differing = np.flatnonzero(excess > 0)
    if not differing.size:
        return []
    row_by_row = f"{arf.path} goes with {rmf.path} row by row, though"
    for rounded, exact in ((arf, rmf), (rmf, arf)):
        digits = _digits(rounded.energies, exact.energies)
        if digits is not None:
            return [f"{row_by_row} the energies of {rounded.path} are rounded to {digits} digits"]
    if energies is not None:
        edges = np.concatenate([rmf.energies[differing], arf.energies[differing]])
        if not np.any((edges > energies[0]) & (edges < energies[1])):
            return [f"{row_by_row} energies differ where nothing is fitted"]
    worst = int(np.argmax(excess))
    raise IcflowError(
        f"{rmf.path} and {arf.path} have different energy bins ({rmf.energies[worst]:.6g} and "
        f"{arf.energies[worst]:.6g} keV at edge {worst}); {ADVICE}"
    )


def _by_energy(rmf: Rmf, arf: Arf, energies: Sequence[float] | None) -> tuple[Arf, list[str]]:
    """Return the rows of an ARF for those of an RMF of which there are more, or fewer.

    Rows of the RMF that the ARF has not may only hold photons that no fitted channel sees.
    """
    row, there = rows_at(arf, rmf.energies)
    fitted = np.ones(rmf.channel.size, bool)
    if energies is not None:
        fitted = noticed_channels(rmf.e_min, rmf.e_max, *energies)
    seen = abs(rmf.matrix) @ fitted.astype(np.float64) > 0
    lacking = np.flatnonzero(seen & ~there)
    both = f"{rmf.path} has {rmf.energy_lo.size} energy bins and {arf.path} {arf.energy_lo.size}"
    if lacking.size:
        low, high = rmf.energy_lo[lacking[0]], rmf.energy_hi[lacking[-1]]
        raise IcflowError(
            f"{both}, and {lacking.size} of those that fitted channels see, from {low:.6g} to "
            f"{high:.6g} keV, are not among them; {ADVICE}"
        )
    area = np.where(there, arf.area[row], 0.0)
    same = replace(arf, energy_lo=rmf.energy_lo, energy_hi=rmf.energy_hi, area=area)
    return same, [f"{both}; they are matched by energy (XSPEC goes on without such an ARF)"]


def rows_at(arf: Arf, edges: Floats) -> tuple[Indices, Booleans]:
    """Return the row of an ARF that is each of some energy bins, and whether there is one.

    Bins without width hold no photons, so any row will do.

    Parameters
    ----------
    edges : ndarray, (n_bins + 1,)
        Of the bins, keV.
    """
    low, high = edges[:-1], edges[1:]
    row = np.searchsorted(arf.energy_lo, 0.5 * (low + high), side="right") - 1
    row = np.maximum(row, 0)
    there = np.isclose(arf.energy_lo[row], low, rtol=SAME_GRID, atol=0)
    there &= np.isclose(arf.energy_hi[row], high, rtol=SAME_GRID, atol=0)
    return row, there | (high == low)


def same_rows(edges: Floats, other: Floats) -> bool:
    """Tell whether edges are the same, to as many digits as either is rounded to."""
    if edges.size != other.size:
        return False
    close = np.allclose(edges, other, rtol=SAME_GRID, atol=0)
    return close or (_digits(edges, other) or _digits(other, edges)) is not None


def _digits(edges: Floats, exact: Floats) -> int | None:
    """Return the number of digits that edges are rounded to, None if that is not what differs."""
    power = 10.0 ** np.floor(np.log10(np.maximum(exact, 1e-30)))
    for digits in range(FEWEST_DIGITS, MOST_DIGITS + 1):
        last = power * 10.0 ** (1 - digits)
        whole = np.abs(edges / last - np.rint(edges / last)) <= 1e-6 * edges / last
        wrong = edges - exact
        # Rounding goes up as often as down; a shift does not.
        level = abs(wrong.sum()) <= 0.5 * np.abs(wrong).sum()
        if whole.all() and level and np.all(np.abs(wrong) <= (0.5 + 1e-3) * last):
            return digits
    return None


def check_origin(spectrum: Spectrum, other: Rmf | Arf | Spectrum) -> None:
    """Check that a response, or a background, is of the instrument of a spectrum.

    As far as both say. A name may be the beginning of the other: PSPC of PSPCB.

    Raises
    ------
    IcflowError
        If TELESCOP or INSTRUME differ.
    """
    kind = "background" if isinstance(other, Spectrum) else "response"
    for keyword, own, its in (
        ("TELESCOP", spectrum.telescope, other.telescope),
        ("INSTRUME", spectrum.instrument, other.instrument),
    ):
        if not _same(own, its):
            raise IcflowError(
                f"{other.path} is a {kind} of another instrument: its {keyword} is {its}, that of "
                f"{spectrum.path} is {own}; give the {kind} that was made for the spectrum"
            )


def _same(name: str, other: str) -> bool:
    """Tell whether two names of telescopes or instruments can be those of the same."""
    first, second = sorted((text.strip().upper() for text in (name, other)), key=len)
    return first in _UNKNOWN or second in _UNKNOWN or second.startswith(first)


def on_channels(spectrum: Spectrum, rmf: Rmf) -> Spectrum:
    """Return a spectrum on all channels of its response: it may list a part of them.

    Raises
    ------
    IcflowError
        If it has channels that the response has not, or its detector has
        another number of them (DETCHANS).
    """
    own, other = spectrum.channel, rmf.channel
    detector = own.size if spectrum.detchans is None else spectrum.detchans
    partial = own[0] >= other[0] and own[-1] <= other[-1] and detector == other.size
    if not (partial or (own.size == other.size and own[0] == other[0])):
        raise IcflowError(
            f"{spectrum.path} has the channels {own[0]} to {own[-1]}, {rmf.path} {other[0]} to "
            f"{other[-1]}; give the response that was made for the spectrum"
        )
    return spectrum.padded(other)
