"""A run that is killed goes on with the next Snakemake and ends with the same bytes."""

from __future__ import annotations

import os
import signal
import time

import psutil
import pytest
from running import Project

# Results of every stage, which a run that is killed again and again has to make once more.
LOST = (
    "simulate/test_2T/*",
    "label/train_2T/shard-0000.ecsv",
    "baseline/test_*/2T_fixed/*",
    "baseline/test_2T/1T+IC_free/*",
    "baseline/test_1T+IC/2T_fixed_plain/*",
    "integrate/test_2T/2T_fixed/*",
    "train/cae/*/*",
    "score/*/fold-1*",
    "components/*",
    "fluxes/*",
    "evaluate/*",
    "tables/*",
    "figures/figure[1234]*",
    "figures/examples*",  # which reads the components
    "run.json",
    "report.html",
)

# What is killed, how, during which subcommand, on the way to which target.
# Every stage and every way is among them; `make kills` pairs others.
KILLS = [
    ("group", signal.SIGTERM, "simulate", "simulate"),
    ("job", signal.SIGKILL, "label", "label"),
    ("snakemake", signal.SIGKILL, "baseline", "baseline"),
    ("group", signal.SIGKILL, "integrate", "integrate"),
    ("group", signal.SIGINT, "train", "train"),
    ("snakemake", signal.SIGKILL, "evaluate", "evaluate"),
    ("job", signal.SIGKILL, "figures", "all"),
]


def find_job(snakemake: psutil.Process, subcommand: str) -> psutil.Process | None:
    """Return a job of Snakemake that runs a subcommand, if there is one now."""
    try:
        for child in snakemake.children(recursive=True):
            arguments = child.cmdline()
            # The Python process itself, not the shell around it.
            if "python" in os.path.basename(arguments[0]) and subcommand in arguments[1:4]:
                return child
    except (psutil.NoSuchProcess, psutil.ZombieProcess, IndexError):
        pass
    return None


def kill_during(
    project: Project, victim: str, number: signal.Signals, subcommand: str, target: str
) -> str:
    """Start Snakemake and kill it, its group or its job in a stage; return what it said."""
    said = project.folder / "said.txt"
    said.unlink(missing_ok=True)
    process = project.fork(target, said)
    snakemake = psutil.Process(process.pid)
    job = None
    while job is None and process.is_alive():
        time.sleep(0.1)
        job = find_job(snakemake, subcommand)
    assert job is not None, f"no job {subcommand} ran: {said.read_text()}"
    if victim == "snakemake":
        # Its jobs outlive it and go on beside those of the next one.
        snakemake.send_signal(number)
    elif victim == "group":
        os.killpg(snakemake.pid, number)
    else:
        job.send_signal(number)
    process.join()
    return said.read_text()


def lose(project: Project) -> set[str]:
    """Delete results of every stage; return their names."""
    before = set(project.contents())
    for pattern in LOST:
        paths = [path for path in project.results.glob(pattern) if path.is_file()]
        assert paths, pattern
        for path in paths:
            path.unlink()
    return before - set(project.contents())


def test_killed_runs_go_on_and_end_with_the_same_bytes(finished: Project, copied: Project) -> None:
    lost = lose(copied)
    folders = {path.name for path in finished.results.iterdir() if path.is_dir()}
    assert {name.split("/")[0] for name in lost} >= folders - {"logs", "benchmarks"}
    for victim, number, subcommand, target in KILLS:
        output = kill_during(copied, victim, number, subcommand, target)
        if victim == "job":
            assert "Error in rule" in output
            assert "Traceback" not in output
    status, output = copied.run()
    assert status == 0, output
    ended, expected = copied.contents(), finished.contents()
    assert ended.keys() == expected.keys()
    different = [name for name in ended if ended[name] != expected[name]]
    assert different == []
    assert copied.jobs() == {}


def test_two_runs_at_once_are_refused(fresh: Project) -> None:
    shard = "results/simulate/test_2T/shard-0000.pha"
    first = fresh.start(shard)
    try:
        while find_job(psutil.Process(first.pid), "simulate") is None:
            assert first.poll() is None
            time.sleep(0.05)
        # Stopped, it is still running when the second one asks.
        os.kill(first.pid, signal.SIGSTOP)
        status, output = fresh.run(shard, "results/simulate/test_1T+IC/shard-0000.pha")
        assert status == 1
        assert "another Snakemake is running in" in output
        assert "Traceback" not in output
        status, _ = fresh.run(shard, options=["--dry-run"])
        assert status == 0
    finally:
        os.kill(first.pid, signal.SIGCONT)
        first.communicate()
    assert first.returncode == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written(fresh: Project) -> None:
    (fresh.folder / "results").mkdir(mode=0o500)
    status, output = fresh.run("simulate")
    assert status == 1
    assert "Permission denied" in output
