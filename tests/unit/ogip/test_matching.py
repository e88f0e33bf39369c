"""Whether spectrum, response and area belong together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array

from icflow.errors import IcflowError
from icflow.ogip.matching import check_origin, check_pair, on_channels, same_rows
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
    assert check_pair(RMF, arf(EDGES * (1 + 5e-6))) == []


def test_rounded_energies_go_row_by_row_with_a_word() -> None:
    rounded = np.array([float(f"{edge:.2g}") for edge in EDGES])
    assert np.any(np.diff(rounded) == 0)
    (note,) = check_pair(RMF, arf(rounded))
    assert "a.arf goes with a.rmf row by row" in note and "rounded to 2 digits" in note
    assert same_rows(EDGES, rounded) and same_rows(rounded, EDGES)


def test_energies_may_differ_where_nothing_is_fitted() -> None:
    other = EDGES.copy()
    other[:3] -= [0.09, 0.05, 0.01]
    (note,) = check_pair(RMF, arf(other), (1.2, 2.9))
    assert "differ where nothing is fitted" in note
    for energies in ((1.1, 2.9), None):
        with pytest.raises(IcflowError, match=r"a\.rmf and a\.arf have different energy bins"):
            check_pair(RMF, arf(other), energies)


@pytest.mark.parametrize("shift", [0.02, 0.1, 0.004])
def test_shifted_energies_are_refused(shift: float) -> None:
    with pytest.raises(IcflowError, match="different energy bins"):
        check_pair(RMF, arf(EDGES + shift))
    assert not same_rows(EDGES, EDGES + shift)


def test_an_area_is_not_applied_twice() -> None:
    with pytest.raises(IcflowError, match=r"a\.rmf holds the effective area already"):
        check_pair(replace(RMF, full=True), arf(EDGES))


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
        check_pair(replace(RMF, telescope="XMM"), arf(EDGES))
    with pytest.raises(IcflowError, match=r"its TELESCOP is XMM, that of a\.pha is NuSTAR"):
        check_origin(spectrum(1, 50), replace(RMF, telescope="XMM"))
