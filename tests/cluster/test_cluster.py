"""Snakemake on a real Slurm, with a real image."""

from __future__ import annotations

import csv
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from node import ROOT, Cluster, Project, finish

from icflow import config
from icflow import settings as settings_of
from icflow.stages import simulate

SHARD = "results/simulate/test_2T/shard-0000.pha"


def small(project: Project) -> config.Config:
    """Return the configuration that the cluster runs."""
    return config.load(project.folder / "config.yaml")


@pytest.fixture(scope="module")
def finished(cluster: Cluster) -> tuple[Project, str]:
    """Run everything up to Table 1; return the project and what Snakemake said."""
    project = cluster.project("finished")
    status, output = project.run("--use-singularity", "--", "evaluate")
    assert status == 0, output
    return project, output


@pytest.mark.slurm
@pytest.mark.container
def test_table_1_is_made_through_slurm_in_the_image(finished: tuple[Project, str]) -> None:
    project, output = finished
    (steps,) = re.findall(r"of (\d+) steps \(100%\) done", output)
    # Most jobs are submitted in groups.
    assert 5 < output.count("has been submitted with SLURM jobid") < int(steps) / 2
    with (project.folder / "results/tables/table1.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["detector"] for row in rows} == set(small(project).detection.detectors)
    assert {row["n_test"] for row in rows} == {"24"}
    # What submits the jobs cannot train: the image did.
    status, _ = project.cluster.run("python", "-c", "import torch")
    assert status != 0


@pytest.mark.slurm
@pytest.mark.container
def test_a_finished_run_has_nothing_to_do(finished: tuple[Project, str]) -> None:
    project, _ = finished
    status, output = project.run("--use-singularity", "--dry-run", "--", "evaluate")
    assert status == 0, output
    assert "Nothing to be done" in output


@pytest.mark.container
def test_the_image_simulates_the_same_bytes_as_this_machine(
    finished: tuple[Project, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, _ = finished
    monkeypatch.chdir(project.folder)
    simulate.run(settings_of.simulate(small(project), "test_2T"), 0, 12, tmp_path / "here.pha")
    assert (tmp_path / "here.pha").read_bytes() == (project.folder / SHARD).read_bytes()


# --- what goes wrong -------------------------------------------------------------------------


def icflow_in_image(cluster: Cluster, folder: Path, *arguments: str) -> tuple[int, str]:
    """Run icflow in the image, in a working directory, as Snakemake does."""
    return cluster.run(
        "apptainer", "exec", "--cleanenv", "--home", folder, cluster.image,
        "icflow", *arguments, cwd=folder,
    )  # fmt: skip


SIMULATE = ["simulate", "--config", "config.yaml", "--dataset", "test_2T"]
SIMULATE += ["--shard-first", "0", "--count", "30", "--output", "results/a.pha"]


@pytest.mark.container
def test_a_headas_of_the_host_does_not_come_into_the_image(
    cluster: Cluster, finished: tuple[Project, str]
) -> None:
    command = ["python", "-c", "from icflow.models import library; print(library.version())"]
    status, output = cluster.run(
        "apptainer", "exec", cluster.image, *command, HEADAS="/soft/heasoft", PYTHONPATH="/nowhere"
    )
    assert status == 0, output
    assert output.startswith("HEASoft 6")


@pytest.mark.slurm
@pytest.mark.container
def test_an_image_without_xspec_is_named(cluster: Cluster) -> None:
    images = {"heasoft": "containers/icflow.sif"}
    project = cluster.project("no-xspec", {"engine": "xspec", "containers": images})
    status, output = project.run("--use-singularity", "--retries", "0", "--", SHARD)
    assert status == 1, output
    assert "engine: xspec needs XSPEC with PyXspec" in output
    assert "containers/heasoft.def" in output
    assert not (project.folder / SHARD).exists()


@pytest.mark.container
def test_a_full_disk_and_a_read_only_one(cluster: Cluster, finished: tuple[Project, str]) -> None:
    project = cluster.project("full")
    results = project.folder / "results"
    results.mkdir()
    cluster.run("mount", "-t", "tmpfs", "-o", "size=300k", "none", results)
    status, output = icflow_in_image(cluster, project.folder, *SIMULATE)
    assert status == 1, output
    assert "no disk space left; free some and run the same command again" in output
    assert "Traceback" not in output
    cluster.run("mount", "-o", "remount,ro", results)
    status, output = icflow_in_image(cluster, project.folder, *SIMULATE)
    assert status == 1, output
    assert "Read-only file system" in output
    assert "Traceback" not in output
    cluster.run("mount", "-o", "remount,rw,size=10m", results)
    status, output = icflow_in_image(cluster, project.folder, *SIMULATE)
    assert status == 0, output


@pytest.mark.slurm
def test_a_node_that_dies_in_mid_shard(cluster: Cluster) -> None:
    """Slurm runs the job again, and what was fitted is not fitted again.

    XSPEC's stand-in stops at its sixth spectrum, as if it took long, and the
    node dies under it.
    """
    instrument = {"background": None}
    project = cluster.project("dying", {"engine": "xspec", "instrument": instrument})
    folder = project.folder
    shutil.copy(ROOT / "tests/unit/engines/xspec/fake_xspec.py", folder / "xspec.py")
    target = "results/baseline/test_2T/2T_fixed/shard-0000.ecsv"
    hangs, calls = folder / "hangs", folder / "calls"
    snakemake = project.start(
        "--",
        target,
        PYTHONPATH=str(folder),
        FAKE_XSPEC_HANGS=str(hangs),
        FAKE_XSPEC_CALLS=str(calls),
    )
    while not hangs.exists() and snakemake.poll() is None:
        time.sleep(0.2)
    assert snakemake.poll() is None, snakemake.communicate()[0]
    kill_node(cluster)
    status, output = finish(snakemake)
    assert status == 0, output
    assert (folder / target).exists()
    # Twelve spectra, one of them twice.
    assert calls.read_text().count("Spectrum('spectrum.pha')") == 13


def kill_node(cluster: Cluster) -> None:
    """Kill all that Slurm runs on the node, as a power cut does, and boot it again."""
    daemons = [p for p in cluster.init.children() if p.name() in ("slurmd", "slurmstepd")]
    jobs = [job for daemon in daemons for job in daemon.children(recursive=True)]
    for process in (*daemons, *jobs):  # the daemons first: nobody reports the end of a job
        with suppress(psutil.NoSuchProcess):
            process.kill()
    cluster.run("scontrol", "update", "NodeName=node", "State=down", "Reason=died")
    cluster.run("slurmd")
    # Slurm may have taken it back by itself.
    cluster.run("scontrol", "update", "NodeName=node", "State=resume")
