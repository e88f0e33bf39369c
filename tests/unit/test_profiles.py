"""What the profiles say of rules, checked against the rules."""

from __future__ import annotations

import re
from pathlib import Path

import yaml


def test_the_groups_of_the_slurm_profile_exist(root: Path) -> None:
    profile = yaml.safe_load((root / "workflow/profiles/slurm/config.yaml").read_text())
    rules = "".join(path.read_text() for path in (root / "workflow/rules").glob("*.smk"))
    assert set(profile["groups"]) <= set(re.findall(r"^rule (\w+):", rules, re.MULTILINE))
    groups = {*profile["groups"].values(), *re.findall(r'group:\s+"(\w+)"', rules)}
    assert set(profile["group-components"]) <= groups
    assert "figures" in groups


def test_every_profile_goes_on_where_a_killed_run_was(root: Path) -> None:
    for path in (root / "workflow/profiles").glob("*/config.yaml"):
        profile = yaml.safe_load(path.read_text())
        assert profile["rerun-incomplete"] is True
        assert profile["nolock"] is True
        assert "--cleanenv" in profile["apptainer-args"]
