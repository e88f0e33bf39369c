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
from collections import Counter
from contextlib import suppress
from typing import Any

import psutil
import pytest
from running import Project

KILLS, SEED = (int(os.environ.get(name, "0")) for name in ("KILLS", "KILLS_SEED"))
LONGEST = 30.0  # s before a kill
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# After so long a run that was told to end is waited for in vain.
PATIENCE = 1200  # s


def jobs(snakemake: psutil.Process) -> list[psutil.Process]:
    """Return the jobs of a Snakemake that run now."""
    with suppress(psutil.Error):
        children = snakemake.children(recursive=True)
        return [child for child in children if "icflow" in " ".join(child.cmdline())]
    return []


def kill(process: subprocess.Popen[str], chance: random.Random) -> tuple[str, str]:
    """Send a signal to Snakemake, its group or one of its jobs; return to what, and which."""
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
    return victim, number.name


def start(project: Project) -> Any:
    """Start the whole run as the leader of a group of processes."""
    return project.start(around=("setsid",))


@pytest.mark.kills
def test_runs_killed_at_random_end_with_the_same_bytes(finished: Project, fresh: Project) -> None:
    # Whoever runs these tests in the background has interrupts ignored, which children inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    chance, expected, done = random.Random(SEED), finished.contents(), Counter[str]()
    process: subprocess.Popen[str] | None = None
    rounds, hurt = 0, False
    while done.total() < KILLS:
        if process is None:
            process, hurt = start(fresh), False
        # Every third kill comes at once: twice in a row.
        wait = 0.3 if chance.random() < 1 / 3 else chance.uniform(0.0, LONGEST)
        try:
            output, _ = process.communicate(timeout=wait)
        except subprocess.TimeoutExpired:
            victim, number = kill(process, chance)
            done[f"{victim} {number}"] += 1
            # A job that ends is tried again, or ends the run once the others are done.
            hurt = victim == "job"
            if not hurt:
                process.communicate(timeout=PATIENCE)
                process = None
            continue
        assert process.returncode == 0 or hurt, output
        if process.returncode == 0:
            assert fresh.contents() == expected, done
            shutil.rmtree(fresh.results)
            rounds += 1
        process = None
    if process is not None:
        process.communicate(timeout=PATIENCE)
    status, output = fresh.run()
    assert status == 0, output
    assert fresh.contents() == expected
    assert not [*fresh.results.rglob(".*-*-*-*")], "temporary files of killed jobs are left"
    print(f"{done.total()} kills, {rounds + 1} runs to the end: {dict(done)}")
