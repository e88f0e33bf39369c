"""Whether a model of XSPEC works here at all, tried in a process of its own.

Some functions end the process that calls them, without the files that they need or in a library
that was built for another system; some never come back. What is inside the wheel of
``xspectrampoline`` was tried as a whole (`icflow.models.library.READ_DATA`); of any other library,
what this process calls itself (`icflow.models.library.STEADY`) is tried once, at XSPEC's defaults,
before it does, and what came of it is kept among the caches.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import cache

from icflow.errors import IcflowError
from icflow.files import write_json
from icflow.folders import cache_folder, child_environment

PATIENCE = 120  # s
WORKS = "works"


@cache
def check_works(name: str, version: str) -> None:
    """Check that a model neither ends the process nor keeps it for ever.

    Parameters
    ----------
    name : str
        In lower case.
    version : str
        Of the library.

    Raises
    ------
    IcflowError
        If it does; the message names the model and says what happened.
    """
    memory = cache_folder() / "models.json"
    try:
        outcomes = dict(json.loads(memory.read_bytes()))
    except (OSError, ValueError, TypeError):
        outcomes = {}
    key = f"{version}: {name}"
    if key not in outcomes:
        outcomes[key] = _outcome(name)
        # Where it cannot be written, each process tries for itself.
        with suppress(OSError, IcflowError):
            write_json(memory, outcomes)
    if outcomes[key] != WORKS:
        raise IcflowError(
            f"{name} {outcomes[key]} when it is tried at XSPEC's defaults ({version}), so it is "
            f"not used; use another model, or mend the library and delete {memory}"
        )


def _outcome(name: str) -> str:
    command = [sys.executable, "-m", __name__, name]
    with tempfile.TemporaryDirectory() as folder:
        # Some write files into the folder in which they run.
        try:
            done = subprocess.run(  # noqa: S603 - a fixed command
                command, cwd=folder, capture_output=True, timeout=PATIENCE, env=child_environment()
            )
        except subprocess.TimeoutExpired:
            return f"does not end within {PATIENCE} s"
    return WORKS if done.returncode >= 0 else f"ends the process (signal {-done.returncode})"


if __name__ == "__main__":
    from icflow.models import library

    library.try_defaults(sys.argv[1])
