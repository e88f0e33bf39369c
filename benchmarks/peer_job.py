"""What another program is asked, and answers, in an environment of its own.

Whoever imports this file needs the program itself, numpy, and what `icflow.models.library` imports.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icflow.config import AtomicData
from icflow.models import library

ROOT = Path(__file__).resolve().parents[1]
Floats = NDArray[np.float64]
REPEATS = 2
# Of a fit: the parameters of both plasmas, whose abundance is one.
FREE = ("kT", "Abundanc", "norm", "kT_2", "norm_2")
# Expected counts of a spectrum at its true parameters; the function that fits it.
Prepared = tuple[Floats, Callable[[], Mapping[str, float]]]


def answer(prepare: Callable[[dict[str, Any], str, Mapping[str, float]], Prepared]) -> None:
    """Read a job from the first argument, and write what a program makes of it to the second."""
    os.chdir(ROOT)
    job = json.loads(Path(sys.argv[1]).read_text())
    answers = []
    for path, truth in zip(job["spectra"], job["truth"], strict=True):
        counts, fit = prepare(job, path, truth)
        # The first fit compiles, reads tables and so on.
        first, values = timed(fit)
        again = min(timed(fit)[0] for _ in range(REPEATS))
        answers.append(
            {"counts": counts.tolist(), "values": values, "first": first, "seconds": again}
        )
    Path(sys.argv[2]).write_text(json.dumps(answers))


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return the CPU seconds of a call, and what it returns."""
    start = time.process_time()
    value = function()
    return time.process_time() - start, value


# The library is not thread-safe, and XLA calls back from several threads.
ONE_AT_A_TIME = Lock()


@cache
def _apec() -> library.Definition:
    library.configure(AtomicData())
    return library.definitions()["apec"]


def apec(edges: Floats, kT: float, Abundanc: float, redshift: float) -> Floats:
    """Return what XSPEC's `apec` gives, photons/cm²/s per bin for norm 1."""
    with ONE_AT_A_TIME:
        return library.evaluate(_apec(), edges, np.array([kT, Abundanc, redshift]))
