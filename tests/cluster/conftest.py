"""The cluster, made once; what this machine cannot do or fetch is the reason to skip its tests."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from node import Cluster, Unavailable, build, check_machine

skipped = pytest.StashKey[str]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say as the last thing what was not tested, and why."""
    reason = terminalreporter.config.stash.get(skipped, None)
    if reason is not None:
        terminalreporter.section("NOT TESTED: Slurm and the image", sep="!", red=True, bold=True)
        terminalreporter.line(f"This machine cannot make a cluster: {reason}", red=True)


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Make the cluster, once for all tests."""
    folder = Path(tempfile.mkdtemp(prefix="icflow-cluster-"))
    folder.chmod(0o755)
    print(f"\nA cluster in {folder}:", flush=True)
    running = None
    try:
        check_machine(folder)
        build(folder)
        running = Cluster.start(folder)
        status, output = running.run("apptainer", "exec", "icflow.sif", "true")
        if status != 0:
            raise Unavailable(f"images cannot be mounted ({output.strip().splitlines()[-1]})")
        yield running
    except Unavailable as reason:
        request.config.stash[skipped] = str(reason)
        pytest.skip(str(reason))
    finally:
        if running is not None:
            running.stop()
        subprocess.run(["rm", "-rf", "--one-file-system", folder], check=True)
