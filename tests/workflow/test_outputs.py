"""The tiny configuration, run for real, gives every output."""

from __future__ import annotations

import csv
import json
import re
import shlex
import subprocess
import sys

import pytest
from running import ROOT, TINY, Project

from icflow import config
from icflow.detection.detectors import fits_read, in_order
from icflow.ogip.spectra import read_spectra
from icflow.publish.figures import registry
from icflow.tables import read_table


@pytest.fixture(scope="module")
def configuration(finished: Project) -> config.Config:
    return config.load(finished.folder / "config.yaml", finished.folder / TINY)


def test_every_spectrum_is_there_once(finished: Project, configuration: config.Config) -> None:
    for name, dataset in configuration.datasets.items():
        index = [
            number
            for path in sorted((finished.results / "simulate" / name).glob("*.pha"))
            for number in read_spectra(path).index
        ]
        assert index == list(range(dataset.size)), name


def test_every_fit_has_a_row_for_every_spectrum(
    finished: Project, configuration: config.Config
) -> None:
    folders = {
        finished.results / "label" / name: configuration.datasets[name].size
        for name in ("train_2T", "test_2T")
    }
    folders |= {
        finished.results / "baseline" / dataset / fit: size
        for (dataset, fit), size in fits_read(configuration).items()
    }
    for folder, size in folders.items():
        rows = [i for path in sorted(folder.glob("*.ecsv")) for i in read_table(path)["index"]]
        assert rows == list(range(size)), folder


def test_networks_and_scores_of_every_fold(finished: Project) -> None:
    for network in ("cae", "ae"):
        for fold in (0, 1):
            folder = finished.results / "train" / network / f"fold-{fold}"
            assert (folder / "weights.safetensors").stat().st_size > 1000
            assert len(read_table(folder / "history.ecsv", ["epoch", "selection_loss"])) > 0
            scores = finished.results / "score" / network / f"fold-{fold}.ecsv"
            assert len(read_table(scores, ["dataset", "index", "part", "R_a"])) > 0


def test_table_1_has_the_rows_and_columns_of_the_contract(
    finished: Project, configuration: config.Config
) -> None:
    tables = finished.results / "tables"
    with (tables / "table1.csv").open() as file:
        rows = list(csv.DictReader(file))
    quantities = ("precision", "recall", "bacc")
    columns = [f"{name}{end}" for name in quantities for end in ("", "_lo", "_hi")]
    assert list(rows[0]) == ["detector", *columns, "n_test"]
    assert [row["detector"] for row in rows] == in_order(configuration.detection.detectors)
    for row in rows:
        assert row["n_test"] == "40"
        assert 0 <= float(row["bacc_lo"]) <= float(row["bacc"]) <= float(row["bacc_hi"]) <= 1
    for form in ("table1.tex", "table1.md"):
        assert "0.64" in (tables / form).read_text(), "the published values stand beside ours"


def test_all_figures_in_all_formats(finished: Project) -> None:
    for name in map(registry.file_name, registry.FIGURES):
        pdf = (finished.results / "figures" / f"{name}.pdf").read_bytes()
        png = (finished.results / "figures" / f"{name}.png").read_bytes()
        assert pdf.startswith(b"%PDF-")
        assert png.startswith(b"\x89PNG")


def test_jobs_are_chosen_when_one_ends_and_at_no_other_time(copied: Project) -> None:
    drawn = ["forest", "roc", "figure3", "figure4", "figure5"]
    paths = [f"results/figures/{name}.pdf" for name in drawn]
    for path in paths:
        (copied.folder / path).unlink()
    status, output = copied.run(*paths, options=["--verbose"])
    assert status == 0, output
    assert f"{len(drawn)} of {len(drawn)} steps" in output
    # Once more at the start; while both cores are busy nothing is chosen.
    assert 1 < output.count("Ready jobs: ") <= len(drawn) + 1


def test_the_report_opens_offline(finished: Project) -> None:
    page = (finished.results / "report.html").read_text()
    assert page.count("data:image/png;base64,") == len(registry.FIGURES)
    assert not re.search(r"(src|href)=[\"']https?:|<script|@import|<link", page)
    for stage in ("simulate", "baseline", "train"):
        assert stage in page


def test_the_record_says_what_the_run_was_made_with(
    finished: Project, configuration: config.Config
) -> None:
    record = json.loads((finished.results / "run.json").read_text())
    assert record["config"] == configuration.model_dump(mode="json", exclude_none=True)
    assert record["engine"] == "embedded"
    assert record["atomdb"] == "3.0.9"
    assert "HEASoft" in record["xspec"]
    assert set(record["resources"]) >= {configuration.modules[0].rmf, configuration.modules[0].arf}
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in record["resources"].values())


def test_every_job_left_a_log_and_a_run_time(finished: Project) -> None:
    logs = {path.stem for path in (finished.results / "logs").rglob("*.log")}
    assert {"shard-0000", "fold-1", "evaluate", "figure8", "record", "report"} <= logs
    header, values = (finished.results / "benchmarks" / "evaluate.tsv").read_text().splitlines()
    assert float(dict(zip(header.split("\t"), values.split("\t"), strict=True))["s"]) > 0


def icflow(project: Project, *arguments: str) -> None:
    """Run a subcommand in a project."""
    command = [sys.executable, "-m", "icflow.cli", *arguments]
    subprocess.run(command, cwd=project.folder, check=True)


def test_a_stage_by_hand_gives_the_same_bytes(finished: Project) -> None:
    shard = finished.results / "simulate" / "test_2T" / "shard-0000.pha"
    table = finished.results / "baseline" / "test_2T" / "1T+IC_fixed" / "shard-0000.ecsv"
    icflow(
        finished, "baseline", "--config", "config.yaml", TINY,
        "--fit", "1T+IC_fixed", "--output", "by-hand.ecsv", str(shard),
    )  # fmt: skip
    assert (finished.folder / "by-hand.ecsv").read_bytes() == table.read_bytes()


def test_the_commands_of_the_readme_run(finished: Project) -> None:
    text = (ROOT / "README.md").read_text()
    blocks = "".join(re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    commands = [shlex.split(c)[1:] for c in re.findall(r"^icflow .*", blocks, re.MULTILINE)]
    assert [command[0] for command in commands] == ["validate", "simulate", "baseline", "predict"]
    for command in commands:
        icflow(finished, *command)
    ten = read_spectra(finished.folder / "ten.pha")
    shard = read_spectra(finished.results / "simulate" / "test_2T" / "shard-0000.pha")
    assert (ten.counts == shard.counts[:10]).all(), "a spectrum does not depend on its shard"
    assert len(read_table(finished.folder / "ten.ecsv", ["index", "cstat"])) == 10
    predicted = read_table(finished.folder / "counts.ecsv", ["channel", "energy_lo", "counts"])
    assert len(predicted) == 4096
