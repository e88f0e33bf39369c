"""The one exception that a user is meant to read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class IcflowError(Exception):
    """Bad input or a missing resource, said in one sentence.

    The message names the file or the key, what is wrong with it and what to
    do. The command line prints it without a traceback and exits with status 1.
    """


def did_you_mean(name: str, allowed: Iterable[str], before: str = "; ") -> str:
    """Return a question for the name that was meant, with text before it; empty if none is near."""
    names = {other.lower(): other for other in allowed}
    close = difflib.get_close_matches(name.lower(), names, 1)
    return f"{before}did you mean {names[close[0]]}?" if close else ""
