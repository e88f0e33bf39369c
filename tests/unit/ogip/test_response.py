"""RMF and ARF files: decoding against astropy, variants of the format, bad input."""

from __future__ import annotations

import gzip
import re
import shutil
import warnings
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scipy.sparse import csr_array

from icflow.errors import IcflowError
from icflow.ogip import response
from icflow.ogip.matching import matched
from icflow.ogip.response import Arf, Rmf, read_arf, read_rmf, write_arf, write_rmf

# A small response: 3 energies, 5 channels; row 0 has two groups, row 2 none.
DENSE = np.array(
    [[0.25, 0.5, 0.0, 0.125, 0.0], [0.0, 0.0, 0.75, 0.25, 0.5], [0.0, 0.0, 0.0, 0.0, 0.0]]
)
ENERGY_LO = np.array([1.0, 2.0, 3.0])
ENERGY_HI = np.array([2.0, 3.0, 4.0])


def small_rmf(first: int = 0) -> Rmf:
    """The small response with channels from `first`."""
    edges = np.linspace(0.5, 5.5, 6)
    return Rmf(
        ENERGY_LO,
        ENERGY_HI,
        csr_array(DENSE),
        np.arange(first, first + 5),
        edges[:-1],
        edges[1:],
        telescope="NuSTAR",
        instrument="FPMB",
    )


def write_tables(path: Path, columns: list[fits.Column], **header: object) -> Path:
    """Write an RMF from explicit columns of its matrix, with EBOUNDS from channel 1."""
    matrix = fits.BinTableHDU.from_columns(columns, name="SPECRESP MATRIX")
    matrix.header.update(header)
    bounds = fits.BinTableHDU.from_columns(
        [
            fits.Column("CHANNEL", "I", array=[5, 4, 3, 2, 1]),
            fits.Column("E_MIN", "E", array=[4.5, 3.5, 2.5, 1.5, 0.5]),
            fits.Column("E_MAX", "E", array=[5.5, 4.5, 3.5, 2.5, 1.5]),
        ],
        name="EBOUNDS",
    )
    fits.HDUList([fits.PrimaryHDU(), bounds, matrix]).writeto(path)
    return path


def energies() -> list[fits.Column]:
    return [
        fits.Column("ENERG_LO", "E", array=ENERGY_LO),
        fits.Column("ENERG_HI", "E", array=ENERGY_HI),
    ]


# --- reading ---------------------------------------------------------------------


def test_nustar_matrix_equals_astropys_row_by_row(rmf_path: Path) -> None:
    rmf = read_rmf(rmf_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(rmf_path) as hdus:
            table, bounds = hdus["MATRIX"].data, hdus["EBOUNDS"].data
            for row in (0, 1, 700, 2500, 4095):
                expected, start = np.zeros(4096), 0
                for first, number in zip(table["F_CHAN"][row], table["N_CHAN"][row], strict=True):
                    expected[first : first + number] = table["MATRIX"][row][start : start + number]
                    start += number
                np.testing.assert_array_equal(rmf.matrix[[row]].toarray()[0], expected)
            np.testing.assert_array_equal(rmf.e_max, bounds["E_MAX"].astype(float))
            np.testing.assert_array_equal(rmf.energies[1:], table["ENERG_HI"].astype(float))
    assert rmf.matrix.dtype == np.float64
    assert rmf.matrix.nnz == 8348466
    assert (rmf.channel[0], rmf.channel[-1]) == (0, 4095)  # TLMIN4 = '0', a string
    assert (rmf.telescope, rmf.instrument) == ("NuSTAR", "FPMA")


def test_nustar_matrix_is_read_without_warnings(rmf_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_rmf(rmf_path)


def test_nustar_area_belongs_to_the_matrix(rmf_path: Path, arf_path: Path) -> None:
    arf = read_arf(arf_path)
    assert arf.area.dtype == np.float64
    assert arf.area[0] == np.float64(np.float32(1.3148109))
    assert matched(read_rmf(rmf_path), arf) == (arf, [])


def test_scalar_groups_channels_from_one_bounds_reversed(tmp_path: Path) -> None:
    # One group per row, scalar F_CHAN and N_CHAN, a fixed-width MATRIX with padding.
    path = write_tables(
        tmp_path / "scalar.rmf",
        [
            *energies(),
            fits.Column("N_GRP", "I", array=[1, 1, 0]),
            fits.Column("F_CHAN", "I", array=[1, 3, 0]),
            fits.Column("N_CHAN", "I", array=[2, 3, 0]),
            fits.Column("MATRIX", "3E", array=[[0.25, 0.5, 9], [0.75, 0.25, 0.5], [9, 9, 9]]),
        ],
        TLMIN4=1,
    )
    rmf = read_rmf(path)
    expected = DENSE.copy()
    expected[0, 3] = 0
    np.testing.assert_array_equal(rmf.matrix.toarray(), expected)
    np.testing.assert_array_equal(rmf.channel, [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(rmf.e_min, [0.5, 1.5, 2.5, 3.5, 4.5])


@pytest.mark.parametrize("fixed", [True, False])
def test_array_groups_fixed_and_variable(tmp_path: Path, fixed: bool) -> None:
    if fixed:
        groups = [
            fits.Column("F_CHAN", "2I", array=[[1, 4], [3, 0], [0, 0]]),
            fits.Column("N_CHAN", "2I", array=[[2, 1], [3, 0], [0, 0]]),
        ]
    else:
        groups = [
            fits.Column("F_CHAN", "PI()", array=np.array([[1, 4], [3], []], dtype=object)),
            fits.Column("N_CHAN", "PI()", array=np.array([[2, 1], [3], []], dtype=object)),
        ]
    values = np.array([[0.25, 0.5, 0.125], [0.75, 0.25, 0.5], []], dtype=object)
    path = write_tables(
        tmp_path / "groups.rmf",
        [
            *energies(),
            fits.Column("N_GRP", "I", array=[2, 1, 0]),
            *groups,
            fits.Column("MATRIX", "PE()", array=values),
        ],
    )
    # No TLMIN: channels count as in EBOUNDS, from 1.
    np.testing.assert_array_equal(read_rmf(path).matrix.toarray(), DENSE)


def test_falling_energies_are_returned_rising(tmp_path: Path) -> None:
    path = write_tables(
        tmp_path / "falling.rmf",
        [
            fits.Column("ENERG_LO", "E", array=ENERGY_LO[::-1]),
            fits.Column("ENERG_HI", "E", array=ENERGY_HI[::-1]),
            fits.Column("N_GRP", "I", array=[0, 1, 1]),
            fits.Column("F_CHAN", "I", array=[0, 3, 1]),
            fits.Column("N_CHAN", "I", array=[0, 3, 2]),
            fits.Column("MATRIX", "3E", array=[[0, 0, 0], [0.75, 0.25, 0.5], [0.25, 0.5, 0]]),
        ],
    )
    rmf = read_rmf(path)
    np.testing.assert_array_equal(rmf.energies, [1, 2, 3, 4])
    np.testing.assert_array_equal(rmf.matrix.toarray()[1], DENSE[1])
    np.testing.assert_array_equal(rmf.matrix.toarray()[0, :2], DENSE[0, :2])


def test_gzipped_file(tmp_path: Path) -> None:
    write_rmf(tmp_path / "small.rmf", small_rmf())
    with (
        open(tmp_path / "small.rmf", "rb") as plain,
        gzip.open(tmp_path / "small.rmf.gz", "wb") as zipped,
    ):
        shutil.copyfileobj(plain, zipped)
    np.testing.assert_array_equal(read_rmf(tmp_path / "small.rmf.gz").matrix.toarray(), DENSE)


# --- writing ---------------------------------------------------------------------


@pytest.mark.parametrize("first", [0, 1])
def test_matrix_round_trip(tmp_path: Path, first: int) -> None:
    original = small_rmf(first)
    write_rmf(tmp_path / "small.rmf", original)
    rmf = read_rmf(tmp_path / "small.rmf")
    for name in ("energy_lo", "energy_hi", "channel", "e_min", "e_max", "telescope", "instrument"):
        np.testing.assert_array_equal(getattr(rmf, name), getattr(original, name))
    np.testing.assert_array_equal(rmf.matrix.toarray(), DENSE)
    with fits.open(tmp_path / "small.rmf") as hdus:
        header = hdus["MATRIX"].header
        assert (header["HDUCLAS2"], header["TLMIN4"], header["DETCHANS"]) == (
            "RSP_MATRIX",
            first,
            5,
        )
        np.testing.assert_array_equal(hdus["MATRIX"].data["F_CHAN"][0], [first, first + 3])


def test_nustar_matrix_round_trip(tmp_path: Path, rmf_path: Path) -> None:
    original = read_rmf(rmf_path)
    write_rmf(tmp_path / "copy.rmf", original)
    copy = read_rmf(tmp_path / "copy.rmf")
    np.testing.assert_array_equal(copy.matrix.data, original.matrix.data)
    np.testing.assert_array_equal(copy.matrix.indices, original.matrix.indices)
    np.testing.assert_array_equal(copy.energies, original.energies)


def test_area_round_trip_keeps_double_precision(tmp_path: Path) -> None:
    area = np.array([1 / 3, 2.0, 0.0])
    write_arf(tmp_path / "a.arf", ENERGY_LO, ENERGY_HI, area, telescope="XMM", instrument="EPN")
    arf = read_arf(tmp_path / "a.arf")
    np.testing.assert_array_equal(arf.area, area)
    np.testing.assert_array_equal(arf.energies, [1, 2, 3, 4])
    assert (arf.telescope, arf.instrument) == ("XMM", "EPN")


def test_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.rmf", "b.rmf"):
        write_rmf(tmp_path / name, small_rmf())
    assert (tmp_path / "a.rmf").read_bytes() == (tmp_path / "b.rmf").read_bytes()


# --- refusals --------------------------------------------------------------------


def test_different_grids_name_both_files() -> None:
    rmf = replace(small_rmf(), path="one.rmf")
    fewer = Arf(ENERGY_LO[:2], ENERGY_HI[:2], np.ones(2), "two.arf")
    with pytest.raises(IcflowError, match=r"one\.rmf has 3 energy bins and two\.arf 2, and 1 of"):
        matched(replace(rmf, matrix=csr_array(np.ones((3, 5)))), fewer)
    shifted = Arf(ENERGY_LO * 1.0001, ENERGY_HI * 1.0001, np.ones(3), "two.arf")
    with pytest.raises(IcflowError, match=r"one\.rmf and two\.arf have different energy bins"):
        matched(rmf, shifted)
    matched(rmf, Arf(ENERGY_LO * 1.000001, ENERGY_HI * 1.000001, np.ones(3)))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(IcflowError, match=r"absent\.rmf: no such file"):
        read_rmf(tmp_path / "absent.rmf")


def test_not_fits(tmp_path: Path) -> None:
    path = tmp_path / "text.arf"
    path.write_text("energy area\n1 2\n")
    with pytest.raises(IcflowError, match=r"text\.arf: not a complete FITS file"):
        read_arf(path)


def test_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "empty.arf"
    path.touch()
    with pytest.raises(IcflowError, match=r"empty\.arf: not a complete FITS file"):
        read_arf(path)


@pytest.mark.parametrize("keep", [100, 2880, 4000, 8640, 11520, 11600])
def test_truncated_file(tmp_path: Path, keep: int) -> None:
    write_rmf(tmp_path / "small.rmf", small_rmf())
    content = (tmp_path / "small.rmf").read_bytes()
    assert keep < len(content) - 2880
    (tmp_path / "short.rmf").write_bytes(content[:keep])
    with pytest.raises(IcflowError, match=r"short\.rmf: "):
        read_rmf(tmp_path / "short.rmf")


def test_wrong_kind_is_named(tmp_path: Path) -> None:
    write_rmf(tmp_path / "r.rmf", small_rmf())
    write_arf(tmp_path / "a.arf", ENERGY_LO, ENERGY_HI, np.ones(3))
    with pytest.raises(IcflowError, match=r"a\.arf: not a redistribution matrix but an effective"):
        read_rmf(tmp_path / "a.arf")
    with pytest.raises(IcflowError, match=r"r\.rmf: not an effective area but a redistribution"):
        read_arf(tmp_path / "r.rmf")
    fits.PrimaryHDU(np.zeros((2, 2))).writeto(tmp_path / "image.fits")
    with pytest.raises(IcflowError, match="a FITS file without tables"):
        read_arf(tmp_path / "image.fits")


@pytest.mark.parametrize("value", [np.nan, -1.0, np.inf])
def test_bad_areas(tmp_path: Path, value: float) -> None:
    area = np.array([1.0, value, 1.0])
    columns = [*energies(), fits.Column("SPECRESP", "E", array=area)]
    fits.BinTableHDU.from_columns(columns, name="SPECRESP").writeto(tmp_path / "bad.arf")
    with pytest.raises(IcflowError, match=r"bad\.arf: 1 effective areas are .* row 2"):
        read_arf(tmp_path / "bad.arf")
    with pytest.raises(IcflowError, match="effective areas are negative or not finite"):
        write_arf(tmp_path / "new.arf", ENERGY_LO, ENERGY_HI, area)
    assert not (tmp_path / "new.arf").exists()


@pytest.mark.parametrize("value", [np.nan, -0.5, np.inf])
def test_bad_matrix_elements(tmp_path: Path, value: float) -> None:
    rmf = small_rmf()
    rmf.matrix.data[2] = value
    write_rmf(tmp_path / "bad.rmf", rmf)
    with pytest.raises(IcflowError, match=r"bad\.rmf: the matrix holds values that are negative"):
        read_rmf(tmp_path / "bad.rmf")


def test_channels_outside_the_bounds(tmp_path: Path) -> None:
    write_rmf(tmp_path / "bad.rmf", small_rmf(first=0))
    with fits.open(tmp_path / "bad.rmf", mode="update") as hdus:
        hdus["MATRIX"].header["TLMIN4"] = 1
    with pytest.raises(
        IcflowError, match=r"channels outside 1 to 5, which TLMIN .* and EBOUNDS give"
    ):
        read_rmf(tmp_path / "bad.rmf")


def test_matrix_shorter_than_its_groups(tmp_path: Path) -> None:
    path = write_tables(
        tmp_path / "short.rmf",
        [
            *energies(),
            fits.Column("N_GRP", "I", array=[1, 1, 1]),
            fits.Column("F_CHAN", "I", array=[1, 1, 1]),
            fits.Column("N_CHAN", "I", array=[2, 4, 2]),
            fits.Column("MATRIX", "3E", array=np.ones((3, 3))),
        ],
    )
    with pytest.raises(IcflowError, match="row 2 of the matrix needs 4 elements of MATRIX"):
        read_rmf(path)


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        ([1, 2.1, 3], [2, 3, 4], "leave a gap at 2 keV"),
        ([1, 1.9, 3], [2, 3, 4], "overlap at 2 keV"),
        ([1, 2, 3], [2, 1.9, 4], "ends before it starts"),
        ([1, 2, np.nan], [2, 3, 4], "NaN or infinity"),
    ],
)
def test_energies_that_are_not_a_grid(
    tmp_path: Path, low: list[float], high: list[float], message: str
) -> None:
    columns = [
        fits.Column("ENERG_LO", "E", array=low),
        fits.Column("ENERG_HI", "E", array=high),
        fits.Column("SPECRESP", "E", array=np.ones(3)),
    ]
    fits.BinTableHDU.from_columns(columns, name="SPECRESP").writeto(tmp_path / "grid.arf")
    with pytest.raises(IcflowError, match=re.escape(message)):
        read_arf(tmp_path / "grid.arf")


def test_single_precision_rounding_is_no_gap(tmp_path: Path) -> None:
    edges = np.linspace(0.3, 12.0, 2000)
    low, high = edges[:-1].astype(np.float32), np.nextafter(edges[1:].astype(np.float32), 99)
    columns = [
        fits.Column("ENERG_LO", "E", array=low),
        fits.Column("ENERG_HI", "E", array=high),
        fits.Column("SPECRESP", "E", array=np.ones(low.size)),
    ]
    fits.BinTableHDU.from_columns(columns, name="SPECRESP").writeto(tmp_path / "rounded.arf")
    arf = read_arf(tmp_path / "rounded.arf")
    np.testing.assert_array_equal(arf.energies[:-1], low.astype(float))


def test_matrix_without_bounds(tmp_path: Path) -> None:
    write_rmf(tmp_path / "small.rmf", small_rmf())
    with fits.open(tmp_path / "small.rmf") as hdus:
        hdus[:2].writeto(tmp_path / "alone.rmf")
    with pytest.raises(IcflowError, match=r"alone\.rmf: has no EBOUNDS extension"):
        read_rmf(tmp_path / "alone.rmf")


def test_damaged_headers_give_one_sentence(tmp_path: Path) -> None:
    write_rmf(tmp_path / "small.rmf", small_rmf())
    content = (tmp_path / "small.rmf").read_bytes()
    generator = np.random.default_rng(11)
    refused = 0
    for _ in range(150):
        damaged = bytearray(content)
        for place in generator.integers(0, 4 * 2880, size=8):
            damaged[place] = generator.choice(list(b"0129AEIJPS ='"))
        (tmp_path / "damaged.rmf").write_bytes(damaged)
        try:
            read_rmf(tmp_path / "damaged.rmf")
        except IcflowError as error:
            refused += 1
            assert str(error).startswith(str(tmp_path / "damaged.rmf"))
            assert "\n" not in str(error)
    assert refused > 20


# --- several matrices ------------------------------------------------------------


def write_matrices(path: Path, *parts: Rmf) -> Path:
    """Write one file with the matrices of some RMFs and the bounds of the first."""
    with ExitStack() as stack:
        opened = []
        for number, part in enumerate(parts, start=1):
            own = path.with_suffix(f".{number}")
            write_rmf(own, part)
            opened.append(stack.enter_context(fits.open(own)))
            opened[-1]["MATRIX"].header["EXTVER"] = number
        tables = [*(hdus["MATRIX"] for hdus in opened), opened[0]["EBOUNDS"]]
        fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(path)
    return path


def test_several_matrices_are_added(tmp_path: Path) -> None:
    path = write_matrices(tmp_path / "two.rmf", small_rmf(), small_rmf())
    both = read_rmf(path)
    np.testing.assert_array_equal(both.matrix.toarray(), 2 * DENSE)
    assert any("the sum of its 2 matrices is used" in note for note in both.notes)
    for name in ("two.rmf{2}", "two.rmf[MATRIX,2]", "two.rmf[2]"):
        one = read_rmf(tmp_path / name)
        np.testing.assert_array_equal(one.matrix.toarray(), DENSE)
        assert not any("the sum of its" in note for note in one.notes)
    with pytest.raises(IcflowError, match="extensions with a matrix: 2; correct"):
        read_rmf(tmp_path / "two.rmf{3}")


def test_a_coarser_matrix_holds_in_all_of_its_bins(tmp_path: Path) -> None:
    fine = small_rmf()
    coarse = replace(
        fine,
        energy_lo=np.array([1.0, 3.0]),
        energy_hi=np.array([3.0, 4.0]),
        matrix=csr_array(DENSE[[0, 2]]),
    )
    both = read_rmf(write_matrices(tmp_path / "split.rmf", fine, coarse))
    np.testing.assert_array_equal(both.energies, fine.energies)
    np.testing.assert_array_equal(both.matrix.toarray(), DENSE + DENSE[[0, 0, 2]])
    crossing = replace(coarse, energy_lo=np.array([1.0, 2.4]), energy_hi=np.array([2.4, 4.0]))
    with pytest.raises(IcflowError, match=r"bins of its matrices cross.*\{1\} the first"):
        read_rmf(write_matrices(tmp_path / "crossing.rmf", fine, crossing))


def test_a_large_matrix_is_decoded_once(
    rmf_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_rmf(rmf_path)
    copy = tmp_path / "another.rmf"
    copy.symlink_to(rmf_path.resolve())
    monkeypatch.setattr(response, "_rmf", None)
    again = read_rmf(copy)
    assert again.path == str(copy)
    assert again.notes == tuple(n.replace(str(rmf_path), str(copy)) for n in first.notes)
    assert again.digest == first.digest == response.digest_of(first.matrix)
    assert np.array_equal(again.energies, first.energies)
    assert (again.matrix != first.matrix).nnz == 0
    assert (again.telescope, again.full, again.plain) == (first.telescope, first.full, first.plain)
