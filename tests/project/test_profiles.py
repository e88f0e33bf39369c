"""What the profiles say of rules, checked against the rules."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from node import KEPT, small_configuration

from icflow import config


def test_the_groups_of_the_slurm_profile_exist(root: Path) -> None:
    profile = yaml.safe_load((root / "workflow/profiles/slurm/config.yaml").read_text())
    rules = "".join(path.read_text() for path in (root / "workflow/rules").glob("*.smk"))
    assert set(profile["groups"]) <= set(re.findall(r"^rule (\w+):", rules, re.MULTILINE))
    groups = {*profile["groups"].values(), *re.findall(r'group:\s+"(\w+)"', rules)}
    assert set(profile["group-components"]) <= groups
    assert "figures" in groups


def test_every_job_that_trains_asks_for_a_gpu_where_a_partition_is_named(root: Path) -> None:
    text = (root / "workflow/profiles/slurm/config.yaml").read_text()
    assert yaml.safe_load(text)["keep-going"] is True
    _, marker, block = text.partition("# set-resources:\n")
    named = re.match(r"(?:#   \w+: .*\n)+", block)
    assert marker and named
    resources = yaml.safe_load(named[0].replace("#  ", "").replace("NAME", "gpu"))
    trainings = set()
    for path in (root / "workflow/rules").glob("*.smk"):
        rules = re.split(r"^rule (\w+):$", path.read_text(), flags=re.MULTILINE)
        bodies = zip(rules[1::2], rules[2::2], strict=True)
        trainings |= {name for name, body in bodies if "trainings=1" in body}
    assert trainings == {name for name, asked in resources.items() if asked.get("gpu") == 1}
    assert resources["train_fold"]["slurm_partition"] == "gpu"
    # They are submitted together.
    assert resources["score_fold"]["slurm_partition"] == "gpu"


def test_the_configuration_of_the_tests_on_a_cluster_is_right() -> None:
    checked = config.validate(small_configuration({"engine": "xspec"}), "small")
    assert set(checked.detection.detectors) == set(KEPT["detection.detectors"])
    assert checked.datasets["test_2T"].size == 12
    assert checked.engine == "xspec"


def test_every_profile_goes_on_where_a_killed_run_was(root: Path) -> None:
    for path in (root / "workflow/profiles").glob("*/config.yaml"):
        profile = yaml.safe_load(path.read_text())
        assert profile["rerun-incomplete"] is True
        assert profile["nolock"] is True
        assert "--cleanenv" in profile["apptainer-args"]
