"""A change of the configuration reruns what depends on it, and nothing else."""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest
from running import ROOT, Project

from icflow.publish.figures import registry

SIMULATIONS = {"simulate_shard": 8}
# Of the training spectra, and of the test spectra that Figure 7 shows.
LABELS = {"label_shard": 3}
FITS = {"baseline_shard": 36}
# Without those from one start.
THOROUGH = {"baseline_shard": 20}
INTEGRALS = {"integrate_shard": 8}
TRAINING = {"train_fold": 6, "score_fold": 6}
FLUXES = {"fluxes": 1}
EVALUATION = {"evaluate": 1}
# Of a cluster, and of one spectrum of each test dataset.
COMPONENTS = {"components_dataset": 3}
FIGURES = {"figures": len(registry.FIGURES)}
LAST = {"record": 1, "report": 1}

ANY = range(1, len(registry.FIGURES) + 1)


def test_a_finished_run_has_nothing_to_do(finished: Project) -> None:
    assert finished.jobs() == {}


# (key, value, the jobs that must run)
CHANGES: list[tuple[str, Any, dict[str, Any]]] = [
    ("figures/dpi", 90, FIGURES | LAST),
    ("figures/example", 1,
     {"score_fold": 6, "components_dataset": 2} | EVALUATION | FIGURES | LAST),
    ("detection/bootstrap", 120, EVALUATION | {"figures": ANY} | LAST),
    (
        "detection/detectors/cae/title",
        "Conditional",
        EVALUATION | {"figures": ANY} | LAST,
    ),
    # The dense network has a number of its own.
    (
        "autoencoder/training/epochs",
        3,
        {"train_fold": 4, "score_fold": 4} | EVALUATION | {"figures": ANY} | LAST,
    ),
    (
        "autoencoder/networks/cae/constraint",
        0.2,
        {"train_fold": 2, "score_fold": 2} | EVALUATION | {"figures": ANY} | LAST,
    ),
    (
        "fits/starts",
        3,
        LABELS | THOROUGH | TRAINING | EVALUATION | {"figures": ANY} | LAST,
    ),
    (
        "fits/models/1T+IC/parameters/powerlaw.PhoIndex",
        2.1,
        {"baseline_shard": 18} | EVALUATION | {"figures": ANY} | LAST,
    ),
    (
        "fits/baseline/2T_free/at_truth",
        ["apec.Abundanc"],
        {"baseline_shard": 4} | EVALUATION | {"figures": ANY} | LAST,
    ),
    (
        "scenarios/1T+IC/parameters/apec.kT/uniform",
        [2.0, 10.0],
        # its training, validation and test shards, and all that reads them; no network
        {"simulate_shard": 3, "baseline_shard": 18, "integrate_shard": 6, "score_fold": 6}
        | {"components_dataset": 1}
        | FLUXES
        | EVALUATION
        | {"figures": ANY}
        | LAST,
    ),
    ("instrument/exposure", 5.0e5,
     SIMULATIONS | LABELS | FITS | INTEGRALS | TRAINING | FLUXES | EVALUATION | COMPONENTS
     | FIGURES | LAST),
    ("seed", 1,
     SIMULATIONS | LABELS | FITS | INTEGRALS | TRAINING | FLUXES | EVALUATION | COMPONENTS
     | {"figures": ANY} | LAST),
    ("containers/icflow", "other.sif", LAST),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "expected"), CHANGES, ids=[key for key, _, _ in CHANGES])
def test_a_change_reruns_what_depends_on_it(
    finished: Project, key: str, value: Any, expected: dict[str, Any]
) -> None:
    jobs = finished.jobs(change={key: value})
    assert set(jobs) == set(expected)
    for rule, count in expected.items():
        assert jobs[rule] in count if isinstance(count, range) else jobs[rule] == count, rule


def test_more_training_spectra_add_a_shard_and_train_nothing_again(finished: Project) -> None:
    jobs = finished.jobs(change={"datasets/train_2T/size": 90})
    assert (jobs["simulate_shard"], jobs["label_shard"]) == (1, 1)
    assert not {"baseline_shard", "train_fold", "score_fold", "components_dataset"} & set(jobs)


def test_more_validation_spectra_simulate_and_fit_nothing_else(finished: Project) -> None:
    jobs = finished.jobs(change={"datasets/validation_1T+IC/size": 60})
    assert (jobs["simulate_shard"], jobs["baseline_shard"]) == (1, 8)
    assert not {"label_shard", "train_fold", "components_dataset"} & set(jobs)


def test_comments_white_space_and_order_rerun_nothing(copied: Project) -> None:
    path = copied.folder / "config.yaml"
    text = path.read_text()
    edited = text.replace("#", "# edited:").replace("0.00858", "8.58e-3")
    blocks = edited.split("\n\n")
    edited = "\n\n\n".join([*blocks[1:], blocks[0]]) + "\n"
    assert edited != text
    path.write_text(edited)
    assert copied.jobs() == {}


def test_touched_inputs_and_sources_rerun_nothing(copied: Project) -> None:
    (copied.folder / "resources").unlink()
    shutil.copytree(ROOT / "resources", copied.folder / "resources")
    for path in (copied.folder / "resources").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            os.utime(path)
    source = shutil.copytree(ROOT / "src", copied.folder / "src")
    for path in source.rglob("*.py"):
        os.utime(path)
    assert copied.jobs(environment={"PYTHONPATH": str(source)}) == {}


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("stages/evaluate.py", {"evaluate", "figures", "record", "report"}),
        ("publish/figures/losses.py", {"figures", "record", "report"}),
        ("publish/templates/report.html.j2", {"report"}),
        ("config/tree.py", set()),
    ],
)
def test_edited_sources_rerun_their_stage(copied: Project, module: str, expected: set[str]) -> None:
    source = shutil.copytree(ROOT / "src", copied.folder / "src")
    with (source / "icflow" / module).open("a") as file:
        file.write("\n# edited\n")
    assert set(copied.jobs(environment={"PYTHONPATH": str(source)})) == expected


def test_the_content_of_the_background_counts(copied: Project) -> None:
    (copied.folder / "resources").unlink()
    shutil.copytree(ROOT / "resources", copied.folder / "resources")
    with (copied.folder / "resources/background/nustar_fpma.yaml").open("a") as file:
        file.write("# edited\n")
    jobs = copied.jobs()
    assert (jobs["simulate_shard"], jobs["label_shard"], jobs["baseline_shard"]) == (8, 3, 36)
