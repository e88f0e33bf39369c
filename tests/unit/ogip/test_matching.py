"""Whether spectrum, response and area belong together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array

from icflow.errors import IcflowError
from icflow.ogip.matching import check_origin, matched, on_channels, rows_at, same_rows
from icflow.ogip.response import Arf, Rmf
from icflow.ogip.spectrum import Spectrum

EDGES = 1.03 + 0.04 * np.arange(51)
CHANNEL = np.arange(1, 51)
RMF = Rmf(
    EDGES[:-1], EDGES[1:], csr_array(np.eye(50)), CHANNEL, EDGES[:-1], EDGES[1:], "a.rmf", "NuSTAR"
)


def arf(edges: np.ndarray) -> Arf:
    return Arf(edges[:-1], edges[1:], np.ones(edges.size - 1), "a.arf", "NuSTAR")


def test_equal_energies_are_no_matter() -> None:
    area = arf(EDGES * (1 + 5e-6))
    assert matched(RMF, area) == (area, [])


def test_rounded_energies_go_row_by_row_with_a_word() -> None:
    rounded = np.array([float(f"{edge:.2g}") for edge in EDGES])
    assert np.any(np.diff(rounded) == 0)
    _, (note,) = matched(RMF, arf(rounded))
    assert "a.arf goes with a.rmf row by row" in note and "rounded to 2 digits" in note
    assert same_rows(EDGES, rounded) and same_rows(rounded, EDGES)


def test_energies_may_differ_where_nothing_is_fitted() -> None:
    other = EDGES.copy()
    other[:3] -= [0.09, 0.05, 0.01]
    _, (note,) = matched(RMF, arf(other), (1.2, 2.9))
    assert "differ where nothing is fitted" in note
    for energies in ((1.1, 2.9), None):
        with pytest.raises(IcflowError, match=r"a\.rmf and a\.arf have different energy bins"):
            matched(RMF, arf(other), energies)


@pytest.mark.parametrize("shift", [0.02, 0.1, 0.004])
def test_shifted_energies_are_refused(shift: float) -> None:
    with pytest.raises(IcflowError, match="different energy bins"):
        matched(RMF, arf(EDGES + shift))
    assert not same_rows(EDGES, EDGES + shift)


def long_arf() -> Arf:
    """An ARF that begins two bins earlier than the RMF, and ends five later."""
    edges = 1.03 + 0.04 * np.arange(-2, 56)
    return replace(arf(edges), area=edges[:-1])


def test_rows_of_a_longer_area_are_found_by_their_energies() -> None:
    area, (note,) = matched(RMF, long_arf())
    np.testing.assert_allclose(area.area, EDGES[:-1])
    np.testing.assert_array_equal(area.energies, RMF.energies)
    assert "a.rmf has 50 energy bins and a.arf 57; they are matched by energy" in note


def test_rows_that_an_area_has_not_may_hold_what_nobody_sees() -> None:
    short = arf(EDGES[5:-3])
    area, _ = matched(RMF, short, (1.5, 2.5))
    np.testing.assert_array_equal(area.area, np.repeat([0.0, 1.0, 0.0], [5, 42, 3]))
    lacking = r"a\.rmf has 50 energy bins and a\.arf 42, and 8 of those that fitted channels see, "
    with pytest.raises(IcflowError, match=lacking + "from 1.03 to 3.03 keV, are not among them"):
        matched(RMF, short)
    # Photons of 2.95 keV that are seen at 2 keV, too.
    tail = csr_array(np.eye(50) + 1e-3 * np.eye(50, k=-23))
    with pytest.raises(IcflowError, match=r"3 of those .* from 2\.91 to 3\.03 keV"):
        matched(replace(RMF, matrix=tail), short, (1.5, 2.5))


def test_bins_that_cross_do_not_match() -> None:
    with pytest.raises(IcflowError, match="50 of those that fitted channels see"):
        matched(RMF, arf(EDGES[0] + 0.08 * np.arange(26)))


def test_bins_without_width_need_no_area() -> None:
    row, there = rows_at(arf(EDGES), np.array([1.03, 1.07, 1.07, 1.11, 1.12]))
    np.testing.assert_array_equal(there, [True, True, True, False])
    np.testing.assert_array_equal(row[[0, 2]], [0, 1])


def test_an_area_is_not_applied_twice() -> None:
    with pytest.raises(IcflowError, match=r"a\.rmf holds the effective area already"):
        matched(replace(RMF, full=True), arf(EDGES))


def spectrum(first: int, n_channels: int, detchans: int | None = None) -> Spectrum:
    return Spectrum(
        np.arange(n_channels) + first,
        np.arange(n_channels) + 1,
        1.0,
        "a.pha",
        areascal=np.full(n_channels, 0.5),
        telescope="NuSTAR",
        detchans=detchans,
    )


def test_a_part_of_the_channels_is_put_among_all() -> None:
    whole = on_channels(spectrum(11, 20, detchans=50), RMF)
    np.testing.assert_array_equal(whole.channel, CHANNEL)
    np.testing.assert_array_equal(whole.counts[10:30], np.arange(1, 21))
    assert whole.counts.sum() == 210
    assert whole.quality is not None and isinstance(whole.areascal, np.ndarray)
    np.testing.assert_array_equal(np.flatnonzero(whole.quality == 0), np.arange(10, 30))
    np.testing.assert_array_equal(whole.areascal[[9, 10, 30]], [1.0, 0.5, 1.0])
    plain = spectrum(1, 50)
    assert on_channels(plain, RMF) is plain


@pytest.mark.parametrize(
    ("first", "number", "detchans"), [(1, 40, None), (0, 50, None), (30, 40, 50)]
)
def test_channels_of_another_response_are_refused(
    first: int, number: int, detchans: int | None
) -> None:
    with pytest.raises(IcflowError, match=r"a\.pha has the channels .* a\.rmf 1 to 50; give"):
        on_channels(spectrum(first, number, detchans), RMF)


def test_instruments_are_compared_as_far_as_both_are_known() -> None:
    check_origin(spectrum(1, 50), RMF)
    check_origin(spectrum(1, 50), replace(RMF, telescope="none"))
    check_origin(replace(spectrum(1, 50), instrument="PSPCB"), replace(RMF, instrument="PSPC"))
    with pytest.raises(IcflowError, match="is a background of another instrument"):
        check_origin(spectrum(1, 50), replace(spectrum(1, 50), telescope="XMM"))
    with pytest.raises(IcflowError, match="its INSTRUME is FPMB"):
        check_origin(replace(spectrum(1, 50), instrument="FPMA"), replace(RMF, instrument="FPMB"))
    with pytest.raises(IcflowError, match=r"a\.rmf is of the telescope XMM and a\.arf of NuSTAR"):
        matched(replace(RMF, telescope="XMM"), arf(EDGES))
    with pytest.raises(IcflowError, match=r"its TELESCOP is XMM, that of a\.pha is NuSTAR"):
        check_origin(spectrum(1, 50), replace(RMF, telescope="XMM"))
