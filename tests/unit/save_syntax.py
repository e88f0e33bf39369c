"""The lines of save files as XSPEC 12.9.1 writes them: a grammar that is not that of our reader.

Written down from files of ``Xset.save`` and from XSPEC's manual, and held to these files first.
"""

from __future__ import annotations

import re

NUMBER = r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?"
FILE = r"\S+"
PLACE = r"\d+:\d+"
END = r"(\*\*|\d+(\.\d+)?)"
RANGE = f"{END}-{END}"
STATEMENTS = {
    "statistic": r"(cstat|chi|pgstat|pstat|whittle|lstat)",
    "data": rf"{PLACE} {FILE}",
    "response": rf" ?{PLACE} {FILE}",
    "arf": rf"{PLACE} {FILE}",
    "backgrnd": rf"\d+ {FILE}",
    # Ranges of bins, or of energies, which are told from bins by their point; those without the
    # number of a spectrum are of the one before.
    "ignore": rf"(bad|\d+:{RANGE}((,| | \d+:){RANGE})*\s*)",
    "method": r"(leven|migrad|simplex) \d+ [\d.e-]+",
    "abund": r"\w+",
    "xsect": r"(bcmc|obcm|vern)",
    "cosmo": rf"{NUMBER} {NUMBER} {NUMBER}",
    "xset": r"\S+ +\S+",
    "systematic": NUMBER,
    "model": r" ?(\d+:[A-Za-z]\w* )?[A-Za-z(][\w()+*/ -]*",
}
LINK = r"= (\w+:)?p\d+([*+/-].+)?"
# Before the model stands what it depends on; responses stand after the spectrum that they are of.
ORDER = ("statistic", "data", "ignore", "method", "abund", "xsect", "systematic", "model")


def faults(text: str) -> list[str]:
    """Return the lines that XSPEC would not write so, and what is out of order."""
    found, seen, model = [], [], False
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        word, _, rest = line.partition(" ")
        if word in STATEMENTS:
            if not re.fullmatch(STATEMENTS[word], rest):
                found.append(line)
            if word in ORDER and word not in seen:
                seen.append(word)
            model = word == "model"
        elif not (model and _is_parameter(line)):
            found.append(line)
    if seen != [word for word in ORDER if word in seen]:
        found.append(f"order: {seen}")
    return found


def _is_parameter(line: str) -> bool:
    """Tell whether a line is a link, a switch, or a value between its limits with its step."""
    if line.startswith("="):
        return re.fullmatch(LINK, line) is not None
    words = line.split()
    if not all(re.fullmatch(NUMBER, word) for word in words) or len(words) not in (1, 6):
        return False
    if len(words) == 1:
        return True
    value, _, hard_low, low, high, hard_high = map(float, words)
    return hard_low <= low <= value <= high <= hard_high
