"""All benchmarks that need no trained networks, one after the other.

    python benchmarks         # every row, in 8 minutes on two free cores
    python benchmarks --full  # with as many spectra as the documentation has: hours

Rows say where they are of fewer spectra. `peers.py`, which installs other programs to compare
with, is run with ``--full``, or by itself. What is measured of trained networks needs the results
of a run: what `ablation.py`, `ceiling.py`, `ratio.py` and `recipes.py` need, they say themselves.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

# By script: what makes it short.
SHORT = {
    "yardstick.py": [],
    "limits.py": [],
    "starts.py": ["--runs", "3"],
    "engine.py": ["--scale", "0.1"],
    "parts.py": [],
    "evidence.py": ["--spectra", "3"],
    "observe.py": ["--scale", "0.05"],
    "training.py": [],
    "strategies.py": ["--spectra", "3"],
    "schedule.py": ["--faster", "300"],
    "shortcuts.py": ["--spectra", "20"],
}
# What installs other programs, 3 GB of them.
INSTALLS: dict[str, list[str]] = {"peers.py": []}


def main() -> None:
    """Run the scripts; the exit status is 1 where one of them failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--full", action="store_true", help="with all spectra: hours")
    full = parser.parse_args().full
    failed, began = [], time.monotonic()
    every = SHORT | INSTALLS if full else SHORT
    for script, short in every.items():
        words = [script, *([] if full else short)]
        print(f"\n== {' '.join(words)}", flush=True)
        begin = time.monotonic()
        path = Path(__file__).with_name(script)
        done = subprocess.run([sys.executable, str(path), *words[1:]], check=False)
        print(f"== {script}: {time.monotonic() - begin:.0f} s", flush=True)
        if done.returncode:
            failed.append(script)
    print(f"\nAll benchmarks: {(time.monotonic() - began) / 60:.1f} minutes")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
