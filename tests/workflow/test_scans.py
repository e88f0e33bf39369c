"""Scans through the workflow: what each target makes, and a small one for real."""

from __future__ import annotations

import csv
import shutil
from typing import Any

import pytest
from running import ROOT, TINY, Project

from icflow.ogip.spectra import read_spectra
from icflow.tables import read_table

# Two points that take what they can from the finished run: its fits, its networks.
CHANGE: dict[str, Any] = {
    "datasets": {
        "short": {"like": "test_2T", "exposure": 1.0e5, "systematics": {"background": 0.2}}
    },
    "scans": {
        "mine": {
            "title": "Exposure (ks)",
            "figure": "fluxes",
            "detectors": ["cae", "delta_cstat_fixed", "fit_density"],
            "points": [
                {"name": "long", "label": "1 Ms", "value": 1000.0,
                 "test": ["test_2T", "test_1T+IC"]},
                {"name": "short", "label": "100 ks", "value": 100.0,
                 "test": ["short", "test_1T+IC"]},
            ],
        }
    },
}  # fmt: skip


def lay(project: Project, scan: str) -> list[str]:
    """Copy a scan of the project; return the options that lay it over the tiny configuration."""
    folder = project.folder / "config" / "scans"
    folder.mkdir(exist_ok=True)
    shutil.copy(ROOT / "config" / "scans" / f"{scan}.yaml", folder)
    return ["--configfile", TINY, f"config/scans/{scan}.yaml"]


# Spectra, fits and evaluations; nothing of the finished run is made again. With a scattering
# background test spectra are integrated twice: by priors that know of it and by those that do not.
JOBS = {
    "background": {"simulate_shard": 8, "baseline_shard": 44, "integrate_shard": 24}
    | {"scan_score": 6, "scan_point": 5},
    "prior": {"simulate_shard": 7, "baseline_shard": 39, "integrate_shard": 14}
    | {"scan_score": 6, "scan_point": 6},
    "seen": {"simulate_shard": 7, "baseline_shard": 14, "integrate_shard": 14}
    | {"scan_score": 4, "scan_point": 8},
    "exposure": {"simulate_shard": 28, "baseline_shard": 72, "scan_point": 4},
}


@pytest.mark.parametrize("scan", list(JOBS))
def test_the_jobs_of_each_target(copied: Project, scan: str) -> None:
    status, output = copied.run(
        "scan", options=["--dry-run", "--quiet", "rules", *lay(copied, scan)]
    )
    assert status == 0, output
    jobs = {
        words[0]: int(words[1])
        for words in map(str.split, output.splitlines())
        if len(words) == 2 and words[1].isdigit() and words[0] != "total"
    }
    shared = {"scan_fluxes": 1, "scan_table": 1, "scan_figure": 1, "scan": 1}
    assert jobs == JOBS[scan] | shared


def test_a_target_without_its_scan_says_where_to_find_it(fresh: Project) -> None:
    status, output = fresh.run("scan")
    assert status == 1
    assert "scans: names none; add a file of config/scans after --configfile" in output


def test_a_scan_that_cannot_be_evaluated_is_refused_before_any_job(fresh: Project) -> None:
    points = [dict(point) for point in CHANGE["scans"]["mine"]["points"]]
    points[1]["test"] = ["test_1T+IC"]
    change = {**CHANGE, "scans": {"mine": {**CHANGE["scans"]["mine"], "points": points}}}
    status, output = fresh.run("scan", change=change)
    assert status == 1
    assert "scans.mine.points.short.test names no dataset without IC" in output
    assert "Traceback" not in output
    assert not fresh.results.exists()


def test_a_small_scan_for_real(copied: Project) -> None:
    before = copied.contents()
    status, output = copied.run("scan", change=CHANGE)
    assert status == 0, output
    after = copied.contents()
    assert {name: after[name] for name in before} == before
    spectra = read_spectra(copied.results / "simulate/short/shard-0000.pha")
    like = read_spectra(copied.results / "simulate/test_2T/shard-0000.pha")
    assert [module.exposure for module in spectra.modules] == [1e5]
    assert spectra.truth["apec.kT"].tolist() == like.truth["apec.kT"].tolist()
    assert 0.05 < spectra.counts.sum() / like.counts.sum() < 0.2
    assert len(set(spectra.truth["background.lines"])) == spectra.index.size
    folder = copied.results / "scan" / "mine"
    with (folder / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["point"], row["detector"]) for row in rows} == {
        (point, detector)
        for point in ("long", "short")
        for detector in ("cae", "delta_cstat_fixed", "fit_density")
    }
    # The first point is the finished run itself.
    run = read_table(copied.results / "evaluate/scores.ecsv")
    point = read_table(folder / "points/long/scores.ecsv")
    for name in ("cae", "delta_cstat_fixed", "fit_density"):
        assert point[name].tolist() == run[name].tolist()
        assert point.meta["thresholds"][name] == run.meta["thresholds"][name]
    assert (folder / "figure.pdf").read_bytes().startswith(b"%PDF-")
    assert "Nothing to be done" in copied.run("scan", change=CHANGE)[1]
