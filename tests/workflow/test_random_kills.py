"""Runs that are killed at any moment, over and over, end with the bytes of one that nobody killed.

On demand (`make kills`): the number of kills, and the seed of what is killed when, come from the
environment.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from typing import Any

import psutil
import pytest
from running import Project

KILLS, SEED = (int(os.environ.get(name, "0")) for name in ("KILLS", "KILLS_SEED"))
LONGEST = 12.0  # s before a kill
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# After so long a run that was told to end is waited for in vain.
PATIENCE = 300  # s


def jobs(snakemake: psutil.Process) -> list[psutil.Process]:
    """Return the jobs of a Snakemake that run now."""
    with suppress(psutil.Error):
        children = snakemake.children(recursive=True)
        return [child for child in children if "icflow" in " ".join(child.cmdline())]
    return []


def kill(process: subprocess.Popen[str], chance: random.Random) -> str:
    """Send a signal to Snakemake, its group or one of its jobs, and wait; say what was done."""
    victim, number = chance.choice(("snakemake", "group", "job")), chance.choice(SIGNALS)
    with suppress(psutil.Error, ProcessLookupError):
        snakemake = psutil.Process(process.pid)
        running = jobs(snakemake)
        if victim == "job" and running:
            chance.choice(running).send_signal(number)
        elif victim == "group":
            os.killpg(process.pid, number)
        else:
            victim = "snakemake"
            snakemake.send_signal(number)
    process.communicate(timeout=PATIENCE)
    return f"{victim} {number.name}"


def start(project: Project) -> Any:
    """Start the whole run as the leader of a group of processes."""
    return project.start(around=("setsid",))


@pytest.mark.kills
def test_runs_killed_at_random_end_with_the_same_bytes(finished: Project, fresh: Project) -> None:
    chance, expected, done = random.Random(SEED), finished.contents(), Counter[str]()
    rounds = 0
    while done.total() < KILLS:
        process = start(fresh)
        # Every third run is killed at once: twice in a row.
        wait = 0.3 if chance.random() < 1 / 3 else chance.uniform(0.0, LONGEST)
        with suppress(subprocess.TimeoutExpired):
            output, _ = process.communicate(timeout=wait)
            assert process.returncode == 0, output
            assert fresh.contents() == expected, done
            shutil.rmtree(fresh.results)
            rounds += 1
            continue
        done[kill(process, chance)] += 1
        time.sleep(chance.uniform(0.0, 1.0))
    status, output = fresh.run()
    assert status == 0, output
    assert fresh.contents() == expected
    assert not [*fresh.results.rglob(".*-*-*-*")], "temporary files of killed jobs are left"
    print(f"{done.total()} kills, {rounds + 1} runs to the end: {dict(done)}")
