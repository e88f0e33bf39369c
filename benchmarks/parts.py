"""Where the CPU time of a fit goes, part by part.

    python benchmarks/parts.py                # of two plasmas, z free
    python benchmarks/parts.py --fit 2T_fixed

Fits of the reference spectra from one start, each once before, for tables and functions.
Parts do not overlap; what is left is the search around them.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

# One thread: read by the linear algebra libraries when numpy loads them.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", TQDM_DISABLE="1")

import numpy as np
from engine import FITS, ROOT, engine_of, fit_settings, reference_counts, reference_fits, table
from rows import machine

from icflow.engines.embedded import fitting, staircase
from icflow.engines.embedded.folding import Selection
from icflow.engines.embedded.lattice import Lattice
from icflow.engines.embedded.tables import Tables

# By part: where its function stands, and what tells its calls apart.
PARTS: dict[str, tuple[Any, str, Callable[..., str]]] = {
    "counts": (Selection, "data", lambda *_: "in channels"),
    "bins": (Tables, "data", lambda tables, *_: f"{len(tables.runs)} bins"),
    "table": (Tables, "exact", lambda tables, *_: f"{len(tables.runs)} bins"),
    "lattice": (
        Lattice,
        "ranked_along",
        lambda _, shapes, *more: f"{len(shapes.plasma)} redshifts",
    ),
    "descents": (
        fitting,
        "descents",
        lambda shapes, data, *_: f"{len(data.counts)} bins" + ", smooth" * (len(shapes.plasma) > 1),
    ),
    "cells": (fitting, "promising", lambda shapes, data, *_: f"{len(data.counts)} bins"),
    "survey": (staircase, "survey", lambda *given: f"{given[-1]} hops at most"),
}


def watched(stack: ExitStack, part: str, seconds: Counter[str], calls: Counter[str]) -> None:
    """Let every call of a part add to the seconds and calls."""
    place, name, kind = PARTS[part]
    function = getattr(place, name)

    def call(*given: Any) -> Any:
        start = time.process_time()
        result = function(*given)
        label = f"{part}, {kind(*given)}"
        seconds[label] += time.process_time() - start
        calls[label] += 1
        return result

    stack.enter_context(patch.object(place, name, call))


def main() -> None:
    """Fit, and print the parts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fit", choices=FITS, default="2T_free", help="which of the default run")
    parser.add_argument("--spectra", type=int, default=14, help="how many of the reference spectra")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    settings = fit_settings(arguments.fit).model_copy(update={"starts": 1})
    task = engine_of().task(settings.model, settings, settings.at_truth)
    counts = reference_counts()[: arguments.spectra]
    truth = {"apec.Redshift": np.array([fit["z"] for fit in reference_fits()])}

    def fit_all() -> None:
        for row in range(len(counts)):
            task.fit(counts[row], task.fixed(truth, settings.at_truth, row), None)

    fit_all()
    seconds, calls = Counter[str](), Counter[str]()
    with ExitStack() as stack:
        for part in PARTS:
            watched(stack, part, seconds, calls)
        start = time.process_time()
        fit_all()
        seconds["a fit"] = time.process_time() - start
    calls["a fit"] = n = len(counts)
    print(machine())
    lines = [
        (part, calls[part] / n, 1e3 * total / calls[part], 1e3 * total / n)
        for part, total in seconds.most_common()
    ]
    table((arguments.fit, "times", "ms each", "ms a fit"), lines)


if __name__ == "__main__":
    main()
