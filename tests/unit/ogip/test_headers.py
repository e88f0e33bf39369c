"""Headers of FITS files: against astropy, and what breaks the standard."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from icflow.ogip.headers import Header, read_headers


def as_astropy(path: Path) -> list[tuple[str, dict[str, object], int]]:
    with warnings.catch_warnings(), fits.open(path, memmap=False) as hdus:
        warnings.simplefilter("ignore")
        return [
            (
                hdu.name,
                {
                    card.keyword: card.value
                    for card in reversed(hdu.header.cards)
                    if card.keyword not in ("", "COMMENT", "HISTORY")
                },
                hdu.fileinfo()["datLoc"],
            )
            for hdu in hdus
            if isinstance(hdu, fits.BinTableHDU)
        ]


def tables_of(content: bytes) -> list[Header]:
    return [header for header in read_headers(io.BytesIO(content)) if header.is_table]


def card(name: str, value: str) -> bytes:
    return f"{name:<8}= {value:>20}".encode()


def written(*cards: tuple[str, object]) -> bytes:
    hdu = fits.BinTableHDU(np.zeros(3, [("A", ">f4")]), name="one")
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hdu.header.update(cards)
        fits.HDUList([fits.PrimaryHDU(), hdu, fits.BinTableHDU(hdu.data, name="two")]).writeto(file)
    return file.getvalue()


def test_keywords_are_those_of_astropy(rmf_path: Path, arf_path: Path, root: Path) -> None:
    for path in (rmf_path, arf_path, root / "resources/example/observation.pha"):
        own = tables_of(path.read_bytes())
        other = as_astropy(path)
        assert len(own) == len(other) > 0
        for header, (name, keywords, start) in zip(own, other, strict=True):
            assert (header.name, header.start) == (name, start)
            assert header.keywords == keywords
            assert list(map(type, header.keywords.values())) == [
                type(keywords[key]) for key in header.keywords
            ]


def test_values_of_every_kind(tmp_path: Path) -> None:
    cards: list[tuple[str, object]] = [
        ("TEXT", "it's / one"),
        ("EMPTY", ""),
        ("YES", True),
        ("NO", False),
        ("WHOLE", -12),
        ("REAL", 1.5e-30),
        ("PAIR", 1 + 2j),
        ("LONG", "word " * 40 + "end"),
        ("HIERARCH a longer name", 4.25),
    ]
    path = tmp_path / "kinds.fits"
    path.write_bytes(written(*cards))
    first, second = tables_of(path.read_bytes())
    assert first.keywords == as_astropy(path)[0][1]
    assert first.keywords["LONG"] == "word " * 40 + "end"
    assert (first.name, second.name) == ("ONE", "TWO")


def test_the_first_of_two_counts_unless_they_are_two_numbers() -> None:
    content = written(("AAA", "x"), ("BBB", 3), ("CCC", 4), ("DDD", "y"), ("EEE", 3), ("FFF", 5))
    for old, new in ((b"DDD     =", b"AAA     ="), (b"EEE     =", b"BBB     =")):
        content = content.replace(old, new, 1)
    keywords = tables_of(content.replace(b"FFF     =", b"CCC     =", 1))[0].keywords
    assert (keywords["AAA"], keywords["BBB"]) == ("x", 3)
    for asked in (keywords.__getitem__, keywords.get):
        with pytest.raises(ValueError, match="the keyword CCC stands twice, as 4 and 5"):
            asked("CCC")


def test_broken_cards_are_left_out() -> None:
    content = written(("AAA", 1), ("BBB", "text"), ("CCC", 3.0))
    for old, new in (
        (b"BBB     = 'text    '", b"BBB     = 'text     "),  # not closed
        (card("CCC", "3.0"), card("CCC", "3.0.0")),
    ):
        assert old in content
        content = content.replace(old, new, 1)
    keywords = tables_of(content)[0].keywords
    assert keywords["AAA"] == 1
    assert keywords.keys().isdisjoint(("BBB", "CCC"))


def test_numbers_as_fortran_writes_them() -> None:
    content = written(("AAA", 1.0), ("BBB", 2))
    content = content.replace(card("AAA", "1.0"), card("AAA", "-1.25D+02"), 1)
    content = content.replace(card("BBB", "2"), card("BBB", "0002"), 1)
    keywords = tables_of(content)[0].keywords
    assert (keywords["AAA"], keywords["BBB"]) == (-125.0, 2)
    assert isinstance(keywords["BBB"], int)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"SIMPLE", b"SIMPEL", "SIMPLE"),
        (b"END     ", b"ENT     ", "without END"),
        (card("NAXIS2", "3"), card("NAXIS2", "-3"), "NAXIS2"),
        (card("BITPIX", "8"), card("BITPIX", "7"), "BITPIX"),
    ],
)
def test_what_is_no_fits_is_refused(old: bytes, new: bytes, message: str) -> None:
    content = written()
    assert old in content
    with pytest.raises(ValueError, match=message):
        list(read_headers(io.BytesIO(content.replace(old, new))))


def test_an_end_is_not_looked_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    long = written(*((f"A{number}", number) for number in range(200)))
    assert len(list(read_headers(io.BytesIO(long)))) > 1
    monkeypatch.setattr("icflow.ogip.headers.MOST_BLOCKS", 3)
    with pytest.raises(ValueError, match="without END"):
        list(read_headers(io.BytesIO(long)))


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        list(read_headers(io.BytesIO(b"")))


def test_what_stands_behind_the_last_table_is_not_looked_at() -> None:
    assert len(tables_of(written() + b"\0" * 2880 + b"left over")) == 2
