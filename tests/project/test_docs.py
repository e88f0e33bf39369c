"""What the documentation says exists and works."""

from __future__ import annotations

import csv
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import click
import pytest
import snakemake.cli
import yaml

from icflow import cli, config
from icflow.detection.published import PUBLISHED
from icflow.detection.table1 import QUANTITIES

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "config/*.md", "containers/*.md", "resources/**/*.md")
    for path in ROOT.glob(pattern)
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[tuple[str, str]]:
    """Return the code blocks of all pages with their page."""
    return [
        (page.relative_to(ROOT).as_posix(), text)
        for page in PAGES
        for kind, text in BLOCK.findall(page.read_text())
        if kind == language
    ]


COMMANDS = sorted({(page, line) for page, text in blocks("bash") for line in text.splitlines()})


def test_the_pages_have_commands_to_check() -> None:
    programs = {shlex.split(line)[0] for _, line in COMMANDS}
    assert {"make", "snakemake", "icflow", "apptainer", "pip"} == programs


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if not re.match(r"https?:|#", target):
            assert (page.parent / target.split("#")[0]).exists(), target


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_commands_are_right(page: str, line: str) -> None:
    program, *arguments = shlex.split(line, comments=True)
    checks[program](arguments)


def check_make(arguments: list[str]) -> None:
    command = ["make", "--dry-run", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        if line.startswith(".venv/bin/snakemake ") and "--lint" not in line:
            # Some options take what follows, a target too: only Snakemake knows which.
            words = shlex.split(line)[1:]
            _, parsed = snakemake.cli.parse_args(words)
            rules = (ROOT / "Snakefile").read_text()
            assert set(parsed.targets) == {word for word in words if f"\nrule {word}:" in rules}


def check_icflow(arguments: list[str]) -> None:
    context = click.Context(cli.GROUP)
    name, command, words = cli.GROUP.resolve_command(context, arguments)
    assert name is not None and command is not None
    values = command.make_context(name, words).params
    if values.get("config"):
        config.load(*(ROOT / file for file in values["config"]))


def check_snakemake(arguments: list[str]) -> None:
    """Check options, targets and files; that they run is tested with the workflow."""
    rules = "".join(
        path.read_text() for path in [ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk")]
    )
    words = iter([*arguments, "--"])
    word = next(words)
    while word != "--":
        if word in ("--cores", "--directory"):
            next(words)
        elif word == "--snakefile":
            assert (ROOT / next(words)).is_file()
        elif word == "--workflow-profile":
            assert (ROOT / "profiles" / next(words) / "config.yaml").is_file()
        elif word == "--configfile":
            files = []
            while (word := next(words)) != "--" and not word.startswith("-"):
                files.append(ROOT / word)
            config.load(ROOT / "config.yaml", *files)
            continue
        elif word not in ("--dry-run", "--use-singularity") and not word.startswith(
            "--apptainer-args="
        ):
            assert re.search(rf"^rule {word}:", rules, re.MULTILINE), word
        word = next(words)


def check_apptainer(arguments: list[str]) -> None:
    command, *arguments = arguments
    images = config.load(ROOT / "config.yaml").containers.model_dump().values()
    if command in ("test", "exec"):
        image, *program = arguments
        assert image in images
        assert program[:1] == (["icflow"] if command == "exec" else [])
        if program:
            check_icflow(program[1:])
        return
    assert command == "build"
    *options, image, definition = arguments
    assert image in images
    text = (ROOT / definition).read_text()
    assert "%post" in text
    for name in (option.split("=")[0] for option in options if option != "--build-arg"):
        assert f"{{{{ {name} }}}}" in text


def check_pip(arguments: list[str]) -> None:
    assert arguments[:3] == ["install", "--constraint", "constraints.txt"]
    match = re.fullmatch(r"\.\[(\w+)\]", arguments[3])
    assert match is not None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert match[1] in project["optional-dependencies"]


checks = {
    "make": check_make,
    "icflow": check_icflow,
    "snakemake": check_snakemake,
    "apptainer": check_apptainer,
    "pip": check_pip,
}


def test_yaml_examples_are_valid() -> None:
    default = config.load(ROOT / "config.yaml").model_dump(exclude_none=True)
    examples = [yaml.safe_load(text) for _, text in blocks("yaml")]
    laid = [config.overlay(default, example) for example in examples if example]
    assert len(laid) >= 2
    for tree in laid:
        config.validate(tree, "docs")


def test_the_index_names_every_page() -> None:
    """It is the table of contents of the site too, which has no page beside it."""
    index = ROOT / "docs/README.md"
    named = {
        (index.parent / target.split("#")[0]).resolve()
        for target in LINK.findall(index.read_text())
    }
    assert set(PAGES) - named - {index, ROOT / "README.md"} == set()


def text_of(page: str, first: str, last: str) -> str:
    """Return a page from one heading to another."""
    text = (ROOT / page).read_text()
    return text[text.index(first) : text.index(last)]


README = text_of("README.md", "## Results", "## Two commands")
TITLES = {
    name: detector.title
    for name, detector in config.load(ROOT / "config.yaml").detection.detectors.items()
}


def measured(file: str) -> dict[str, dict[str, str]]:
    """Return the numbers of a table of results, as pages write them, by the titles of detectors."""
    with open(ROOT / "docs/results" / file, encoding="utf-8") as table:
        return {
            TITLES[row.pop("detector")]: {
                name: f"{float(value):.3f}" for name, value in row.items()
            }
            for row in csv.DictReader(table)
        }


def triple(row: dict[str, str]) -> str:
    return ", ".join(row[name] for name in QUANTITIES)


def with_interval(row: dict[str, str], name: str) -> str:
    return f"{row[name]} ({row[f'{name}_lo']}–{row[f'{name}_hi']})"


def published_values(title: str) -> str:
    """Return precision, recall and balanced accuracy as published, of others a dash."""
    names = {title: name for name, title in TITLES.items()}
    row = PUBLISHED.get(names[title])
    return f"{row.precision:.2f}, {row.recall:.2f}, {row.bacc:.2f}" if row else "–"


def test_the_results_of_the_readme_are_those_of_the_tables() -> None:
    ours, texts = measured("table1.csv"), measured("text_priors.csv")
    box = {title.split(":")[0]: numbers for title, numbers in rows_of(README).items()}
    assert {"CAE", "AE", "Fit, one start, z fixed", "Bayes factor, z fixed"} < set(box)
    for title, numbers in box.items():
        row = ours[title]
        wanted = [row["precision"], row["recall"], with_interval(row, "bacc")]
        assert numbers == [*wanted, triple(texts[title]), published_values(title)], title


def test_the_results_page_shows_the_table_and_what_is_published() -> None:
    page = rows_of(text_of("docs/results/README.md", "## Table 1", "## Which detector"))
    ours = measured("table1.csv")
    assert list(page) == list(ours)
    for title, (_, *cells) in page.items():
        published = published_values(title)
        wanted = ["–"] * 3 if published == "–" else published.split(", ")
        assert cells[::2] == [with_interval(ours[title], name) for name in QUANTITIES], title
        assert cells[1::2] == wanted, title


def test_the_populations_side_by_side_are_those_of_their_tables() -> None:
    shown = rows_of(text_of("docs/results/population.md", "## Side by side", "## Why"))
    ours, texts = measured("table1.csv"), measured("text_priors.csv")
    assert shown.keys() == ours.keys() == texts.keys()
    for title, cells in shown.items():
        assert cells == [triple(ours[title]), triple(texts[title]), published_values(title)], title


# Sentences of the README, and what stands in them of which row: a table, a detector, a quantity.
SENTENCES = [
    (
        r"a balanced accuracy of ([\d.]+) where ([\d.]+) is published;",
        [("table1.csv", "cae", "bacc"), ("published", "cae", "bacc")],
    ),
    (r"with the priors of the text it has ([\d.]+),", [("text_priors.csv", "cae", "bacc")]),
    (
        r"recall of the plain autoencoder, ([\d.]+) where ([\d.]+) is published,",
        [("table1.csv", "ae", "recall"), ("published", "ae", "recall")],
    ),
    (
        r"of ([\d.]+) from one start, as XSPEC fits, where the paper has ([\d.]+);",
        [("table1.csv", "one_start_fixed", "bacc"), ("published", "one_start_fixed", "bacc")],
    ),
    (
        r"with the redshift free, ([\d.]+) where ([\d.]+) is less than a coin toss\.",
        [("table1.csv", "one_start_free", "bacc"), ("published", "one_start_free", "bacc")],
    ),
    (
        r"from the same fits, and ([\d.]+) where both are at their lowest minima\.",
        [("table1.csv", "delta_cstat_fixed", "bacc")],
    ),
    (r"exact ratio of the evidences, is ([\d.]+),", [("table1.csv", "bayes_factor", "bacc")]),
]


@pytest.mark.parametrize(("sentence", "sources"), SENTENCES)
def test_the_sentences_of_the_readme_follow_from_the_tables(
    sentence: str, sources: list[tuple[str, str, str]]
) -> None:
    (found,) = re.finditer(sentence, re.sub(r"\s+", " ", README))
    for text, (file, detector, quantity) in zip(found.groups(), sources, strict=True):
        if file == "published":
            wanted = getattr(PUBLISHED[detector], quantity)
        else:
            wanted = float(measured(file)[TITLES[detector]][quantity])
        assert text == f"{wanted:.{len(text) - 2}f}", (detector, quantity)


def rows_of(text: str) -> dict[str, list[str]]:
    """Return the rows of a Markdown table by their first cell, without its heading."""
    lines = [line for line in text.splitlines() if line.startswith("| ")][2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {first: others for first, *others in cells}


def test_every_rule_is_documented() -> None:
    workflow = (ROOT / "docs" / "workflow.md").read_text()
    for path in (ROOT / "workflow" / "rules").glob("*.smk"):
        for rule in re.findall(r"^rule (\w+):", path.read_text(), re.MULTILINE):
            assert f"`{rule}`" in workflow, rule


def test_the_citation_names_software_and_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["type"] == "software"
    assert citation["preferred-citation"]["doi"] == "10.3847/1538-4357/ad8888"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["license"] == project["license"]


def test_the_pins_cover_what_is_required() -> None:
    pins = dict(
        line.lower().split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for requirement in [*project["dependencies"], *extras["test"], *extras["workflow"]]:
        name = re.split(r"[\[>=<,;]", requirement)[0].lower()
        assert name == "icflow" or name in pins, requirement
    assert pins["torch"] == re.sub(r"\+.*", "", pins["torch"]), "a plain version suits every build"
