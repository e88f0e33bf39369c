"""Headers of FITS files: keywords, and where the data begin.

References: FITS Standard 4.0, sections 3 and 4. Read here, because a library that knows all of FITS
takes longer to import than a spectrum to fit.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

# Bytes that headers and data of a FITS file fill up to, and of a keyword.
BLOCK, CARD = 2880, 80
# Blocks of the longest header; in what is no FITS file an end is not looked for without end.
MOST_BLOCKS = 4000
# Keywords that name other files.
FILES = ("RESPFILE", "ANCRFILE", "BACKFILE")
_COMMENTARY = ("", "COMMENT", "HISTORY", "CONTINUE")
_VALUE = re.compile(
    r"\s*(?:'(?P<text>(?:[^']|'')*)'"
    r"|(?P<logical>[TF])"
    r"|(?P<number>[+-]?\s*(?:\d+\.?\d*|\.\d+)(?:[EDed]\s*[+-]?\d+)?)"
    r"|\((?P<complex>[^()]*,[^()]*)\))"
    r"\s*(?:/.*)?"
)


class Keywords(dict[str, Any]):
    """The keywords of a header; of one that stands twice the first.

    Asking for one raises ValueError where the second is another number or another file.
    """

    def __init__(self) -> None:
        super().__init__()
        self._others: dict[str, Any] = {}

    def add(self, name: str, value: Any) -> None:
        """Add a keyword, unless it is there."""
        first = self.setdefault(name, value)
        matters = isinstance(value, int | float) or name in FILES
        if matters and first != value:
            self._others.setdefault(name, value)

    def __getitem__(self, name: str) -> Any:
        return self.get(name) if name in self else super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a keyword."""
        if name in self._others:
            values = f"{super().get(name)!r} and {self._others[name]!r}"
            raise ValueError(f"the keyword {name} stands twice, as {values}")
        return super().get(name, default)


class Header(NamedTuple):
    """One header.

    Attributes
    ----------
    keywords : Keywords
        Text, numbers and truth values. Cards that break the standard (a quote that is not closed,
        say) are common in real files and are left out: what needs them says that it is missing.
    start, size : int
        First byte of the data, and their number.
    """

    keywords: Keywords
    start: int
    size: int

    @property
    def name(self) -> str:
        """Keyword EXTNAME in upper case."""
        return str(self.keywords.get("EXTNAME", "")).strip().upper()

    @property
    def is_table(self) -> bool:
        """Whether the data are a binary table."""
        return str(self.keywords.get("XTENSION", "")).strip().upper() in ("BINTABLE", "A3DTABLE")


def read_headers(file: IO[bytes]) -> Iterator[Header]:
    """Yield the headers of a file, that of the primary HDU first.

    What stands behind the last HDU is not looked at.

    Raises
    ------
    ValueError
        If it is not FITS, or a header has no end or no sizes.
    """
    place, end = 0, file.seek(0, os.SEEK_END)
    while place < end:
        file.seek(place)
        block = file.read(BLOCK)
        if not block.startswith(b"XTENSION" if place else b"SIMPLE"):
            if place:
                return
            raise ValueError("no SIMPLE keyword at the beginning")
        keywords = _keywords(_cards(file, block))
        start = file.tell()
        size = _size(keywords)
        yield Header(keywords, start, size)
        place = start + -(-size // BLOCK) * BLOCK
    if end == 0:
        raise ValueError("empty file")


def _cards(file: IO[bytes], block: bytes) -> list[str]:
    """Return the cards of a header up to its end, the file left behind its last block."""
    cards: list[str] = []
    for _ in range(MOST_BLOCKS):
        text = block.decode("ascii", "replace")
        for at in range(0, len(text), CARD):
            card = text[at : at + CARD]
            if card[:8].rstrip() == "END":
                return cards
            cards.append(card)
        block = file.read(BLOCK)
        if not block:
            break
    raise ValueError("header without END")


def _keywords(cards: list[str]) -> Keywords:
    keywords = Keywords()
    for number, card in enumerate(cards):
        name, rest = card[:8].strip().upper(), card[9:]
        if name == "HIERARCH":
            name, _, rest = card[8:].partition("=")
            name = name.strip()
        elif card[8:9] != "=":
            continue
        if name in _COMMENTARY:
            continue
        value = _value(rest)
        if isinstance(value, str) and value.endswith("&"):
            value = _continued(value, cards[number + 1 :])
        if value is not None:
            keywords.add(name, value)
    return keywords


def _value(text: str) -> Any:
    """Return what stands behind the sign of equality, None if that is nothing or is not FITS."""
    match = _VALUE.fullmatch(text.rstrip())
    if match is None:
        return None
    if match["text"] is not None:
        return match["text"].replace("''", "'").rstrip()
    if match["logical"]:
        return match["logical"] == "T"
    try:
        if match["complex"]:
            return complex(*(float(_plain(part)) for part in match["complex"].split(",")))
        number = _plain(match["number"])
        return int(number) if re.fullmatch(r"[+-]?\d+", number) else float(number)
    except (ValueError, TypeError):
        return None


def _plain(number: str) -> str:
    return re.sub(r"\s", "", number).upper().replace("D", "E")


def _continued(value: str, cards: list[str]) -> str:
    """Return a long text, which ends with & in all cards but the last."""
    for card in cards:
        more = _value(card[8:]) if card.startswith("CONTINUE") else None
        if not (value.endswith("&") and isinstance(more, str)):
            break
        value = value[:-1] + more
    return value


def _size(keywords: Keywords) -> int:
    """Return the bytes of the data that follow a header."""
    n_axes = _whole(keywords, "NAXIS")
    axes = [_whole(keywords, f"NAXIS{n}") for n in range(1, min(n_axes, 999) + 1)]
    if not axes:
        return 0
    number = _whole(keywords, "GCOUNT", 1) * (_whole(keywords, "PCOUNT", 0) + math.prod(axes))
    bits = keywords.get("BITPIX")
    if not isinstance(bits, int) or abs(bits) not in (8, 16, 32, 64):
        raise ValueError(f"BITPIX is {bits!r}")
    return number * abs(bits) // 8


def _whole(keywords: Keywords, name: str, default: int | None = None) -> int:
    value = keywords.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name} is {value!r}")
    return value
