"""The page of results: complete, small, true to the tables, and careful with "better"."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from icflow.config import Config
from icflow.detection.detectors import in_order
from icflow.errors import IcflowError
from icflow.publish import findings, results_page
from icflow.publish.figures import registry

ROOT = Path(__file__).parents[3]
COLUMNS = (
    "detector,precision,precision_lo,precision_hi,recall,recall_lo,recall_hi,"
    "bacc,bacc_lo,bacc_hi,n_test"
)
LARGEST = 150_000  # bytes of an image


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def agrees(cell: str, numbers: list[str]) -> bool:
    """Return whether a cell of the page gives a number with its interval, to its digits."""
    if numbers[0] == "nan":
        return cell == "undefined"
    found = re.fullmatch(r"([\d.]+) \(([\d.]+)–([\d.]+)\)", cell)
    wanted = [pytest.approx(float(number), abs=0.000502) for number in numbers]
    return found is not None and [float(group) for group in found.groups()] == wanted


def check_page(folder: Path) -> None:
    """Check a page against the tables beside it."""
    page = (folder / "README.md").read_text()
    table = rows(folder / "table1.csv")
    assert (folder / "table1.csv").read_text().splitlines()[0] == COLUMNS
    section = page[page.index("## Table 1") : page.index("## Which detector")]
    lines = [line for line in section.splitlines() if line.startswith("| ")][2:]
    assert len(lines) == len(table)
    for line, row in zip(lines, table, strict=True):
        cells = [cell.strip() for cell in line.split("|")]
        for quantity, cell in zip(("precision", "recall", "bacc"), cells[3::2], strict=False):
            assert agrees(cell, [row[quantity + end] for end in ("", "_lo", "_hi")])
    cells = [cell.strip() for cell in page.split("|")]
    for row in rows(folder / "metrics.csv"):
        if row["quantity"] in ("brier", "auc"):
            numbers = [row[key] for key in ("value", "lo", "hi")]
            assert any(agrees(cell, numbers) for cell in cells)
    for row in rows(folder / "differences.csv"):
        zero_inside = not (float(row["lo"]) > 0 or float(row["hi"]) < 0)
        assert (row["verdict"] == "not told apart") == zero_inside
    for image in re.findall(r"\]\(([\w]+\.png)\)", page):
        assert (folder / image).stat().st_size < LARGEST, image


def check_figures(folder: Path) -> None:
    """Check that a page shows every figure of the registry and no other."""
    page = (folder / "README.md").read_text()
    images = {f"{registry.file_name(name)}.png" for name in registry.FIGURES}
    assert images == set(re.findall(r"\]\((\w+\.png)\)", page))


def test_the_page_of_a_run_agrees_with_its_tables(
    config: Config, evaluated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All figures are drawn in their own tests.
    some = {name: registry.FIGURES[name] for name in ("6", "forest", "roc", "efficiency")}
    monkeypatch.setattr(registry, "FIGURES", some)
    folder = evaluated / "page"
    folder.mkdir()
    (folder / "scans.md").write_text("# Scans\n")
    (folder / "summary.md").write_text("# What we found\n\nWhat we found: a network.\n")
    files = ["config.yaml", "config/paper.yaml"]
    written = results_page.run(config, files, evaluated, folder)
    assert all(path.is_file() for path in written)
    check_page(folder)
    check_figures(folder)
    assert (folder / "table1.csv").read_bytes() == (evaluated / "tables/table1.csv").read_bytes()
    page = (folder / "README.md").read_text()
    assert "[scans.md](scans.md)" in page
    assert "snakemake --cores 2 --configfile config.yaml config/paper.yaml\n" in page
    metrics = json.loads((evaluated / "evaluate/metrics.json").read_text())
    sentences = findings.findings(metrics)
    assert page.startswith("# Results\n\nWhat we found: a network.\n")
    assert "".join(f"- {said}\n" for said in sentences) in page
    assert page.index("](forest.png)") < page.index("## Table 1")
    assert "Revision not recorded: no git" in page
    assert [row["detector"] for row in rows(folder / "table1.csv")] == in_order(
        config.detection.detectors
    )


def test_the_published_page_agrees_with_its_tables() -> None:
    check_page(ROOT / "docs" / "results")


def test_the_published_page_shows_every_figure() -> None:
    check_figures(ROOT / "docs" / "results")


def made_up(values: dict[str, float], margin: float) -> dict[str, Any]:
    """Return metrics of detectors whose differences are known to `margin`."""

    def around(value: float) -> dict[str, float]:
        return {"value": value, "lo": value - margin, "hi": value + margin}

    quantities = ("bacc", "auc", "brier")
    names = list(values)
    sees = {"a": "never", "b": "never", "ceiling": "priors"}
    return {
        "bootstrap": 100,
        "ceiling": "ceiling" if "ceiling" in values else None,
        "detectors": {
            name: {
                "title": name.upper(),
                "sees": sees.get(name, "threshold"),
                **{quantity: around(value) for quantity in quantities},
            }
            for name, value in values.items()
        },
        "differences": {
            first: {
                other: {q: around(values[first] - values[other]) for q in quantities}
                for other in names[number + 1 :]
            }
            for number, first in enumerate(names)
        },
    }


def test_better_is_said_only_of_what_is_told_apart() -> None:
    metrics = made_up({"a": 0.6, "b": 0.75, "c": 0.8, "ceiling": 0.9}, margin=0.1)
    accuracy, area, never = results_page.standings(metrics)
    assert accuracy == (
        "*C* has the highest balanced accuracy, 0.800 (0.700–0.900); it is better than *A*, "
        "and not told apart from *B*."
    )
    assert area.startswith("*C* has the highest area under ROC")
    assert never == (
        "Of those that never see a spectrum with IC, *B* has the highest balanced accuracy, "
        "0.750 (0.650–0.850); it is better than *A*."
    )
    close = made_up({"a": 0.6, "b": 0.65, "c": 0.62}, margin=0.1)
    assert "better" not in " ".join(results_page.standings(close))
    far = made_up({"a": 0.6, "b": 0.95, "c": 0.7}, margin=0.01)
    assert "it is better than all others." in results_page.standings(far)[0]


def test_distance_from_the_ceiling_is_put_into_words() -> None:
    metrics = made_up({"a": 0.6, "b": 0.85, "ceiling": 0.9}, margin=0.1)
    found = results_page.ceiling(metrics)
    assert found is not None
    assert found["words"] == (
        "By the area under the curve, below it: *A*; not told apart from it: *B*."
    )
    assert "| A | CEILING | **−0.300 (−0.400 to −0.200)** |" in found["table"]
    assert results_page.ceiling(made_up({"a": 0.6, "b": 0.8}, 0.1)) is None


def test_a_combination_is_compared_with_its_parts(config: Config, evaluated: Path) -> None:
    metrics = json.loads((evaluated / "evaluate/metrics.json").read_text())
    found = results_page.additions(metrics, config)
    said = {sentence.split(":")[0] for sentence in found}
    detectors = config.detection.detectors
    assert said == {
        f"*{detector.title}* minus *{detectors[part].title}*"
        for detector in detectors.values()
        for part in detector.parts or ()
    }
    assert "*Fit classifier + CAE* minus *CAE*" in said
    assert all(re.search(r"better|worse|not told apart", sentence) for sentence in found)


def test_a_run_without_metrics_is_refused(config: Config, evaluated: Path, tmp_path: Path) -> None:
    (evaluated / "evaluate/metrics.json").unlink()
    with pytest.raises(IcflowError, match=r"metrics\.json: cannot be read"):
        results_page.run(config, ["config.yaml"], evaluated, tmp_path)
    assert not (tmp_path / "README.md").exists()
