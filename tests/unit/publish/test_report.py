"""The report: complete, self-contained, escaped, and clear about what is missing."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from browsing import layouts
from PIL import Image

from icflow import config as configuration
from icflow.config import Config
from icflow.detection.detectors import fits_read
from icflow.errors import IcflowError
from icflow.publish import report
from icflow.publish.figures import registry
from icflow.publish.findings import findings

# The smallest PNG: what matters here is that its bytes arrive.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
VOID = {"meta", "img", "link", "br", "hr", "input"}


class Page(HTMLParser):
    """Collects tags, and checks that they are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def finished(evaluated: Path) -> Path:
    """A run with figures."""
    for name in registry.FIGURES:
        path = evaluated / f"figures/{registry.file_name(name)}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(PNG)
    return evaluated


def make(config: Config, results: Path) -> Page:
    report.run(config, results, results / "report.html")
    return Page((results / "report.html").read_text(encoding="utf-8"))


def test_report_opens_offline(config: Config, finished: Path) -> None:
    page = make(config, finished)
    assert not page.all("script")
    assert not page.all("link")
    sources = [image["src"] or "" for image in page.all("img")]
    assert len(sources) == len(registry.FIGURES)
    assert {source.split(",")[0] for source in sources} == {"data:image/png;base64"}
    assert base64.b64decode(sources[0].split(",")[1]) == PNG
    assert "url(" not in (finished / "report.html").read_text()


def test_report_is_accessible(config: Config, finished: Path) -> None:
    page = make(config, finished)
    assert page.all("html")[0]["lang"] == "en"
    alts = [image.get("alt") or "" for image in page.all("img")]
    assert all(len(alt) > 40 for alt in alts)
    assert len(set(alts)) == len(alts)
    identifiers = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(identifiers)) == len(identifiers)
    anchors = {(link["href"] or "")[1:] for link in page.all("a")}
    assert anchors <= set(identifiers)
    assert all(heading.get("scope") in ("col", "row") for heading in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))


def test_report_states_settings_times_and_failures(config: Config, finished: Path) -> None:
    text = " ".join(make(config, finished).text.split())
    for phrase in (
        "Figure 8. Precision, recall",
        "Recall at 1 % false alarms",
        "Calibration error",
        "Detection efficiency. Fraction of the test spectra",
        "Published values: Lin et al. 2024",
        "2 of 10 folds of 240 spectra, 10 epochs (CAE, AE) and 60 epochs (DENSE).",
        "no minimum within 200 iterations",
        "the spectrum holds no counts",
        "5 min 01 s",
        "12.15.0",
        "nustar_fpma.rmf",
        "reconstruction_error",
    ):
        assert phrase in text


def test_report_lists_failed_fits_up_to_a_limit(
    config: Config, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two in the label fits, and two in every other fit of every dataset.
    failed = 2 + 2 * len(fits_read(config))
    assert f"The {failed} failed fits." in make(config, finished).text
    monkeypatch.setattr(report, "FAILURES_SHOWN", 5)
    page = make(config, finished)
    assert f"The first 5 of {failed} failed fits" in page.text
    assert len(re.findall("no minimum within", page.text)) == 3


def test_report_escapes_markup(config: Config, finished: Path, evaluate: object) -> None:
    tree = config.model_dump(mode="json", exclude_none=True)
    tree["detection"]["detectors"]["cae"]["title"] = "<script>alert(1)</script>"
    marked = configuration.validate(tree, "test")
    evaluate(marked, finished)  # type: ignore[operator]
    page = make(marked, finished)
    assert not page.all("script")
    assert "<script>alert(1)</script>" in page.text


def test_report_repeats_the_configuration(config: Config, finished: Path) -> None:
    text = make(config, finished).text
    tree = yaml.safe_load(text[text.index("engine: embedded") :])
    assert configuration.validate(tree, "report") == config


def test_report_without_times_says_so(config: Config, finished: Path) -> None:
    for path in finished.rglob("*.tsv"):
        path.unlink()
    assert "No times were recorded" in make(config, finished).text


def test_report_reads_times_that_were_not_measured(config: Config, finished: Path) -> None:
    path = finished / "benchmarks/evaluate.tsv"
    path.write_text("s\th:m:s\tmax_rss\n0.7\t0:00:00\tNA\n")
    assert "evaluate" in make(config, finished).text


def test_report_is_the_same_each_time(config: Config, finished: Path) -> None:
    make(config, finished)
    first = (finished / "report.html").read_bytes()
    make(config, finished)
    assert (finished / "report.html").read_bytes() == first


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("figures/figure3.png", "figure3.png: cannot be read .*draw the figure"),
        ("run.json", "run.json: cannot be read .*record the run"),
        ("evaluate/metrics.json", "metrics.json: cannot be read"),
        ("baseline/test_2T/2T_free/shard-0001.ecsv", "shard-0001.ecsv: cannot be read"),
    ],
)
def test_missing_results_are_named(config: Config, finished: Path, path: str, message: str) -> None:
    (finished / path).unlink()
    with pytest.raises(IcflowError, match=message):
        make(config, finished)
    assert not (finished / "report.html").exists()


@pytest.mark.parametrize("path", ["run.json", "evaluate/metrics.json"])
def test_truncated_results_are_named(config: Config, finished: Path, path: str) -> None:
    (finished / path).write_text('{"detec')
    with pytest.raises(IcflowError, match=f"{Path(path).name}: not the"):
        make(config, finished)


def test_report_needs_figures_that_a_browser_shows(config: Config, finished: Path) -> None:
    tree = config.model_dump(mode="json", exclude_none=True)
    tree["figures"]["formats"] = ["pdf"]
    with pytest.raises(IcflowError, match=r"figures\.formats is \['pdf'\].*png or svg"):
        make(configuration.validate(tree, "test"), finished)


# --- layout -----------------------------------------------------------------------


def layouts_of(page: str, folder: Path, browser: str) -> dict[int, dict[str, Any]]:
    """Return how wide a page is in a wide and a narrow window, and what does not fit."""
    (folder / "report.html").write_text(page)
    found = layouts(folder, ["report.html"], (1200, 400), browser)
    return {width: layout for (_, width), layout in found.items()}


def test_nothing_is_cut_off_or_scrolls_sideways(
    config: Config, finished: Path, tmp_path: Path, browser: str
) -> None:
    for path in (finished / "figures").glob("*.png"):
        Image.new("RGB", (1420, 600), "grey").save(path)
    make(config, finished)
    found = layouts_of((finished / "report.html").read_text(), tmp_path, browser)
    assert found == {
        width: {"width": width, "scroll": width, "beyond": []} for width in (1200, 400)
    }


def test_the_check_of_the_layout_finds_what_does_not_fit(browser: str, tmp_path: Path) -> None:
    page = "<!DOCTYPE html><body><p style='width: 600px'>wide</p></body>"
    found = layouts_of(page, tmp_path, browser)
    assert found[400]["scroll"] > 400
    assert found[400]["beyond"] == ["P: wide"]
    assert found[1200]["beyond"] == []


def test_narrow_windows_name_every_cell(config: Config, finished: Path) -> None:
    page = make(config, finished)
    cells = page.all("td")
    assert cells
    assert all(cell.get("data-label") for cell in cells)


def test_the_report_leads_with_findings_table_1_and_all_detectors(
    config: Config, finished: Path
) -> None:
    make(config, finished)
    text = (finished / "report.html").read_text()
    places = ["Findings</h2>", "<caption>Table 1.", 'id="figure-forest"', 'id="figure-figure1"']
    places += ["<caption>Table 2."]
    found = [text.index(place) for place in places]
    assert found == sorted(found)
    assert text.count('id="figure-forest"') == 1
    metrics = json.loads((finished / "evaluate/metrics.json").read_text())
    said = Page(text).text
    for sentence in findings(metrics):
        assert sentence.replace("*", "") in said
    assert "Revision not recorded: no git" in " ".join(said.split())
