"""The yardstick of speed: the CPU time of one call of XSPEC's `apec`.

    python benchmarks/yardstick.py

XSPEC cannot be at hand everywhere, its model functions are. Its fits take as long as a number of
calls of `apec` on the same machine, so a fit that is timed beside such calls is compared with XSPEC
without a second machine coming in.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np

from icflow import config
from icflow.models import library
from icflow.ogip.response import read_rmf

ROOT = Path(__file__).resolve().parents[1]
# Calls that a plain `Fit.perform` of XSPEC from one start, z fixed, is worth: 15.4 and 13.3 CPU s
# (medians of 7) beside calls of 3.24 ms on one Xeon at 2.5 GHz.
XSPEC_CALLS = {"2T_fixed": 4750.0, "1T+IC_fixed": 4100.0}
CALLS = 31


def call_of_apec() -> float:
    """Return the CPU seconds of one call of `apec` on the model bins of the default response."""
    run = config.load(ROOT / "config.yaml")
    library.configure(run.atomic_data)
    definition = library.definitions()["apec"]
    edges = read_rmf(ROOT / run.modules[0].rmf).energies
    seconds = []
    # At ever other temperatures and redshifts, as in a fit; the first call reads the tables.
    for i in range(CALLS + 1):
        values = np.array([2.0 + 0.23 * i, 0.3, 0.02 + 0.002 * i])
        start = time.process_time()
        library.evaluate(definition, edges, values)
        seconds.append(time.process_time() - start)
    return float(np.median(seconds[1:]))


def xspec_calls(name: str) -> float:
    """Return what XSPEC's fit of a name is worth, in calls.

    With z free: as much more as its fits of the reference spectra took.
    """
    fixed = name.replace("_free", "_fixed")
    fits = json.loads((ROOT / "tests/data/xspec_reference/fits.json").read_text())
    longer = [np.median([fit[of]["seconds"] for fit in fits]) for of in (name, fixed)]
    return float(XSPEC_CALLS[fixed] * longer[0] / longer[1])


def main() -> None:
    """Print the time of a call, and what XSPEC's fits would take here."""
    os.chdir(ROOT)
    call = call_of_apec()
    print(f"one call of apec: {call * 1e3:.2f} ms of CPU time")
    for name in ("2T_fixed", "1T+IC_fixed", "2T_free", "1T+IC_free"):
        calls = xspec_calls(name)
        print(f"{name:<12} by XSPEC: {calls:5.0f} calls, {calls * call:5.1f} s")


if __name__ == "__main__":
    main()
