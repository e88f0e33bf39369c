"""The workflow with the xspec engine, on a stand-in for XSPEC."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from astropy.io import fits
from astropy.table import Table
from running import ROOT, Project

SPECTRA = "results/simulate/test_2T/shard-0000.pha"
FIT = "results/baseline/test_2T/2T_fixed/shard-0000.ecsv"
XSPEC = {"engine": "xspec", "instrument/background": None, "datasets/test_2T/size": 6}
BOTH = {"simulate_shard": 1, "baseline_shard": 1}


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """A Python that has XSPEC, as ICFLOW_XSPEC_PYTHON names it."""
    folder = tmp_path / "xspec"
    folder.mkdir()
    shutil.copy(ROOT / "tests/unit/engines/xspec/fake_xspec.py", folder / "xspec.py")
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} "$@"\n')
    program.chmod(0o755)
    return program


def test_what_xspec_has_made_is_made_anew_by_another_xspec_alone(
    python: Path, fresh: Project
) -> None:
    with_xspec = {"ICFLOW_XSPEC_PYTHON": str(python)}
    status, output = fresh.run(FIT, change=XSPEC, environment=with_xspec)
    assert status == 0, output
    made = fresh.contents()
    table = Table.read(fresh.folder / FIT, format="ascii.ecsv")
    assert table.meta["XSPECVER"] == "12.99.9"
    assert fits.getheader(fresh.folder / SPECTRA, "SPECTRUM")["XSPECVER"] == "12.99.9"
    assert fresh.jobs(FIT, change=XSPEC, environment=with_xspec) == {}
    plain = XSPEC | {"fits/strategy": "plain"}
    assert fresh.jobs(FIT, change=plain, environment=with_xspec) == {"baseline_shard": 1}
    # A shell in which nobody has set HEASoft up.
    without = {"ICFLOW_XSPEC_PYTHON": "/no/python"}
    assert fresh.run(FIT, change=XSPEC, environment=without)[0] == 0
    assert fresh.contents() == made
    # HEASoft is updated.
    os.utime(python.with_name("xspec.py"), ns=(1, 1))
    another = with_xspec | {"FAKE_XSPEC_VERSION": "12.99.10"}
    assert fresh.jobs(FIT, change=XSPEC, environment=another) == BOTH


def test_a_node_with_another_xspec_than_the_run_ends_its_job_with_a_sentence(
    python: Path, fresh: Project
) -> None:
    """Jobs on a cluster are Snakemakes of their own."""
    here = {"ICFLOW_XSPEC_PYTHON": str(python)}
    assert fresh.jobs(SPECTRA, change=XSPEC, environment=here) == {"simulate_shard": 1}
    there = shutil.copy(python, python.with_name("python-of-node"))
    node = {"ICFLOW_XSPEC_PYTHON": str(there), "FAKE_XSPEC_VERSION": "12.99.10"}
    remote = ["--mode", "remote"]
    status, output = fresh.run(SPECTRA, change=XSPEC, options=remote, environment=node)
    assert status == 1, output
    said = (fresh.results / "logs/simulate/test_2T/shard-0000.log").read_text()
    assert "XSPEC is 12.99.10 here and was 12.99.9 when the run began; give all jobs" in said
    assert not (fresh.folder / SPECTRA).exists()
