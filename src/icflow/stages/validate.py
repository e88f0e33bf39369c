"""Stage: check a configuration with everything that it names."""

from __future__ import annotations

from collections.abc import Sequence

from icflow import checks
from icflow.config import Config


def run(config: Config, files: Sequence[str]) -> str:
    """Check keys, names, input files and what these hold, and say that they are right.

    Raises
    ------
    IcflowError
        Naming the first that is not.
    """
    checks.check(config, contents=True)
    return f"{', '.join(files)}: valid"
