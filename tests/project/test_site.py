"""The HTML site of the documentation: built as `make docs` builds it, whole, and legible."""

from __future__ import annotations

import html
import re
import shlex
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import click
import pytest
from browsing import layouts

import icflow
from icflow import cli
from icflow.config import Config

# Where scripts, styles and images are named.
ADDRESSES = {"a": "href", "link": "href", "img": "src", "script": "src", "iframe": "src"}


@pytest.fixture(scope="module")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, from an empty folder."""
    build = tmp_path_factory.mktemp("site")
    shown = subprocess.run(
        ["make", "--dry-run", "docs"], cwd=root, capture_output=True, text=True, check=True
    )
    lines = shown.stdout.replace("\\\n", " ").splitlines()
    (line,) = (line for line in lines if " -m sphinx " in line)
    program, *words = shlex.split(line)
    assert program == ".venv/bin/python"
    places = [re.sub("^build/", f"{build}/", word) for word in words]
    done = subprocess.run(
        [sys.executable, *places], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (build / "site/index.html").is_file()
    return build / "site"


class Links(HTMLParser):
    """Collects what a page has anchors for, and what it names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.addresses: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag in ADDRESSES and given.get(ADDRESSES[tag]):
            self.addresses.append((tag, given[ADDRESSES[tag]]))


def pages(site: Path) -> dict[Path, Links]:
    """Return every page, without what the theme is made of."""
    paths = [path for path in site.rglob("*.html") if "_static" not in path.parts]
    return {path: Links(path.read_text(encoding="utf-8")) for path in paths}


def text_of(page: Path) -> str:
    """Return the text of a page without tags, white space as single blanks."""
    words = re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))
    return " ".join(html.unescape(words).split())


def test_every_link_within_the_site_leads_somewhere(site: Path) -> None:
    read = pages(site)
    assert len(read) > 30
    checked = 0
    for page, links in read.items():
        for tag, address in links.addresses:
            if re.match(r"\w+:", address):
                assert tag == "a", f"{page}: {address} is read from elsewhere"
                continue
            name, anchor = urldefrag(address)
            target = (page.parent / unquote(name.partition("?")[0])).resolve() if name else page
            assert target.is_file(), f"{page}: {address}"
            if anchor and target in read:
                assert unquote(anchor) in read[target].anchors, f"{page}: {address}"
            checked += 1
    assert checked > 1000


def test_the_tutorial_was_run(site: Path) -> None:
    page = site / "docs/tutorial.html"
    images = [name for tag, name in Links(page.read_text()).addresses if tag == "img"]
    assert len(images) == 2
    text = text_of(page)
    for phrase in ("cluster: made", "1921 degrees of freedom", "simulated 2T spectra look as much"):
        assert phrase in text
    assert "steps/s" not in text, "progress is no part of a page"


def test_everything_that_can_be_used_is_in_the_reference(site: Path) -> None:
    anchors = Links((site / "docs/api.html").read_text()).anchors
    for name in icflow.__all__:
        assert f"icflow.{name}" in anchors or f"icflow.errors.{name}" in anchors, name
    assert {"icflow.Model.fit_many", "icflow.Fit.intervals", "icflow.Verdict.page"} <= anchors
    commands = text_of(site / "docs/commands.html")
    for command in cli.COMMANDS:
        assert f"icflow {command.name}#" in commands, command.name
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.opts[0] in commands
    assert "instead of --config" in commands
    keys = text_of(site / "config/README.html")
    for key in Config.model_fields:
        assert key in keys
    assert "detection.detectors.<name>.method" in keys


def test_flow_charts_are_drawn(site: Path) -> None:
    page = (site / "docs/workflow.html").read_text()
    (chart,) = re.findall(r'<svg class="flowchart".*?</svg>', page, re.DOTALL)
    boxes = re.findall(r"<text [^>]*>(\w+)</text>", chart)
    assert {"fetch", "simulate", "train", "report"} <= set(boxes) and len(boxes) > 8
    assert "--&gt;" not in page


def test_no_page_is_cut_off_or_scrolls_sideways(site: Path, tmp_path: Path, browser: str) -> None:
    shutil.copytree(site, tmp_path / "site")
    names = sorted(path.relative_to(site).as_posix() for path in pages(site))
    names = [name for name in names if "bd-article" in (site / name).read_text()]
    assert len(names) > 25
    widths = (1400, 1200, 400)
    found = layouts(tmp_path / "site", names, widths, browser, within=".bd-article")
    assert set(found) == {(name, width) for name in names for width in widths}
    wrong = {
        (name, width): layout
        for (name, width), layout in found.items()
        if layout != {"width": width, "scroll": width, "beyond": []}
    }
    assert wrong == {}
