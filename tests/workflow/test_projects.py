"""Projects that `icflow init` makes, and workflows that take this one as a module."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from running import ROOT, Project

from icflow.cli import main

OUTER = """
from icflow.project import SNAKEFILE

configfile: "config.yaml"


module icflow:
    snakefile:
        str(SNAKEFILE)
    config:
        config


use rule * from icflow as icflow_*


rule mine:
    default_target: True
    input:
        rules.icflow_evaluate.output,
    output:
        "mine.txt",
    shell:
        "cat {input} > {output}"
"""


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A project with the files that `icflow fetch` brings."""
    assert main(["init", str(tmp_path / "made")]) == 0
    for name in ("atomdb", "responses"):
        (tmp_path / "made/resources" / name).symlink_to(ROOT / "resources" / name)
    return tmp_path / "made"


def snakemake(folder: Path, *words: str) -> str:
    """Run Snakemake with the tiny configuration and return what it says."""
    command = [sys.executable, "-m", "snakemake", *words, "--configfile", "config/tiny.yaml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_project_makes_the_bytes_of_a_clone(made: Path, finished: Project) -> None:
    files = ["simulate/Coma/shard-0000.pha", "components/Coma.ecsv"]
    snakemake(made, *(f"results/{name}" for name in files), "--cores", "2")
    for name in files:
        assert (made / "results" / name).read_bytes() == (finished.results / name).read_bytes()


def test_the_default_of_a_project_is_everything(made: Path) -> None:
    said = snakemake(made, "--dry-run")
    for job in ("simulate_shard", "train_fold", "report", "everything"):
        assert job in said


def test_another_workflow_takes_this_one_as_a_module(made: Path) -> None:
    (made / "Snakefile").write_text(OUTER)
    said = snakemake(made, "--dry-run")
    for job in ("icflow_simulate_shard", "icflow_evaluate", "mine"):
        assert job in said
    assert "icflow_report" not in said
