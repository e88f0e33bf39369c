"""What it costs to start: commands, jobs and the workflow, in CPU seconds, and a job's memory.

    python benchmarks/starts.py                 # every row
    python benchmarks/starts.py --row validate  # one row

CPU seconds, user and system together, of the process and all that it starts; the median of some
runs after one that fills the caches. Rows are added to results/benchmarks.json. Beside each stands
what merely importing the libraries takes that it cannot do without. Byte code is kept, as for
users, whatever the environment says.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from rows import OUTPUT, ROOT, save

PYTHON = [sys.executable]
ICFLOW = [sys.executable, "-m", "icflow.cli"]
SNAKEMAKE = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "--cores", "2"]
RESPONSES = [f"--{kind}=resources/responses/nustar_fpma.{kind}" for kind in ("rmf", "arf")]
# What reads a command line, what reads and checks a configuration, fits, and makes a graph of jobs.
LIBRARIES = {
    "help": "click",
    "validate": "numpy, pydantic, yaml",
    "job": "numpy, pydantic, yaml, numba",
    "dry_run": "numpy, pydantic, yaml, snakemake.cli",
}
# The test spectra of 100,000 in shards of 1,000.
MANY = "datasets: {train_2T: {scenario: 2T, size: 50000}, test_2T: {scenario: 2T, size: 50000}}\n"
# Says how much memory is the process's own.
OWN_MEMORY = """
lines = open("/proc/self/smaps_rollup").read().splitlines()
print(sum(int(x.split()[1]) for x in lines if x.startswith("Anonymous")) / 1024)
"""
RUN = "import sys; from icflow import cli; cli.main(sys.argv[1:])"


def cpu_once(command: Sequence[str], folder: Path, **environment: str) -> float:
    """Return the CPU seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = {**os.environ, **environment}
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=own)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def cpu_seconds(command: Sequence[str], folder: Path, runs: int) -> float:
    """Return the CPU seconds of a command, the median of some runs after a first one."""
    seconds = [cpu_once(command, folder) for _ in range(runs + 1)]
    return float(np.median(seconds[1:]))


def project(folder: Path) -> Path:
    """Make a project with a shard of three spectra."""
    for name in ("Snakefile", "workflow", "profiles", "resources", "config.yaml", "config"):
        (folder / name).symlink_to(ROOT / name)
    shard = ["--dataset", "test_2T", "--shard-first", "0", "--count", "3"]
    subprocess.run([*ICFLOW, "simulate", *shard, "--output", "three.pha"], cwd=folder, check=True)
    (folder / "many.yaml").write_text(MANY)
    return folder


FIT_OF_SHARD = ["baseline", "--fit", "2T_fixed", "three.pha", "--output", "fits.ecsv"]
FIT_OF_FILE = ["fit", "resources/example/observation.pha", "--expression", "powerlaw", *RESPONSES]
# By row: command, most CPU seconds, and whose libraries are the limit.
COMMANDS: dict[str, tuple[list[str], float, str]] = {
    "help": ([*ICFLOW, "--help"], 0.3, "help"),
    "validate": ([*ICFLOW, "validate"], 0.8, "validate"),
    "fit_of_file": ([*ICFLOW, *FIT_OF_FILE], 1.5, "job"),
    "job": ([*ICFLOW, *FIT_OF_SHARD], 1.0, "job"),
    "dry_run": (SNAKEMAKE, 3.0, "dry_run"),
    "dry_run_100000": ([*SNAKEMAKE, "--configfile", "config.yaml", "many.yaml"], 10.0, "dry_run"),
}
# What compiles most, by row: command and most CPU seconds.
NEAREST = "tests/unit/engines/evidence/test_nearest.py"
COMPILED = {
    "compiled_fit": ([*ICFLOW, *FIT_OF_SHARD[:2], "2T_free", *FIT_OF_SHARD[3:]], 50.0),
    "compiled_evidence": (
        [*PYTHON, "-m", "pytest", f"{ROOT / NEAREST}::test_like_plasmas_come_in_order"],
        60.0,
    ),
}


def command(row: str, folder: Path, output: Path, runs: int) -> None:
    """Measure the CPU seconds of a command."""
    words, target, needed = COMMANDS[row]
    imports = cpu_seconds([*PYTHON, "-c", f"import {LIBRARIES[needed]}"], folder, runs)
    limit = f"{imports:.2f} s to import {LIBRARIES[needed]}"
    save(output, row, cpu_seconds(words, folder, runs), "CPU s", target, limit=limit)


def compiled(row: str, folder: Path, output: Path, runs: int) -> None:
    """Measure a command that finds no compiled function: once, as it takes long."""
    words, target = COMPILED[row]
    with tempfile.TemporaryDirectory() as empty:
        save(output, row, cpu_once(words, folder, NUMBA_CACHE_DIR=empty), "CPU s", target)


def memory(row: str, folder: Path, output: Path, runs: int) -> None:
    """Measure the memory of a job that fits which no other process shares."""
    least = own_memory([*PYTHON, "-c", f"import {LIBRARIES['job']}" + OWN_MEMORY], folder)
    limit = f"{least:.0f} MiB with {LIBRARIES['job']} imported"
    value = own_memory([*PYTHON, "-c", RUN + OWN_MEMORY, *FIT_OF_SHARD], folder)
    save(output, row, value, "MiB of its own", 150.0, limit=limit)


def own_memory(words: Sequence[str], folder: Path) -> float:
    """Return what a process says of its memory at its end, MiB."""
    done = subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


ROWS: dict[str, Callable[[str, Path, Path, int], None]] = {
    **dict.fromkeys(COMMANDS, command),
    **dict.fromkeys(COMPILED, compiled),
    "private_memory": memory,
}


def main() -> None:
    """Measure the rows that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--row", action="append", choices=ROWS, help="only this row (repeatable)")
    parser.add_argument("--runs", type=int, default=5, help="runs that the median is of")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    output = arguments.output.resolve()
    os.environ["TQDM_DISABLE"] = "1"
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as name:
        folder = project(Path(name))
        for row in arguments.row or ROWS:
            ROWS[row](row, folder, output, arguments.runs)


if __name__ == "__main__":
    main()
