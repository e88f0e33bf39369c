"""Bad input is refused before any job starts, in one sentence."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import pytest
import yaml
from astropy.io import fits
from running import ROOT, Project

from icflow.config.reading import read_tree

REFUSED: list[tuple[str, Any, list[str]]] = [
    ("fits/group_mim", 50, ["fits.group_mim: unknown key", "group_min"]),
    ("instrument/exposure", "1e6", ["instrument.exposure", "'1e6'", "1.0e-3"]),
    ("detection/training", "train", ["detection.training", "'train'", "train_2T"]),
    ("instrument/arf", "resources/responses/mine.arf", ["instrument.arf", "mine.arf"]),
    (
        "scenarios/2T/parameters/apec.temperature",
        5.0,
        ["scenarios.2T.parameters.apec.temperature", "apec.kT"],
    ),
    ("scenarios/2T/expression", "tbabs*(apec+apc)", ["scenarios.2T", "apc"]),
    ("detection/detectors/cae/method", "no_such_method", ["detectors.cae.method", "bayes_factor"]),
]


@pytest.mark.parametrize(("key", "value", "words"), REFUSED, ids=[key for key, _, _ in REFUSED])
def test_a_bad_value_stops_the_run_before_any_job(
    fresh: Project, key: str, value: Any, words: list[str]
) -> None:
    status, output = fresh.run(change={key: value})
    assert status == 1
    for word in words:
        assert word in output
    assert "Traceback" not in output
    assert not fresh.results.exists()


def test_a_value_on_the_command_line_is_checked_too(fresh: Project) -> None:
    status, output = fresh.run(options=["--config", "seed=now"])
    assert status == 1
    assert "seed: is 'now'; input should be a valid integer" in output


def test_what_is_said_of_an_instrument_is_said_of_every_module(fresh: Project) -> None:
    modules = read_tree(ROOT / "config/two-modules.yaml")["instrument"]
    below = fresh.folder / "config.yaml"
    below.write_text(yaml.safe_dump(read_tree(below) | {"instrument": modules}))
    status, output = fresh.run(change={"instrument/systematics/background": {"lins": 0.1}})
    assert status == 1
    assert "instrument.FPMA.systematics.background names 'lins', which the background" in output
    assert fresh.jobs("simulate", change={"instrument/systematics/background": {"lines": 0.1}})


def test_a_damaged_file_stops_the_job_with_its_name(fresh: Project) -> None:
    mine = fresh.folder / "mine.rmf"
    mine.write_bytes((fresh.folder / "resources/responses/nustar_fpma.rmf").read_bytes()[:100_000])
    status, output = fresh.run("simulate", change={"instrument/rmf": "mine.rmf"})
    assert status == 1
    assert "icflow: error: mine.rmf" in output
    assert "Traceback" not in output
    assert not list(fresh.results.rglob("*.pha"))


def test_a_missing_resource_is_fetched_by_a_job_and_a_wrong_one_refused(fresh: Project) -> None:
    (fresh.folder / "resources").rename(fresh.folder / "all")
    (fresh.folder / "resources" / "background").mkdir(parents=True)
    background = fresh.folder / "resources/background/nustar_fpma.yaml"
    background.write_bytes((fresh.folder / "all/background/nustar_fpma.yaml").read_bytes())
    assert fresh.jobs("simulate") == {"fetch": 4, "simulate_shard": 8, "simulate": 1}
    wrong = fresh.folder / "resources/responses/nustar_fpma.arf"
    wrong.parent.mkdir()
    wrong.write_bytes(b"wrong")
    status, output = fresh.run("simulate")
    assert status == 1
    assert "instrument.arf: resources/responses/nustar_fpma.arf has the SHA-256" in output
    assert wrong.read_bytes() == b"wrong"


def test_a_target_that_does_not_exist(fresh: Project) -> None:
    status, output = fresh.run("results/simulate/train/shard-0000.pha")
    assert status == 1
    assert "No rule to produce" in output


@pytest.mark.parametrize(("old", "new"), [("simulations", "simulate"), ("prior_scan", "scan")])
def test_a_target_of_an_earlier_version_has_another_name(
    fresh: Project, old: str, new: str
) -> None:
    status, output = fresh.run("label", old)
    assert status == 1
    assert f"the target {old} is called {new} now" in output
    assert not fresh.results.exists()


def test_a_missing_image_stops_the_run_before_any_job(fresh: Project) -> None:
    change = {"containers/icflow": "nowhere.sif"}
    status, output = fresh.run(change=change, options=["--use-singularity"])
    assert status == 1
    assert "containers.icflow: nowhere.sif does not exist; build it" in output
    assert "Traceback" not in output
    assert not fresh.results.exists()


def test_a_working_directory_that_cannot_be_written(fresh: Project) -> None:
    if os.geteuid() == 0:  # who writes everywhere, but not to a disk that is mounted so
        read_only = 'mount --bind -o ro "$PWD" "$PWD"; cd "$PWD"; exec "$@"'
        around = ["unshare", "--mount", "sh", "-ec", read_only, "sh"]
        probe = subprocess.run([*around, "true"], cwd=fresh.folder, check=False)
        if probe.returncode != 0:
            pytest.skip("mounts are forbidden here")
    else:
        fresh.folder.chmod(0o500)
        around = []
    status, output = fresh.run("simulate", around=around)
    assert status == 1
    assert f"{fresh.folder} cannot be written: start Snakemake in a folder of yours" in output
    assert "Traceback" not in output


def test_braces_and_other_letters_in_names_are_no_wildcards(fresh: Project) -> None:
    resources = fresh.folder / "resources"
    for source, name in (
        ("responses/nustar_fpma.rmf", "x{y}.rmf"),
        ("responses/nustar_fpma.arf", "réponse.arf"),
        ("background/nustar_fpma.yaml", "my {b} ground.yaml"),
    ):
        (fresh.folder / name).write_bytes((resources / source).read_bytes())
    change = {
        "instrument/rmf": "x{y}.rmf",
        "instrument/arf": "réponse.arf",
        "instrument/background": "my {b} ground.yaml",
        "scenarios/2T/expression": "tbabs *\n  (apec + apec)\n",
        "detection/detectors/cae/title": "$\\Delta C_{IC}$ é %s",
    }
    assert fresh.jobs(change=change)["figures"] > 8
    shard = "results/simulate/test_2T/shard-0000.pha"
    status, output = fresh.run(shard, change=change)
    assert status == 0, output
    with fits.open(fresh.folder / shard) as file:
        assert file["SPECTRUM"].header["RESPFILE"] == "x{y}.rmf"
        assert set(file["SPECTRUM"].data["ANCRFILE"]) == {"none"}
